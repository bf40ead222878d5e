"""What staff type in the production room."""

from flask_babel import lazy_gettext as _l
from flask_wtf.file import FileField, FileRequired
from wtforms import StringField, TextAreaField
from wtforms.validators import InputRequired, Length

from portal.accounts.forms import strip
from portal.core.forms import PageForm

_WHY = _l("Say why, in a few words.")


class ReasonForm(PageForm):
    """Why an order is stopped, made again or called off."""

    reason = StringField(_l("Reason"), [InputRequired(_WHY), Length(min=3, max=500, message=_WHY)], filters=[strip])


class CancelForm(PageForm):
    """Why an order is cancelled whose money goes back."""

    reason = TextAreaField(
        _l("Reason"),
        [InputRequired(_WHY), Length(min=3, max=500, message=_WHY)],
        filters=[strip],
        description=_l("For colleagues; the customer does not read it."),
    )


class PhotoForm(PageForm):
    """A picture of the parts."""

    picture = FileField(
        _l("Photo"),
        [FileRequired(_l("Choose a photo."))],
        description=_l("JPEG, PNG or WebP, up to 12 MB. The place where it was taken is removed."),
    )
    caption = StringField(_l("Caption"), [Length(max=200)], filters=[strip])

"""Which domain a site should have."""

from flask_babel import lazy_gettext as _l
from wtforms import StringField
from wtforms.validators import InputRequired, Length

from portal.core.forms import PageForm


class DomainForm(PageForm):
    """The one thing that is asked; what it may be is the service's business."""

    name = StringField(
        _l("Your domain"),
        [InputRequired(_l("Please fill this in.")), Length(max=1_000)],
        description=_l("A domain that you have registered, such as www.example.com"),
    )

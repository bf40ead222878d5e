"""What an owner says about a change."""

from flask_babel import lazy_gettext as _l
from wtforms import FileField, IntegerField, SelectField, TextAreaField
from wtforms.fields import SelectChoice
from wtforms.validators import InputRequired, Length, Optional

from portal.core.forms import PageForm
from portal.core.pictures import MOST_BYTES
from portal.sites.changes.services.asking import LONGEST_TEXT
from portal.sites.changes.services.deciding import LONGEST_WISH

# Each line end of a text is two characters on its way.
UPLOAD = MOST_BYTES + 2 * LONGEST_TEXT


class AskForm(PageForm):
    """A request; the picture is looked at by the service."""

    text = TextAreaField(
        _l("What should be different?"),
        [InputRequired(), Length(max=LONGEST_TEXT)],
        description=_l("In your own words, such as: change the opening hours on Friday to 9 to 17."),
    )
    page = SelectField(_l("On which page?"), [Optional()], validate_choice=False)
    picture = FileField(_l("Picture"), [Optional()], description=_l("JPEG, PNG or WebP, up to 12 MB."))

    def offer(self, pages: list[str]) -> None:
        """The pages to choose from."""
        self.page.choices = [SelectChoice("", str(_l("I do not know, or several"))), *map(SelectChoice, pages)]


class WishForm(PageForm):
    """What should be otherwise than in the draft that was shown."""

    draft_number = IntegerField(validators=[Optional()])
    wish = TextAreaField(_l("What should be otherwise?"), [Optional(), Length(max=LONGEST_WISH)])

"""What staff write about change requests."""

from flask_babel import lazy_gettext as _l
from flask_babel import lazy_pgettext
from wtforms import HiddenField, StringField, TextAreaField
from wtforms.validators import InputRequired, Length, Optional

from portal.core.forms import PageForm
from portal.sites.content.checking import LARGEST_TEXT


class DraftFileForm(PageForm):
    """One text of a draft. `draft` is the number of the draft that it was read from; empty: what is served."""

    draft = HiddenField(validators=[Optional(), Length(max=12)])
    path = StringField(lazy_pgettext("of a file", "Name"), [InputRequired(), Length(max=200)])
    text = TextAreaField(_l("Content"), [Length(max=LARGEST_TEXT)])


class AnswerForm(PageForm):
    """Why a change is not made, for the owner to read."""

    answer = TextAreaField(_l("What do we tell the owner?"), [InputRequired(), Length(max=2000)])

"""What staff type about a quote; the services check again what is theirs."""

from typing import Any

from flask_babel import lazy_gettext as _l
from wtforms import Field, HiddenField, StringField, TextAreaField
from wtforms.validators import InputRequired, Length, Optional

from portal.admin.forms import amount_of
from portal.core.errors import PortalError
from portal.core.forms import PageForm
from portal.quotes.models import Quote
from portal.quotes.services.deciding import LONGEST_REASON
from portal.quotes.services.reviewing import LONGEST_MESSAGE, review_mark

_MISSING = _l("Please fill this in.")


class _Decision(PageForm):
    """A form on the page of a quote. `seen` says what the page showed, so that nobody decides about something else."""

    seen = HiddenField()

    def __init__(self, quote: Quote, *, is_sent: bool) -> None:
        self.quote = quote
        values: dict[str, Any] = {} if is_sent else {"formdata": None, "seen": review_mark(quote)}
        super().__init__(prefix=f"{type(self).__name__.lower()}-", **values)

    def blame(self, error: PortalError) -> None:
        """Say at its field what the service refused."""
        field = self._fields.get(error.field or "")
        if field is None:
            self.form_errors.append(str(error))
        else:
            field.errors = [*field.errors, str(error)]


class Approve(_Decision):
    """Confirming the price as it was computed."""

    message = TextAreaField(
        _l("Message to the customer"),
        [Optional(), Length(max=LONGEST_MESSAGE)],
        description=_l("Stands in the mail and on the quote."),
    )


class Override(_Decision):
    """Asking for another total."""

    total = StringField(_l("New total, tax included"), [InputRequired(_MISSING), Length(max=20)])
    reason = TextAreaField(
        _l("Reason"),
        [InputRequired(_MISSING), Length(max=LONGEST_REASON)],
        description=_l("For colleagues and the audit log; the customer does not read it."),
    )
    message = TextAreaField(
        _l("Message to the customer"),
        [Optional(), Length(max=LONGEST_MESSAGE)],
        description=_l("Stands in the mail and on the quote."),
    )

    def validate_total(self, field: Field) -> None:
        """An amount of the quote's currency, exact."""
        amount_of(field.data, self.quote.currency)

    def total_minor(self) -> int:
        """What was typed, in minor units."""
        return amount_of(self.total.data, self.quote.currency).amount_minor


class Reject(_Decision):
    """Turning a quote down."""

    reason = TextAreaField(
        _l("Reason"),
        [InputRequired(_MISSING), Length(max=LONGEST_REASON)],
        description=_l("The customer reads it, in the mail and on the quote."),
    )


class Message(_Decision):
    """Telling the customer something without deciding."""

    message = TextAreaField(_l("Message to the customer"), [InputRequired(_MISSING), Length(max=LONGEST_MESSAGE)])

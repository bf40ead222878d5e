"""What staff type when money goes back; the services check again what is theirs."""

from datetime import date
from typing import Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from wtforms import (
    BooleanField,
    DateField,
    Field,
    HiddenField,
    RadioField,
    SelectField,
    SelectMultipleField,
    StringField,
    TextAreaField,
    ValidationError,
)
from wtforms.fields import SelectChoice
from wtforms.validators import InputRequired, Length, Optional

from portal.admin.forms import amount_of
from portal.admin.queries.refunds import Giveable
from portal.admin.wording import reason_words
from portal.core import sealed
from portal.core.errors import PortalError
from portal.core.forms import PageForm
from portal.core.money import Money
from portal.payments.refund_models import DisputeStatus, RefundReason

ALL, LINES, AMOUNT = "all", "lines", "amount"


class RefundForm(PageForm):
    """What is given back, why, and whether the customer keeps what was bought."""

    what = RadioField(
        _l("How much"),
        default=ALL,
    )
    lines = SelectMultipleField(_l("Lines"))
    amount = StringField(_l("Amount"), [Length(max=20)])
    reason = SelectField(_l("Reason"), [InputRequired()])
    note = TextAreaField(
        _l("Note"), [Optional(), Length(max=1000)], description=_l("For colleagues; the customer does not read it.")
    )
    keeps_access = BooleanField(
        _l("The customer keeps access"),
        description=_l("Otherwise lines that are given back whole are locked again."),
    )
    # Sent twice, it gives the money once.
    key = HiddenField(validators=[InputRequired(), Length(min=16, max=64)])

    def __init__(self, giveable: Giveable, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.giveable = giveable
        self.reason.choices = [SelectChoice(reason.value, reason_words(reason)) for reason in RefundReason]
        lines = [line for invoice in giveable.invoices for line in invoice.lines]
        self.lines.choices = [SelectChoice(str(line.id), line.description) for line in lines]
        ways = [(ALL, _("Everything that is left"))]
        if lines:
            ways.append((LINES, _("Some lines")))
        if giveable.currency:
            ways.append((AMOUNT, _("An amount")))
        self.what.choices = [SelectChoice(value, label) for value, label in ways]
        if not self.key.data:
            self.key.data = sealed.new_token()

    def validate_amount(self, field: Field) -> None:
        """An amount of the payments' currency, exact; only where one was asked for."""
        if self.what.data == AMOUNT:
            amount_of(field.data, self.giveable.currency)

    def validate_lines(self, field: Field) -> None:
        """At least one line, where lines were asked for."""
        if self.what.data == LINES and not field.data:
            raise ValidationError(_("Choose at least one line."))

    def wanted_amount(self) -> Money | None:
        """The amount, where one was asked for. Call it only after the form was found right."""
        return amount_of(self.amount.data, self.giveable.currency) if self.what.data == AMOUNT else None

    def wanted_lines(self) -> tuple[int, ...]:
        """The lines, where some were asked for."""
        return tuple(int(one) for one in self.lines.data or ()) if self.what.data == LINES else ()

    def blame(self, error: PortalError) -> None:
        """Show what the service found wrong at the field it is about."""
        field = self._fields.get(error.field or "")
        if field is None:
            self.form_errors.append(str(error))
        else:
            field.errors = [*field.errors, str(error)]


GIVEN, NOT_GIVEN = "given", "not_given"


class DecideRefundForm(PageForm):
    """What a person did, or saw at the provider."""

    outcome = RadioField(_l("What happened"), [InputRequired()])
    reference = StringField(
        _l("Reference"), [Length(max=200)], description=_l("Where the payment can be found, such as the bank's number.")
    )
    given_on = DateField(_l("Given on"), [Optional()])
    note = TextAreaField(_l("Note"), [Length(max=1000)])

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.outcome.choices = [
            SelectChoice(GIVEN, _("The money was given back")),
            SelectChoice(NOT_GIVEN, _("No money was given back")),
        ]

    def validate_reference(self, field: Field) -> None:
        """Needed for what was given."""
        if self.outcome.data == GIVEN and len((field.data or "").strip()) < 3:
            raise ValidationError(_("Say where the payment can be found."))

    def validate_given_on(self, field: Field) -> None:
        """Needed for what was given; not in the future."""
        if self.outcome.data == GIVEN and field.data is None:
            raise ValidationError(_("Say on which day."))
        if field.data is not None and not date(2000, 1, 1) <= field.data <= self.today:
            raise ValidationError(_("This day cannot be right."))

    def validate_note(self, field: Field) -> None:
        """Needed for what was not given."""
        if self.outcome.data == NOT_GIVEN and len((field.data or "").strip()) < 3:
            raise ValidationError(_("Say how you know."))

    # The day where the business is; set by the room.
    today: date = date(2199, 12, 31)


class EvidenceForm(PageForm):
    """What staff answered to a dispute."""

    evidence = TextAreaField(
        _l("Evidence"),
        [Length(max=5000)],
        description=_l("What you answered at the provider, and where the papers are."),
    )
    is_answered = BooleanField(_l("The answer was sent at the provider"))


class DecideDisputeForm(PageForm):
    """How a dispute ended, for providers that do not say so themselves."""

    outcome = RadioField(_l("How it ended"), [InputRequired()])

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.outcome.choices = [
            SelectChoice(DisputeStatus.WON.value, _("Won: the money stays with us")),
            SelectChoice(DisputeStatus.LOST.value, _("Lost: the bank has taken the money")),
            SelectChoice(DisputeStatus.WITHDRAWN.value, _("Withdrawn: nothing was taken")),
        ]

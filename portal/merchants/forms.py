"""What merchants and their buyers type: parsed and checked field by field."""

import re
from typing import Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from wtforms import (
    HiddenField,
    RadioField,
    SelectField,
    SelectMultipleField,
    StringField,
    TextAreaField,
    ValidationError,
    widgets,
)
from wtforms.fields import SelectChoice
from wtforms.validators import DataRequired, InputRequired, Length

from portal.accounts.forms import AddressField, strip
from portal.core.errors import Invalid
from portal.core.forms import PageForm
from portal.core.money import Money, is_currency
from portal.merchants.models import Scope
from portal.merchants.services.addresses import check_return_url

_MISSING = _l("Please fill this in.")
_AMOUNT = re.compile(r"[0-9]{1,10}([.,][0-9]{1,3})?")
_LARGEST = 10**12 - 1
# Line ends may stay in a longer text; nothing else that cannot be printed.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
SCOPE_WORDS = {
    Scope.SESSIONS_READ: _l("Read payments"),
    Scope.SESSIONS_WRITE: _l("Open payments"),
    Scope.REFUNDS_WRITE: _l("Give money back"),
}
EXPIRIES = {"": _l("Never"), "30": _l("After 30 days"), "90": _l("After 90 days"), "365": _l("After a year")}
OVERLAPS = {
    "0": _l("At once"),
    "1": _l("In an hour"),
    "24": _l("In a day"),
    "168": _l("In a week"),
}


def strip_long(text: str | None) -> str:
    """A longer typed text without what no database or mail takes."""
    return _CONTROL.sub(" ", text or "").replace("\r\n", "\n").strip()


class RequestForm(PageForm):
    """A customer's wish to become a merchant."""

    name = StringField(
        _l("Name of your business"), [DataRequired(_MISSING), Length(max=120)], filters=[strip],
        description=_l("Stands on the invoices of your customers."),
    )  # fmt: skip
    contact_email = AddressField(_l("E-mail for your customers"), [InputRequired(_MISSING), Length(max=254)])
    website = StringField(_l("Website"), [Length(max=300)], filters=[strip])
    message = TextAreaField(
        _l("What do you want to sell?"), [DataRequired(_MISSING), Length(max=2000)], filters=[strip_long]
    )


class KeyForm(PageForm):
    """A new API key."""

    label = StringField(
        _l("Label"), [DataRequired(_MISSING), Length(max=120)], filters=[strip],
        description=_l("Where it will be used, so that you know it again."),
    )  # fmt: skip
    mode = RadioField(_l("Kind"), [InputRequired()])
    scopes = SelectMultipleField(
        _l("What it may do"), widget=widgets.ListWidget(prefix_label=False), option_widget=widgets.CheckboxInput()
    )
    expires = SelectField(_l("Ends"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mode.choices = [("test", _("Test: no real money")), ("live", _("Live: real money"))]
        self.scopes.choices = [(scope.value, str(words)) for scope, words in SCOPE_WORDS.items()]
        self.expires.choices = [SelectChoice(value, str(words)) for value, words in EXPIRIES.items()]

    def validate_scopes(self, field: Any) -> None:
        if not field.data:
            raise ValidationError(_("Choose at least one right."))


class RotateForm(PageForm):
    """Replacing a key: how long the old one goes on working."""

    hours = SelectField(_l("The old key ends"), [InputRequired()])

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.hours.choices = [SelectChoice(value, str(words)) for value, words in OVERLAPS.items()]


class LinkForm(PageForm):
    """A payment link made by hand. `key` names what is about to be made, so that a double click makes one."""

    key = HiddenField(validators=[Length(max=200)])
    amount = StringField(_l("Amount"), [InputRequired(_MISSING), Length(max=20)], filters=[strip])
    currency = StringField(_l("Currency"), [InputRequired(_MISSING), Length(min=3, max=3)], filters=[strip])
    description = StringField(
        _l("What is it for?"), [DataRequired(_MISSING), Length(max=200)], filters=[strip],
        description=_l("The buyer reads this, and it stands on the invoice."),
    )  # fmt: skip
    customer_email = AddressField(
        _l("Buyer's e-mail"), [Length(max=254)],
        description=_l("The receipt and a link to the purchase go there."),
    )  # fmt: skip
    customer_name = StringField(_l("Buyer's name"), [Length(max=120)], filters=[strip])
    success_url = StringField(_l("Your page after paying"), [Length(max=2000)], filters=[strip])

    def __init__(self, *args: Any, mode: str, hosts: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._mode, self._hosts = mode, hosts

    def validate_currency(self, field: Any) -> None:
        field.data = (field.data or "").upper()
        if not is_currency(field.data):
            raise ValidationError(_("Give the three letters of a currency, such as PLN."))

    def validate_amount(self, field: Any) -> None:
        if not _AMOUNT.fullmatch(field.data or ""):
            raise ValidationError(_("Give an amount such as 49.00."))
        if not is_currency((self.currency.data or "").upper()):
            return
        try:
            amount = self.money()
        except ValueError:
            raise ValidationError(_("This amount does not exist in this currency.")) from None
        if not 0 < amount.amount_minor <= _LARGEST:
            raise ValidationError(_("The amount must be more than zero."))

    def validate_success_url(self, field: Any) -> None:
        if not field.data:
            return
        try:
            check_return_url(field.data, mode=self._mode, hosts=self._hosts)
        except Invalid as error:
            raise ValidationError(str(error)) from None

    def money(self) -> Money:
        """What is to be paid. Raises ValueError for an amount that the currency does not have."""
        return Money.parse(self.amount.data or "", (self.currency.data or "").upper())


class PayForm(PageForm):
    """Where to pay."""

    provider = RadioField(_l("How do you want to pay?"), [InputRequired(_l("Choose how you want to pay."))])

    def offer(self, providers: list[tuple[str, str]]) -> None:
        """The ways to pay, as (name, title); the first one is chosen until the buyer chooses another."""
        self.provider.choices = providers
        if not self.provider.data and providers:
            self.provider.data = providers[0][0]

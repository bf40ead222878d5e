"""Parsing and checking what is typed when a quote is ordered, and when an order is called off."""

from typing import Any

from flask_babel import lazy_gettext as _l
from wtforms import RadioField, StringField, TextAreaField, ValidationError
from wtforms.fields import SelectChoice
from wtforms.validators import InputRequired, Length, Optional

from portal.accounts.forms import PHONE, PostalAddressForm, strip
from portal.accounts.models import Address, User
from portal.core.forms import PageForm
from portal.core.ui import money

FULL, DEPOSIT = "full", "deposit"


class ConvertForm(PostalAddressForm):
    """Where the parts go, and how much is paid now."""

    phone = StringField(
        _l("Phone"),
        [Optional(), Length(max=32)],
        filters=[strip],
        description=_l("For the carrier, should the parcel not find you."),
    )
    pays = RadioField(_l("How much do you want to pay now?"), [InputRequired(_l("Choose how much to pay now."))])
    # A parcel needs none.
    tax_id = None

    def offer(self, total_minor: int, deposit_minor: int | None, currency: str) -> None:
        """The ways to pay: everything, or a deposit where there is one."""
        choices = [SelectChoice(FULL, _l("Everything: %(amount)s", amount=money(total_minor, currency)))]
        if deposit_minor is not None:
            words = _l("A deposit: %(amount)s", amount=money(deposit_minor, currency))
            choices.append(SelectChoice(DEPOSIT, words))
        self.pays.choices = choices
        if not self.pays.data:
            self.pays.data = FULL

    def validate_phone(self, field: Any) -> None:
        if field.data and not PHONE.fullmatch(field.data):
            raise ValidationError(str(_l("This is not a phone number. Example: +48 600 100 200")))

    def address(self, user: User) -> dict[str, str]:
        """The address as a sales order keeps it."""
        names = ("name", "company", "line1", "line2", "city", "state", "country", "phone")
        typed = {name: getattr(self, name).data or "" for name in names}
        return {**typed, "zip": self.postal_code.data, "email": user.email}


def first_guess(user: User, known: Address | None) -> dict[str, Any]:
    """What the form starts with: the address of the account, else what is known of the user."""
    if known is None:
        return {"name": user.name, "phone": user.phone}
    names = ("name", "company", "line1", "line2", "city", "state", "postal_code", "country")
    return {**{name: getattr(known, name) for name in names}, "phone": user.phone}


class CancelForm(PageForm):
    """Why an order is called off; the customer need not say."""

    reason = TextAreaField(_l("Why?"), [Optional(), Length(max=500)])

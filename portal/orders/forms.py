"""Parsing and checking what a buyer types at checkout."""

import re
from typing import Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from wtforms import HiddenField, RadioField, StringField, ValidationError
from wtforms.validators import DataRequired, InputRequired, Length

from portal.accounts.countries import CODES
from portal.accounts.forms import AddressField, CountryField, strip
from portal.accounts.queries import BILLING_FIELDS
from portal.core.forms import PageForm

_MISSING = _l("Please fill this in.")
_NIP = re.compile(r"(?:PL)?(\d{10})")
_NIP_WEIGHTS = (6, 5, 7, 2, 3, 4, 5, 6, 7)


class DetailsForm(PageForm):
    """Who is buying, and for whom the invoice is."""

    email = AddressField(_l("E-mail"), [InputRequired(_MISSING), Length(max=254)])
    name = StringField(_l("Name"), [DataRequired(_MISSING), Length(max=120)], filters=[strip])
    company = StringField(_l("Company"), [Length(max=120)], filters=[strip])
    tax_id = StringField(_l("Tax number"), [Length(max=32)], filters=[strip])
    line1 = StringField(_l("Street and number"), [Length(max=120)], filters=[strip])
    postal_code = StringField(_l("Postal code"), [Length(max=16)], filters=[strip])
    city = StringField(_l("City"), [Length(max=80)], filters=[strip])
    country = CountryField(_l("Country"))

    @property
    def has_billing(self) -> bool:
        """Whether anything was given that only an invoice needs."""
        return any(getattr(self, name).data for name in BILLING_FIELDS if name != "country")

    def validate_company(self, field: Any) -> None:
        if self.tax_id.data and not field.data:
            raise ValidationError(_("Whose tax number is it? Please name the company."))

    def validate_line1(self, field: Any) -> None:
        self._require_for_invoice(field)

    def validate_postal_code(self, field: Any) -> None:
        self._require_for_invoice(field)

    def validate_city(self, field: Any) -> None:
        self._require_for_invoice(field)

    def _require_for_invoice(self, field: Any) -> None:
        if self.has_billing and not field.data:
            raise ValidationError(_("An invoice with these details needs the whole address."))

    def validate_country(self, field: Any) -> None:
        if field.data and field.data not in CODES:
            raise ValidationError(_("Choose a country from the list."))

    def validate_tax_id(self, field: Any) -> None:
        """A Polish number carries a check digit, so a slip of the finger is found here and not by an accountant."""
        if not field.data or self.country.data != "PL":
            return
        found = _NIP.fullmatch(re.sub(r"[\s-]", "", field.data.upper()))
        if found is None or not _is_nip(found[1]):
            raise ValidationError(_("This is not a valid NIP. Please check the ten digits."))

    def billing(self) -> dict[str, str]:
        """What goes on the invoice besides the name; nothing when none of it was asked for."""
        if not self.has_billing:
            return {}
        values = {name: getattr(self, name).data or "" for name in BILLING_FIELDS}
        return {name: value for name, value in values.items() if value}


def _is_nip(digits: str) -> bool:
    check = sum(int(digit) * weight for digit, weight in zip(digits, _NIP_WEIGHTS, strict=False)) % 11
    return check == int(digits[9])


class PayForm(PageForm):
    """Where to pay, and for checkout the key that names what was shown."""

    key = HiddenField(validators=[Length(max=64)])
    provider = RadioField(_l("How do you want to pay?"), [InputRequired(_l("Choose how you want to pay."))])

    def offer(self, providers: list[tuple[str, str]]) -> None:
        """The ways to pay, as (name, title); the first one is chosen until the buyer chooses another."""
        self.provider.choices = providers
        if not self.provider.data and providers:
            self.provider.data = providers[0][0]

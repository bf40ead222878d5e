"""What staff type about a merchant."""

import re
from typing import Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from wtforms import SelectField, SelectMultipleField, StringField, TextAreaField, ValidationError, widgets
from wtforms.fields import SelectChoice
from wtforms.validators import DataRequired, InputRequired, Length

from portal.accounts.forms import AddressField, strip
from portal.core.errors import Invalid
from portal.core.forms import PageForm
from portal.merchants.models import Merchant
from portal.merchants.services.addresses import check_host, check_return_url
from portal.merchants.services.merchants import MerchantValues
from portal.payments.extension import current_registry
from portal.payments.providers.registry import ROWS

_MISSING = _l("Please fill this in.")
_COLOR = re.compile(r"#[0-9a-f]{6}")
_RATE = re.compile(r"[0-9]{1,2}([.,][0-9]{1,2})?|100")
_MOST_HOSTS = 20


class MerchantForm(PageForm):
    """A merchant: who it is, what buyers see, what it may do."""

    owner_email = AddressField(
        _l("Owner's account"), [Length(max=254)],
        description=_l("The e-mail address of an account. Its owner sees the merchant's pages and keys."),
    )  # fmt: skip
    name = StringField(
        _l("Name"), [DataRequired(_MISSING), Length(max=120)], filters=[strip],
        description=_l("Stands on invoices as the seller."),
    )  # fmt: skip
    contact_email = AddressField(_l("Contact e-mail"), [InputRequired(_MISSING), Length(max=254)])
    address = StringField(
        _l("Address"), [Length(max=300)], filters=[strip], description=_l("For invoices; a comma begins a new line.")
    )
    tax_id = StringField(_l("Tax number"), [Length(max=32)], filters=[strip])
    tax_rate = StringField(
        _l("Tax rate in %(sign)s", sign="%"), [InputRequired(_MISSING), Length(max=6)], filters=[strip],
        description=_l("Inside every price of this merchant. 0 when it charges no tax."),
    )  # fmt: skip
    brand_name = StringField(
        _l("Name on the pay page"), [Length(max=60)], filters=[strip], description=_l("When it is not the name above.")
    )
    brand_color = StringField(
        _l("Colour on the pay page"), [Length(max=7)], filters=[strip], description=_l("Such as #0f766e.")
    )
    allowed_providers = SelectMultipleField(
        _l("Ways to pay"), widget=widgets.ListWidget(prefix_label=False), option_widget=widgets.CheckboxInput(),
        description=_l("None chosen: all that the portal offers."),
    )  # fmt: skip
    return_hosts = TextAreaField(
        _l("Hosts that buyers may be sent back to"), [Length(max=4000)],
        description=_l("One a line, such as shop.example.com. Empty: any."),
    )  # fmt: skip
    webhook_url = StringField(_l("Webhook address"), [Length(max=2000)], filters=[strip])
    first_key_mode = SelectField(
        _l("First key"), description=_l("A merchant without a key gets one with its first payment.")
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        titles = {provider.name: str(provider.title) for provider in current_registry().enabled()}
        self.allowed_providers.choices = [(row.name, titles.get(row.name, row.name)) for row in ROWS]
        self.first_key_mode.choices = [SelectChoice("test", _("Test")), SelectChoice("live", _("Live"))]

    def validate_tax_rate(self, field: Any) -> None:
        if not _RATE.fullmatch(field.data or ""):
            raise ValidationError(_("Give a rate from 0 to 100, such as 23 or 5.5."))

    def validate_brand_color(self, field: Any) -> None:
        field.data = (field.data or "").lower()
        if field.data and not _COLOR.fullmatch(field.data):
            raise ValidationError(_("Give a colour as # and six digits, such as #0f766e."))

    def validate_webhook_url(self, field: Any) -> None:
        if not field.data:
            return
        try:
            # Plain http is for a developer's own machine; who may be called is checked again when it is called.
            check_return_url(field.data, mode="test")
        except Invalid as error:
            raise ValidationError(str(error)) from None

    def validate_return_hosts(self, field: Any) -> None:
        try:
            hosts = [check_host(line) for line in (field.data or "").splitlines() if line.strip()]
        except Invalid as error:
            raise ValidationError(str(error)) from None
        if len(hosts) > _MOST_HOSTS:
            raise ValidationError(_("No more than %(count)s hosts, please.", count=_MOST_HOSTS))

    def values(self) -> MerchantValues:
        """What the services take."""
        whole, _dot, part = (self.tax_rate.data or "0").replace(",", ".").partition(".")
        return MerchantValues(
            name=self.name.data or "",
            contact_email=self.contact_email.data or "",
            brand_name=self.brand_name.data or "",
            brand_color=self.brand_color.data or "",
            address=self.address.data or "",
            tax_id=self.tax_id.data or "",
            tax_rate_basis_points=int(whole) * 100 + int(part.ljust(2, "0") or 0),
            allowed_providers=list(self.allowed_providers.data or ()),
            return_hosts=[check_host(line) for line in (self.return_hosts.data or "").splitlines() if line.strip()],
            webhook_url=self.webhook_url.data or "",
            first_key_mode=self.first_key_mode.data,
        )


def form_values(merchant: Merchant) -> dict[str, Any]:
    """A merchant as the form shows it."""
    whole, part = divmod(merchant.tax_rate_basis_points, 100)
    return {
        "owner_email": merchant.owner.email,
        "name": merchant.name,
        "contact_email": merchant.contact_email,
        "address": merchant.address,
        "tax_id": merchant.tax_id,
        "tax_rate": f"{whole}.{part:02}".rstrip("0").rstrip(".") if part else str(whole),
        "brand_name": merchant.brand_name,
        "brand_color": merchant.brand_color,
        "allowed_providers": merchant.allowed_providers,
        "return_hosts": "\n".join(merchant.return_hosts),
        "webhook_url": merchant.webhook_url,
        "first_key_mode": merchant.first_key_mode,
    }

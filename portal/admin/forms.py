"""What staff type: parsed and checked field by field; the services check again what is theirs."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_babel import lazy_pgettext
from wtforms import (
    BooleanField,
    Field,
    FieldList,
    Form,
    FormField,
    HiddenField,
    RadioField,
    SelectField,
    StringField,
    TextAreaField,
    ValidationError,
)
from wtforms.validators import InputRequired, Length, Optional, Regexp

from portal.accounts.models import Role
from portal.catalogue.models import Package
from portal.catalogue.services import PackageValues, ProcessValues
from portal.catalogue.services.values import MAX_PROCESSES, MAX_TOOLS
from portal.core.forms import PageForm
from portal.core.money import Money
from portal.core.status_labels import status_label
from portal.payments.extension import current_listeners, current_registry
from portal.payments.providers.base import Outcome
from portal.payments.webhooks import LARGEST_BODY

_AMOUNT = re.compile(r"[0-9]{1,12}([.,][0-9]{1,3})?")
_MORE_ROWS = 2
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def _readable(typed: str | None) -> str | None:
    """What was typed without the spaces around it, and without what no page or database can hold."""
    return typed.replace("\0", "").strip() if typed else typed


class ResolveForm(PageForm):
    """How a person dealt with an event that waited for one."""

    note = TextAreaField(
        _l("What did you do about it?"),
        [InputRequired(), Length(min=3, max=1000)],
        description=_l("Kept in the audit log: for example that the money was given back, and how."),
    )


class PastedForm(PageForm):
    """A delivery copied from somewhere: headers, one a line, and the body."""

    provider = SelectField(_l("Provider"), [InputRequired()])
    headers = TextAreaField(
        _l("Headers"),
        [Length(max=16_384)],
        description=_l("One a line, as name: value. Only those of the signature are looked at."),
    )
    body = TextAreaField(
        _l("Body"),
        [InputRequired(), Length(max=LARGEST_BODY)],
        description=_l("Exactly as it was sent, at most 256 KiB. Nothing of it is stored."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        providers = [(one.name, one.title) for one in current_registry().enabled()]
        self.provider.choices = [*providers, *((one.name, one.title) for one in current_listeners())]

    def validate_body(self, field: Field) -> None:
        """Not larger than what a provider may post."""
        if len((field.data or "").encode("utf-8", "replace")) > LARGEST_BODY:
            raise ValidationError(_("The body is larger than 256 KiB."))

    def read_headers(self) -> dict[str, str]:
        """The headers that were pasted; a line that is none counts as not there."""
        pairs = (line.partition(":") for line in (self.headers.data or "").splitlines())
        return {name.strip(): value.strip() for name, colon, value in pairs if colon and name.strip()}

    def make_printable(self) -> None:
        """Before the form is shown again: characters that no page may hold are shown as unknown ones."""
        for field in (self.headers, self.body):
            field.data = _UNPRINTABLE.sub("\ufffd", field.data or "")


class ReasonForm(PageForm):
    """Why something is done, for the audit log."""

    reason = StringField(_l("Reason"), [InputRequired(), Length(min=3, max=300)])


class ByHandForm(PageForm):
    """How a payment ended at a provider that cannot be asked."""

    outcome = RadioField(_l("How did it end?"), [InputRequired(_l("Say how it ended."))])
    transaction = StringField(
        _l("Transaction number"),
        [Optional(), Length(max=200), Regexp(r"[!-~]+\Z", message=_l("Letters, digits and signs, without spaces."))],
        description=_l("As the shop or the bank shows it, if there is one."),
        filters=[_readable],
    )
    reason = TextAreaField(
        _l("How do you know?"),
        [InputRequired(), Length(min=3, max=300)],
        description=_l("Kept in the audit log: for example where you saw the money, and when."),
        filters=[_readable],
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.outcome.choices = [
            (Outcome.PAID.value, _("It was paid in full")),
            (Outcome.FAILED.value, _("It was not paid, and will not be")),
        ]


class RoleForm(PageForm):
    """What a user is to the business."""

    role = SelectField(_l("Role"), [InputRequired()])

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.role.choices = [(role.value, status_label(role, "role")) for role in Role]


class ProcessForm(Form):
    """One step of what a package automates; a step without a name is left out."""

    name = StringField(_l("Step"), [Length(max=160)])
    description = StringField(_l("What happens in it"), [Length(max=2000)])


class PackageForm(PageForm):
    """A package or bundle. Amounts are typed in major units and read exactly."""

    name = StringField(lazy_pgettext("of a package", "Name"), [InputRequired(), Length(max=120)])
    slug = StringField(
        _l("Address"),
        [InputRequired(), Length(max=80)],
        description=_l("The last part of the page's address: small letters, digits and hyphens."),
    )
    category = StringField(_l("Category"), [InputRequired(), Length(max=60)])
    short_description = TextAreaField(
        _l("Short description"), [InputRequired(), Length(max=300)], description=_l("Shown on the shelf.")
    )
    description = TextAreaField(
        _l("Description"), [Optional(), Length(max=20_000)], description=_l("An empty line begins a new paragraph.")
    )
    price = StringField(_l("Price"), [InputRequired(), Length(max=20)], description=_l("Tax included."))
    original_price = StringField(
        _l("Price before the reduction"), [Optional(), Length(max=20)], description=_l("Shown crossed out.")
    )
    currency = StringField(
        _l("Currency"), [InputRequired(), Regexp(r"[A-Z]{3}\Z", message=_l("Three capital letters, such as PLN."))]
    )
    tax_rate = StringField(
        _l("Tax rate in percent"), [InputRequired(), Length(max=6)], description=_l("Contained in the price.")
    )
    tools = TextAreaField(
        _l("Works with"), [Optional(), Length(max=2000)], description=_l("One tool a line, at most 20.")
    )
    is_featured = BooleanField(_l("Show among the featured packages"))
    processes = FieldList(FormField(ProcessForm), max_entries=MAX_PROCESSES)
    children = FieldList(SelectField(_l("Contains"), coerce=str), max_entries=20)
    # The state the form was made from, so that nobody overwrites what somebody else saved meanwhile.
    seen_at = HiddenField()

    def offer(self, candidates: Sequence[Package]) -> None:
        """Say what a bundle may contain; called before the form is checked or shown."""
        choices = [("", _("Nothing")), *((str(one.id), one.name) for one in candidates)]
        for entry in self.children:
            entry.choices = choices
            # A child that was deleted meanwhile must not make the whole form unreadable.
            if entry.data and entry.data not in dict(choices):
                entry.choices = [*choices, (entry.data, _("(no longer there)"))]

    def add_rows(self) -> None:
        """Leave room for some more steps and contents."""
        for rows, most in ((self.processes, MAX_PROCESSES), (self.children, 20)):
            while len(rows) < most and sum(1 for row in rows if not _is_filled(row)) < _MORE_ROWS:
                rows.append_entry()

    def validate_price(self, field: Field) -> None:
        """An amount of the currency, exact."""
        amount_of(field.data, self.currency.data)

    def validate_original_price(self, field: Field) -> None:
        """The same, or nothing."""
        if field.data:
            amount_of(field.data, self.currency.data)

    def validate_tax_rate(self, field: Field) -> None:
        """A percentage with at most two decimals."""
        if not 0 <= basis_points_of(field.data) <= 10_000:
            raise ValidationError(_("The tax rate must be between 0 and 100 percent."))

    def validate_tools(self, field: Field) -> None:
        """Not more tools than a page shows."""
        if len(_lines(field.data)) > MAX_TOOLS:
            raise ValidationError(_("Name at most %(count)s tools.", count=MAX_TOOLS))

    def validate(self, extra_validators: Any = None) -> bool:
        """Check everything; what is wrong in a row of a list is said in one sentence at the list."""
        is_right = bool(super().validate(extra_validators))
        for rows in (self.processes, self.children):
            if rows.errors:
                rows.errors = [_("One of the rows is too long or names something that is not there.")]
        return is_right

    def values(self) -> PackageValues:
        """What the services take. Call it only after the form was found right."""
        original = self.original_price.data
        return PackageValues(
            slug=self.slug.data.strip(),
            name=self.name.data,
            short_description=self.short_description.data,
            category=self.category.data,
            price_minor=amount_of(self.price.data, self.currency.data).amount_minor,
            currency=self.currency.data,
            original_price_minor=amount_of(original, self.currency.data).amount_minor if original else None,
            description=_unix_lines(self.description.data or ""),
            tools=tuple(_lines(self.tools.data)),
            tax_rate_basis_points=basis_points_of(self.tax_rate.data),
            is_featured=self.is_featured.data,
            processes=tuple(
                ProcessValues(row["name"].strip(), (row["description"] or "").strip())
                for row in self.processes.data
                if (row["name"] or "").strip()
            ),
        )

    def child_ids(self) -> list[int]:
        """What the bundle is to contain, in order; empty for an ordinary package."""
        return [int(value) for value in self.children.data if value and value.isdigit() and len(value) <= 18]

    def seen(self) -> datetime | None:
        """The state the form was made from."""
        try:
            return datetime.fromisoformat(self.seen_at.data or "")
        except ValueError:
            return None

    def blame(self, name: str | None, sentence: str) -> None:
        """Show what a service found wrong at the field it is about."""
        field = self._fields.get(
            {"price_minor": "price", "original_price_minor": "original_price"}.get(name or "", name)
        )
        if field is None:
            self.form_errors.append(sentence)
        else:
            field.errors = [*field.errors, sentence]


def form_values(package: Package) -> dict[str, Any]:
    """What the form shows of a package."""
    original = package.original_price
    return {
        "name": package.name,
        "slug": package.slug,
        "category": package.category,
        "short_description": package.short_description,
        "description": package.description,
        "price": str(package.price.to_decimal()),
        "original_price": str(original.to_decimal()) if original else "",
        "currency": package.currency,
        "tax_rate": percent(package.tax_rate_basis_points),
        "tools": "\n".join(package.tools),
        "is_featured": package.is_featured,
        "processes": [{"name": one.name, "description": one.description} for one in package.processes],
        "children": [str(child.package_id) for child in package.children],
        "seen_at": package.updated_at.isoformat(),
    }


def amount_of(text: str | None, currency: str | None) -> Money:
    """An amount as a person types it, in major units. Raises ValidationError."""
    amount = _read(text, currency)
    if amount is None:
        raise ValidationError(_("Write an amount such as 69 or 69.90."))
    return amount


def basis_points_of(text: str | None) -> int:
    """A percentage as a person types it, in 1/100 of a percent. Raises ValidationError."""
    # A percentage has as many decimals as an amount of two-digit money: 23.5 is 2350 of 1/100 percent.
    percentage = _read(text, "PLN")
    if percentage is None:
        raise ValidationError(_("Write a percentage such as 23 or 8.5."))
    return percentage.amount_minor


def _read(text: str | None, currency: str | None) -> Money | None:
    typed = (text or "").replace(" ", "")
    if not _AMOUNT.fullmatch(typed):
        return None
    try:
        return Money.parse(typed, currency or "")
    except ValueError:
        return None


def percent(basis_points: int) -> str:
    """A percentage as a form begins with it."""
    whole, rest = divmod(basis_points, 100)
    return f"{whole}.{rest:02d}".rstrip("0").rstrip(".") if rest else str(whole)


def _lines(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").replace(",", "\n").splitlines() if line.strip()]


def _unix_lines(text: str) -> str:
    return text.replace("\r\n", "\n")


def _is_filled(row: Any) -> bool:
    data = row.data
    return bool(data.get("name")) if isinstance(data, dict) else bool(data)

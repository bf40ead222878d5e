"""What staff say about a site, and the content they bring."""

from typing import Any

from flask import request
from flask_babel import lazy_gettext as _l
from flask_babel import lazy_pgettext
from wtforms import Field, FileField, MultipleFileField, StringField, TextAreaField
from wtforms.validators import InputRequired, Length, Optional, Regexp

from portal.admin.forms import amount_of, basis_points_of, percent
from portal.core.forms import PageForm
from portal.core.money import Money
from portal.sites.content.archives import read_zip
from portal.sites.content.checking import LARGEST_FILE, LARGEST_TEXT, check_count, check_size, check_total
from portal.sites.content.names import check_name, is_clutter, without_common_folder
from portal.sites.errors import ContentRefused
from portal.sites.models import DEFAULT_CURRENCY, DEFAULT_MONTHLY_MINOR, DEFAULT_PURCHASE_MINOR, DEFAULT_TAX_RATE, Site
from portal.sites.services.keeping import SiteValues


class ContentForm(PageForm):
    """A site's files: as a zip, or a folder that the browser sends file by file."""

    archive = FileField(_l("Zip file"), description=_l("Up to 50 MB, with index.html at the top."))
    files = MultipleFileField(_l("Or a folder"), description=_l("Every file in it, up to 2,000."))
    note = StringField(_l("What is new"), [Optional(), Length(max=200)])

    def read(self) -> dict[str, bytes]:
        """The files by their paths. Raises ContentRefused."""
        archive = request.files.get("archive")
        if archive is not None and archive.filename:
            return read_zip(archive.stream)
        return _read_folder()


def _read_folder() -> dict[str, bytes]:
    """What a browser sent of a folder: each file's name is its path, the folder's own name first."""
    sent = [
        (one.filename or "", one.stream)
        for one in request.files.getlist("files")
        if one.filename and not is_clutter(one.filename)
    ]
    check_count(len(sent))
    cut = without_common_folder(name for name, _stream in sent)
    found: dict[str, bytes] = {}
    total = 0
    for name, stream in sent:
        path = check_name(name[cut:])
        if path in found:
            raise ContentRefused(_l("%(file)s: the file is there twice.", file=path), path)
        found[path] = stream.read(LARGEST_FILE + 1)
        check_size(path, len(found[path]))
        total += len(found[path])
        check_total(total)
    return found


class SiteForm(PageForm):
    """What is said about a site. Prices are typed in major units and read exactly."""

    title = StringField(_l("Title"), [InputRequired(), Length(max=120)])
    summary = StringField(
        _l("In one sentence"), [Optional(), Length(max=300)], description=_l("Shown in the shop window.")
    )
    purchase_price = StringField(_l("Purchase price"), [InputRequired(), Length(max=20)])
    monthly_price = StringField(_l("Monthly price"), [InputRequired(), Length(max=20)])
    currency = StringField(
        _l("Currency"), [InputRequired(), Regexp(r"[A-Z]{3}\Z", message=_l("Three capital letters, such as PLN."))]
    )
    tax_rate = StringField(_l("Tax rate in percent"), [InputRequired(), Length(max=6)])
    notes = TextAreaField(_l("Notes"), [Optional(), Length(max=5000)], description=_l("For staff only."))

    def validate_purchase_price(self, field: Field) -> None:
        """An amount of the currency, exact."""
        amount_of(field.data, self.currency.data)

    def validate_monthly_price(self, field: Field) -> None:
        """The same."""
        amount_of(field.data, self.currency.data)

    def validate_tax_rate(self, field: Field) -> None:
        """A percentage; the services say how high it may be."""
        basis_points_of(field.data)

    def values(self) -> SiteValues:
        """What the services take. Call it only after the form was found right."""
        currency = self.currency.data or DEFAULT_CURRENCY
        return SiteValues(
            title=self.title.data or "",
            summary=self.summary.data or "",
            purchase_price_minor=amount_of(self.purchase_price.data or "", currency).amount_minor,
            monthly_price_minor=amount_of(self.monthly_price.data or "", currency).amount_minor,
            currency=currency,
            tax_rate_basis_points=basis_points_of(self.tax_rate.data),
            notes=(self.notes.data or "").replace("\r\n", "\n"),
        )

    def blame(self, field: str | None, message: str) -> None:
        """Put a refusal of a service where its field is."""
        names = {
            "purchase_price_minor": "purchase_price",
            "monthly_price_minor": "monthly_price",
            "tax_rate_basis_points": "tax_rate",
            "files": "archive",
        }
        place = self._fields.get(names.get(field or "", field or ""), self.title)
        place.errors = [*place.errors, message]


class NewSiteForm(SiteForm, ContentForm):
    """A site with its first files."""

    slug = StringField(
        _l("Address"),
        [InputRequired(), Length(max=40)],
        description=_l("The last part of the site's address: small letters, digits and hyphens. It stays."),
    )


class TextForm(PageForm):
    """One text of a site."""

    path = StringField(lazy_pgettext("of a file", "Name"), [InputRequired(), Length(max=200)])
    text = TextAreaField(_l("Content"), [Length(max=LARGEST_TEXT)])
    note = StringField(_l("What is new"), [Optional(), Length(max=200)])


def default_values() -> dict[str, Any]:
    """What an empty form begins with."""
    return {
        "currency": DEFAULT_CURRENCY,
        "purchase_price": _typed(DEFAULT_PURCHASE_MINOR),
        "monthly_price": _typed(DEFAULT_MONTHLY_MINOR),
        "tax_rate": percent(DEFAULT_TAX_RATE),
    }


def site_values(site: Site) -> dict[str, Any]:
    """What the form of a site begins with."""
    return {
        "title": site.title,
        "summary": site.summary,
        "notes": site.notes,
        "currency": site.currency,
        "purchase_price": format(site.purchase_price.to_decimal(), "f"),
        "monthly_price": format(site.monthly_price.to_decimal(), "f"),
        "tax_rate": percent(site.tax_rate_basis_points),
    }


def _typed(amount_minor: int) -> str:
    return format(Money(amount_minor, DEFAULT_CURRENCY).to_decimal(), "f")

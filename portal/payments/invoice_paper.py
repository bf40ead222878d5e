"""What stands on an invoice, in words and written-out amounts: the same for the page and for the PDF."""

import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import structlog
from babel.core import Locale
from babel.numbers import format_percent
from flask_babel import force_locale, format_date, format_decimal, get_locale
from flask_babel import gettext as _

from portal.core import settings
from portal.core.money import BASIS_POINTS, Money, digits
from portal.core.ui import money
from portal.payments.extension import current_registry
from portal.payments.models import Invoice, InvoiceLine
from portal.payments.providers.registry import UnknownProvider
from portal.payments.refund_models import CreditNote

log = structlog.get_logger(__name__)

_FOLDER = Path(__file__).parent / "paper"
_STANDARD = "a-3b"
# A word that is longer would run out of its column, so it may be broken, into pieces that fit however wide they are.
_LONGEST_WORD, _PIECE = 30, 16
_ZERO_WIDTH_SPACE = "\u200b"
# Marks that turn the direction of the text after them, and so make it say something else.
_DIRECTION_MARKS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, slots=True)
class Party:
    """A seller or buyer: the name, and what is written under it."""

    name: str
    rows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Paper:
    """An invoice ready to be shown, in the language of the moment. Everything is text."""

    language: str
    heading: str
    number: str
    notice: str | None
    issued_on: date
    seller: Party
    buyer: Party
    facts: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    tax_columns: tuple[str, ...]
    taxes: tuple[tuple[str, ...], ...]
    sums: tuple[tuple[str, str], ...]
    total: str
    notes: tuple[str, ...]


def lay_out(invoice: Invoice) -> Paper:
    """Write an invoice out in the current language."""
    currency = invoice.currency
    issued_on, paid_on = business_day(invoice.issued_at), business_day(invoice.paid_at)
    facts = [(_("Issued on"), format_date(issued_on)), (_("Paid on"), format_date(paid_on))]
    if invoice.subject_number:
        facts.append((_("Order"), invoice.subject_number))
    facts.append((_("Currency"), currency))
    return Paper(
        language=language_of().language,
        heading=_("Invoice"),
        number=invoice.number,
        notice=_("This is a test. No money was paid.") if invoice.session.mode == "test" else None,
        issued_on=issued_on,
        seller=seller_of(invoice.seller),
        buyer=buyer_of(invoice.buyer),
        facts=tuple(facts),
        columns=(_("No."), _("Description"), _("Quantity"), _("Price"), _("Tax rate"), _("Net"), _("Tax"), _("Total")),
        lines=tuple(_line(line, currency) for line in invoice.lines),
        tax_columns=(_("Tax rate"), _("Net"), _("Tax"), _("Total")),
        taxes=tuple(
            (rate_of(rate), *(figures(amount, currency) for amount in amounts))
            for rate, *amounts in tax_summary(invoice)
        ),
        sums=((_("Net"), money(invoice.net_minor, currency)), (_("Tax"), money(invoice.tax_minor, currency))),
        total=money(invoice.gross_minor, currency),
        notes=_notes(invoice),
    )


def tax_summary(paper: Invoice | CreditNote) -> list[tuple[int, int, int, int]]:
    """Net, tax and gross of each tax rate, highest rate first; the columns add up to the paper's totals."""
    sums: dict[int, list[int]] = {}
    for line in paper.lines:
        row = sums.setdefault(line.tax_rate_basis_points, [0, 0, 0])
        for index, amount in enumerate((line.net_minor, line.tax_minor, line.gross_minor)):
            row[index] += amount
    return [(rate, net, tax, gross) for rate, (net, tax, gross) in sorted(sums.items(), reverse=True)]


def pdf(invoice: Invoice) -> bytes:
    """The invoice as PDF/A-3b in its own language; the same invoice gives the same bytes."""
    return print_paper(lambda: lay_out(invoice), locale=invoice.locale, issued_at=invoice.issued_at)


def print_paper(lay: Callable[[], Paper], *, locale: str, issued_at: datetime) -> bytes:
    """A paper as PDF/A-3b in a language; the same paper gives the same bytes."""
    with force_locale(locale):
        paper = lay()
        data = {
            "title": f"{paper.heading} {paper.number}",
            "lang": paper.language,
            "heading": paper.heading,
            "number": paper.number,
            "notice": paper.notice,
            "issued": [paper.issued_on.year, paper.issued_on.month, paper.issued_on.day],
            "seller": {"name": paper.seller.name, "rows": paper.seller.rows},
            "buyer": {"name": paper.buyer.name, "rows": paper.buyer.rows},
            "facts": paper.facts,
            "columns": paper.columns,
            "lines": paper.lines,
            "tax_columns": paper.tax_columns,
            "taxes": paper.taxes,
            "sums": paper.sums,
            "total": paper.total,
            "notes": paper.notes,
            "footer": " · ".join((paper.seller.name, *paper.seller.rows)),
            "page_of": _("Page %(page)s of %(pages)s", page="{page}", pages="{pages}"),
            "labels": {"seller": _("Seller"), "buyer": _("Buyer"), "total": _("Total")},
        }
    return _typeset(json.dumps(_printable(data), ensure_ascii=False), issued_at=issued_at)


def _typeset(data: str, *, issued_at: datetime) -> bytes:
    # Here, because it is large and most processes never print.
    import typst

    def compile_with(**options: Any) -> bytes:
        return bytes(
            typst.compile(
                str(_FOLDER / "invoice.typ"),
                font_paths=[str(_FOLDER)],
                sys_inputs={"data": data},
                timestamp=int(issued_at.timestamp()),
                **options,
            )
        )

    try:
        return compile_with(pdf_standards=[_STANDARD], ignore_system_fonts=True)
    except typst.TypstError as error:
        # PDF/A refuses letters that no font has. Ours cover Latin, Greek and Cyrillic; the host may have more.
        log.info("invoice_needs_system_fonts", reason=str(error)[:200])
    try:
        return compile_with(pdf_standards=[_STANDARD], ignore_system_fonts=False)
    except typst.TypstError as error:
        log.warning("invoice_lacks_letters", reason=str(error)[:200])
    # An invoice with boxes for some letters of a name is better than none.
    return compile_with(ignore_system_fonts=False)


def _line(line: InvoiceLine, currency: str) -> tuple[str, ...]:
    return (
        str(line.position),
        line.description,
        str(format_decimal(line.quantity)),
        figures(line.unit_price_minor, currency),
        rate_of(line.tax_rate_basis_points),
        figures(line.net_minor, currency),
        figures(line.tax_minor, currency),
        figures(line.gross_minor, currency),
    )


def _notes(invoice: Invoice) -> tuple[str, ...]:
    try:
        paid_by = current_registry().get(invoice.provider).title
    except UnknownProvider:
        paid_by = invoice.provider  # It was switched off since; the invoice stays readable.
    notes = [_settled(invoice), _("Paid through: %(provider)s", provider=paid_by)]
    if invoice.provider_reference:
        notes.append(_("Payment reference: %(reference)s", reference=invoice.provider_reference))
    issued_by = _text(invoice.seller, "issued_by")
    if issued_by:
        notes.append(_("Issued by %(name)s on the seller's behalf.", name=issued_by))
    return tuple(notes)


def _settled(invoice: Invoice) -> str:
    """An invoice is of money that came. What was sold may have been paid in part only."""
    rest_minor = invoice.session.details.get("rest_minor")
    if isinstance(rest_minor, int) and rest_minor > 0 and invoice.session.merchant_id is None:
        rest = money(rest_minor, invoice.currency)
        return str(_("This is a payment in advance. Left to pay of the order: %(amount)s.", amount=rest))
    return str(_("Paid in full. Nothing is left to pay."))


def seller_of(seller: Mapping[str, Any]) -> Party:
    """Who sells, as it was on the day of the sale."""
    rows = [part.strip() for part in _text(seller, "address").split(",")]
    if _text(seller, "tax_id"):
        rows.append(_("Tax ID: %(number)s", number=_text(seller, "tax_id")))
    rows.append(_text(seller, "email"))
    return Party(_text(seller, "name"), tuple(filter(None, rows)))


def buyer_of(buyer: Mapping[str, Any]) -> Party:
    """Whoever sells says as much about the buyer as it knows; a company stands above its person."""
    names = [text for text in (_text(buyer, "company"), _text(buyer, "name")) if text]
    town = " ".join(filter(None, (_text(buyer, "postal_code"), _text(buyer, "city"))))
    rows = [
        *names[1:],
        _text(buyer, "line1"),
        _text(buyer, "line2"),
        town,
        _text(buyer, "state"),
        _country(_text(buyer, "country")),
        _("Tax ID: %(number)s", number=_text(buyer, "tax_id")) if _text(buyer, "tax_id") else "",
        _text(buyer, "email"),
    ]
    rows = [row for row in rows if row]
    return Party(names[0] if names else rows.pop() if rows else "–", tuple(rows))


def _text(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    return str(value).strip() if value is not None else ""


def _country(code: str) -> str:
    return str(language_of().territories.get(code.upper(), code)) if code else ""


def language_of() -> Locale:
    """The language of the moment."""
    return get_locale() or Locale("en")


def business_day(at: datetime) -> date:
    """The day where the business is, whatever the reader's time zone."""
    return at.astimezone(settings.business_zone()).date()


def figures(amount_minor: int, currency: str) -> str:
    """An amount without its currency, for columns; always with all its decimal places."""
    places = digits(currency)
    pattern = "#,##0" + ("." + "0" * places if places else "")
    return str(format_decimal(Money(amount_minor, currency).to_decimal(), format=pattern))


def rate_of(basis_points: int) -> str:
    """A tax rate as people write it."""
    share = Decimal(basis_points) / BASIS_POINTS
    return str(format_percent(share.normalize(), locale=language_of(), decimal_quantization=False))


def _printable(value: Any) -> Any:
    """The same data with nothing in its texts that a page cannot show or that would turn the text around."""
    if isinstance(value, str):
        return _break_long_words(_clean(value))
    if isinstance(value, Mapping):
        return {key: _printable(inner) for key, inner in value.items()}
    if isinstance(value, Iterable):
        return [_printable(inner) for inner in value]
    return value


def _clean(text: str) -> str:
    kept = (letter for letter in text if letter not in _DIRECTION_MARKS)
    return "".join({"Cc": " ", "Cs": "?", "Co": "?"}.get(unicodedata.category(letter), letter) for letter in kept)


def _break_long_words(text: str) -> str:
    words = text.split(" ")
    for index, word in enumerate(words):
        if len(word) > _LONGEST_WORD:
            pieces = [word[start : start + _PIECE] for start in range(0, len(word), _PIECE)]
            words[index] = _ZERO_WIDTH_SPACE.join(pieces)
    return " ".join(words)

"""What is said about models and quotes, in the reader's language: findings of measuring and pricing, codes, units."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from flask_babel import format_decimal, ngettext
from flask_babel import gettext as _

from portal.core.status_labels import Tone, status_label, status_tone
from portal.core.ui import money
from portal.quotes.measuring.outcomes import CODES, Outcome
from portal.quotes.measuring.wording import sentence
from portal.quotes.models import ModelFile, ModelFileStatus, Quote, QuoteStatus
from portal.quotes.pricing import wording as pricing_words
from portal.quotes.pricing.book import PriceBook
from portal.quotes.pricing.price import LinePrice

_TONES: Mapping[Outcome, Tone] = {
    Outcome.ACCEPT: "success",
    Outcome.WARN: "warning",
    Outcome.MANUAL: "info",
    Outcome.REJECT: "danger",
}
# Said better by what measuring found, or by the row itself.
_SAID_ELSEWHERE = ("no_price",)


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence about a model, and how serious it is."""

    tone: Tone
    text: str


def remarks_on(model: ModelFile, line: LinePrice) -> list[Remark]:
    """Everything there is to say about a model of a quote, the most serious first."""
    if model.status is ModelFileStatus.QUARANTINED:
        words = _(
            "Our virus scanner found something in this file, so we have locked it away. Remove it from the quote."
        )
        return [Remark("danger", words)]
    if model.status is ModelFileStatus.DESTROYED:
        return [Remark("neutral", _("This model was deleted and is no longer stored."))]
    if model.status is ModelFileStatus.UPLOADED:
        return []
    found = [Remark(_TONES[CODES[one["code"]][0]], sentence(one)) for one in _problems(model)]
    priced = [
        Remark("warning" if finding.code in line.review else "info", pricing_words.finding_text(finding))
        for finding in line.findings
        if finding.code not in _SAID_ELSEWHERE
    ]
    if not found and line.unit_minor is None and not priced:
        priced = [Remark("info", _("A person will look at this model and name a price."))]
    order = ("danger", "warning", "info", "success")
    return sorted([*found, *priced], key=lambda remark: order.index(remark.tone))


def _problems(model: ModelFile) -> list[Mapping[str, Any]]:
    problems = model.measures.get("problems")
    return [one for one in problems if one.get("code") in CODES] if isinstance(problems, list) else []


def arithmetic(line: LinePrice, currency: str) -> list[tuple[str, str]]:
    """How the price of a row came about, as its sums: what a piece weighs and takes, and what many of it cost."""
    rows = [
        (_("Material in one piece"), f"{format_decimal(round(line.grams, 1))} g"),
        (_("Printing time of one piece"), duration(line.hours)),
    ]
    rows += [(_("Quantity break"), f"\u2212{one.values['percent']} %") for one in line.steps if one.code == "break"]
    if line.unit_minor is not None:
        rows.append((_("Price of one piece"), money(line.unit_minor, currency)))
        rows.append((_("Pieces"), str(format_decimal(line.quantity))))
        rows.append((_("Together"), money(line.total_minor, currency)))
    return rows


def duration(hours: Decimal) -> str:
    """Machine time in hours and minutes."""
    minutes = max(1, int((hours * 60).to_integral_value()))
    whole, rest = divmod(minutes, 60)
    if not whole:
        return str(_("%(minutes)s min", minutes=rest))
    return str(_("%(hours)s h %(minutes)s min", hours=whole, minutes=rest))


def state(quote: Quote, at: datetime) -> tuple[str, Tone]:
    """Where a quote stands, in words and by meaning: what follows from stamps and the clock besides its status."""
    if quote.converted_at is not None:
        return _("Ordered"), "success"
    if quote.status in (QuoteStatus.PENDING, QuoteStatus.ACCEPTED) and quote.is_expired(at):
        return _("Expired"), "neutral"
    if quote.status is QuoteStatus.PENDING and quote.is_approved:
        return _("Price confirmed"), "success"
    return status_label(quote.status, "quote"), status_tone(quote.status, "quote")


def unit_name(code: str | None) -> str:
    """What a file was drawn in."""
    names: dict[str, str] = {
        "mm": _("millimetres"),
        "cm": _("centimetres"),
        "inch": _("inches"),
        "m": _("metres"),
    }
    return names.get(code or "mm", code or "")


def reason_text(code: str) -> str:
    """Why a person looks at a quote before its price is firm."""
    ours = {
        "note": _("You wrote us a note"),
        "limit": _("The total has reached the amount that a person confirms"),
        "unit": _("A very small model: we confirm its size"),
    }
    return ours.get(code) or pricing_words.review_name(code)


def size_text(sides: list[float]) -> str:
    """A box as people write it: 120 × 80 × 15.5 mm."""
    return " × ".join(str(format_decimal(round(side, 1))) for side in sides) + " mm"


def volume_text(measures: Mapping[str, Any]) -> str:
    """How much room it takes."""
    return f"{format_decimal(round(measures['volume_mm3'] / 1000, 2))} cm³"


def triangles_text(measures: Mapping[str, Any]) -> str:
    """How fine its surface is drawn."""
    count = measures["triangles"]
    return str(ngettext("%(count)s triangle", "%(count)s triangles", count, count=format_decimal(count)))


def file_size(count: int) -> str:
    """So many bytes in words."""
    if count < 1024 * 1024:
        return str(_("%(count)s kB", count=format_decimal(max(1, round(count / 1024)))))
    return str(_("%(count)s MB", count=format_decimal(round(count / 1024 / 1024, 1))))


def material_name(book: PriceBook, code: str) -> str:
    """A material as the book names it."""
    found = book.find_material(code)
    return found.name if found is not None else code


def colour_name(book: PriceBook, material: str, code: str) -> str:
    """A colour as the book names it."""
    found = book.find_material(material)
    return next((one.name for one in found.colours if one.code == code), code) if found is not None else code


def finish_name(book: PriceBook, code: str) -> str:
    """A finish as the book names it."""
    return next((one.name for one in book.finishes if one.code == code), code)

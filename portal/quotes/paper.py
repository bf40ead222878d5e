"""The quote on paper: laid out as our invoices are, in the quote's language."""

from datetime import datetime

from flask_babel import format_date, format_decimal
from flask_babel import gettext as _

from portal.core import clock, settings
from portal.core.money import tax_included
from portal.core.ui import money
from portal.payments.invoice_paper import (
    Paper,
    Party,
    business_day,
    figures,
    language_of,
    print_paper,
    rate_of,
    seller_of,
)
from portal.quotes import wording
from portal.quotes.models import Quote, QuoteItem
from portal.quotes.presenting import QuoteView, view_of
from portal.quotes.pricing.wording import rush_name


def pdf(quote: Quote) -> bytes:
    """A loaded quote as PDF/A-3b. Raises NoPriceBook for a draft when nothing can be priced."""
    at = quote.approved_at or quote.submitted_at or quote.updated_at
    view = view_of(quote, at=clock.now())
    return print_paper(lambda: lay_out(view, at), locale=quote.locale, issued_at=at)


def lay_out(view: QuoteView, at: datetime) -> Paper:
    """Write a quote out in the current language."""
    quote, currency = view.quote, view.price.currency
    lines = _lines(view)
    net_minor = view.total_minor - view.tax_minor
    return Paper(
        language=language_of().language,
        heading=_("Quote"),
        number=quote.number or "",
        notice=_notice(view),
        issued_on=business_day(at),
        seller=seller_of(_seller()),
        buyer=Party(quote.user.name or quote.user.email, (quote.user.email,)) if quote.user else Party("–", ()),
        facts=tuple(_facts(view, at)),
        columns=(_("No."), _("Description"), _("Quantity"), _("Price"), _("Tax rate"), _("Net"), _("Tax"), _("Total")),
        lines=tuple((str(place), *line) for place, line in enumerate(lines, start=1)),
        tax_columns=(_("Tax rate"), _("Net"), _("Tax"), _("Total")),
        taxes=(
            (
                rate_of(view.price.tax_rate_basis_points),
                figures(net_minor, currency),
                figures(view.tax_minor, currency),
                figures(view.total_minor, currency),
            ),
        ),
        sums=((_("Net"), money(net_minor, currency)), (_("Tax"), money(view.tax_minor, currency))),
        total=money(view.total_minor, currency),
        notes=_notes(view),
    )


def describe(view: QuoteView, item: QuoteItem) -> str:
    """A row in one line of text: the model, and how it is made."""
    made = (
        wording.material_name(view.book, item.material),
        wording.colour_name(view.book, item.material, item.colour),
        wording.finish_name(view.book, item.finish),
        _("%(percent)s %% infill", percent=item.infill_percent),
    )
    return f"{item.model_file.name}: {', '.join(made)}"


def _lines(view: QuoteView) -> list[tuple[str, ...]]:
    rows = [
        (describe(view, row.item), row.line.quantity, row.line.unit_minor, row.line.total_minor) for row in view.rows
    ]
    rows += [(text, 1, amount, amount) for text, amount in view.charges]
    return [_line(view, *row) for row in rows]


def _line(view: QuoteView, text: str, quantity: int, unit_minor: int | None, total_minor: int) -> tuple[str, ...]:
    currency, rate = view.price.currency, view.price.tax_rate_basis_points
    if unit_minor is None:
        return (text, str(format_decimal(quantity)), "–", "", "", "", "–")
    tax_minor = tax_included(total_minor, rate)
    return (
        text,
        str(format_decimal(quantity)),
        figures(unit_minor, currency),
        rate_of(rate),
        figures(total_minor - tax_minor, currency),
        figures(tax_minor, currency),
        figures(total_minor, currency),
    )


def _facts(view: QuoteView, at: datetime) -> list[tuple[str, str]]:
    quote = view.quote
    facts = [(_("Date"), format_date(business_day(at)))]
    if quote.expires_at is not None:
        facts.append((_("Valid until"), format_date(business_day(quote.expires_at))))
    facts.append((_("Delivery"), rush_name(quote.rush)))
    if view.ready_at is not None:
        facts.append((_("Ready by"), format_date(business_day(view.ready_at))))
    facts.append((_("Currency"), view.price.currency))
    return facts


def _notice(view: QuoteView) -> str | None:
    if view.is_expired:
        return str(_("This quote has expired."))
    if view.quote.is_draft:
        return str(_("This is a draft. Its prices are not confirmed yet."))
    return None if view.quote.is_approved else str(_("We are still checking this price."))


def _notes(view: QuoteView) -> tuple[str, ...]:
    notes = [_("Prices include tax. Shipping is added when you order.")]
    if any(row.line.unit_minor is None for row in view.rows) and view.quote.override_reason is None:
        notes.append(_("A part without a price is not in the total. We will name its price."))
    if view.quote.staff_message:
        notes.append(view.quote.staff_message)
    return tuple(notes)


def _seller() -> dict[str, str]:
    conditions = settings.current()
    return {
        "name": conditions.business_name,
        "address": conditions.business_address,
        "tax_id": conditions.business_tax_id,
        "email": conditions.business_email,
    }

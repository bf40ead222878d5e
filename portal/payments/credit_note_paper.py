"""What stands on a credit note: the same paper as an invoice's, with the invoice it takes from."""

from collections.abc import Sequence

from flask_babel import format_date, format_decimal
from flask_babel import gettext as _

from portal.core.ui import money
from portal.payments.invoice_paper import (
    Paper,
    business_day,
    buyer_of,
    figures,
    language_of,
    print_paper,
    rate_of,
    seller_of,
    tax_summary,
)
from portal.payments.refund_models import CreditNote, CreditNoteLine, RefundOrigin


def lay_out(note: CreditNote) -> Paper:
    """Write a credit note out in the current language."""
    invoice, currency = note.invoice, note.currency
    facts = [(_("Issued on"), format_date(business_day(note.issued_at)))]
    if note.cancels is not None:
        facts.append((_("Cancels"), note.cancels.number))
    facts.append((_("For invoice"), invoice.number))
    facts.append((_("Invoice of"), format_date(business_day(invoice.issued_at))))
    if invoice.subject_number:
        facts.append((_("Order"), invoice.subject_number))
    facts.append((_("Currency"), currency))
    return Paper(
        language=language_of().language,
        heading=heading_of(note),
        number=note.number,
        notice=_("This is a test. No money was paid.") if invoice.session.mode == "test" else None,
        issued_on=business_day(note.issued_at),
        seller=seller_of(invoice.seller),
        buyer=buyer_of(invoice.buyer),
        facts=tuple(facts),
        columns=(_("No."), _("Description"), _("Quantity"), _("Price"), _("Tax rate"), _("Net"), _("Tax"), _("Total")),
        lines=tuple(_line(line, note) for line in note.lines),
        tax_columns=(_("Tax rate"), _("Net"), _("Tax"), _("Total")),
        taxes=tuple(
            (rate_of(rate), *(figures(amount, currency) for amount in amounts)) for rate, *amounts in tax_summary(note)
        ),
        sums=((_("Net"), money(note.net_minor, currency)), (_("Tax"), money(note.tax_minor, currency))),
        total=money(note.gross_minor, currency),
        notes=tuple(_notes(note)),
    )


def heading_of(note: CreditNote) -> str:
    """What the paper is called."""
    return str(_("Credit note") if note.cancels_id is None else _("Cancellation of a credit note"))


def pdf(note: CreditNote) -> bytes:
    """The credit note as PDF/A-3b in the invoice's language; the same note gives the same bytes."""
    return print_paper(lambda: lay_out(note), locale=note.invoice.locale, issued_at=note.issued_at)


def _line(line: CreditNoteLine, note: CreditNote) -> tuple[str, ...]:
    currency = note.currency
    return (
        str(line.position),
        line.description or _("Part of invoice %(number)s", number=note.invoice.number),
        str(format_decimal(line.quantity)),
        figures(line.unit_price_minor, currency),
        rate_of(line.tax_rate_basis_points),
        figures(line.net_minor, currency),
        figures(line.tax_minor, currency),
        figures(line.gross_minor, currency),
    )


def _notes(note: CreditNote) -> Sequence[str]:
    if note.cancels is not None:
        return [
            _(
                "The refund of credit note %(number)s did not reach the buyer. The money counts as paid again.",
                number=note.cancels.number,
            )
        ]
    if note.refund.origin is RefundOrigin.DISPUTE:
        return [_("The buyer's bank has taken this amount back.")]
    if note.refund.hand_reference:
        return [_("Given back by us, reference: %(reference)s", reference=note.refund.hand_reference)]
    return [_("This amount goes back the way it was paid.")]

"""What an invoice says about a part of a sum: a deposit, and what completes it."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from sqlalchemy import func, select

from portal.core.db import db
from portal.core.money import largest_remainders
from portal.payments.hooks import BillLine
from portal.payments.models import Invoice, InvoiceLine


def bill_of_part(
    lines: Sequence[BillLine], amount_minor: int, session_ids: Sequence[int], describe: Callable[[int], str]
) -> tuple[BillLine, ...]:
    """The bill for a part of what `lines` cost: one line for each tax rate, in proportion to what is left of it.

    `session_ids` are the sessions that pay for the same lines; what their invoices have of a rate is not billed again,
    so that all of them together bill each rate's total exactly. `describe` says for a rate in basis points what the
    line is. Money beyond the total is billed in proportion to all of it.
    """
    totals: dict[int, int] = defaultdict(int)
    for line in lines:
        totals[line.tax_rate_basis_points] += line.gross_minor
    billed = _billed(session_ids)
    rests = {rate: max(total - billed.get(rate, 0), 0) for rate, total in totals.items()}
    if amount_minor > sum(rests.values()):
        rests = dict(totals)
    rates = sorted(rests, reverse=True)
    parts = largest_remainders(amount_minor, [rests[rate] for rate in rates])
    return tuple(BillLine(describe(rate), 1, part, rate) for rate, part in zip(rates, parts, strict=True) if part)


def _billed(session_ids: Sequence[int]) -> dict[int, int]:
    rows = db.session.execute(
        select(InvoiceLine.tax_rate_basis_points, func.sum(InvoiceLine.gross_minor))
        .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
        .where(Invoice.session_id.in_(session_ids))
        .group_by(InvoiceLine.tax_rate_basis_points)
    )
    return {rate: int(total) for rate, total in rows}

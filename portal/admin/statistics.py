"""Statistics: recurring revenue and churn, what each line sells, and how many orders are paid."""

from collections.abc import Sequence

from flask.typing import ResponseReturnValue
from flask_babel import format_decimal

from portal.admin import exporting, services
from portal.admin.blueprint import actor, bp
from portal.admin.queries import statistics as queries
from portal.core import clock, htmx
from portal.core.access import staff
from portal.core.db import unit_of_work
from portal.core.money import Money


@bp.get("/statistics")
@staff
def statistics() -> ResponseReturnValue:
    """The last twelve months, as charts with a table beside each."""
    at = clock.now()
    return htmx.render(
        "admin/statistics.html",
        recurring=queries.recurring_months(at),
        sales=queries.sales(at),
        conversions=queries.conversions(at),
        most_orders=format_decimal(queries.MOST_ORDERS),
        grace_count=queries.grace_count(),
        months=[month for month, _begins in queries.month_starts(at)],
        major=_major,
    )


def _major(amount_minor: int, currency: str) -> str:
    """An amount as charts read it: in major units, with a point."""
    return str(Money(amount_minor, currency).to_decimal())


@bp.get("/statistics.csv")
@staff
def statistics_csv() -> ResponseReturnValue:
    """What each line took and gave back, by month, as a file."""
    with unit_of_work():
        services.note_export("statistics", by=actor().email, filters={})
    header = ("month", "line", "currency", "count", "paid", "returned", "net")
    return exporting.csv_answer("statistics", header, queries.sales(clock.now()), _csv_cells)


def _csv_cells(one: queries.Sales) -> Sequence[object]:
    amounts = (one.paid_minor, one.returned_minor, one.net_minor)
    return (
        one.month, one.line, one.currency, one.count,
        *(exporting.amount_cell(amount_minor, one.currency) for amount_minor in amounts),
    )  # fmt: skip

"""Whose page shows an order: what somebody makes has a page of its own at the same address."""

from typing import Protocol

from flask.typing import ResponseReturnValue

from portal.core.errors import PortalError
from portal.orders.models import LineKind, Order


class ShowsOrder(Protocol):
    """Answers with the page of a customer's own order, and with what went wrong when it was to be paid."""

    def __call__(self, order: Order, *, error: PortalError | None = None) -> ResponseReturnValue: ...


_pages: dict[LineKind, ShowsOrder] = {}


def shown_by(kind: LineKind, page: ShowsOrder) -> None:
    """Register the page of orders with such lines."""
    _pages[kind] = page


def page_of(order: Order) -> ShowsOrder | None:
    """The page an order is shown on; None for the shop's own."""
    return next((_pages[line.kind] for line in order.lines if line.kind in _pages), None)

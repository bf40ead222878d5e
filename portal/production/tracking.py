"""A sales order's way in steps: the same for the customer, for staff and for whoever has its tracking link."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

from portal.core.state import StatusChange
from portal.orders.tracking import State, Step
from portal.production.models import SalesOrder, SalesOrderStatus
from portal.production.shipping.timeline import parcel_steps

_S = SalesOrderStatus
_WAY = (_S.PENDING, _S.CONFIRMED, _S.IN_PRODUCTION, _S.QUALITY_CHECK, _S.SHIPPED, _S.DELIVERED)
_LABELS = {
    _S.PENDING: _l("Ordered"),
    _S.CONFIRMED: _l("Confirmed"),
    _S.IN_PRODUCTION: _l("In production"),
    _S.QUALITY_CHECK: _l("Quality check"),
    _S.SHIPPED: _l("Shipped"),
    _S.DELIVERED: _l("Delivered"),
}
_MOVING = (_S.CONFIRMED, _S.IN_PRODUCTION, _S.QUALITY_CHECK, _S.SHIPPED)


def is_moving(sales_order: SalesOrder) -> bool:
    """Whether the next step comes from us or from the carrier, so that a page does well to ask again."""
    return sales_order.status in _MOVING


def steps_of(sales_order: SalesOrder, changes: Sequence[StatusChange], *, is_public: bool = False) -> list[Step]:
    """The whole way with the times its stamps and its history know, and what carriers said between.

    `changes` are the sales order's own, oldest first. `is_public` is for a link without a log-in: no notes, which may
    be about money, and nothing of the carrier's that names people or places near the customer's door.
    """
    steps = _way_of(sales_order, changes)
    if is_public:
        steps = [replace(step, note=None) for step in steps]
    parcel = list(parcel_steps(sales_order, is_public=is_public))
    # Before the last step, "delivered"; what a parcel of a cancelled order was, nobody asks.
    return [*steps[:-1], *parcel, steps[-1]] if parcel else steps


def _way_of(sales_order: SalesOrder, changes: Sequence[StatusChange]) -> list[Step]:
    when = {change.became: change.at for change in changes if change.column == "status"}
    status = sales_order.status
    if status is _S.CANCELLED:
        been = [one for one in _WAY if one is _S.PENDING or _reached_at(sales_order, one, when) is not None]
        done = [Step(_LABELS[one], "done", _reached_at(sales_order, one, when)) for one in been]
        return [*done, Step(_l("Cancelled"), "failed", sales_order.cancelled_at)]
    stands = _S(sales_order.held_from) if sales_order.held_from is not None else status
    here = len(_WAY) if stands in (_S.DELIVERED, _S.COMPLETED) else _WAY.index(stands)
    return [_step(sales_order, place, here, changes, when) for place in range(len(_WAY))]


def _step(
    sales_order: SalesOrder, place: int, here: int, changes: Sequence[StatusChange], when: dict[str, datetime]
) -> Step:
    one = _WAY[place]
    # What is behind us is done; ordered, confirmed and shipped are done when they are reached, the rest goes on.
    is_reached = place < here or (place == here and one in (_S.PENDING, _S.CONFIRMED, _S.SHIPPED))
    is_next = place == here + 1 and _WAY[min(here, len(_WAY) - 1)] in (_S.PENDING, _S.CONFIRMED, _S.SHIPPED)
    state: State = "done" if is_reached else "current" if place == here or is_next else "next"
    at = _reached_at(sales_order, one, when) if place <= here else None
    return Step(_LABELS[one], state, at, _note(sales_order, one, changes) if state == "current" else None)


def _reached_at(sales_order: SalesOrder, one: SalesOrderStatus, when: dict[str, datetime]) -> datetime | None:
    stamps = {
        _S.PENDING: sales_order.created_at,
        _S.CONFIRMED: sales_order.confirmed_at,
        _S.IN_PRODUCTION: sales_order.production_started_at,
        _S.SHIPPED: sales_order.shipped_at,
        _S.DELIVERED: sales_order.delivered_at,
    }
    return stamps[one] if one in stamps else when.get(one)


def _note(sales_order: SalesOrder, one: SalesOrderStatus, changes: Sequence[StatusChange]) -> LazyString | None:
    """What there is to say about the step that the order stands at."""
    if sales_order.status is _S.ON_HOLD:
        return _l("On hold: we get in touch with you")
    if one is _S.CONFIRMED:
        return _l("Waits for its payment")
    if one is _S.IN_PRODUCTION and sales_order.status is _S.CONFIRMED:
        return _l("Waits for a free machine")
    if one is _S.IN_PRODUCTION and any(change.was == _S.QUALITY_CHECK for change in changes if change.became == one):
        return _l("Being made again: the first try was not good enough for us")
    if one is _S.DELIVERED:
        return _l("On its way to you")
    return None

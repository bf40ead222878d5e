"""Reads of sales orders, for customers, for staff, and for those who must know how busy the machines are."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.orm import joinedload, selectinload

from portal.core.db import db
from portal.orders.models import Order
from portal.production.errors import PhotoNotFound, SalesOrderNotFound
from portal.production.models import ProductionPhoto, SalesOrder, SalesOrderStatus
from portal.quotes.errors import QuoteNotFound
from portal.quotes.models import Quote, QuoteItem

_S = SalesOrderStatus
# What is sold and not made yet. Also what nobody has paid for: its date was promised.
_UNMADE = (_S.PENDING, _S.CONFIRMED, _S.IN_PRODUCTION, _S.ON_HOLD)
# From here on nothing is printed any more.
_ARRIVED = (_S.DELIVERED, _S.COMPLETED, _S.CANCELLED)


def booked_hours() -> Mapping[str, Decimal]:
    """The machine hours of orders that are not made yet, by rush level."""
    rows = db.session.execute(
        select(SalesOrder.rush, func.sum(SalesOrder.machine_minutes))
        .where(SalesOrder.status.in_(_UNMADE))
        .group_by(SalesOrder.rush)
    )
    return {rush: Decimal(int(minutes)) / 60 for rush, minutes in rows}


def needs_model(model_file_id: int) -> str | None:
    """The number of an order on its way whose parts are made from a model; none when nothing needs it any more."""
    is_made_from = select(QuoteItem.quote_id).where(QuoteItem.model_file_id == model_file_id)
    return db.session.scalar(
        select(Order.number)
        .join(SalesOrder, SalesOrder.order_id == Order.id)
        .where(SalesOrder.quote_id.in_(is_made_from), SalesOrder.status.not_in(_ARRIVED))
        .order_by(SalesOrder.id)
        .limit(1)
    )


def get_sales_order(number: str, *, user_id: int | None = None) -> SalesOrder:
    """A sales order with its order, lines and photos by its number; of one customer when `user_id` is given.

    Raises SalesOrderNotFound, also for a stranger's.
    """
    statement = (
        select(SalesOrder)
        .join(Order, Order.id == SalesOrder.order_id)
        .where(Order.number == number)
        .options(
            joinedload(SalesOrder.order).options(selectinload(Order.lines), joinedload(Order.user)),
            selectinload(SalesOrder.photos),
        )
        .execution_options(populate_existing=True)
    )
    if user_id is not None:
        statement = statement.where(SalesOrder.user_id == user_id)
    found = db.session.scalars(statement).one_or_none()
    if found is None:
        raise SalesOrderNotFound
    return found


def get_photo(number: str, public_id: str, *, user_id: int | None = None) -> ProductionPhoto:
    """A photo of an order; of one customer's when `user_id` is given. Raises PhotoNotFound, also for a stranger's."""
    statement = (
        select(ProductionPhoto)
        .join(SalesOrder, SalesOrder.id == ProductionPhoto.sales_order_id)
        .join(Order, Order.id == SalesOrder.order_id)
        .where(Order.number == number, ProductionPhoto.public_id == public_id)
    )
    if user_id is not None:
        statement = statement.where(SalesOrder.user_id == user_id)
    found = db.session.scalars(statement).one_or_none()
    if found is None:
        raise PhotoNotFound
    return found


def get_quote_to_order(number: str, *, user_id: int) -> Quote:
    """A customer's own quote with its parts. Raises QuoteNotFound, also for a stranger's."""
    found = db.session.scalars(
        select(Quote)
        .where(Quote.number == number, Quote.user_id == user_id)
        .options(selectinload(Quote.items).joinedload(QuoteItem.model_file))
    ).one_or_none()
    if found is None:
        raise QuoteNotFound
    return found


def standing_of(order_ids: Sequence[int]) -> Mapping[int, SalesOrderStatus]:
    """How far some orders are, by the order's id."""
    statement = select(SalesOrder.order_id, SalesOrder.status).where(SalesOrder.order_id.in_(list(order_ids)))
    return {row.order_id: row.status for row in db.session.execute(statement)}

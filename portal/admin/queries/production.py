"""Reads for the production room."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, or_, select, text, union_all
from sqlalchemy.orm import contains_eager

from portal.admin.queries.matching import has_words, is_named, starts_with
from portal.core.db import db
from portal.core.paging import Page, paginate
from portal.core.state import StatusChange
from portal.orders.models import Order
from portal.production.board import COLUMNS
from portal.production.models import SalesOrder, SalesOrderStatus

# So many cards are in a column; the list has the rest.
COLUMN_SIZE = 12


@dataclass(frozen=True, slots=True)
class Column:
    """One state of the board: its cards, the most urgent first, and whether there are more."""

    status: SalesOrderStatus
    cards: list[SalesOrder]
    has_more: bool


def read_board() -> list[Column]:
    """All columns in one statement, each read from the board's index up to its limit."""
    branches = [_urgent(status).subquery() for status in COLUMNS]
    ids = union_all(*(select(branch.c.id) for branch in branches))
    found = db.session.scalars(
        select(SalesOrder)
        .join(SalesOrder.order)
        .where(SalesOrder.id.in_(ids))
        .options(contains_eager(SalesOrder.order))
        .order_by(SalesOrder.promised_at.asc().nulls_last(), SalesOrder.id)
        .execution_options(populate_existing=True)
    )
    cards: dict[SalesOrderStatus, list[SalesOrder]] = defaultdict(list)
    for one in found:
        cards[one.status].append(one)
    return [
        Column(status, cards[status][:COLUMN_SIZE], has_more=len(cards[status]) > COLUMN_SIZE) for status in COLUMNS
    ]


def _urgent(status: SalesOrderStatus) -> Select[int]:
    return (
        select(SalesOrder.id)
        # In the words of the partial index ix_sales_orders_board.
        .where(SalesOrder.status == status, text("sales_orders.status NOT IN ('completed', 'cancelled')"))
        .order_by(SalesOrder.promised_at.asc().nulls_last(), SalesOrder.id)
        .limit(COLUMN_SIZE + 1)
    )


def hold_reasons(sales_order_ids: Collection[int]) -> dict[int, str]:
    """Why some orders were put on hold, the last time; one statement."""
    rows = db.session.execute(
        select(StatusChange.entity_id, StatusChange.reason)
        .where(
            StatusChange.entity == "sales_orders",
            StatusChange.entity_id.in_(list(sales_order_ids)),
            StatusChange.became == SalesOrderStatus.ON_HOLD,
        )
        .order_by(StatusChange.id)
    )
    return {entity_id: reason or "" for entity_id, reason in rows}


def sales_orders_page(
    status: SalesOrderStatus | None, typed: str, *, before: str | None, after: str | None
) -> Page[SalesOrder]:
    """A page of sales orders with their orders, newest first."""
    statement = select(SalesOrder).join(SalesOrder.order).options(contains_eager(SalesOrder.order))
    if status is not None:
        statement = statement.where(SalesOrder.status == status)
    if typed.upper().startswith("SO-"):
        statement = statement.where(is_named(Order.number, typed.upper()))
    elif "@" in typed:
        statement = statement.where(is_named(Order.email, typed.lower()))
    elif typed:
        statement = statement.where(or_(has_words(Order.name, typed), starts_with(Order.email, typed.lower())))
    return paginate(statement, SalesOrder.id, before=before, after=after)


def find_of_order(order: Order) -> SalesOrder | None:
    """The sales order of an order, if it is one."""
    return db.session.scalars(select(SalesOrder).where(SalesOrder.order_id == order.id)).one_or_none()


def changes_of(sales_order: SalesOrder) -> Sequence[StatusChange]:
    """What the order and its sales order have been through, oldest first."""
    return db.session.scalars(
        select(StatusChange)
        .where(
            or_(
                (StatusChange.entity == "sales_orders") & (StatusChange.entity_id == sales_order.id),
                (StatusChange.entity == "orders") & (StatusChange.entity_id == sales_order.order_id),
            )
        )
        .order_by(StatusChange.id)
    ).all()

"""A quote becomes an order: number, lines, what is to be paid and where it goes, in one transaction.

The race: the same quote ordered in two windows, or by a double click. Whoever comes second waits for the quote's row
and then finds the sales order that the first one made. The unique keys of the tables (one order for a key, one sales
order for a quote) would refuse a second one whatever happened.
"""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.orm import selectinload

from portal.accounts.models import User
from portal.accounts.queries import billing_of
from portal.core import audit, settings
from portal.core.db import db
from portal.core.faults import fault
from portal.core.money import BASIS_POINTS
from portal.core.numbering import next_number
from portal.core.sealed import new_token
from portal.orders.models import Order, OrderLine, OrderStatus, PaymentStatus
from portal.production.errors import DepositNotOffered
from portal.production.models import SalesOrder, SalesOrderStatus
from portal.production.services import freezing
from portal.production.services.amounts import deposit_basis_points
from portal.quotes.errors import QuoteNotFound
from portal.quotes.models import Quote, QuoteItem
from portal.quotes.services.converting import mark_converted

SERIES = "SO"
_WIDTH = 3
# A parcel's address as it is stored.
ADDRESS_FIELDS = ("name", "company", "line1", "line2", "city", "state", "zip", "country", "phone", "email")


def convert_quote(
    number: str, *, user: User, address: Mapping[str, str], pays_deposit: bool, at: datetime
) -> SalesOrder:
    """Order what a quote of this user offers, or return the sales order that it became before.

    `address` has the keys of ADDRESS_FIELDS. Raises QuoteNotFound, also for a stranger's, NotConvertible when it is not
    accepted or has expired, or DepositNotOffered.
    """
    quote = _locked_quote(number, user)
    known = find_sales_order(quote)
    if known is not None:
        return known
    mark_converted(quote, at=at)
    share = deposit_basis_points(quote.total_minor) if pays_deposit else BASIS_POINTS
    if share is None:
        raise DepositNotOffered(field="pays")
    lines = freezing.order_lines(quote)
    fault("convert-before-insert")
    order = Order(
        # One quote, one key, one order.
        idempotency_key=f"quote:{quote.id}",
        user_id=user.id,
        email=user.email,
        name=user.name,
        billing=billing_of(user.id),
        locale=quote.locale,
        currency=quote.currency,
        total_minor=sum(line["total_minor"] for line in lines),
        tax_minor=sum(line["tax_minor"] for line in lines),
        paid_minor=0,
        status=OrderStatus.OPEN,
        payment_status=PaymentStatus.PENDING,
        placed_at=at,
        # Everybody else who orders waits from here until this transaction ends.
        number=next_number(SERIES, year=at.astimezone(settings.business_zone()).year, width=_WIDTH),
    )
    db.session.add(order)
    db.session.flush()
    db.session.execute(insert(OrderLine), [{**line, "order_id": order.id} for line in lines])
    sales_order = SalesOrder(
        order=order,
        quote=quote,
        user_id=user.id,
        status=SalesOrderStatus.PENDING,
        frozen=freezing.frozen(quote),
        machine_minutes=freezing.machine_minutes(quote),
        rush=quote.rush,
        note=quote.note,
        shipping_address={name: address.get(name, "") for name in ADDRESS_FIELDS},
        deposit_basis_points=share,
        promised_at=quote.promised_at,
        created_at=at,
        tracking_key=new_token(),
    )
    db.session.add(sales_order)
    db.session.flush()
    audit.record(
        "sales_order.placed",
        actor=user.email,
        subject=f"sales_orders:{sales_order.id}",
        after={"number": order.number, "quote": quote.number, "total_minor": order.total_minor},
    )
    return sales_order


def find_sales_order(quote: Quote) -> SalesOrder | None:
    """What a quote became, if it was ordered."""
    return db.session.scalars(select(SalesOrder).where(SalesOrder.quote_id == quote.id)).one_or_none()


def _locked_quote(number: str, user: User) -> Quote:
    """A user's own quote as it is now, held until the transaction ends. Raises QuoteNotFound."""
    quote = db.session.scalars(
        select(Quote)
        .where(Quote.number == number, Quote.user_id == user.id)
        .options(selectinload(Quote.items).joinedload(QuoteItem.model_file))
        .with_for_update(of=Quote)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if quote is None:
        raise QuoteNotFound
    return quote

"""Reads of carts, orders and enrolments, for the customer's pages and for those who must know what somebody owns."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, exists, select
from sqlalchemy.orm import joinedload, selectinload

from portal.catalogue.models import Package
from portal.core import sealed
from portal.core.db import db
from portal.core.money import tax_included
from portal.core.paging import Page, paginate
from portal.orders.errors import EnrolmentNotFound, OrderNotFound
from portal.orders.models import Cart, CartLine, Enrolment, EnrolmentGrant, LineReturn, Order, OrderLine
from portal.orders.services.cart import CartOwner, find_cart, is_available
from portal.orders.services.placing import PURPOSE, RETURN_PURPOSE
from portal.payments.models import PaymentSession


@dataclass(frozen=True, slots=True)
class LineView:
    """A line of the cart as a page shows it; `was_minor` is the price from before, when it has changed."""

    id: int
    slug: str | None
    name: str
    quantity: int
    unit_price_minor: int
    currency: str
    is_available: bool
    is_bundle: bool
    was_minor: int | None
    tax_rate_basis_points: int

    @property
    def total_minor(self) -> int:
        """What the line costs."""
        return self.unit_price_minor * self.quantity


@dataclass(frozen=True, slots=True)
class CartView:
    """The cart as a page shows it: at today's prices, with everything that differs from what was shown before."""

    lines: Sequence[LineView]
    currency: str
    email: str = ""
    name: str = ""
    billing: dict[str, str] | None = None
    key: str = ""

    @property
    def available(self) -> list[LineView]:
        """The lines that can be bought."""
        return [line for line in self.lines if line.is_available]

    @property
    def count(self) -> int:
        """How many licences, for the number on the cart's button."""
        return sum(line.quantity for line in self.lines)

    @property
    def total_minor(self) -> int:
        """What everything that can be bought costs, tax included."""
        return sum(line.total_minor for line in self.available)

    @property
    def tax_minor(self) -> int:
        """The tax inside the total, line by line as the invoice has it."""
        return sum(tax_included(line.total_minor, line.tax_rate_basis_points) for line in self.available)

    @property
    def has_gone(self) -> bool:
        """Whether something must be taken out before paying."""
        return any(not line.is_available for line in self.lines)

    @property
    def has_new_prices(self) -> bool:
        """Whether the customer must agree to another price before paying."""
        return any(line.was_minor is not None for line in self.available)

    @property
    def is_ready(self) -> bool:
        """Whether checkout can begin."""
        return bool(self.lines) and not self.has_gone and not self.has_new_prices


EMPTY_CART = CartView((), "PLN")


def read_cart(owner: CartOwner) -> CartView:
    """The cart for a page, in one statement; an empty one when there is none."""
    cart = find_cart(owner)
    return view_of(cart) if cart is not None else EMPTY_CART


def view_of(cart: Cart) -> CartView:
    """A loaded cart as a page shows it."""
    lines = [_line_view(line) for line in cart.lines]
    currency = lines[0].currency if lines else EMPTY_CART.currency
    return CartView(lines, currency, cart.email, cart.name, dict(cart.billing), cart.checkout_key)


def _line_view(line: CartLine) -> LineView:
    package = line.package if is_available(line) else None
    price = package.price_minor if package else line.unit_price_minor
    return LineView(
        id=line.id,
        slug=package.slug if package else None,
        name=package.name if package else line.name,
        quantity=line.quantity,
        unit_price_minor=price,
        currency=line.currency,
        is_available=package is not None,
        is_bundle=package.is_bundle if package else False,
        was_minor=line.unit_price_minor if price != line.unit_price_minor else None,
        tax_rate_basis_points=package.tax_rate_basis_points if package else 0,
    )


def owned_package_ids(user_id: int) -> Select[int]:
    """The packages a user is enrolled in, as a statement others can build on."""
    return select(Enrolment.package_id).where(Enrolment.user_id == user_id)


def is_enrolled(user_id: int, slug: str) -> bool:
    """Whether a user may use a package."""
    statement = exists().where(Enrolment.user_id == user_id, Enrolment.package_id == Package.id, Package.slug == slug)
    return bool(db.session.scalar(select(statement)))


def list_enrolments(user_id: int, *, limit: int = 200) -> list[Enrolment]:
    """What a user owns, newest first, with the packages."""
    return list(
        db.session.scalars(
            select(Enrolment)
            .where(Enrolment.user_id == user_id)
            .options(joinedload(Enrolment.package))
            .order_by(Enrolment.id.desc())
            .limit(limit)
        )
    )


def get_enrolment(user_id: int, slug: str) -> Enrolment:
    """A user's right to one package, with its steps, also when it is no longer sold. Raises EnrolmentNotFound."""
    enrolment: Enrolment | None = (
        db.session.scalars(
            select(Enrolment)
            .join(Package)
            .where(Enrolment.user_id == user_id, Package.slug == slug)
            .options(joinedload(Enrolment.package).joinedload(Package.processes))
        )
        .unique()
        .one_or_none()
    )
    if enrolment is None:
        raise EnrolmentNotFound
    return enrolment


def list_grants(enrolment_id: int) -> list[tuple[EnrolmentGrant, str]]:
    """Where the licences of an enrolment came from, with the order numbers, newest first."""
    rows = db.session.execute(
        select(EnrolmentGrant, Order.number)
        .join(OrderLine, OrderLine.id == EnrolmentGrant.order_line_id)
        .join(Order, Order.id == OrderLine.order_id)
        .where(EnrolmentGrant.enrolment_id == enrolment_id)
        .order_by(EnrolmentGrant.id.desc())
    )
    return [(grant, number) for grant, number in rows]


def page_of_orders(user_id: int, *, before: str | None, after: str | None) -> Page[Order]:
    """A customer's orders, newest first, a page at a time, with their lines in the same query."""
    statement = select(Order).where(Order.user_id == user_id).options(joinedload(Order.lines))
    return paginate(statement, Order.id, before=before, after=after)


def list_recent_orders(user_id: int, *, limit: int = 5) -> list[Order]:
    """The latest orders of a customer."""
    return list(
        db.session.scalars(
            select(Order)
            .where(Order.user_id == user_id)
            .options(selectinload(Order.lines))
            .order_by(Order.id.desc())
            .limit(limit)
        )
    )


def get_order(number: str, *, user_id: int) -> Order:
    """A customer's own order with its lines. Raises OrderNotFound, also for a stranger's."""
    order = _find_order(number)
    if order is None or order.user_id != user_id:
        raise OrderNotFound
    return order


def get_placed_order(number: str, *, user_id: int | None, placed: Collection[str], signature: str | None) -> Order:
    """An order for its status pages: for its owner, for the browser that placed it, or with a link of ours.

    Raises OrderNotFound for everybody else.
    """
    order = _find_order(number)
    if order is None:
        raise OrderNotFound
    is_owner = user_id is not None and order.user_id == user_id
    if is_owner or number in placed or sealed.read_signed(signature or "", purpose=RETURN_PURPOSE) == number:
        return order
    raise OrderNotFound


def _find_order(number: str) -> Order | None:
    order: Order | None = (
        db.session.scalars(
            select(Order).where(Order.number == number).options(joinedload(Order.lines).joinedload(OrderLine.package))
        )
        .unique()
        .one_or_none()
    )
    return order


def order_paid_by(session: PaymentSession) -> Order | None:
    """The order that a payment is for; None for a payment of something else."""
    if session.purpose != PURPOSE or session.subject_id is None:
        return None
    return db.session.get(Order, session.subject_id)


def orders_waiting_for(email: str) -> list[Order]:
    """Paid orders of an address that nobody has proven to be theirs yet, oldest first."""
    return list(
        db.session.scalars(
            select(Order).where(Order.email == email, Order.user_id.is_(None), Order.paid_minor > 0).order_by(Order.id)
        )
    )


def returned_line_ids(line_ids: Iterable[int]) -> set[int]:
    """Which order lines were given back, with their licences."""
    statement = select(OrderLine.id).where(OrderLine.id.in_(list(line_ids)), line_is_returned())
    return set(db.session.scalars(statement))


def line_is_returned() -> ColumnElement[bool]:
    """Whether the order line at hand was given back, so that nothing is owed for it any more."""
    return exists().where(LineReturn.order_line_id == OrderLine.id, LineReturn.restored_at.is_(None))

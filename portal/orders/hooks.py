"""Where those whose things an order sells are told what becomes of it, by the kind of its lines.

What somebody makes first (printed parts) has a maker: paying does not hand it over. What is handed over by paying, and
is no package, has somebody who hands it over. Orders call them and know none of them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from portal.accounts.models import User
from portal.orders.models import LineKind, Order
from portal.payments.models import PaymentSession


class Counted(Protocol):
    """Called in the settling transaction, when money of an order with such lines was counted. The order is held."""

    def __call__(self, order: Order, session: PaymentSession, *, by: str, at: datetime) -> None: ...


class Asks(Protocol):
    """Says how much the next payment of an order is, in minor units: never more than what is left to pay."""

    def __call__(self, order: Order) -> int: ...


class Stands(Protocol):
    """Says how far some orders are, by id, in one statement."""

    def __call__(self, order_ids: Sequence[int], /) -> Mapping[int, StrEnum]: ...


@dataclass(frozen=True, slots=True)
class Maker:
    """Who fulfils one kind of lines, and calls `fulfilling.mark_fulfilled` when that is done."""

    counted: Counted
    asks: Asks
    stands: Stands


class MayBeGiven(Protocol):
    """Says, under its lock, whether what an order sells can be handed over at all."""

    def __call__(self, order: Order) -> bool: ...


class Gives(Protocol):
    """Called in the transaction that hands a paid order over to its owner. The order is held."""

    def __call__(self, order: Order, user: User, *, by: str, at: datetime) -> None: ...


class LetsGo(Protocol):
    """Called when a payment of an order is over without money, or the order was called off. The order is held."""

    def __call__(self, order: Order, *, at: datetime) -> None: ...


@dataclass(frozen=True, slots=True)
class Handover:
    """Who hands over one kind of lines. `welcome` is the mail that takes the place of the receipts of packages; it has
    the link in it with which a new customer chooses a password."""

    may_be_given: MayBeGiven
    gives: Gives
    lets_go: LetsGo
    welcome: str


_makers: dict[LineKind, Maker] = {}
_handovers: dict[LineKind, Handover] = {}


def made_by(kind: LineKind, maker: Maker) -> None:
    """Register who fulfils a kind of lines. Paying such an order does not fulfil it."""
    _makers[kind] = maker


def handed_over_by(kind: LineKind, handover: Handover) -> None:
    """Register who hands a kind of lines over."""
    _handovers[kind] = handover


def handover_of(order: Order) -> Handover | None:
    """Who hands an order over; None for one of packages."""
    return next((_handovers[line.kind] for line in order.lines if line.kind in _handovers), None)


def welcomes() -> tuple[str, ...]:
    """The mails that take the place of receipts."""
    return tuple(handover.welcome for handover in _handovers.values())


def made_kinds() -> frozenset[LineKind]:
    """The kinds of lines that somebody makes; all others are handed over when they are paid."""
    return frozenset(_makers)


def maker_of(order: Order) -> Maker | None:
    """Who fulfils an order; None for one that is handed over when it is paid.

    One order has one maker: an order with parts comes from a quote and holds nothing else.
    """
    return next((_makers[line.kind] for line in order.lines if line.kind in _makers), None)


def standing_of(orders: Iterable[Order]) -> dict[int, StrEnum]:
    """How far the orders of a list are that somebody makes, by id; one statement for each maker."""
    ids: dict[LineKind, list[int]] = defaultdict(list)
    for order in orders:
        kind = next((line.kind for line in order.lines if line.kind in _makers), None)
        if kind is not None:
            ids[kind].append(order.id)
    return {order_id: stand for kind, some in ids.items() for order_id, stand in _makers[kind].stands(some).items()}


def due_minor(order: Order) -> int:
    """How much the next payment of an order is, in minor units: a deposit, or all that is left."""
    maker = maker_of(order)
    return maker.asks(order) if maker is not None else order.rest_minor

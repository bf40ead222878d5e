"""Where those who sell something are told what became of the money, inside the transaction that decides it.

`create_app()` registers them by purpose; the money core calls them and knows none of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from portal.payments.models import PaymentSession


@dataclass(frozen=True, slots=True)
class BillLine:
    """One line of what was sold; the price includes tax and is in minor units of the session's currency."""

    description: str
    quantity: int
    unit_gross_minor: int
    tax_rate_basis_points: int

    @property
    def gross_minor(self) -> int:
        """The line's total, tax included."""
        return self.unit_gross_minor * self.quantity


@dataclass(frozen=True, slots=True)
class BillOfSale:
    """What an invoice is made of: the customer's reference, whose account shows it, who bought, and the lines.

    `seller` is given when it is not us: we issue the invoice on that seller's behalf.
    """

    subject_number: str | None
    user_id: int | None
    buyer: Mapping[str, Any]
    lines: tuple[BillLine, ...]
    seller: Mapping[str, Any] | None = None


class Settled(Protocol):
    """Called when a session's money is here and counts."""

    def __call__(self, session: PaymentSession, *, at: datetime) -> None: ...


class Describes(Protocol):
    """Says what a session's money is for."""

    def __call__(self, session: PaymentSession) -> BillOfSale: ...


@dataclass(frozen=True, slots=True)
class Returned:
    """Money of a session that counted and went back; negative when it came back after all.

    `positions` are the bill's lines that were given back whole, counted from 1; none for a part of the sum. Doing the
    same refund twice is asked for once only.
    """

    refund_id: int
    amount_minor: int
    positions: frozenset[int]
    keeps_access: bool


class GivesBack(Protocol):
    """Called when counted money went back, or came back."""

    def __call__(self, session: PaymentSession, returned: Returned, *, at: datetime) -> None: ...


_settled: dict[str, Settled] = {}
_failed: dict[str, Settled] = {}
_describes: dict[str, Describes] = {}
_returned: dict[str, GivesBack] = {}


def on_settled(purpose: str, hook: Settled) -> None:
    """Register what a payment of this purpose unlocks. It runs in the settling transaction: no network, no commit."""
    _settled[purpose] = hook


def on_failed(purpose: str, hook: Settled) -> None:
    """Register what happens when a session of this purpose can no longer be paid."""
    _failed[purpose] = hook


def describes(purpose: str, hook: Describes) -> None:
    """Register how an invoice for this purpose is filled."""
    _describes[purpose] = hook


def on_returned(purpose: str, hook: GivesBack) -> None:
    """Register what happens when money of this purpose is given back. It runs in the transaction that books it."""
    _returned[purpose] = hook


def settled(session: PaymentSession, *, at: datetime) -> None:
    """Tell the seller that the money is here. Raises LookupError for a purpose nobody registered."""
    _settled[session.purpose](session, at=at)


def failed(session: PaymentSession, *, at: datetime) -> None:
    """Tell the seller that this session is over without money."""
    hook = _failed.get(session.purpose)
    if hook is not None:
        hook(session, at=at)


def bill_of(session: PaymentSession) -> BillOfSale:
    """What the session's money is for. Raises LookupError for a purpose nobody registered."""
    return _describes[session.purpose](session)


def returned(session: PaymentSession, money: Returned, *, at: datetime) -> None:
    """Tell the seller that counted money went back."""
    hook = _returned.get(session.purpose)
    if hook is not None:
        hook(session, money, at=at)

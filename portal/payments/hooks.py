"""Where those who sell something are told what became of the money, inside the transaction that decides it.

`create_app()` registers them by purpose; the money core calls them and knows none of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from portal.core.money import tax_added, tax_included
from portal.payments.models import PaymentSession


@dataclass(frozen=True, slots=True)
class BillLine:
    """One line of what was sold, in minor units of the session's currency.

    The price includes tax; or, with `unit_net_minor`, tax comes on top of that: it is worked out once for the line, and
    `unit_gross_minor` is then what one costs with tax, rounded.
    """

    description: str
    quantity: int
    unit_gross_minor: int
    tax_rate_basis_points: int
    unit_net_minor: int | None = None

    @classmethod
    def net(cls, description: str, quantity: int, unit_net_minor: int, tax_rate_basis_points: int) -> "BillLine":
        """A line whose price does not include tax."""
        unit_gross_minor = unit_net_minor + tax_added(unit_net_minor, tax_rate_basis_points)
        return cls(description, quantity, unit_gross_minor, tax_rate_basis_points, unit_net_minor)

    @property
    def tax_minor(self) -> int:
        """The line's tax, rounded once."""
        if self.unit_net_minor is not None:
            return tax_added(self.unit_net_minor * self.quantity, self.tax_rate_basis_points)
        return tax_included(self.gross_minor, self.tax_rate_basis_points)

    @property
    def gross_minor(self) -> int:
        """The line's total, tax included."""
        if self.unit_net_minor is not None:
            return self.unit_net_minor * self.quantity + self.tax_minor
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


class NamesLine(Protocol):
    """Says which line of business a session's money is from, for the statistics."""

    def __call__(self, session: PaymentSession) -> str: ...


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


class SubscriptionChange(StrEnum):
    """What a provider tells about a subscription beside its payments, each of which is a settled session."""

    RENEWAL_FAILED = "renewal_failed"
    PAUSED = "paused"
    RESUMED = "resumed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class SubscriptionNews:
    """A change of a subscription, and of a failed renewal when the provider tries again, if it says so."""

    change: SubscriptionChange
    detail: str | None
    happened_at: datetime
    next_try_at: datetime | None


class HearsOfSubscription(Protocol):
    """Called when a subscription changed. `session` is the one whose payment began it.

    Providers tell some changes under two names, so the same news may come twice; whoever hears it twice does no more.
    """

    def __call__(self, session: PaymentSession, news: SubscriptionNews, *, at: datetime) -> None: ...


_settled: dict[str, Settled] = {}
_failed: dict[str, Settled] = {}
_describes: dict[str, Describes] = {}
_lines: dict[str, NamesLine] = {}
_returned: dict[str, GivesBack] = {}
_subscriptions: dict[str, HearsOfSubscription] = {}


def on_settled(purpose: str, hook: Settled) -> None:
    """Register what a payment of this purpose unlocks. It runs in the settling transaction: no network, no commit."""
    _settled[purpose] = hook


def on_failed(purpose: str, hook: Settled) -> None:
    """Register what happens when a session of this purpose can no longer be paid."""
    _failed[purpose] = hook


def describes(purpose: str, hook: Describes) -> None:
    """Register how an invoice for this purpose is filled."""
    _describes[purpose] = hook


def names_line(purpose: str, hook: NamesLine) -> None:
    """Register what tells several lines of business of one purpose apart. A purpose without is a line of its own."""
    _lines[purpose] = hook


def on_returned(purpose: str, hook: GivesBack) -> None:
    """Register what happens when money of this purpose is given back. It runs in the transaction that books it."""
    _returned[purpose] = hook


def on_subscription(purpose: str, hook: HearsOfSubscription) -> None:
    """Register who hears of failed renewals and of the end of subscriptions of this purpose. Renewals that are paid are
    sessions with an `origin_id`, told like any other to who registered by `on_settled`."""
    _subscriptions[purpose] = hook


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


def line_of(session: PaymentSession) -> str:
    """The line of business that a session's money is from."""
    hook = _lines.get(session.purpose)
    return session.purpose if hook is None else hook(session)


def returned(session: PaymentSession, money: Returned, *, at: datetime) -> None:
    """Tell the seller that counted money went back."""
    hook = _returned.get(session.purpose)
    if hook is not None:
        hook(session, money, at=at)


def subscription_changed(session: PaymentSession, news: SubscriptionNews, *, at: datetime) -> None:
    """Tell the seller what became of a subscription."""
    hook = _subscriptions.get(session.purpose)
    if hook is not None:
        hook(session, news, at=at)

"""One box for everything: what a thing is called decides which index is asked."""

from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from portal.accounts.models import User
from portal.admin.queries import orders, payments
from portal.core.db import db
from portal.orders.models import Order
from portal.payments.credit_notes import SERIES as CREDIT_NOTES
from portal.payments.models import Invoice, PaymentSession, ProviderEvent
from portal.payments.refund_models import CreditNote

Found: TypeAlias = Order | User | Invoice | PaymentSession | ProviderEvent | CreditNote

# Of each kind; whoever needs more goes to the list.
_MOST = 10


@dataclass(frozen=True, slots=True)
class Hits:
    """What was found, by kind."""

    orders: list[Order] = field(default_factory=list)
    customers: list[User] = field(default_factory=list)
    invoices: list[Invoice] = field(default_factory=list)
    sessions: list[PaymentSession] = field(default_factory=list)
    events: list[ProviderEvent] = field(default_factory=list)

    @property
    def count(self) -> int:
        """All hits together."""
        kinds = (self.orders, self.customers, self.invoices, self.sessions, self.events)
        return sum(len(found) for found in kinds)

    @property
    def only(self) -> Found | None:
        """The one hit, when there is just one."""
        found: list[Found] = [*self.orders, *self.customers, *self.invoices, *self.sessions, *self.events]
        return found[0] if len(found) == 1 else None


def find_exactly(typed: str) -> Found | None:
    """The thing whose whole number, address or id was typed."""
    if "@" in typed:
        user: User | None = db.session.scalar(db.select(User).where(User.email == typed.lower()))
        return user
    if typed.upper().startswith(f"{CREDIT_NOTES}-"):
        note: CreditNote | None = db.session.scalar(db.select(CreditNote).where(CreditNote.number == typed.upper()))
        return note
    by_key: tuple[Any, ...] = (
        db.select(Order).where(Order.number == typed.upper()),
        db.select(Invoice).where(Invoice.number == typed.upper()),
        db.select(PaymentSession).where(PaymentSession.public_id == typed.lower()),
        db.select(ProviderEvent)
        .where(ProviderEvent.provider.in_(payments.sender_names()), ProviderEvent.delivery_key == typed)
        .limit(1),
    )
    for statement in by_key:
        found: Found | None = db.session.scalar(statement)
        if found is not None:
            return found
    return None


def find_alike(typed: str) -> Hits:
    """Up to ten of each kind that are called, or begin with, what was typed; newest first."""
    found = Hits(
        orders=orders.orders_page(orders.OrderFilter(text=typed), before=None, after=None).rows[:_MOST],
        customers=orders.customers_page(orders.CustomerFilter(text=typed), before=None, after=None).rows[:_MOST],
    )
    if not any(sign.isdigit() for sign in typed):
        # A name: the keys of invoices, payments and events all have digits.
        return found
    events = payments.events_page(payments.EventFilter(text=typed), before=None, after=None)
    return replace(
        found,
        invoices=payments.invoices_page(typed, before=None, after=None).rows[:_MOST],
        sessions=payments.sessions_page(payments.SessionFilter(text=typed), before=None, after=None).rows[:_MOST],
        events=events.rows[:_MOST],
    )

"""What a pay page says about a payment: never "failed" while any fact says that money came."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

from portal.core.state import StatusChange
from portal.merchants.models import Merchant
from portal.payments.models import AttemptStatus, PaymentSession, SessionStatus
from portal.payments.queries import PaidTruth, truth_of

State = Literal["open", "checking", "paid", "failed", "closed"]


@dataclass(frozen=True, slots=True)
class PayState:
    """How a merchant's payment stands for the buyer who looks at it."""

    session: PaymentSession
    merchant: Merchant
    facts: PaidTruth
    state: State
    is_begun: bool

    @property
    def is_late(self) -> bool:
        """Whether it is time to ask the provider."""
        return self.facts.is_late and not self.facts.is_final

    @property
    def success_url(self) -> str:
        """The merchant's own page for buyers who have paid, or nothing."""
        return str(self.session.details.get("success_url") or "")

    @property
    def cancel_url(self) -> str:
        """The merchant's own page for buyers who have not, or nothing."""
        return str(self.session.details.get("cancel_url") or "")


def state_of(session: PaymentSession, merchant: Merchant, *, at: datetime) -> PayState:
    """Collect what is known. Being over its time is a failure only once the provider has said that nothing came."""
    facts = truth_of(session, at=at)
    is_begun = any(attempt.status in (AttemptStatus.OPEN, AttemptStatus.UNKNOWN) for attempt in session.attempts)
    state: State
    if facts.is_applied:
        state = "paid"
    elif facts.provider_says_paid or facts.needs_staff:
        state = "checking"
    elif facts.is_failed:
        state = "failed"
    elif session.expires_at <= at:
        state = "checking" if is_begun else "failed"
    else:
        state = "open" if merchant.is_active else "closed"
    return PayState(session, merchant, facts, state, is_begun)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a timeline."""

    label: LazyString
    state: Literal["done", "current", "next", "failed"]
    at: datetime | None = None
    note: LazyString | str | None = None


def steps_of(session: PaymentSession, changes: Sequence[StatusChange]) -> list[Step]:
    """A payment's way from opened to paid, with the times its history knows."""
    when = {change.became: change.at for change in changes}
    steps = [Step(_l("Opened"), "done", session.created_at)]
    if session.status is SessionStatus.PAID:
        return [*steps, Step(_l("Paid"), "done", session.paid_at)]
    if session.status is SessionStatus.FAILED:
        reason = next((change.reason for change in changes if change.became == SessionStatus.FAILED), None)
        return [*steps, Step(_l("Ended without success"), "failed", when.get(SessionStatus.FAILED), reason)]
    is_begun = session.status is SessionStatus.PENDING
    begun = Step(_l("Buyer sent to a provider"), "done" if is_begun else "current", when.get(SessionStatus.PENDING))
    return [*steps, begun, Step(_l("Paid"), "current" if is_begun else "next")]

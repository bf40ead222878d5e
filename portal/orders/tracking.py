"""What an order's pages say: the facts about its payment, and its steps in time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

from portal.core.state import StatusChange
from portal.orders import hooks
from portal.orders.models import Order, OrderStatus, PaymentStatus
from portal.orders.services.placing import PURPOSE
from portal.payments import queries as payments
from portal.payments.models import PaymentSession, SessionStatus
from portal.payments.queries import PaidTruth

State = Literal["done", "current", "next", "failed"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a timeline."""

    label: LazyString
    state: State
    at: datetime | None = None
    note: LazyString | str | None = None


@dataclass(frozen=True, slots=True)
class PaymentTruth:
    """What is known about the payment of an order. Never "failed" while any fact says that money came."""

    session: PaymentSession | None
    facts: PaidTruth | None
    is_unlocked: bool
    is_waiting_for_owner: bool
    # What was bought has to be made first: nothing is unlocked by paying.
    is_made: bool = False

    @property
    def is_applied(self) -> bool:
        """Whether the money is counted here."""
        return self.facts is not None and self.facts.is_applied

    @property
    def is_paid(self) -> bool:
        """Whether anybody says that money came."""
        return self.facts is not None and self.facts.provider_says_paid

    @property
    def is_failed(self) -> bool:
        """Whether this payment is over without money."""
        return self.facts is not None and self.facts.is_failed

    @property
    def needs_staff(self) -> bool:
        """Whether the money came in a way that a person must look at."""
        return self.facts is not None and self.facts.needs_staff

    @property
    def is_late(self) -> bool:
        """Whether it is time to ask the provider."""
        return self.facts is not None and self.facts.is_late and not self.facts.is_final

    @property
    def is_final(self) -> bool:
        """Whether the page may stop asking."""
        return self.facts is None or self.facts.is_final

    @property
    def steps(self) -> list[Step]:
        """The facts, each on its own: what the provider says, whether its message came, and what we made of it."""
        steps = [self._provider_step(), self._message_step(), self._counting_step()]
        return steps if self.is_made else [*steps, self._unlocking_step()]

    def _provider_step(self) -> Step:
        if self.is_paid:
            return Step(_l("The provider says that the money is here"), "done")
        if self.is_failed:
            return Step(_l("The provider says that no money came"), "failed")
        return Step(_l("Waiting for the provider to say that the money is here"), "current")

    def _message_step(self) -> Step:
        if self.facts is not None and self.facts.webhook_seen:
            return Step(_l("Its message has reached us"), "done")
        if self.is_paid:
            note = _l("It has not reached us, so we asked the provider ourselves.")
            return Step(_l("Its message was not needed"), "done", note=note)
        late = _l("It is late, so we are asking the provider ourselves.") if self.is_late else None
        return Step(_l("Its message has not reached us yet"), "next", note=late)

    def _counting_step(self) -> Step:
        if self.is_applied:
            return Step(_l("We have counted the money"), "done")
        if self.needs_staff:
            return Step(_l("Somebody on our side is looking at the money"), "current")
        return Step(_l("We have not counted the money yet"), "current" if self.is_paid else "next")

    def _unlocking_step(self) -> Step:
        if self.is_unlocked:
            return Step(_l("Your purchase is unlocked"), "done")
        note = _l("It waits until the e-mail address is confirmed.") if self.is_waiting_for_owner else None
        return Step(_l("Your purchase is not unlocked yet"), "current" if self.is_applied else "next", note=note)


def truth_about(order: Order, *, at: datetime) -> PaymentTruth:
    """Collect the facts about an order's payment: of the session that was paid, else of the latest.

    Of an order of which a part is paid, only what is under way for the rest: there may be nothing.
    """
    sessions = payments.sessions_of(PURPOSE, order.id)
    if order.payment_status is PaymentStatus.PARTIAL:
        sessions = [session for session in sessions[:1] if session.status is not SessionStatus.PAID]
    truths = [payments.truth_of(session, at=at) for session in sessions]
    pairs = list(zip(sessions, truths, strict=True))
    session, facts = next((pair for pair in pairs if pair[1].provider_says_paid), pairs[0] if pairs else (None, None))
    is_paid = order.payment_status is PaymentStatus.PAID
    is_made = hooks.maker_of(order) is not None
    return PaymentTruth(
        session=session,
        facts=facts,
        is_unlocked=order.status is OrderStatus.FULFILLED and not is_made,
        is_waiting_for_owner=is_paid and order.status is OrderStatus.OPEN and order.user_id is None,
        is_made=is_made,
    )


def steps_of(order: Order, changes: Sequence[StatusChange], truth: PaymentTruth) -> list[Step]:
    """An order's way from placed to unlocked, with the times its history knows."""
    when = {(change.column, change.became): change.at for change in changes}
    steps = [Step(_l("Ordered"), "done", order.placed_at)]
    if order.status is OrderStatus.CANCELLED:
        return [*steps, Step(_l("Cancelled"), "failed", when.get(("status", OrderStatus.CANCELLED)))]
    is_paid = order.payment_status in (PaymentStatus.PAID, PaymentStatus.REFUNDED)
    steps.append(Step(_l("Paid"), "done" if is_paid else "current", order.paid_at, _payment_note(order, truth)))
    is_unlocked = order.status is OrderStatus.FULFILLED
    steps.append(
        Step(
            _l("Unlocked"),
            "done" if is_unlocked else "current" if is_paid else "next",
            when.get(("status", OrderStatus.FULFILLED)),
            _l("Waits until the e-mail address is confirmed") if truth.is_waiting_for_owner else None,
        )
    )
    if order.payment_status is PaymentStatus.REFUNDED:
        steps.append(Step(_l("Refunded"), "done", when.get(("payment_status", PaymentStatus.REFUNDED))))
    return steps


def _payment_note(order: Order, truth: PaymentTruth) -> LazyString | None:
    if order.payment_status in (PaymentStatus.PAID, PaymentStatus.REFUNDED):
        return None
    if truth.needs_staff:
        return _l("Your money is here, and somebody on our side is looking at it")
    if truth.is_paid:
        return _l("The provider says it is paid; we are counting it")
    if order.payment_status is PaymentStatus.PARTIAL:
        return _l("A part is paid")
    return None


def masked_email(email: str) -> str:
    """An address its owner recognises and a stranger with the link cannot use: "a•••@example.com"."""
    name, _at, host = email.partition("@")
    return f"{name[:1]}•••@{host}"

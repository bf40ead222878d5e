"""A thousand events of several providers, shuffled, each delivered three times, while the worker is killed again and
again: the books are exactly what the events say, whatever came first and however often.
"""

import contextlib
import itertools
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from portal.core import clock
from portal.core.db import db
from portal.orders.models import PaymentStatus
from portal.payments.models import (
    EventStatus,
    Invoice,
    Payment,
    PaymentSession,
    ProviderEvent,
    SessionStatus,
    Standing,
)
from portal.payments.refund_models import CreditNote, Dispute, DisputeStatus, Refund, RefundStatus
from portal.payments.services import draining
from tests.fakes.standard_webhooks import headers as standard_headers
from tests.faults import webhooks
from tests.faults.portal import Portal, installed
from tests.payments import signed
from tests.servers import postgres, redis, web

pytestmark = [pytest.mark.slow_fault, pytest.mark.xdist_group("faults_thousand"), pytest.mark.timeout(600)]

EVENTS, COPIES, LANES = 1_000, 3, 8
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"
RECURRENTE = {"RECURRENTE_SECRET_KEY": "sk_test_fake", "RECURRENTE_WEBHOOK_SECRET": SECRET}
PRICE = 4900
_numbers = itertools.count(1)


@dataclass
class Ledger:
    """What the books must say in the end, worked out from the events alone."""

    sessions: Counter[tuple[str, int]] = field(default_factory=Counter)  # State, and how much counts.
    orders: Counter[tuple[str, int, int]] = field(default_factory=Counter)  # State, paid, given back.
    payments: Counter[str] = field(default_factory=Counter)  # Standing.
    refunds: Counter[int] = field(default_factory=Counter)  # By amount.
    disputes: Counter[str] = field(default_factory=Counter)
    invoices: int = 0
    notes: int = 0


@dataclass(frozen=True)
class Told:
    """One event as its provider posts it."""

    provider: str
    key: str
    body: str

    def post(self, portal: Portal) -> int:
        """Deliver it, signed now."""
        raw = self.body.encode()
        if self.provider == "stripe":
            given = {"Stripe-Signature": signed.signature(self.body)}
        else:
            at = int(clock.now().timestamp())
            given = standard_headers([SECRET], self.key, raw, at=at, prefix="svix")
        return webhooks.send(
            portal, "POST", f"/webhooks/{self.provider}", raw, {"Content-Type": "application/json", **given}, timeout=60
        )[0]


def stripe(event: dict[str, Any]) -> Told:
    return Told("stripe", event["id"], json.dumps(event))


def about(session: PaymentSession, event_type: str, thing: dict[str, Any]) -> Told:
    """An event of Stripe's about the payment of a session."""
    event = signed.checkout_event(session, event_type=event_type)
    event["data"]["object"] = {"payment_intent": f"pi_{session.public_id}", "currency": "pln", **thing}
    return stripe(event)


def recurrente(session: PaymentSession, event_type: str) -> Told:
    number = next(_numbers)
    body = {
        "id": f"pa_{session.public_id}", "event_type": event_type, "amount_in_cents": PRICE, "currency": "PLN",
        "live_mode": False,
        "checkout": {"id": f"ch_{session.public_id}", "metadata": {"session_id": session.public_id}},
        "payment": {"id": f"pa_{session.public_id}", "paymentable": {"type": "OneTimePayment", "id": "on_1"}},
    }  # fmt: skip
    return Told("recurrente", f"msg_{number}", json.dumps(body))


def paid(session: PaymentSession) -> list[Told]:
    """On its way, then here, under two names."""
    return [
        stripe(signed.intent_event(session, event_type="payment_intent.processing")),
        stripe(signed.checkout_event(session)),
        stripe(signed.intent_event(session)),
    ]


def bought(session: PaymentSession, ledger: Ledger) -> list[Told]:
    """A plain sale."""
    note_sale(ledger)
    return paid(session)


def bought_elsewhere(session: PaymentSession, ledger: Ledger) -> list[Told]:
    """The same at another provider, which announces each payment twice as well."""
    note_sale(ledger)
    return [recurrente(session, "payment_intent.succeeded"), recurrente(session, "intent.succeeded")]


def note_sale(ledger: Ledger, *, status: str = "paid", back: int = 0) -> None:
    ledger.sessions["paid", PRICE] += 1
    ledger.orders[status, PRICE, back] += 1
    ledger.payments["counted"] += 1
    ledger.invoices += 1


def bought_and_partly_refunded(session: PaymentSession, ledger: Ledger) -> list[Told]:
    """Somebody gave a part back at the provider's dashboard."""
    note_sale(ledger, back=1000)
    ledger.refunds[1000] += 1
    ledger.notes += 1
    refund = {"id": f"re_{session.public_id}", "object": "refund", "status": "succeeded", "amount": 1000}
    return [*paid(session), about(session, "refund.created", refund), about(session, "refund.updated", refund)]


def bought_and_lost(session: PaymentSession, ledger: Ledger) -> list[Told]:
    """The buyer's bank took it all back."""
    note_sale(ledger, status="refunded", back=PRICE)
    ledger.disputes["lost"] += 1
    ledger.refunds[PRICE] += 1
    ledger.notes += 1
    dispute = {"id": f"dp_{session.public_id}", "object": "dispute", "amount": PRICE, "reason": "fraudulent"}
    return [
        *paid(session),
        about(session, "charge.dispute.created", {**dispute, "status": "needs_response"}),
        about(session, "charge.dispute.closed", {**dispute, "status": "lost"}),
    ]


def paid_twice(session: PaymentSession, ledger: Ledger) -> list[Told]:
    """Two payments for one purchase: one counts, whichever came first, and the other is kept apart."""
    note_sale(ledger)
    ledger.payments["surplus"] += 1
    return [*paid(session), stripe(signed.checkout_event(session, payment=f"pi_again_{session.public_id}"))]


def wrong_amount(session: PaymentSession, ledger: Ledger) -> list[Told]:
    """A grosz short: kept apart, and the order stays unpaid."""
    ledger.payments["surplus"] += 1
    ledger.sessions["created", 0] += 1
    ledger.orders["pending", 0, 0] += 1
    return [stripe(signed.checkout_event(session, amount_minor=PRICE - 1))]


def gave_up(session: PaymentSession, ledger: Ledger) -> list[Told]:
    """The page expired."""
    ledger.sessions["failed", 0] += 1
    ledger.orders["pending", 0, 0] += 1
    return [stripe(signed.checkout_event(session, event_type="checkout.session.expired", payment_status="unpaid"))]


KINDS = (bought, bought_elsewhere, bought_and_partly_refunded, bought_and_lost, paid_twice, wrong_amount, gave_up)


def stories(portal: Portal, ledger: Ledger, chance: random.Random) -> list[Told]:
    """A thousand events: what happened to some hundred orders, and what is none of our business."""
    sessions = webhooks.place_orders(portal, 290)
    told: list[Told] = []
    for number, session in enumerate(sessions):
        told += KINDS[number % len(KINDS)](session, ledger)
    while len(told) < EVENTS:
        event = signed.checkout_event(f"nobody-{len(told)}", event_type="customer.updated")
        told.append(stripe(event))
    assert len(told) == EVENTS
    chance.shuffle(told)
    return told


def books() -> Ledger:
    """What the books say."""
    db.session.rollback()
    db.session.expire_all()
    counted = dict(
        db.session.execute(
            select(Payment.session_id, func.sum(Payment.amount_minor))
            .where(Payment.standing == Standing.COUNTED)
            .group_by(Payment.session_id)
        ).all()
    )
    found = Ledger()
    for session in db.session.scalars(select(PaymentSession)):
        found.sessions[session.status.value, int(counted.get(session.id, 0))] += 1
    found.payments.update(one.value for one in db.session.scalars(select(Payment.standing)))
    refunds = select(Refund.amount_minor).where(Refund.status == RefundStatus.SUCCEEDED)
    found.refunds.update(db.session.scalars(refunds))
    found.disputes.update(one.value for one in db.session.scalars(select(Dispute.status)))
    found.invoices = db.session.scalar(select(func.count(Invoice.id))) or 0
    found.notes = db.session.scalar(select(func.count(CreditNote.id))) or 0
    return found


@pytest.fixture
def portal() -> Iterator[Portal]:
    with (
        redis.running() as queue,
        postgres.running() as server,
        installed(server.create_database("thousand"), queue, **RECURRENTE) as one,
    ):
        yield one


@dataclass
class Gate:
    """How many deliveries may have been answered before the next thing is killed."""

    open_until: int = 0


def deliver(portal: Portal, told: list[Told], answers: Counter[int], gate: Gate) -> list[threading.Thread]:
    """Post everything by some connections at once; a provider tries again when nobody answers."""

    def run(lane: int) -> None:
        for one in told[lane::LANES]:
            while sum(list(answers.values())) >= gate.open_until:
                time.sleep(0.01)
            while (status := one.post(portal)) in (0, 500, 502, 503):
                time.sleep(0.1)
            answers[status] += 1

    threads = [threading.Thread(target=run, args=(lane,)) for lane in range(LANES)]
    for thread in threads:
        thread.start()
    return threads


def kill_meanwhile(
    worker: web.WorkerProcess, threads: list[threading.Thread], answers: Counter[int], gate: Gate, chance: random.Random
) -> Counter[str]:
    """Every few hundred deliveries, while more come in: kill the worker, or the process that does its job."""
    done: Counter[str] = Counter()
    while any(thread.is_alive() for thread in threads):
        if sum(list(answers.values())) < gate.open_until:
            time.sleep(0.02)
            continue
        gate.open_until += chance.randint(100, 500)
        pids = sorted(worker.pids())[1:]
        if pids and chance.random() < 0.6:
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(pids), signal.SIGKILL)
                done["a job"] += 1
        else:
            worker.kill()
            worker.start()
            done["the worker"] += 1
    return done


def test_the_ledger_is_exactly_what_the_events_say(portal: Portal) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    chance = random.Random(seed)
    print(f"seed {seed}")
    expected = Ledger()
    told = stories(portal, expected, chance)
    copies = told * COPIES
    chance.shuffle(copies)
    answers: Counter[int] = Counter()
    gate = Gate()
    # Mails are not sent here: setting their invoices would take most of the time.
    with (
        portal.serve(workers=2),
        web.worker(portal.settings, "--queues", "inbox", "webhooks", "default") as worker,
    ):
        threads = deliver(portal, copies, answers, gate)
        killed = kill_meanwhile(worker, threads, answers, gate, chance)
        for thread in threads:
            thread.join()
    print(dict(answers), dict(killed))
    assert sum(answers.values()) == EVENTS * COPIES
    # Stored and accepted, seen before, or told that it contradicts what we know: nothing else.
    assert set(answers) <= {200, 409}
    assert sum(killed.values()) >= 3, "nothing was killed"
    waiting = select(func.count(ProviderEvent.id)).where(ProviderEvent.status == EventStatus.PENDING)
    # Whatever died workers held is let go of, what is to be tried again later has its time, and the sweeper looks for
    # news that came while the payment that they name was being counted.
    for minutes in range(0, 200, 10):
        with clock.shifted(timedelta(minutes=minutes)):
            draining.rematch_unmatched(at=clock.now())
            draining.drain_inbox()
        db.session.rollback()
        if not db.session.scalar(waiting):
            break
        time.sleep(0.5)
    kept = db.session.scalars(select(ProviderEvent.delivery_key)).all()
    assert sorted(kept) == sorted(one.key for one in told)
    orders = Counter(
        (order.payment_status.value, order.paid_minor, order.refunded_minor) for order in portal.all_orders()
    )
    found = books()
    found.orders = orders
    assert found == expected, f"seed {seed}"
    assert portal.check(acknowledged={(one.provider, one.key) for one in told}) == [], f"seed {seed}"
    assert expected.orders[PaymentStatus.PAID.value, PRICE, 0] > 100
    assert expected.disputes[DisputeStatus.LOST.value] > 30
    assert expected.sessions[SessionStatus.FAILED.value, 0] > 30

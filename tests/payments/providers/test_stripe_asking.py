"""Asking Stripe, refunding, and finding events that were not delivered, over real sockets to the fake."""

import json
from datetime import timedelta

import pytest

from portal.core import clock
from portal.core.money import Money
from portal.payments.providers.base import (
    Outcome,
    ProviderRejected,
    ProviderUnavailable,
    RecoversEvents,
    RefundRequest,
)
from portal.payments.providers.stripe import StripeProvider
from tests.fakes.stripe import FakeStripe
from tests.payments.providers.harness import SESSION_ID
from tests.payments.providers.stripe_support import (
    paid,
    sent,
    started,
)


def test_fetch_follows_a_slow_payment(stripe_provider: StripeProvider, fake: FakeStripe) -> None:
    reference = started(stripe_provider)
    fake.control.pay_late(reference, seconds=None)
    waiting = stripe_provider.fetch(reference)
    fake.control.settle(reference)
    arrived = stripe_provider.fetch(reference)
    assert (waiting.outcome, arrived.outcome) == (Outcome.PENDING, Outcome.PAID)
    assert waiting.event is not None
    assert arrived.event is not None
    assert waiting.event.business_key == f"stripe:{arrived.event.payment_reference}:pending"
    assert arrived.event.business_key == f"stripe:{arrived.event.payment_reference}:paid"
    assert arrived.raw_status == "complete/paid/succeeded"


def test_fetch_sees_that_a_slow_payment_was_refused(stripe_provider: StripeProvider, fake: FakeStripe) -> None:
    reference = started(stripe_provider)
    fake.control.pay_late(reference, seconds=None)
    fake.control.fail_settlement(reference)
    found = stripe_provider.fetch(reference)
    assert found.outcome is Outcome.FAILED
    assert found.event is not None
    assert found.event.business_key == f"stripe:{reference}:failed"


def test_fetch_tells_when_the_money_came_not_when_we_asked(stripe_provider: StripeProvider, fake: FakeStripe) -> None:
    reference = started(stripe_provider)
    fake.world.offset = -3600.0
    fake.control.pay(reference)
    found = stripe_provider.fetch(reference)
    assert found.event is not None
    assert found.event.occurred_at is not None
    assert timedelta(minutes=59) < clock.now() - found.event.occurred_at < timedelta(minutes=61)


def test_a_declined_card_leaves_the_attempt_open(stripe_provider: StripeProvider, fake: FakeStripe) -> None:
    reference = started(stripe_provider)
    fake.control.decline(reference)
    assert stripe_provider.fetch(reference).outcome is Outcome.PENDING
    fake.control.pay(reference, "blik")
    assert stripe_provider.fetch(reference).outcome is Outcome.PAID


def test_an_open_session_of_nothing_is_not_paid(stripe_provider: StripeProvider, fake: FakeStripe) -> None:
    reference = started(stripe_provider)
    fake.world.session(reference).update(payment_status="no_payment_required", amount_total=0)
    assert stripe_provider.fetch(reference).outcome is Outcome.PENDING


def test_a_session_completed_for_nothing_is_paid_with_nothing(
    stripe_provider: StripeProvider, fake: FakeStripe
) -> None:
    reference = started(stripe_provider)
    free = {"payment_status": "no_payment_required", "amount_total": 0, "status": "complete"}
    fake.world.session(reference).update(free)
    found = stripe_provider.fetch(reference)
    assert found.outcome is Outcome.PAID
    assert found.event is not None
    assert (found.event.business_key, found.event.amount_minor) == (f"stripe:{reference}:paid", 0)


@pytest.mark.parametrize("status", ["open", "expired", "complete"])
def test_money_that_is_here_counts_whatever_the_page_says(
    stripe_provider: StripeProvider, fake: FakeStripe, status: str
) -> None:
    reference = started(stripe_provider)
    fake.control.pay(reference)
    fake.world.session(reference).update(status=status, payment_status="unpaid")
    found = stripe_provider.fetch(reference)
    assert found.outcome is Outcome.PAID
    assert found.event is not None
    assert found.event.business_key == f"stripe:{found.event.payment_reference}:paid"


def test_a_payment_status_of_next_year_is_not_paid(stripe_provider: StripeProvider, fake: FakeStripe) -> None:
    reference = started(stripe_provider)
    fake.control.pay_late(reference, seconds=None)
    fake.world.session(reference).update(payment_status="promised")
    assert stripe_provider.fetch(reference).outcome is Outcome.PENDING


def test_a_status_of_next_year_is_pending_never_failed(stripe_provider: StripeProvider, fake: FakeStripe) -> None:
    reference = started(stripe_provider)
    fake.world.session(reference).update(status="under_review")
    found = stripe_provider.fetch(reference)
    assert (found.outcome, found.event, found.raw_status) == (Outcome.PENDING, None, "under_review/unpaid")


def test_a_payment_can_be_asked_for_by_its_own_id(stripe_provider: StripeProvider, fake: FakeStripe) -> None:
    reference = started(stripe_provider)
    fake.control.pay(reference)
    by_session = stripe_provider.fetch(reference).event
    assert by_session is not None
    assert by_session.payment_reference
    by_payment = stripe_provider.fetch(by_session.payment_reference).event
    assert by_payment is not None
    assert by_payment.business_key == by_session.business_key
    assert (by_payment.session_id, by_payment.amount_minor) == (SESSION_ID, 4900)


def test_live_money_says_so() -> None:
    with FakeStripe(livemode=True) as live:
        provider = StripeProvider(api_key=live.api_key, webhook_secrets=["whsec_x"], api_base=live.url)
        reference = started(provider)
        live.control.pay(reference, lose_webhook=True)
        event = provider.fetch(reference).event
    assert event is not None
    assert event.is_test is False


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("requested_by_customer", {"reason": "requested_by_customer"}),
        ("Wrong size", {"metadata[reason]": "Wrong size"}),
        ("x" * 600, {"metadata[reason]": "x" * 500}),
        ("", {}),
    ],
)
def test_a_refund_sends_its_reason_where_stripe_keeps_it(
    stripe_provider: StripeProvider, fake: FakeStripe, reason: str, expected: dict[str, str]
) -> None:
    payment = paid(stripe_provider, fake)
    stripe_provider.refund(RefundRequest(payment, Money(100, "PLN"), "refund:1", reason))
    assert sent(fake) == {"payment_intent": payment, "amount": "100", "metadata[refund_key]": "refund:1", **expected}
    assert fake.calls[-1].headers["Idempotency-Key"] == "refund:1"


def test_a_refund_without_amount_is_of_all_that_is_left(stripe_provider: StripeProvider, fake: FakeStripe) -> None:
    payment = paid(stripe_provider, fake)
    stripe_provider.refund(RefundRequest(payment, Money(900, "PLN"), "refund:1", ""))
    stripe_provider.refund(RefundRequest(payment, None, "refund:2", ""))
    assert [refund["amount"] for refund in fake.world.all("refund")] == [4000, 900]


@pytest.mark.parametrize(
    ("outcome", "status"), [("succeeded", "succeeded"), ("pending", "pending"), ("failed", "failed")]
)
def test_a_refund_says_how_it_stands(
    stripe_provider: StripeProvider, fake: FakeStripe, outcome: str, status: str
) -> None:
    payment = paid(stripe_provider, fake)
    fake.control.set_refunds(outcome)
    assert stripe_provider.refund(RefundRequest(payment, None, "refund:1", "")).status == status


def test_a_payment_refunded_in_full_cannot_be_refunded_again(stripe_provider: StripeProvider, fake: FakeStripe) -> None:
    payment = paid(stripe_provider, fake)
    stripe_provider.refund(RefundRequest(payment, None, "refund:1", ""))
    with pytest.raises(ProviderRejected, match="already been refunded"):
        stripe_provider.refund(RefundRequest(payment, None, "refund:2", ""))


def test_a_disputed_payment_cannot_be_refunded(stripe_provider: StripeProvider, fake: FakeStripe) -> None:
    payment = paid(stripe_provider, fake)
    fake.control.dispute(payment)
    with pytest.raises(ProviderRejected, match="disputed"):
        stripe_provider.refund(RefundRequest(payment, None, "refund:1", ""))


def test_a_refund_counts_as_stripe_counts(stripe_provider: StripeProvider, fake: FakeStripe) -> None:
    payment = paid(stripe_provider, fake, amount=Money(500, "ISK"))
    stripe_provider.refund(RefundRequest(payment, Money(200, "ISK"), "refund:1", ""))
    assert fake.world.all("refund")[0]["amount"] == 20_000


def test_events_that_were_not_delivered_are_found_in_order(stripe_provider: StripeProvider, fake: FakeStripe) -> None:
    payment = paid(stripe_provider, fake)
    stripe_provider.refund(RefundRequest(payment, None, "refund:1", ""))
    found = list(stripe_provider.recover_events(clock.now() - timedelta(hours=1)))
    assert [item.parsed.event_type for item in found] == [
        "payment_intent.succeeded",
        "checkout.session.completed",
        "refund.created",
    ]
    assert found[0].parsed.events[0].business_key == f"stripe:{payment}:paid"
    for item in found:
        assert json.loads(item.body)["id"] == item.parsed.delivery_key


def test_delivered_and_old_events_are_not_recovered(stripe_provider: StripeProvider, fake: FakeStripe) -> None:
    fake.world.offset = -7200.0
    paid(stripe_provider, fake, expires_at=clock.now())
    fake.world.offset = 0.0
    paid(stripe_provider, fake, attempt=2, idempotency_key="second")
    for event in fake.world.all("event"):
        if event["type"] == "payment_intent.succeeded":
            event["pending_webhooks"] = 0
    found = list(stripe_provider.recover_events(clock.now() - timedelta(hours=1)))
    assert [item.parsed.event_type for item in found] == ["checkout.session.completed"]


def test_recovery_reads_page_after_page(stripe_provider: StripeProvider, fake: FakeStripe) -> None:
    for number in range(60):
        reference = started(stripe_provider, attempt=number, idempotency_key=f"key:{number}")
        fake.control.pay(reference)
    assert len(list(stripe_provider.recover_events(clock.now() - timedelta(hours=1)))) == 120


def test_an_event_that_cannot_be_read_does_not_stop_the_others(
    stripe_provider: StripeProvider, fake: FakeStripe
) -> None:
    paid(stripe_provider, fake)
    for event in fake.world.all("event"):
        if event["type"] == "payment_intent.succeeded":
            event["data"]["object"]["currency"] = None
    found = list(stripe_provider.recover_events(clock.now() - timedelta(hours=1)))
    assert [item.parsed.event_type for item in found] == ["checkout.session.completed"]


def test_recovery_while_stripe_is_down_is_unknown(stripe_provider: StripeProvider, fake: FakeStripe) -> None:
    fake.control.add_fault("refused")
    with pytest.raises(ProviderUnavailable):
        list(stripe_provider.recover_events(clock.now()))


def test_stripe_can_recover_events(stripe_provider: StripeProvider) -> None:
    assert isinstance(stripe_provider, RecoversEvents)

"""Recurrente's two vocabularies and two shapes, and what they mean for us."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from portal.payments.providers.base import InvalidPayload, InvalidSignature, Outcome, SignatureProblem
from portal.payments.providers.payloads import Fields
from portal.payments.providers.recurrente_events import checkout_state
from tests.fakes.recurrente import WEBHOOK_SECRET
from tests.fakes.standard_webhooks import headers
from tests.payments.providers.recurrente_support import SAMPLE, SIGNED_AT, offline, only_fact, parse

GOLDEN_BODY = b'{"id":"pa_1","event_type":"payment_intent.succeeded"}'
GOLDEN = "v1,9ypI1So8xV2Br/n220UF8sSOpUWq+qdo26/D17SrgYA="
OTHER_SECRET = "whsec_YW5vdGhlci1zZWNyZXQtb2YtMjQtYnl0ZXM="


def event(event_type: str, **changes: Any) -> dict[str, Any]:
    """The sample as an event of another type; None takes a field away."""
    values = {**SAMPLE, "event_type": event_type, **changes}
    return {key: value for key, value in values.items() if value is not None}


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The same event in the newer shape."""
    outer = {key: flat[key] for key in ("event_type", "created_at")}
    return {**outer, "data": {key: value for key, value in flat.items() if key not in outer}}


def test_the_golden_signature() -> None:
    given = {"svix-id": "msg_1", "svix-timestamp": "1700000000", "svix-signature": GOLDEN}
    parsed = offline().parse_webhook(given, GOLDEN_BODY, at=SIGNED_AT)
    assert (parsed.delivery_key, parsed.event_type) == ("msg_1", "payment_intent.succeeded")
    assert headers([WEBHOOK_SECRET], "msg_1", GOLDEN_BODY, at=1_700_000_000, prefix="svix") == given


def test_the_other_names_of_the_headers_are_not_svix() -> None:
    given = headers([WEBHOOK_SECRET], "msg_1", GOLDEN_BODY, at=1_700_000_000)
    with pytest.raises(InvalidSignature) as refusal:
        offline().parse_webhook(given, GOLDEN_BODY, at=SIGNED_AT)
    assert refusal.value.reason is SignatureProblem.MISSING_HEADER


def test_both_secrets_are_good_while_one_is_replaced_and_the_old_one_is_not_afterwards() -> None:
    old = headers([WEBHOOK_SECRET], "msg_1", GOLDEN_BODY, at=1_700_000_000, prefix="svix")
    both = headers([OTHER_SECRET, WEBHOOK_SECRET], "msg_1", GOLDEN_BODY, at=1_700_000_000, prefix="svix")
    for given in (old, both):
        assert offline(OTHER_SECRET, WEBHOOK_SECRET).parse_webhook(given, GOLDEN_BODY, at=SIGNED_AT).delivery_key
    assert offline(OTHER_SECRET).parse_webhook(both, GOLDEN_BODY, at=SIGNED_AT).delivery_key
    with pytest.raises(InvalidSignature):
        offline(OTHER_SECRET).parse_webhook(old, GOLDEN_BODY, at=SIGNED_AT)


@pytest.mark.parametrize(("age", "is_good"), [(299, True), (301, False), (-299, True), (-301, False)])
def test_how_old_a_signature_may_be(age: int, is_good: bool) -> None:
    at = SIGNED_AT + timedelta(seconds=age)
    given = {"svix-id": "msg_1", "svix-timestamp": "1700000000", "svix-signature": GOLDEN}
    if is_good:
        assert offline().parse_webhook(given, GOLDEN_BODY, at=at).delivery_key == "msg_1"
        return
    with pytest.raises(InvalidSignature):
        offline().parse_webhook(given, GOLDEN_BODY, at=at)


@pytest.mark.parametrize("shape", ["flat", "nested"])
@pytest.mark.parametrize("event_type", ["payment_intent.succeeded", "intent.succeeded"])
def test_a_payment_means_the_same_under_both_names_and_in_both_shapes(event_type: str, shape: str) -> None:
    told = event(event_type)
    fact = only_fact(told if shape == "flat" else nested(told))
    assert (fact.outcome, fact.business_key) == (Outcome.PAID, "recurrente:pa_1:paid")
    assert (fact.session_id, fact.attempt, fact.attempt_reference) == ("ps_1", 2, "ch_1")
    assert (fact.amount_minor, fact.currency, fact.payment_reference) == (9500, "USD", "pa_1")
    assert fact.occurred_at == datetime(2026, 11, 21, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("event_type", "outcome"),
    [
        ("intent.pending", Outcome.PENDING),
        ("bank_transfer_intent.pending", Outcome.PENDING),
        ("intent.succeeded", Outcome.PAID),
        ("payment_intent.succeeded", Outcome.PAID),
        ("bank_transfer_intent.succeeded", Outcome.PAID),
        ("crypto_intent.succeeded", Outcome.PAID),
        ("balance_intent.succeeded", Outcome.PAID),
        ("cash_intent.succeeded", Outcome.PAID),
        ("intent.failed", Outcome.HINT),
        ("intent.canceled", Outcome.HINT),
        ("payment_intent.failed", Outcome.HINT),
        ("bank_transfer_intent.failed", Outcome.HINT),
        ("crypto_intent.failed", Outcome.HINT),
    ],
)
def test_every_family_is_read_by_its_suffix(event_type: str, outcome: Outcome) -> None:
    assert only_fact(event(event_type)).outcome is outcome


def test_a_failed_try_names_its_checkout_and_nothing_else() -> None:
    fact = only_fact(event("payment_intent.failed", checkout={"id": "ch_1"}, failure_reason="card_declined"))
    assert (fact.outcome, fact.session_id, fact.attempt_reference) == (Outcome.HINT, None, "ch_1")
    assert (fact.business_key, fact.detail) == (None, "card_declined")


@pytest.mark.parametrize(
    "missing",
    [{"amount_in_cents": None}, {"currency": None}, {"id": "in_1", "payment": None}, {"id": None, "payment": None}],
    ids=["no amount", "no currency", "an id we do not know", "no id"],
)
def test_a_unified_event_that_does_not_say_enough_is_only_a_hint(missing: dict[str, Any]) -> None:
    fact = only_fact(event("intent.succeeded", **missing))
    assert (fact.outcome, fact.attempt_reference, fact.session_id) == (Outcome.HINT, "ch_1", "ps_1")


@pytest.mark.parametrize(
    ("event_type", "outcome"),
    [
        ("subscription.create", Outcome.IGNORED),
        ("subscription.activated", Outcome.IGNORED),
        ("subscription.reactivate", Outcome.SUBSCRIPTION_RESUMED),
        ("subscription.unpause", Outcome.SUBSCRIPTION_RESUMED),
        ("subscription.pause", Outcome.SUBSCRIPTION_PAUSED),
        ("subscription.paused", Outcome.SUBSCRIPTION_PAUSED),
        ("subscription.past_due", Outcome.RENEWAL_FAILED),
        ("subscription.payment_failed", Outcome.RENEWAL_FAILED),
        # Without an amount it says nothing about money.
        ("subscription.payment_succeeded", Outcome.IGNORED),
        ("subscription.cancel", Outcome.SUBSCRIPTION_ENDED),
        ("subscription.cancelled", Outcome.SUBSCRIPTION_ENDED),
    ],
)
def test_what_becomes_of_a_subscription(event_type: str, outcome: Outcome) -> None:
    for payment in (None, {"id": "pa_9", "paymentable": {"type": "Subscription", "id": "su_1"}}):
        fact = only_fact({"event_type": event_type, "id": "su_1", "customer_id": "us_1", "payment": payment})
        assert (fact.outcome, fact.subscription_reference, fact.session_id) == (outcome, "su_1", None)
        assert (fact.amount_minor, fact.payment_reference) == (None, None)


@pytest.mark.parametrize("spelling", ["subscription", "suscription"])
@pytest.mark.parametrize(
    ("suffix", "outcome"), [("succeeded", Outcome.IGNORED), ("cancelled", Outcome.SUBSCRIPTION_ENDED)]
)
def test_both_spellings_of_a_trial_are_read(spelling: str, suffix: str, outcome: Outcome) -> None:
    fact = only_fact({"event_type": f"setup_intent.{suffix}", "id": "seti_1", spelling: {"id": "su_9"}})
    assert (fact.outcome, fact.subscription_reference) == (outcome, "su_9")


_CHARGE = {"id": "pa_1", "paymentable": {"type": "Subscription", "id": "su_1"}}


@pytest.mark.parametrize(
    "event_type", ["payment_intent.succeeded", "intent.succeeded", "subscription.payment_succeeded"]
)
def test_a_charge_of_a_subscription_counts_once_under_every_name(event_type: str) -> None:
    fact = only_fact(event(event_type, payment=_CHARGE))
    assert (fact.outcome, fact.business_key) == (Outcome.PAID, "recurrente:pa_1:paid")
    assert (fact.subscription_reference, fact.payment_reference, fact.session_id) == ("su_1", "pa_1", "ps_1")
    assert (fact.amount_minor, fact.currency) == (9500, "USD")


def test_a_charge_that_failed_is_no_end_of_the_first_page() -> None:
    fact = only_fact(event("payment_intent.failed", payment=_CHARGE, failure_reason="card_declined"))
    assert (fact.outcome, fact.detail) == (Outcome.RENEWAL_FAILED, "card_declined")
    assert (fact.subscription_reference, fact.amount_minor) == ("su_1", None)


@pytest.mark.parametrize(
    "unsaid",
    [{"amount_in_cents": None}, {"currency": None}, {"payment": {"id": "in_1", "paymentable": _CHARGE["paymentable"]}}],
    ids=["no amount", "no currency", "an id we do not know"],
)
def test_a_charge_that_does_not_say_enough_states_nothing(unsaid: dict[str, Any]) -> None:
    assert only_fact(event("intent.succeeded", **{"payment": _CHARGE, **unsaid})).outcome is Outcome.IGNORED


def test_refunds_go_by_their_payment() -> None:
    refund = {
        "event_type": "refund.create", "id": "re_1", "status": "succeeded", "payment_intent_id": "pa_1",
        "customer_refunded_amount_in_cents": 9500, "currency": "USD",
    }  # fmt: skip
    fact = only_fact(refund)
    assert (fact.outcome, fact.payment_reference) == (Outcome.REFUNDED, "pa_1")
    assert (fact.business_key, fact.amount_minor, fact.currency) == ("recurrente:pa_1:succeeded", 9500, "USD")
    assert only_fact({**refund, "status": "failed"}).outcome is Outcome.REFUND_FAILED


def test_disputes_are_opened_and_closed() -> None:
    dispute = {"id": "dp_1", "payment_intent_id": "pa_1", "reason": "fraudulent", "status": "needs_response"}
    opened = only_fact({**dispute, "event_type": "dispute.create"})
    assert (opened.outcome, opened.detail) == (Outcome.DISPUTED, "fraudulent")
    assert only_fact({**dispute, "event_type": "dispute.update"}).outcome is Outcome.IGNORED
    lost = only_fact({**dispute, "event_type": "dispute.update", "status": "lost"})
    assert (lost.outcome, lost.detail) == (Outcome.DISPUTE_CLOSED, "lost")
    assert opened.business_key != lost.business_key


def test_the_mode_is_the_keys_unless_the_event_says() -> None:
    assert only_fact(event("intent.succeeded")).is_test is True
    assert only_fact(event("intent.succeeded"), key="sk_live_1").is_test is False
    assert only_fact(event("intent.succeeded", live_mode=True)).is_test is False
    assert only_fact(event("intent.succeeded", live_mode=False), key="sk_live_1").is_test is True


@pytest.mark.parametrize(
    "event_type", ["intent", "intent.", ".succeeded", "intent.created", "payout.succeeded", "x" * 128]
)
def test_other_types_are_stored_and_ignored(event_type: str) -> None:
    assert parse(event(event_type)).events == ()


@pytest.mark.parametrize(
    "broken",
    [
        {}, {"event_type": 1}, {"event_type": "x" * 129}, {"data": []}, {"data": "x"}, {"checkout": []},
        {"checkout": {"id": 7}}, {"checkout": 7}, {"payment": 3},
        {"payment": {"id": ["pa_1"]}}, {"amount_in_cents": "9500"}, {"amount_in_cents": 95.5},
        {"amount_in_cents": True}, {"amount_in_cents": 2**63}, {"currency": "USDT"}, {"currency": 840},
        {"id": "x" * 201, "payment": None}, {"live_mode": "yes"}, {"created_at": 5},
    ],
)  # fmt: skip
def test_a_field_of_the_wrong_kind_is_refused(broken: dict[str, Any]) -> None:
    body = {**SAMPLE, **broken} if broken else {"id": "pa_1"}
    with pytest.raises(InvalidPayload):
        parse(json.dumps(body).encode())


@pytest.mark.parametrize("metadata", [[], "x", {"session_id": 1}, {"session_id": "x" * 65}, {"session_id": "y" * 501}])
def test_a_checkout_of_somebody_elses_is_not_ours_and_no_trouble(metadata: Any) -> None:
    fact = only_fact(event("intent.succeeded", checkout={"id": "ch_1", "metadata": metadata}))
    assert (fact.outcome, fact.session_id, fact.attempt_reference) == (Outcome.PAID, None, "ch_1")


def test_ids_may_stand_for_what_they_name() -> None:
    fact = only_fact(event("intent.succeeded", id="in_1", checkout="ch_1", payment="pa_1"))
    assert (fact.business_key, fact.attempt_reference) == ("recurrente:pa_1:paid", "ch_1")


@pytest.mark.parametrize("created_at", ["", "yesterday", "2026-13-01T00:00:00Z", "9999-12-31T23:59:59-23:59"])
def test_a_time_that_is_none_says_nothing(created_at: str) -> None:
    assert only_fact(event("intent.succeeded", created_at=created_at)).occurred_at is None


def checkout(**changes: Any) -> Fields:
    """A checkout as the API tells it."""
    usual = {"id": "ch_1", "status": "unpaid", "metadata": {"session_id": "ps_1", "amount": "4900 GTQ"}}
    return Fields({**usual, **changes})


def test_a_checkout_fails_by_the_clock_alone() -> None:
    at = datetime(2026, 11, 21, 12, tzinfo=UTC)
    marks = {"session_id": "ps_1", "closes_at": "2026-11-21T11:50:01+00:00"}
    assert checkout_state(checkout(metadata=marks), at=at, is_test=True).event is None
    closed = checkout_state(checkout(metadata={**marks, "closes_at": "2026-11-21T11:49:59Z"}), at=at, is_test=True)
    assert closed.outcome is Outcome.FAILED
    # Without a time of ours the one that it says counts; without any it stays open.
    assert checkout_state(checkout(expires_at="2026-11-20T00:00:00Z"), at=at, is_test=True).outcome is Outcome.FAILED
    assert checkout_state(checkout(), at=at, is_test=True).outcome is Outcome.PENDING
    # Money on its way is not failed by any clock.
    under_way = checkout(status="payment_in_progress", expires_at="2026-11-20T00:00:00Z", latest_intent={"id": "ba_1"})
    assert checkout_state(under_way, at=at, is_test=True).outcome is Outcome.PENDING


def test_a_status_nobody_knows_decides_nothing() -> None:
    found = checkout_state(checkout(status="quarantined"), at=SIGNED_AT, is_test=True)
    assert (found.outcome, found.event, found.raw_status) == (Outcome.PENDING, None, "quarantined")


def test_a_paid_checkout_without_its_amount_took_what_was_asked() -> None:
    paid = checkout(status="paid", payment={"id": "pa_1", "paymentable": {"type": "OneTimePayment", "id": "on_1"}})
    fact = checkout_state(paid, at=SIGNED_AT, is_test=True).event
    assert fact is not None
    assert (fact.business_key, fact.amount_minor, fact.currency) == ("recurrente:pa_1:paid", 4900, "GTQ")


def test_a_paid_checkout_that_names_no_payment_is_not_believed() -> None:
    with pytest.raises(InvalidPayload):
        checkout_state(checkout(status="paid"), at=SIGNED_AT, is_test=True)

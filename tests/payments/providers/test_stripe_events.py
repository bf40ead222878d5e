"""Stripe's events: what each means for us (providers.md 1.3), and what cannot be read."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portal.payments.providers.base import (
    InvalidPayload,
    NormalisedEvent,
    Outcome,
)
from portal.payments.providers.stripe_events import EVENT_TYPES
from tests.payments.providers.stripe_support import (
    DISPUTE,
    INTENT,
    INVOICE,
    REFUND,
    SESSION,
    event,
    mark,
    parse,
)


def meaning(body: bytes) -> tuple[NormalisedEvent, ...]:
    return parse(body, f"t=1700000000,v1={mark(body)}").events


def unreadable(body: bytes) -> str:
    with pytest.raises(InvalidPayload) as refusal:
        meaning(body)
    return refusal.value.reason


@pytest.mark.parametrize(
    ("kind", "thing", "outcome", "business_key"),
    [
        ("checkout.session.completed", SESSION, Outcome.PAID, "stripe:pi_1:paid"),
        ("checkout.session.completed", SESSION | {"payment_status": "unpaid"}, Outcome.PENDING, "stripe:pi_1:pending"),
        ("checkout.session.completed", SESSION | {"mode": "subscription"}, Outcome.HINT, None),
        (
            "checkout.session.completed",
            SESSION | {"mode": "subscription", "payment_status": "no_payment_required"},
            Outcome.IGNORED,
            None,
        ),
        ("invoice.paid", INVOICE, Outcome.HINT, None),
        ("invoice.payment_succeeded", INVOICE, Outcome.HINT, None),
        ("invoice.payment_failed", INVOICE, Outcome.RENEWAL_FAILED, "stripe:in_1:failed:1"),
        (
            "invoice.payment_failed",
            INVOICE | {"billing_reason": "subscription_create"},
            Outcome.IGNORED,
            None,
        ),
        (
            "customer.subscription.deleted",
            {"id": "sub_1", "object": "subscription", "metadata": {"session_id": "ps_1"}},
            Outcome.SUBSCRIPTION_ENDED,
            "stripe:sub_1:cancelled",
        ),
        ("checkout.session.completed", SESSION | {"mode": "setup"}, Outcome.IGNORED, None),
        ("checkout.session.completed", SESSION | {"payment_status": "gold"}, Outcome.IGNORED, None),
        (
            "checkout.session.completed",
            SESSION | {"payment_status": "no_payment_required", "payment_intent": None, "amount_total": 0},
            Outcome.PAID,
            "stripe:cs_1:paid",
        ),
        ("checkout.session.async_payment_succeeded", SESSION, Outcome.PAID, "stripe:pi_1:paid"),
        (
            "checkout.session.async_payment_failed",
            SESSION | {"payment_status": "unpaid"},
            Outcome.FAILED,
            "stripe:cs_1:failed",
        ),
        (
            "checkout.session.expired",
            SESSION | {"status": "expired", "payment_status": "unpaid", "payment_intent": None},
            Outcome.FAILED,
            "stripe:cs_1:failed",
        ),
        ("payment_intent.succeeded", INTENT, Outcome.PAID, "stripe:pi_1:paid"),
        ("payment_intent.processing", INTENT | {"amount_received": 0}, Outcome.PENDING, "stripe:pi_1:pending"),
        ("payment_intent.payment_failed", INTENT | {"amount_received": 0}, Outcome.IGNORED, None),
        ("refund.created", REFUND, Outcome.REFUNDED, "stripe:re_1:succeeded"),
        ("refund.updated", REFUND, Outcome.REFUNDED, "stripe:re_1:succeeded"),
        ("charge.refund.updated", REFUND, Outcome.REFUNDED, "stripe:re_1:succeeded"),
        ("refund.created", REFUND | {"status": "pending"}, Outcome.IGNORED, None),
        ("refund.created", REFUND | {"status": "requires_action"}, Outcome.IGNORED, None),
        ("refund.created", REFUND | {"status": None}, Outcome.IGNORED, None),
        ("refund.created", REFUND | {"status": "lost"}, Outcome.IGNORED, None),
        ("refund.failed", REFUND | {"status": "failed"}, Outcome.REFUND_FAILED, "stripe:re_1:failed"),
        ("refund.updated", REFUND | {"status": "failed"}, Outcome.REFUND_FAILED, "stripe:re_1:failed"),
        ("refund.updated", REFUND | {"status": "canceled"}, Outcome.REFUND_FAILED, "stripe:re_1:failed"),
        ("charge.dispute.created", DISPUTE, Outcome.DISPUTED, "stripe:dp_1:created"),
        ("charge.dispute.updated", DISPUTE, Outcome.DISPUTED, "stripe:dp_1:created"),
        ("charge.dispute.closed", DISPUTE | {"status": "won"}, Outcome.DISPUTE_CLOSED, "stripe:dp_1:closed"),
        ("charge.dispute.closed", DISPUTE | {"status": "lost"}, Outcome.DISPUTE_CLOSED, "stripe:dp_1:closed"),
    ],
)
def test_mapping(kind: str, thing: dict[str, Any], outcome: Outcome, business_key: str | None) -> None:
    (fact,) = meaning(event(kind, thing))
    assert (fact.outcome, fact.business_key) == (outcome, business_key)
    assert fact.is_test is True
    assert fact.occurred_at == datetime.fromtimestamp(1_795_224_000, UTC)


def test_every_type_we_subscribe_to_is_mapped_above() -> None:
    cases = next(mark for mark in test_mapping.pytestmark if mark.name == "parametrize").args[1]
    assert {case[0] for case in cases} == set(EVENT_TYPES)
    assert len(EVENT_TYPES) <= 20  # The events list takes no more.


@pytest.mark.parametrize(
    "kind",
    [
        "charge.succeeded",
        "charge.refunded",
        "charge.dispute.funds_withdrawn",
        "payment_intent.created",
        "payment_intent.canceled",
        "invoice.created",
        "customer.subscription.updated",
        "some.type.of.next.year",
    ],
)
def test_other_types_state_nothing(kind: str) -> None:
    assert meaning(event(kind, {"id": "x_1"})) == ()


@pytest.mark.parametrize("kind", ["invoice.paid", "invoice.payment_succeeded", "invoice.payment_failed"])
@pytest.mark.parametrize(
    "parent",
    [None, {"type": "quote_details"}, {"type": "subscription_details", "subscription_details": {"metadata": {}}}],
    ids=["of no subscription", "of a quote", "of somebody else's subscription"],
)
def test_other_invoices_state_nothing(kind: str, parent: dict[str, Any] | None) -> None:
    assert meaning(event(kind, INVOICE | {"parent": parent})) == ()


def test_a_failed_renewal_says_when_it_is_tried_again() -> None:
    (fact,) = meaning(event("invoice.payment_failed", INVOICE | {"next_payment_attempt": 1_795_483_200}))
    assert fact.due_at == datetime.fromtimestamp(1_795_483_200, UTC)
    assert (fact.session_id, fact.subscription_reference, fact.subject_reference) == ("ps_1", "sub_1", "in_1")


def test_a_completed_session_says_all_we_need() -> None:
    (fact,) = meaning(event("checkout.session.completed", SESSION))
    assert fact == NormalisedEvent(
        outcome=Outcome.PAID,
        session_id="ps_1",
        attempt_reference="cs_1",
        payment_reference="pi_1",
        business_key="stripe:pi_1:paid",
        amount_minor=4900,
        currency="USD",
        is_test=True,
        occurred_at=datetime.fromtimestamp(1_795_224_000, UTC),
    )


@pytest.mark.parametrize(("text", "attempt"), [("2", 2), ("", None), ("two", None), ("9" * 400, None), ("²", None)])
def test_a_payment_says_which_attempt_it_was(text: str, attempt: int | None) -> None:
    metadata = {"session_id": "ps_1", "attempt": text}
    for kind, thing in (("payment_intent.succeeded", INTENT), ("checkout.session.completed", SESSION)):
        (fact,) = meaning(event(kind, thing | {"metadata": metadata}))
        assert fact.attempt == attempt


def test_a_refund_names_the_payment() -> None:
    (fact,) = meaning(event("refund.created", REFUND))
    assert (fact.session_id, fact.payment_reference, fact.amount_minor, fact.currency) == (None, "pi_1", 1500, "USD")


def test_a_dispute_says_why_and_how_it_ended() -> None:
    (opened,) = meaning(event("charge.dispute.created", DISPUTE))
    (closed,) = meaning(event("charge.dispute.closed", DISPUTE | {"status": "lost"}))
    assert (opened.detail, closed.detail) == ("fraudulent", "lost")
    assert opened.subject_reference == closed.subject_reference == "dp_1"


def test_a_dispute_says_until_when_to_answer() -> None:
    (fact,) = meaning(event("charge.dispute.created", DISPUTE | {"evidence_details": {"due_by": 1_795_828_800}}))
    assert fact.due_at == datetime.fromtimestamp(1_795_828_800, UTC)
    (fact,) = meaning(event("charge.dispute.created", DISPUTE | {"evidence_details": {"due_by": None}}))
    assert fact.due_at is None


@pytest.mark.parametrize("status", ["warning_closed", "prevented"])
def test_a_dispute_that_came_to_nothing_is_withdrawn(status: str) -> None:
    (fact,) = meaning(event("charge.dispute.closed", DISPUTE | {"status": status}))
    assert fact.detail == "withdrawn"


def test_a_refund_brings_our_key_back() -> None:
    (ours,) = meaning(event("refund.created", REFUND | {"metadata": {"refund_key": "refund:1"}}))
    (theirs,) = meaning(event("refund.created", REFUND))
    assert (ours.subject_reference, ours.refund_key, theirs.refund_key) == ("re_1", "refund:1", None)


def test_a_declined_card_says_why_and_fails_nothing() -> None:
    declined = INTENT | {"last_payment_error": {"code": "card_declined", "decline_code": "insufficient_funds"}}
    (fact,) = meaning(event("payment_intent.payment_failed", declined))
    assert (fact.outcome, fact.detail, fact.session_id) == (Outcome.IGNORED, "declined: insufficient_funds", "ps_1")


def test_live_events_say_so() -> None:
    (fact,) = meaning(event("checkout.session.completed", SESSION, livemode=True))
    assert fact.is_test is False


@pytest.mark.parametrize(
    "kind", ["payment_intent.succeeded", "payment_intent.processing", "payment_intent.payment_failed"]
)
def test_a_payment_that_is_not_from_our_checkout_states_nothing(kind: str) -> None:
    assert meaning(event(kind, INTENT | {"metadata": {}})) == ()


def test_our_metadata_counts_before_the_client_reference() -> None:
    (fact,) = meaning(event("checkout.session.completed", SESSION | {"client_reference_id": "ps_other"}))
    assert fact.session_id == "ps_1"


def test_the_client_reference_counts_without_metadata() -> None:
    (fact,) = meaning(event("checkout.session.completed", SESSION | {"metadata": {}}))
    assert fact.session_id == "ps_1"


def test_the_client_reference_of_a_payment_link_is_the_buyers_choice_and_counts_for_nothing() -> None:
    linked = SESSION | {"metadata": {}, "payment_link": "plink_1"}
    (fact,) = meaning(event("checkout.session.completed", linked))
    assert fact.session_id is None


def test_a_reference_that_cannot_be_ours_is_none() -> None:
    (fact,) = meaning(event("checkout.session.completed", SESSION | {"metadata": {"session_id": "x" * 65}}))
    assert fact.session_id is None


def test_what_was_received_counts_not_what_was_asked_for() -> None:
    (fact,) = meaning(event("payment_intent.succeeded", INTENT | {"amount_received": 4800}))
    assert fact.amount_minor == 4800


def test_an_expanded_payment_intent_is_read_by_its_id() -> None:
    (fact,) = meaning(event("checkout.session.completed", SESSION | {"payment_intent": INTENT}))
    assert fact.payment_reference == "pi_1"


def test_the_krona_is_counted_in_hundredths_by_stripe_only() -> None:
    (fact,) = meaning(event("payment_intent.succeeded", INTENT | {"amount_received": 50_000, "currency": "isk"}))
    assert (fact.amount_minor, fact.currency) == (500, "ISK")


def test_the_ariary_is_counted_whole_by_stripe_only() -> None:
    (fact,) = meaning(event("payment_intent.succeeded", INTENT | {"amount_received": 500, "currency": "mga"}))
    assert (fact.amount_minor, fact.currency) == (50_000, "MGA")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (event("checkout.session.completed", SESSION, object="v2.core.event"), "not a Stripe event"),
        (event("checkout.session.completed", SESSION, object=None), "object is missing"),
        (event("checkout.session.completed", SESSION, id=None), "id is missing"),
        (event("checkout.session.completed", SESSION, id=""), "id is not a text"),
        (event("checkout.session.completed", SESSION, id=7), "id is not a text"),
        (event("checkout.session.completed", SESSION, id="e" * 300), "id is too long"),
        (event("checkout.session.completed", SESSION, type=None), "type is missing"),
        (event("t" * 200, SESSION), "type is too long"),
        (event("checkout.session.completed", SESSION, data=None), "data is missing"),
        (event("checkout.session.completed", SESSION, data=[]), "data is not an object"),
        (event("checkout.session.completed", SESSION, data={"object": "cs_1"}), "data.object is not an object"),
        (event("checkout.session.completed", SESSION, livemode="no"), "livemode is not true or false"),
        (event("checkout.session.completed", SESSION, created="now"), "created is not a whole number"),
        (event("checkout.session.completed", SESSION, created=True), "created is not a whole number"),
        (event("checkout.session.completed", SESSION, created=2**62), "created is not a time"),
        (event("checkout.session.completed", SESSION | {"id": None}), "data.object.id is missing"),
        (event("checkout.session.completed", SESSION | {"amount_total": None}), "data.object.amount_total is missing"),
        (
            event("checkout.session.completed", SESSION | {"amount_total": 49.0}),
            "data.object.amount_total is not a whole number",
        ),
        (
            event("checkout.session.completed", SESSION | {"amount_total": 2**63}),
            "data.object.amount_total is not a whole number",
        ),
        (event("checkout.session.completed", SESSION | {"currency": None}), "data.object.currency is missing"),
        (event("checkout.session.completed", SESSION | {"currency": "dollar"}), "data.object.currency is too long"),
        (
            event("checkout.session.completed", SESSION | {"payment_intent": 5}),
            "data.object.payment_intent is not a text",
        ),
        (event("checkout.session.completed", SESSION | {"metadata": []}), "data.object.metadata is not an object"),
        (
            event("payment_intent.succeeded", INTENT | {"amount": None, "amount_received": None}),
            "data.object.amount is missing",
        ),
    ],
)
def test_a_signed_event_without_what_we_need_is_refused_by_name(body: bytes, reason: str) -> None:
    assert unreadable(body) == reason


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(EVENT_TYPES),
    st.dictionaries(
        st.sampled_from([*SESSION, *INTENT, "payment_link", "last_payment_error", "failure_reason", "reason"]),
        JSON_VALUES,
    ),
)
@settings(deadline=None, max_examples=300)
def test_whatever_stripe_would_sign_is_read_or_refused(kind: str, changes: dict[str, Any]) -> None:
    body = event(kind, {**SESSION, **INTENT, **changes})
    try:
        facts = meaning(body)
    except InvalidPayload:
        return
    for fact in facts:
        assert fact.business_key is None or len(fact.business_key) <= 255
        assert fact.outcome is not Outcome.PAID or fact.amount_minor is not None

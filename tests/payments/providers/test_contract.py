"""What every provider must do, whoever it is. One provider's own words are in its own file."""

import dataclasses
import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from portal.core import clock
from portal.core.money import Money
from portal.payments.providers.base import (
    AlreadyStarted,
    InvalidPayload,
    InvalidSignature,
    NormalisedEvent,
    Outcome,
    ProviderRejected,
    ProviderUnavailable,
    RefundRequest,
    SignatureProblem,
    TakesSubscriptions,
)
from portal.payments.services.refund_facts import reference_of
from tests.payments.providers.harness import (
    CANNOT_BE_ASKED,
    CANNOT_EXPIRE,
    HINTING,
    PROVIDERS,
    RECURRING,
    REFUNDING,
    SESSION_ID,
    TELLING_REFUNDS,
    WHOLE_REFUNDS_ONLY,
    WITHOUT_A_MODE,
    Harness,
    asked,
    currency_of,
)

WORSE_THAN_JSON = {
    "empty": b"",
    "not json": b"event=paid",
    "a list": b"[]",
    "a text": b'"paid"',
    "null": b"null",
    "no fields": b"{}",
    "cut off": b'{"id":"evt_1","object":"event"',
    "two documents": b"{}{}",
    "depth bomb of lists": b"[" * 200_000,
    "depth bomb of objects": b'{"a":' * 100_000,
    "closed depth bomb": b'{"a":' + b"[" * 900 + b"]" * 900 + b"}",
    "duplicate key": b'{"id":"evt_1","id":"evt_2","object":"event","type":"x","data":{"object":{}}}',
    "duplicate key inside": b'{"id":"evt_1","object":"event","type":"x","data":{"object":{},"object":{}}}',
    "NaN": b'{"id":"evt_1","object":"event","type":"x","created":NaN}',
    "Infinity": b'{"id":"evt_1","object":"event","type":"x","created":-Infinity}',
    "1e999": b'{"id":"evt_1","object":"event","type":"x","created":1e999}',
    "a number of 5000 digits": b'{"id":"evt_1","created":' + b"9" * 5000 + b"}",
    "invalid UTF-8": b'{"id":"evt_\xff","object":"event"}',
    "UTF-16": '{"id":"evt_1","object":"event"}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"id":"evt_1"}',
    "gzip": bytes.fromhex("1f8b0800000000000003ab562a4e2d2e"),
    "lone surrogate": rb'{"id":"evt_\ud800","object":"event","type":"x","data":{"object":{}}}',
    "lone surrogate in a key": rb'{"\udfff":1,"id":"evt_1","object":"event","type":"x"}',
    "NUL in a text": rb'{"id":"evt_\u0000","object":"event","type":"x","data":{"object":{}}}',
    "NUL deep inside": rb'{"id":"evt_1","object":"event","type":"x","data":{"object":{"a":[["\u0000"]]}}}',
    "raw control character": b'{"id":"evt_\x00","object":"event"}',
}


def paid_attempt(harness: Harness) -> str:
    reference = harness.provider.start(asked(harness)).reference
    harness.pay(reference)
    return reference


def told(harness: Harness, reference: str) -> list[NormalisedEvent]:
    facts: list[NormalisedEvent] = []
    for headers, body in harness.webhooks(reference):
        facts.extend(harness.provider.parse_webhook(headers, body, at=clock.now()).events)
    return facts


def paid_facts(harness: Harness, reference: str) -> list[NormalisedEvent]:
    """What the core learns by webhooks: the facts in them, and what asking about their hints says."""
    facts = []
    for fact in told(harness, reference):
        asked = None
        if fact.outcome is Outcome.HINT:
            asked = harness.provider.fetch(fact.attempt_reference or reference).event
        facts.append(asked or fact)
    return [fact for fact in facts if fact.outcome is Outcome.PAID]


def payment_reference(harness: Harness, reference: str) -> str:
    event = harness.provider.fetch(reference).event
    assert event is not None
    assert event.payment_reference
    return event.payment_reference


def test_every_refunding_provider_is_held_to_it(harness: Harness) -> None:
    assert harness.provider.capabilities.refund == (harness.provider.name in REFUNDING)
    name, can = harness.provider.name, harness.provider.capabilities
    assert name in PROVIDERS
    assert can.partial_refund == (can.refund and name not in WHOLE_REFUNDS_ONLY)
    assert can.fetch == (name not in CANNOT_BE_ASKED)
    assert can.expire == (name not in CANNOT_EXPIRE)
    assert can.recurring == isinstance(harness.provider, TakesSubscriptions) == (name in RECURRING)
    assert harness.provider.title
    assert harness.provider.capabilities.methods


def test_start_gives_a_page_to_send_the_buyer_to(harness: Harness) -> None:
    started = harness.provider.start(asked(harness))
    assert started.reference
    assert started.redirect_url.startswith(("http://", "https://"))
    assert started.expires_at is None or started.expires_at > clock.now()


def test_start_repeated_gives_the_same_page_or_says_that_there_is_one(harness: Harness) -> None:
    first = asked(harness)
    page = harness.provider.start(first)
    if harness.provider.capabilities.repeats_start:
        assert harness.provider.start(first) == page
        return
    with pytest.raises(AlreadyStarted):
        harness.provider.start(first)
    assert harness.provider.fetch(page.reference).outcome is Outcome.PENDING


def test_start_with_another_key_is_another_attempt(harness: Harness) -> None:
    first = harness.provider.start(asked(harness))
    second = harness.provider.start(asked(harness, attempt=2, idempotency_key=f"checkout:{SESSION_ID}:2"))
    assert first.reference != second.reference


def test_start_with_a_used_key_and_another_amount_is_refused(opening: Harness) -> None:
    first = asked(opening)
    opening.provider.start(first)
    with pytest.raises(ProviderRejected) as refusal:
        opening.provider.start(dataclasses.replace(first, amount=Money(1, currency_of(opening))))
    is_repeated = opening.provider.capabilities.repeats_start
    assert refusal.value.reason == ("idempotency_conflict" if is_repeated else "already_started")


def test_an_untouched_attempt_is_pending_and_states_nothing(asking: Harness) -> None:
    found = asking.provider.fetch(asking.provider.start(asked(asking)).reference)
    assert (found.outcome, found.event) == (Outcome.PENDING, None)


def test_webhooks_say_who_paid_how_much_for_what(harness: Harness) -> None:
    reference = paid_attempt(harness)
    facts = paid_facts(harness, reference)
    assert facts
    for fact in facts:
        assert fact.session_id == SESSION_ID
        assert (fact.amount_minor, fact.currency) == (4900, currency_of(harness))
        assert fact.is_test is (None if harness.provider.name in WITHOUT_A_MODE else True)
        assert fact.payment_reference
        # Who is asked may not know any more when it was.
        assert fact.occurred_at is not None or harness.provider.name in HINTING
        assert fact.occurred_at is None or fact.occurred_at.tzinfo is not None


def test_a_hint_names_the_attempt_and_states_nothing(harness: Harness) -> None:
    reference = paid_attempt(harness)
    facts = told(harness, reference)
    hints = [fact for fact in facts if fact.outcome is Outcome.HINT]
    assert bool(hints) == (harness.provider.name in HINTING)
    for hint in hints:
        assert hint.session_id == SESSION_ID
        assert hint.attempt_reference in (reference, None)
        assert (hint.business_key, hint.amount_minor) == (None, None)
    assert not hints or all(fact.outcome is not Outcome.PAID for fact in facts)


def test_one_payment_has_one_business_key_by_webhook_and_by_asking(asking: Harness) -> None:
    reference = paid_attempt(asking)
    answer = asking.provider.fetch(reference)
    assert answer.outcome is Outcome.PAID
    assert answer.event is not None
    assert answer.event.business_key
    assert {fact.business_key for fact in paid_facts(asking, reference)} == {answer.event.business_key}
    assert answer.event.business_key.startswith(f"{asking.provider.name}:")
    assert (answer.event.session_id, answer.event.attempt_reference) == (SESSION_ID, reference)
    assert (answer.event.amount_minor, answer.event.currency) == (4900, currency_of(asking))
    assert answer.event.is_test is (None if asking.provider.name in WITHOUT_A_MODE else True)


def test_a_delivery_means_the_same_each_time(harness: Harness) -> None:
    reference = paid_attempt(harness)
    for headers, body in harness.webhooks(reference):
        at = clock.now()
        once = harness.provider.parse_webhook(headers, body, at=at)
        assert once == harness.provider.parse_webhook(harness.sign(body), body, at=at)
        assert 0 < len(once.delivery_key) <= 255


def test_delivery_keys_differ(harness: Harness) -> None:
    deliveries = harness.webhooks(paid_attempt(harness))
    keys = {harness.provider.parse_webhook(headers, body, at=clock.now()).delivery_key for headers, body in deliveries}
    assert len(keys) == len(deliveries)


def test_a_type_nobody_uses_is_ignored(harness: Harness) -> None:
    body = harness.foreign_body()
    parsed = harness.provider.parse_webhook(harness.sign(body), body, at=clock.now())
    assert all(event.outcome is Outcome.IGNORED for event in parsed.events)


def test_header_names_have_no_case(harness: Harness) -> None:
    body = harness.foreign_body()
    headers = {name.upper(): value for name, value in harness.sign(body).items()}
    assert harness.provider.parse_webhook(headers, body, at=clock.now()).delivery_key


@pytest.mark.parametrize("change", [b" ", b"\n", b"\r\n", b"\0"])
def test_one_byte_more_is_not_what_was_signed(harness: Harness, change: bytes) -> None:
    body = harness.foreign_body()
    with pytest.raises(InvalidSignature) as refusal:
        harness.provider.parse_webhook(harness.sign(body), body + change, at=clock.now())
    assert refusal.value.reason is SignatureProblem.NO_MATCH


def test_a_body_written_anew_is_not_what_was_signed(harness: Harness) -> None:
    body = harness.foreign_body()
    again = json.dumps(json.loads(body), indent=1).encode()
    with pytest.raises(InvalidSignature):
        harness.provider.parse_webhook(harness.sign(body), again, at=clock.now())


def test_a_trailing_newline_that_was_signed_is_fine(harness: Harness) -> None:
    body = harness.foreign_body() + b"\n"
    assert harness.provider.parse_webhook(harness.sign(body), body, at=clock.now()).delivery_key


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/json"}])
def test_no_signature_is_no_webhook(harness: Harness, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidSignature) as refusal:
        harness.provider.parse_webhook(headers, harness.foreign_body(), at=clock.now())
    assert refusal.value.reason is SignatureProblem.MISSING_HEADER


@pytest.mark.parametrize(
    "value", ["", " ", "x", "=", ",", "t=,v1=", "é", "\x00", "v1=" + "0" * 64, "v1,", ",".join(["v1=ab"] * 10_000)]
)
def test_nonsense_in_the_headers_is_refused(harness: Harness, value: str) -> None:
    body = harness.foreign_body()
    for name in harness.sign(body):
        with pytest.raises(InvalidSignature):
            harness.provider.parse_webhook({**harness.sign(body), name: value}, body, at=clock.now())


@pytest.mark.parametrize("body", WORSE_THAN_JSON.values(), ids=WORSE_THAN_JSON.keys())
def test_a_signed_body_that_is_not_sane_is_refused(harness: Harness, body: bytes) -> None:
    with pytest.raises(InvalidPayload) as refusal:
        harness.provider.parse_webhook(harness.sign(body), body, at=clock.now())
    assert refusal.value.reason


def test_an_unsigned_body_is_not_even_read(harness: Harness) -> None:
    with pytest.raises(InvalidSignature):
        harness.provider.parse_webhook(harness.sign(b"{}"), b"[" * 100_000, at=clock.now())


@pytest.mark.parametrize("call", ["start", "fetch", "expire"])
def test_a_provider_that_does_not_answer_leaves_it_unknown(asking: Harness, call: str) -> None:
    reference = paid_attempt(asking)
    calls: dict[str, Callable[[], object]] = {
        "start": lambda: asking.provider.start(asked(asking, idempotency_key="another")),
        "fetch": lambda: asking.provider.fetch(reference),
        "expire": lambda: asking.provider.expire(reference),
    }
    with asking.down(), pytest.raises(ProviderUnavailable) as trouble:
        calls[call]()
    assert trouble.value.is_answered is False
    assert trouble.value.status == 503


def test_a_refund_without_an_answer_is_unknown(refunding: Harness) -> None:
    payment = payment_reference(refunding, paid_attempt(refunding))
    with refunding.down(), pytest.raises(ProviderUnavailable) as trouble:
        refunding.provider.refund(RefundRequest(payment, None, "refund:1", ""))
    assert trouble.value.is_answered is False


def test_a_provider_without_refunds_says_so(unrefunding: Harness) -> None:
    payment = paid_attempt(unrefunding)
    with pytest.raises(ProviderRejected) as refusal:
        unrefunding.provider.refund(RefundRequest(payment, None, "refund:1", ""))
    assert refusal.value.reason in ("not_supported", "by_hand")


def test_an_unknown_reference_is_refused(asking: Harness) -> None:
    with pytest.raises(ProviderRejected) as refusal:
        asking.provider.fetch("cs_test_unknown")
    assert refusal.value.reason == "resource_missing"


def test_an_expired_attempt_has_failed(closing: Harness) -> None:
    reference = closing.provider.start(asked(closing)).reference
    closing.provider.expire(reference)
    found = closing.provider.fetch(reference)
    assert found.outcome is Outcome.FAILED
    assert found.event is not None
    assert found.event.business_key


def test_expiring_twice_is_harmless(closing: Harness) -> None:
    reference = closing.provider.start(asked(closing)).reference
    closing.provider.expire(reference)
    closing.provider.expire(reference)
    assert closing.provider.fetch(reference).outcome is Outcome.FAILED


def test_a_paid_attempt_cannot_be_expired(closing: Harness) -> None:
    reference = paid_attempt(closing)
    with pytest.raises(ProviderRejected) as refusal:
        closing.provider.expire(reference)
    assert refusal.value.reason == "already_completed"
    assert closing.provider.fetch(reference).outcome is Outcome.PAID


def test_refund_in_full(refunding: Harness) -> None:
    payment = payment_reference(refunding, paid_attempt(refunding))
    refund = refunding.provider.refund(RefundRequest(payment, None, "refund:1", "changed my mind"))
    assert refund.reference
    assert refund.status in ("pending", "succeeded")


def test_refund_repeated_is_one_refund(refunding: Harness) -> None:
    payment = payment_reference(refunding, paid_attempt(refunding))
    part = Money(1000, "PLN") if refunding.provider.capabilities.partial_refund else None
    wanted = RefundRequest(payment, part, "refund:1", "requested_by_customer")
    assert refunding.provider.refund(wanted) == refunding.provider.refund(wanted)


def test_refunds_never_exceed_the_payment(splitting: Harness) -> None:
    payment = payment_reference(splitting, paid_attempt(splitting))
    splitting.provider.refund(RefundRequest(payment, Money(4000, "PLN"), "refund:1", ""))
    with pytest.raises(ProviderRejected) as refusal:
        splitting.provider.refund(RefundRequest(payment, Money(901, "PLN"), "refund:2", ""))
    assert refusal.value.reason == "refund_too_large"
    splitting.provider.refund(RefundRequest(payment, Money(900, "PLN"), "refund:3", ""))


def test_who_gives_back_whole_payments_only_says_so(refunding: Harness) -> None:
    payment = payment_reference(refunding, paid_attempt(refunding))
    part = RefundRequest(payment, Money(1000, currency_of(refunding)), "refund:1", "")
    if refunding.provider.capabilities.partial_refund:
        assert refunding.provider.refund(part).reference
        return
    with pytest.raises(ProviderRejected) as refusal:
        refunding.provider.refund(part)
    assert refusal.value.reason == "partial_refund"


def test_a_page_that_cannot_be_closed_is_left_open_and_says_so(never_closing: Harness) -> None:
    provider = never_closing.provider
    reference = provider.start(asked(never_closing)).reference
    with pytest.raises(ProviderRejected) as refusal:
        provider.expire(reference)
    assert refusal.value.reason == "cannot_expire"


@pytest.mark.parametrize("name", CANNOT_BE_ASKED)
def test_who_cannot_be_asked_refuses_instead_of_guessing(request: pytest.FixtureRequest, name: str) -> None:
    harness: Harness = request.getfixturevalue(f"{name}_harness")
    reference = harness.provider.start(asked(harness)).reference
    with pytest.raises(ProviderRejected):
        harness.provider.fetch(reference)


def test_a_refund_is_told_by_the_name_it_was_answered_with(refunding: Harness) -> None:
    """Otherwise our own refund would be taken for one that somebody made elsewhere."""
    reference = paid_attempt(refunding)
    # No amount means all of it, and some give back nothing less.
    given = Money(1000, currency_of(refunding)) if refunding.provider.capabilities.partial_refund else None
    wanted = RefundRequest(payment_reference(refunding, reference), given, "refund:1", "")
    refund = refunding.provider.refund(wanted)
    told = [
        fact
        for headers, body in refunding.webhooks(reference)
        for fact in refunding.provider.parse_webhook(headers, body, at=clock.now()).events
        if fact.outcome is Outcome.REFUNDED
    ]
    assert bool(told) == (refunding.provider.name in TELLING_REFUNDS)
    assert {reference_of(fact) for fact in told} <= {refund.reference}
    assert {fact.refund_key for fact in told} <= {"refund:1", None}
    expected = given or Money(4900, currency_of(refunding))
    assert {(fact.amount_minor, fact.currency) for fact in told} <= {(expected.amount_minor, expected.currency)}
    assert {fact.payment_reference for fact in told} <= {wanted.payment_reference}


def test_a_refund_does_not_unpay_the_attempt(refunding: Harness) -> None:
    reference = paid_attempt(refunding)
    refunding.provider.refund(RefundRequest(payment_reference(refunding, reference), None, "refund:1", ""))
    assert refunding.provider.fetch(reference).outcome is Outcome.PAID


def test_everything_handed_over_is_frozen(harness: Harness) -> None:
    started = harness.provider.start(asked(harness))
    with pytest.raises(dataclasses.FrozenInstanceError):
        started.reference = "cs_other"  # type: ignore[misc]  # That is the point.


def test_an_old_delivery_without_a_signed_time_is_at_most_a_hint(untimed: Harness) -> None:
    reference = paid_attempt(untimed)
    for _headers, body in untimed.webhooks(reference):
        again = untimed.provider.parse_webhook(untimed.sign(body, age=timedelta(days=30)), body, at=clock.now())
        assert all(fact.outcome in (Outcome.HINT, Outcome.PENDING, Outcome.IGNORED) for fact in again.events)


def test_a_signature_is_good_for_five_minutes(timed: Harness) -> None:
    harness = timed
    body = harness.foreign_body()
    for age in (timedelta(0), timedelta(seconds=299), timedelta(seconds=-299)):
        assert harness.provider.parse_webhook(harness.sign(body, age=age), body, at=clock.now()).delivery_key
    for age, reason in (
        (timedelta(seconds=302), SignatureProblem.TOO_OLD),
        (timedelta(seconds=-302), SignatureProblem.IN_FUTURE),
        (timedelta(days=-1), SignatureProblem.IN_FUTURE),
    ):
        with pytest.raises(InvalidSignature) as refusal:
            harness.provider.parse_webhook(harness.sign(body, age=age), body, at=clock.now())
        assert refusal.value.reason is reason
        assert refusal.value.skew is not None
        assert abs(refusal.value.skew - age) < timedelta(seconds=3)

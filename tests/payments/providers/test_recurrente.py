"""Recurrente's adapter against the fake one: without keys, without closing, and with everything that goes wrong."""

import dataclasses
import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from portal.core import clock
from portal.core.money import Money
from portal.payments.providers.base import Outcome, ProviderRejected, ProviderUnavailable, RefundRequest, StartRequest
from portal.payments.providers.recurrente import RecurrenteProvider
from tests.fakes.recurrente import PUBLIC_KEY, SECRET_KEY, WEBHOOK_SECRET, FakeRecurrente
from tests.payments.providers.harness import request
from tests.payments.providers.recurrente_support import adapter


def wanted(**changes: Any) -> StartRequest:
    """A request for 49.00 GTQ whose attempt was recorded a moment ago."""
    return request(**{"amount": Money(4900, "GTQ"), "begun_at": clock.now() - timedelta(seconds=1), **changes})


def paid(provider: RecurrenteProvider, fake: FakeRecurrente) -> tuple[str, str]:
    """A paid checkout: its id and the payment's."""
    reference = provider.start(wanted()).reference
    fake.world.pay(reference)
    event = provider.fetch(reference).event
    assert event is not None
    assert event.payment_reference is not None
    return reference, event.payment_reference


def test_what_goes_over_the_wire(recurrente_provider: RecurrenteProvider, fake_recurrente: FakeRecurrente) -> None:
    asked = wanted(metadata={"order": "ORD-1", "": "x", "k" * 41: "x", "long": "y" * 600})
    started = recurrente_provider.start(asked)
    call = next(call for call in fake_recurrente.calls if call.method == "POST")
    assert call.path == "/api/checkouts"
    assert (call.headers["x-secret-key"], call.headers["x-public-key"]) == (SECRET_KEY, PUBLIC_KEY)
    sent = json.loads(call.body)
    closes_at = asked.expires_at.replace(microsecond=0).isoformat()
    assert sent == {
        "items": [{"name": "Automation bundle", "amount_in_cents": 4900, "currency": "GTQ", "quantity": 1}],
        "success_url": asked.success_url,
        "cancel_url": asked.cancel_url,
        "expires_at": closes_at,
        "metadata": {
            "order": "ORD-1", "long": "y" * 500, "session_id": asked.session_id, "attempt": "1",
            "idempotency_key": asked.idempotency_key, "amount": "4900 GTQ", "closes_at": closes_at,
        },
    }  # fmt: skip
    assert started.redirect_url == f"{fake_recurrente.world.url}/checkout-session/{started.reference}"


def test_a_metadata_of_a_merchant_cannot_play_ours(
    recurrente_provider: RecurrenteProvider, fake_recurrente: FakeRecurrente
) -> None:
    recurrente_provider.start(wanted(metadata={"session_id": "another", "amount": "1 GTQ", "idempotency_key": "x"}))
    [checkout] = fake_recurrente.world.checkouts.values()
    assert checkout["metadata"]["session_id"] == wanted().session_id
    assert checkout["metadata"]["amount"] == "4900 GTQ"


@pytest.mark.parametrize("kind", ["lost_answer", "half", "garbage", "late_failure"])
def test_a_start_whose_answer_was_lost_finds_its_page_again(
    recurrente_provider: RecurrenteProvider, fake_recurrente: FakeRecurrente, kind: str
) -> None:
    fake_recurrente.faults.add(kind, method="POST", path="/checkouts")
    with pytest.raises(ProviderUnavailable) as trouble:
        recurrente_provider.start(wanted())
    assert trouble.value.is_answered is False
    again = recurrente_provider.start(wanted())
    assert list(fake_recurrente.world.checkouts) == [again.reference]


def test_a_page_is_not_opened_while_nobody_knows_whether_there_is_one(
    recurrente_provider: RecurrenteProvider, fake_recurrente: FakeRecurrente
) -> None:
    fake_recurrente.faults.add("garbage", method="GET", path="/checkouts")
    with pytest.raises(ProviderUnavailable):
        recurrente_provider.start(wanted())
    assert fake_recurrente.world.checkouts == {}


def test_a_page_is_found_among_many_others(
    recurrente_provider: RecurrenteProvider, fake_recurrente: FakeRecurrente
) -> None:
    first = recurrente_provider.start(wanted())
    for number in range(250):
        item = {"name": "x", "amount_in_cents": 100, "currency": "GTQ"}
        fake_recurrente.world.create_checkout({"items": [item], "metadata": {"session_id": str(number)}})
    assert recurrente_provider.start(wanted()).reference == first.reference
    assert len(fake_recurrente.world.checkouts) == 251


def test_an_old_attempt_is_looked_for_since_it_was_begun(fake_recurrente: FakeRecurrente) -> None:
    fake_recurrente.world.offset = -7200.0
    began = clock.now() - timedelta(hours=2)
    with clock.shifted(timedelta(hours=-2)):
        first = adapter(fake_recurrente).start(wanted(begun_at=began))
    fake_recurrente.world.offset = 0.0
    assert adapter(fake_recurrente).start(wanted(begun_at=began)).reference == first.reference


def test_twenty_starts_at_once_agree_on_one_page(fake_recurrente: FakeRecurrente) -> None:
    provider, barrier = adapter(fake_recurrente, timeout=(10.0, 10.0)), threading.Barrier(20)
    asked, found = wanted(), []

    def start() -> None:
        barrier.wait()
        found.append(provider.start(asked).reference)

    threads = [threading.Thread(target=start) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    oldest = min(fake_recurrente.world.checkouts.values(), key=lambda one: (one["created_at"], one["id"]))
    assert set(found) == {oldest["id"]}


@pytest.mark.parametrize("currency", ["PLN", "EUR", "JPY"])
def test_other_currencies_are_refused_before_anything_is_asked(
    recurrente_provider: RecurrenteProvider, fake_recurrente: FakeRecurrente, currency: str
) -> None:
    with pytest.raises(ProviderRejected) as refusal:
        recurrente_provider.start(wanted(amount=Money(4900, currency)))
    assert refusal.value.reason == "currency_not_supported"
    assert "quetzals" in str(refusal.value.message)
    assert fake_recurrente.calls == []


def test_a_wrong_key_is_said_to_be_our_own_trouble(fake_recurrente: FakeRecurrente) -> None:
    with pytest.raises(ProviderRejected) as refusal:
        adapter(fake_recurrente, secret_key="sk_test_other").start(wanted())
    assert refusal.value.reason == "not_configured"


def test_a_refusal_is_final_and_tells_staff_why(recurrente_provider: RecurrenteProvider) -> None:
    with pytest.raises(ProviderRejected) as refusal:
        recurrente_provider.start(wanted(expires_at=clock.now() - timedelta(hours=1)))
    assert refusal.value.reason == "refused"
    assert "Expires at must be in the future" in (refusal.value.detail or "")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""), (200, b"[]"), (200, b"null"), (200, b'{"id":5}'), (200, b"<html>"), (200, b"[" * 100_000),
        (200, b'{"id":"ch_1"'), (301, b""), (302, b"{}"), (429, b"{}"), (500, b"{}"), (502, b"<html>"), (503, b""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("call", ["start", "fetch", "refund", "recover"])
def test_an_answer_that_is_none_leaves_it_unknown(
    raw_server: Callable[[int, bytes], str], call: str, status: int, body: bytes
) -> None:
    provider = RecurrenteProvider(
        secret_key=SECRET_KEY, webhook_secrets=[WEBHOOK_SECRET], api_url=raw_server(status, body), timeout=(1.0, 1.0)
    )
    calls: dict[str, Callable[[], object]] = {
        "start": lambda: provider.start(wanted()),
        "fetch": lambda: provider.fetch("ch_1"),
        "refund": lambda: provider.refund(RefundRequest("pa_1", None, "refund:1", "")),
        "recover": lambda: list(provider.recover_events(clock.now() - timedelta(days=3))),
    }
    if (call, status, body) in (("recover", 200, b"[]"), ("refund", 200, b'{"id":5}')):
        # No checkouts, and a refund without a word about its status: both are answers.
        calls[call]()
        return
    with pytest.raises(ProviderUnavailable) as trouble:
        calls[call]()
    assert trouble.value.is_answered is False


def test_a_slow_answer_is_not_waited_for(
    recurrente_provider: RecurrenteProvider, fake_recurrente: FakeRecurrente
) -> None:
    reference = recurrente_provider.start(wanted()).reference
    fake_recurrente.faults.add("hang")
    with pytest.raises(ProviderUnavailable):
        recurrente_provider.fetch(reference)


@pytest.mark.parametrize("reference", ["", "..", "../refunds", "ch_1/..", "ch_1?x=1", "ch_1#", "ch é", "a\nb"])
def test_a_reference_that_is_none_goes_nowhere(
    recurrente_provider: RecurrenteProvider, fake_recurrente: FakeRecurrente, reference: str
) -> None:
    with pytest.raises(ProviderRejected) as refusal:
        recurrente_provider.fetch(reference)
    assert refusal.value.reason == "resource_missing"
    assert fake_recurrente.calls == []


def test_a_declined_card_leaves_the_page_open(
    recurrente_provider: RecurrenteProvider, fake_recurrente: FakeRecurrente
) -> None:
    reference = recurrente_provider.start(wanted()).reference
    fake_recurrente.world.decline(reference)
    assert recurrente_provider.fetch(reference).event is None
    fake_recurrente.world.pay(reference)
    assert recurrente_provider.fetch(reference).outcome is Outcome.PAID


def test_a_bank_transfer_is_pending_until_it_arrives(
    recurrente_provider: RecurrenteProvider, fake_recurrente: FakeRecurrente
) -> None:
    reference = recurrente_provider.start(wanted()).reference
    fake_recurrente.world.begin_transfer(reference)
    under_way = recurrente_provider.fetch(reference)
    assert (under_way.outcome, under_way.raw_status) == (Outcome.PENDING, "payment_in_progress")
    fake_recurrente.world.arrive(reference)
    arrived = recurrente_provider.fetch(reference)
    assert arrived.event is not None
    assert (arrived.event.business_key or "").startswith("recurrente:ba_")


def test_a_page_has_failed_once_it_closed_by_itself(
    recurrente_provider: RecurrenteProvider, fake_recurrente: FakeRecurrente
) -> None:
    reference = recurrente_provider.start(wanted()).reference
    with clock.shifted(timedelta(hours=2, minutes=9)):
        assert recurrente_provider.fetch(reference).event is None
    with clock.shifted(timedelta(hours=2, minutes=11)):
        assert recurrente_provider.fetch(reference).outcome is Outcome.FAILED
        recurrente_provider.expire(reference)
        fake_recurrente.world.pay(reference, is_late=True)
        assert recurrente_provider.fetch(reference).outcome is Outcome.PAID
        with pytest.raises(ProviderRejected) as refusal:
            recurrente_provider.expire(reference)
    assert refusal.value.reason == "already_completed"


def test_a_refund_whose_answer_was_lost_is_not_refused(
    recurrente_provider: RecurrenteProvider, fake_recurrente: FakeRecurrente
) -> None:
    _, payment = paid(recurrente_provider, fake_recurrente)
    fake_recurrente.faults.add("lost_answer", method="POST", path="/refunds")
    asked = RefundRequest(payment, None, "refund:1", "")
    with pytest.raises(ProviderUnavailable):
        recurrente_provider.refund(asked)
    result = recurrente_provider.refund(asked)
    assert (result.reference, result.status) == (payment, "succeeded")
    assert len(fake_recurrente.world.refunds) == 1


def test_a_refund_and_its_webhook_go_by_one_name(
    recurrente_provider: RecurrenteProvider, fake_recurrente: FakeRecurrente
) -> None:
    _, payment = paid(recurrente_provider, fake_recurrente)
    result = recurrente_provider.refund(RefundRequest(payment, None, "refund:1", ""))
    told = json.loads(fake_recurrente.events[-1]["body"])
    assert (told["event_type"], told["payment_intent_id"]) == ("refund.create", result.reference)


@pytest.mark.parametrize(
    ("message", "is_done"),
    [
        ("Payment has already been refunded", True), ("El pago ya fue reembolsado", True),
        ("This payment cannot be refunded", False), ("No se puede reembolsar", False), ("Refund amount invalid", False),
    ],
)  # fmt: skip
def test_only_a_payment_that_was_given_back_counts_as_such(
    raw_server: Callable[[int, bytes], str], message: str, is_done: bool
) -> None:
    url = raw_server(422, json.dumps({"message": message, "errors": {}}).encode())
    provider = RecurrenteProvider(secret_key=SECRET_KEY, webhook_secrets=[WEBHOOK_SECRET], api_url=url)
    asked = RefundRequest("pa_1", None, "refund:1", "")
    if is_done:
        assert provider.refund(asked).status == "succeeded"
        return
    with pytest.raises(ProviderRejected):
        provider.refund(asked)


def test_paid_checkouts_are_found_again_with_the_key_that_asking_has(
    recurrente_provider: RecurrenteProvider, fake_recurrente: FakeRecurrente
) -> None:
    reference, payment = paid(recurrente_provider, fake_recurrente)
    unpaid = recurrente_provider.start(wanted(attempt=2, idempotency_key="another")).reference
    foreign = fake_recurrente.world.create_checkout({"items": [{"name": "x", "amount_in_cents": 1, "currency": "GTQ"}]})
    fake_recurrente.world.pay(foreign["id"])
    [found] = recurrente_provider.recover_events(clock.now() - timedelta(days=3))
    assert found.parsed.delivery_key == f"poll:{reference}:paid"
    [fact] = found.parsed.events
    assert (fact.business_key, fact.session_id) == (f"recurrente:{payment}:paid", wanted().session_id)
    assert unpaid not in found.parsed.delivery_key


@pytest.mark.parametrize("changes", [{"metadata": []}, {"metadata": None}, {"created_at": 7}, {"payment": []}])
def test_somebody_elses_odd_checkout_is_in_nobodys_way(
    recurrente_provider: RecurrenteProvider, fake_recurrente: FakeRecurrente, changes: dict[str, Any]
) -> None:
    odd = fake_recurrente.world.create_checkout({"items": [{"name": "x", "amount_in_cents": 1, "currency": "GTQ"}]})
    first, _ = paid(recurrente_provider, fake_recurrente)
    fake_recurrente.world.list_checkouts = lambda *_window: [  # type: ignore[method-assign]  # as it might answer
        {**odd, "status": "paid", **changes}, fake_recurrente.world.checkouts[first],
    ]  # fmt: skip
    assert recurrente_provider.start(wanted()).reference == first
    assert len(list(recurrente_provider.recover_events(clock.now() - timedelta(days=3)))) == 1


def test_one_unreadable_checkout_hides_no_other(
    recurrente_provider: RecurrenteProvider, fake_recurrente: FakeRecurrente
) -> None:
    paid(recurrente_provider, fake_recurrente)
    broken = recurrente_provider.start(wanted(attempt=2, idempotency_key="another")).reference
    fake_recurrente.world.checkouts[broken]["status"] = 7
    assert len(list(recurrente_provider.recover_events(clock.now() - timedelta(days=3)))) == 1


@pytest.mark.parametrize("key", ["", " "])
def test_blank_keys_are_refused_at_the_start(key: str) -> None:
    with pytest.raises(ValueError, match="blank"):
        RecurrenteProvider(secret_key=key, webhook_secrets=[WEBHOOK_SECRET])
    with pytest.raises(ValueError, match="webhook secret"):
        RecurrenteProvider(secret_key=SECRET_KEY, webhook_secrets=[])


def test_a_request_is_not_changed_by_asking(recurrente_provider: RecurrenteProvider) -> None:
    asked = wanted()
    copy = dataclasses.replace(asked)
    recurrente_provider.start(asked)
    assert asked == copy

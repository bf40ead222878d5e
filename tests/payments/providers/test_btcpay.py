"""What is BTCPay's own: finding instead of idempotency keys, coins that come short, late or twice, refunds to claim."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from portal.core import clock
from portal.core.money import Money
from portal.payments.providers.base import (
    InvalidPayload,
    InvalidSignature,
    NormalisedEvent,
    Outcome,
    ProviderRejected,
    ProviderUnavailable,
    RefundRequest,
    SignatureProblem,
)
from portal.payments.providers.btcpay import BTCPayProvider
from portal.payments.providers.btcpay_events import EVENT_TYPES
from tests.fakes.btcpay import FakeBTCPay, sign
from tests.payments.providers.btcpay_support import event, provider_for
from tests.payments.providers.harness import SESSION_ID, request


@pytest.fixture
def fake() -> Iterator[FakeBTCPay]:
    with FakeBTCPay() as running:
        yield running


@pytest.fixture
def provider(fake: FakeBTCPay) -> BTCPayProvider:
    return provider_for(fake)


def opened(provider: BTCPayProvider, **changes: Any) -> str:
    return provider.start(request(**changes)).reference


def facts(provider: BTCPayProvider, reference: str) -> list[tuple[Outcome, int | None]]:
    found = provider.fetch(reference)
    told = [*([found.event] if found.event else []), *found.more]
    return [(fact.outcome, fact.amount_minor) for fact in told]


def parsed(provider: BTCPayProvider, body: bytes) -> NormalisedEvent:
    headers = {"BTCPay-Sig": sign(body, FakeBTCPay().secret)}
    return provider.parse_webhook(headers, body, at=clock.now()).events[0]


# -- starting --------------------------------------------------------------------------------------------------------


def test_an_invoice_says_the_price_and_whose_it_is(provider: BTCPayProvider, fake: FakeBTCPay) -> None:
    reference = opened(provider, amount=Money(4905, "PLN"))
    sent = json.loads(next(call.body for call in fake.calls if call.method == "POST"))
    assert (sent["amount"], sent["currency"]) == ("49.05", "PLN")
    assert sent["metadata"]["orderId"] == f"{SESSION_ID}-1"
    assert sent["checkout"]["paymentTolerance"] == 0
    assert fake.world.invoices[reference]["type"] == "Standard"


@pytest.mark.parametrize(("amount", "text"), [(Money(500, "JPY"), "500"), (Money(1, "KWD"), "0.001")])
def test_amounts_are_decimal_texts_in_major_units(
    provider: BTCPayProvider, fake: FakeBTCPay, amount: Money, text: str
) -> None:
    opened(provider, amount=amount)
    assert json.loads(fake.calls[-1].body)["amount"] == text


def test_nothing_to_pay_is_a_bug_and_no_top_up(provider: BTCPayProvider, fake: FakeBTCPay) -> None:
    with pytest.raises(ValueError, match="nothing to pay"):
        opened(provider, amount=Money(0, "PLN"))
    assert fake.calls == []


@pytest.mark.parametrize(
    ("wanted", "minutes"), [(timedelta(hours=20), 60), (timedelta(minutes=40, seconds=30), 40), (timedelta(0), 5)]
)
def test_the_rate_is_fixed_for_an_hour_at_most(
    provider: BTCPayProvider, fake: FakeBTCPay, wanted: timedelta, minutes: int
) -> None:
    now = clock.now()
    provider._now = lambda: now
    started = provider.start(request(expires_at=now + wanted))
    assert json.loads(fake.calls[-1].body)["checkout"]["expirationMinutes"] == minutes
    assert started.expires_at is not None


def test_a_lost_answer_leads_to_the_invoice_that_was_made(provider: BTCPayProvider, fake: FakeBTCPay) -> None:
    fake.faults.add("lost_answer", method="POST")
    with pytest.raises(ProviderUnavailable) as trouble:
        opened(provider)
    assert trouble.value.is_answered is False
    assert opened(provider) == next(iter(fake.world.invoices))
    assert len(fake.world.invoices) == 1


def test_of_two_invoices_for_one_try_the_first_is_taken(provider: BTCPayProvider, fake: FakeBTCPay) -> None:
    metadata = {"orderId": f"{SESSION_ID}-1", "sessionId": SESSION_ID, "attempt": "1"}
    first = fake.world.create_invoice({"amount": "49.00", "currency": "PLN", "metadata": metadata})
    fake.world.offset = 1
    fake.world.create_invoice({"amount": "49.00", "currency": "PLN", "metadata": metadata})
    assert opened(provider) == first["id"]


def test_an_archived_invoice_is_still_the_trys(provider: BTCPayProvider, fake: FakeBTCPay) -> None:
    reference = opened(provider)
    fake.world.invoices[reference]["archived"] = True
    assert opened(provider) == reference


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_opens_nothing(fake: FakeBTCPay, status: int) -> None:
    fake.faults.add("status", status=status)
    with pytest.raises(ProviderRejected) as refusal:
        opened(provider_for(fake))
    assert refusal.value.reason == "not_configured"


def test_a_currency_without_a_rate_is_refused(fake: FakeBTCPay, provider: BTCPayProvider) -> None:
    fake.faults.add("status", method="POST", status=400)
    with pytest.raises(ProviderRejected) as refusal:
        opened(provider)
    assert refusal.value.reason == "refused"


@pytest.mark.parametrize("kind", ["hang", "refused", "garbage", "half"])
@pytest.mark.parametrize("call", ["start", "fetch", "expire"])
def test_no_whole_answer_decides_nothing(fake: FakeBTCPay, kind: str, call: str) -> None:
    provider = provider_for(fake, timeout=(0.2, 0.2))
    reference = opened(provider)
    fake.faults.add(kind, times=10)
    calls: dict[str, Callable[[], object]] = {
        "start": lambda: opened(provider),
        "fetch": lambda: provider.fetch(reference),
        "expire": lambda: provider.expire(reference),
    }
    with pytest.raises(ProviderUnavailable):
        calls[call]()


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_a_refusal_that_is_not_about_the_invoice_decides_nothing_about_it(fake: FakeBTCPay, status: int) -> None:
    provider = provider_for(fake)
    reference = opened(provider)
    fake.faults.add("status", status=status)
    with pytest.raises(ProviderUnavailable):
        provider.fetch(reference)


def test_another_stores_invoice_is_not_read(fake: FakeBTCPay) -> None:
    reference = opened(provider_for(fake))
    with pytest.raises(ProviderUnavailable):
        provider_for(fake, store_id="another").fetch(reference)


def test_a_reference_cannot_leave_its_place_in_the_address(provider: BTCPayProvider, fake: FakeBTCPay) -> None:
    with pytest.raises(ProviderRejected):
        provider.fetch("../../stores/other?x=#")
    assert fake.calls[-1].path.endswith("/invoices/%2E%2E%2F%2E%2E%2Fstores%2Fother%3Fx%3D%23")


# -- what came in ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        ([], []),
        (["half"], [(Outcome.PENDING, None)]),
        (["unconfirmed"], [(Outcome.PENDING, None)]),
        (["pay"], [(Outcome.PAID, 4900)]),
        (["half", "half"], [(Outcome.PAID, 4900)]),
        (["double"], [(Outcome.PAID, 4900), (Outcome.PAID, 4900)]),
        (["expire"], [(Outcome.FAILED, None)]),
        (["half", "expire"], [(Outcome.FAILED, None), (Outcome.PAID, 2450)]),
        (["late"], [(Outcome.FAILED, None), (Outcome.PAID, 4900)]),
        (["half", "late"], [(Outcome.FAILED, None), (Outcome.PAID, 2450), (Outcome.PAID, 4900)]),
    ],
    ids=lambda value: "-".join(value) or "nothing" if value and isinstance(value[0], str) else None,
)
def test_what_came_is_what_is_told(
    provider: BTCPayProvider, fake: FakeBTCPay, actions: list[str], expected: list[tuple[Outcome, int | None]]
) -> None:
    reference = opened(provider)
    for action in actions:
        fake.act(reference, action)
    assert facts(provider, reference) == expected


def test_each_state_has_a_key_of_its_own_and_so_has_each_piece_of_money(
    provider: BTCPayProvider, fake: FakeBTCPay
) -> None:
    reference = opened(provider)
    fake.act(reference, "half")
    fake.act(reference, "expire")
    first = provider.fetch(reference)
    fake.world.pay(reference, "0.25")
    second = provider.fetch(reference)
    assert first.as_told(reference).delivery_key != second.as_told(reference).delivery_key
    keys = [fact.business_key for fact in second.more]
    assert len(set(keys)) == len(keys) == 2
    assert first.more[0].business_key == keys[0]


def test_coins_that_were_spent_elsewhere_fail_the_try_and_are_no_money(
    provider: BTCPayProvider, fake: FakeBTCPay
) -> None:
    reference = opened(provider)
    fake.world.pay(reference, confirm=False)
    fake.world.double_spend(reference)
    assert facts(provider, reference) == [(Outcome.FAILED, None)]


def test_coins_for_an_invoice_that_we_closed_are_still_told(provider: BTCPayProvider, fake: FakeBTCPay) -> None:
    reference = opened(provider)
    provider.expire(reference)
    assert facts(provider, reference) == [(Outcome.FAILED, None)]
    fake.world.pay(reference)
    assert provider.fetch(reference).raw_status.startswith("Invalid/Marked")
    assert facts(provider, reference) == [(Outcome.FAILED, None), (Outcome.PAID, 4900)]
    (told,) = provider.recover_events(clock.now() - timedelta(hours=1))
    assert [fact.outcome for fact in told.parsed.events] == [Outcome.FAILED, Outcome.PAID]


def test_unconfirmed_late_coins_are_not_counted_yet(provider: BTCPayProvider, fake: FakeBTCPay) -> None:
    reference = opened(provider)
    fake.world.expire(reference)
    fake.world.pay(reference, confirm=False)
    assert facts(provider, reference) == [(Outcome.FAILED, None)]
    fake.world.confirm(reference)
    assert facts(provider, reference) == [(Outcome.FAILED, None), (Outcome.PAID, 4900)]


def test_settled_by_hand_is_paid(provider: BTCPayProvider, fake: FakeBTCPay) -> None:
    reference = opened(provider)
    fake.world.mark(reference, "Settled")
    found = provider.fetch(reference)
    assert found.raw_status == "Settled/Marked"
    assert facts(provider, reference) == [(Outcome.PAID, 4900)]


def test_less_than_a_whole_minor_unit_too_much_is_no_surplus(provider: BTCPayProvider, fake: FakeBTCPay) -> None:
    reference = opened(provider)
    fake.world.pay(reference, "1.0001")
    assert facts(provider, reference) == [(Outcome.PAID, 4900)]


@pytest.mark.parametrize("change", [{"status": "Odd"}, {"status": None}, {"amount": "many"}, {"amount": "1e999999999"}])
def test_an_invoice_that_cannot_be_read_decides_nothing(
    provider: BTCPayProvider, fake: FakeBTCPay, change: dict[str, Any]
) -> None:
    reference = opened(provider)
    fake.act(reference, "pay")
    fake.world.invoices[reference].update(change)
    with pytest.raises(ProviderUnavailable):
        provider.fetch(reference)


@pytest.mark.parametrize("value", ["many", "NaN", "Infinity", None, 5])
def test_a_payment_that_cannot_be_read_decides_nothing(
    provider: BTCPayProvider, fake: FakeBTCPay, value: object
) -> None:
    reference = opened(provider)
    fake.act(reference, "pay")
    fake.world.payments[reference][0]["value"] = value
    with pytest.raises(ProviderUnavailable):
        provider.fetch(reference)


def test_recovering_tells_late_short_and_settled_money_and_nothing_else(
    provider: BTCPayProvider, fake: FakeBTCPay
) -> None:
    since = clock.now() - timedelta(hours=1)
    by_action = {
        action: opened(provider, attempt=number)
        for number, action in enumerate(("pay", "late", "half", "expire", "unconfirmed"), start=1)
    }
    for action, reference in by_action.items():
        fake.act(reference, action)
    fake.world.expire(by_action["half"])
    fake.world.create_invoice({"amount": "1.00", "currency": "PLN", "metadata": {"orderId": "of another shop"}})
    fake.world.pay(next(reversed(fake.world.invoices)))
    told = [recovered.parsed for recovered in provider.recover_events(since)]
    assert [one.events[0].attempt_reference for one in told] == [
        by_action[action] for action in ("pay", "late", "half", "unconfirmed")
    ]
    # The same answer as a scheduled check gives, so that the inbox knows it.
    assert told[0] == provider.fetch(by_action["pay"]).as_told(by_action["pay"])


# -- webhooks --------------------------------------------------------------------------------------------------------


def test_the_golden_vector_is_believed() -> None:
    assert sign(b'{"type":"InvoiceSettled","invoiceId":"inv_1"}', "btcpay_secret") == (
        "sha256=16137d0a530581b1d25cae169d222a97423e7676c58c242c3e7d5bae8979e02a"
    )
    body = b'{"type":"InvoiceSettled","invoiceId":"inv_1"}'
    provider = BTCPayProvider(url="http://x", api_key="k", store_id="s", webhook_secrets=["btcpay_secret"])
    signature = "sha256=16137d0a530581b1d25cae169d222a97423e7676c58c242c3e7d5bae8979e02a"
    # Believed, so that what is refused is the missing id.
    with pytest.raises(InvalidPayload) as refusal:
        provider.parse_webhook({"BTCPay-Sig": signature}, body, at=clock.now())
    assert refusal.value.reason == "deliveryId is missing"


@pytest.mark.parametrize(
    "change", [str.upper, lambda text: text[7:], lambda text: text + "0", lambda text: f"v1,{text}"]
)
def test_one_way_of_writing_a_signature_is_enough(provider: BTCPayProvider, change: Callable[[str], str]) -> None:
    body = event("InvoiceSettled")
    with pytest.raises(InvalidSignature) as refusal:
        provider.parse_webhook({"BTCPay-Sig": change(sign(body, FakeBTCPay().secret))}, body, at=clock.now())
    assert refusal.value.reason is SignatureProblem.MALFORMED_HEADER


def test_the_old_secret_is_believed_until_it_is_removed(fake: FakeBTCPay) -> None:
    body = event("InvoiceSettled")
    headers = {"BTCPay-Sig": sign(body, "old")}
    assert provider_for(fake, webhook_secrets=["new", "old"]).parse_webhook(headers, body, at=clock.now())
    with pytest.raises(InvalidSignature):
        provider_for(fake, webhook_secrets=["new"]).parse_webhook(headers, body, at=clock.now())


@pytest.mark.parametrize(
    ("kind", "fields", "outcome"),
    [
        ("InvoiceReceivedPayment", {"afterExpiration": False}, Outcome.PENDING),
        ("InvoiceReceivedPayment", {"afterExpiration": True}, Outcome.HINT),
        ("InvoiceProcessing", {"overPaid": True}, Outcome.PENDING),
        ("InvoicePaymentSettled", {"afterExpiration": True}, Outcome.HINT),
        ("InvoiceSettled", {"manuallyMarked": False}, Outcome.HINT),
        ("InvoiceExpired", {"partiallyPaid": True}, Outcome.HINT),
        ("InvoiceInvalid", {}, Outcome.HINT),
        ("InvoiceExpiredPaidPartial", {}, Outcome.HINT),
        ("InvoicePaidAfterExpiration", {}, Outcome.HINT),
        ("InvoiceCreated", {}, Outcome.IGNORED),
        ("InvoiceRefund", {"pullPaymentId": "pp"}, Outcome.IGNORED),
        ("PayoutUpdated", {"pullPaymentId": "pp", "payoutState": "Completed"}, Outcome.IGNORED),
        ("SubscriberCreated", {}, Outcome.IGNORED),
        ("InvoiceSettled", {"storeId": "another"}, Outcome.IGNORED),
    ],
)
def test_what_each_event_means(provider: BTCPayProvider, kind: str, fields: dict[str, Any], outcome: Outcome) -> None:
    fact = parsed(provider, event(kind, **fields))
    assert fact.outcome is outcome
    if outcome in (Outcome.HINT, Outcome.PENDING):
        assert (fact.session_id, fact.attempt_reference, fact.attempt) == ("ps_1", "inv_1", 1)


def test_every_event_that_is_used_is_in_the_list_to_subscribe_to() -> None:
    assert {"InvoiceSettled", "InvoicePaymentSettled"} < set(EVENT_TYPES)
    assert "InvoiceCreated" not in EVENT_TYPES


def test_a_repetition_has_the_first_deliverys_key(provider: BTCPayProvider) -> None:
    body = event("InvoiceSettled", deliveryId="d-2", originalDeliveryId="d-1", isRedelivery=True)
    headers = {"BTCPay-Sig": sign(body, FakeBTCPay().secret)}
    assert provider.parse_webhook(headers, body, at=clock.now()).delivery_key == "d-1"


@pytest.mark.parametrize("metadata", [None, {}, {"orderId": "x"}, {"sessionId": "s" * 65}, {"sessionId": ""}])
def test_an_invoice_that_is_not_ours_names_no_session(provider: BTCPayProvider, metadata: object) -> None:
    fact = parsed(provider, event("InvoiceSettled", metadata=metadata))
    assert (fact.session_id, fact.attempt_reference) == (None, "inv_1")


# -- refunds ---------------------------------------------------------------------------------------------------------


def paid(provider: BTCPayProvider, fake: FakeBTCPay, action: str = "pay") -> str:
    reference = opened(provider)
    fake.act(reference, action)
    return reference


def test_a_refund_is_pending_until_all_of_it_is_paid_out(provider: BTCPayProvider, fake: FakeBTCPay) -> None:
    wanted = RefundRequest(paid(provider, fake), Money(1000, "PLN"), "refund:1", "torn")
    first = provider.refund(wanted)
    assert first.status == "pending"
    fake.world.pay_out(first.reference, "0.5")
    assert provider.refund(wanted).status == "pending"
    fake.world.pay_out(first.reference, "0.5")
    assert provider.refund(wanted) == type(first)(first.reference, "succeeded")
    assert len(fake.world.refunds) == 1


def test_a_refund_whose_answer_was_lost_is_found(provider: BTCPayProvider, fake: FakeBTCPay) -> None:
    wanted = RefundRequest(paid(provider, fake), None, "refund:1", "")
    fake.faults.add("lost_answer", method="POST")
    with pytest.raises(ProviderUnavailable):
        provider.refund(wanted)
    assert provider.refund(wanted).reference == next(iter(fake.world.refunds))
    assert [one["amount"] for one in fake.world.refunds.values()] == ["49.00"]


def test_a_refund_that_the_store_withdrew_has_failed_and_leaves_its_amount(
    provider: BTCPayProvider, fake: FakeBTCPay
) -> None:
    reference = paid(provider, fake)
    wanted = RefundRequest(reference, None, "refund:1", "")
    fake.world.refunds[provider.refund(wanted).reference]["archived"] = True
    assert provider.refund(wanted).status == "failed"
    assert provider.refund(RefundRequest(reference, None, "refund:2", "")).status == "pending"


def test_recovering_tells_what_became_of_refunds(provider: BTCPayProvider, fake: FakeBTCPay) -> None:
    since = clock.now() - timedelta(days=3)
    reference = paid(provider, fake)
    made = [
        provider.refund(RefundRequest(reference, Money(1000, "PLN"), f"refund:{number}", "")).reference
        for number in range(4)
    ]
    fake.world.pay_out(made[0])
    fake.world.pay_out(made[1], "0.5")
    fake.world.refunds[made[2]]["archived"] = True
    other = fake.world.refund(reference, {"refundVariant": "Custom", "customAmount": "1", "customCurrency": "PLN"})
    fake.world.pay_out(other["id"])
    told = [one.parsed.events[0] for one in provider.recover_events(since) if one.parsed.delivery_key[:7] == "refund:"]
    assert [(fact.outcome, fact.business_key, fact.payment_reference, fact.amount_minor) for fact in told] == [
        (Outcome.REFUNDED, f"btcpay:{made[0]}:succeeded", reference, 1000),
        (Outcome.REFUND_FAILED, f"btcpay:{made[2]}:failed", reference, 1000),
    ]


def test_a_key_used_for_another_amount_is_refused(provider: BTCPayProvider, fake: FakeBTCPay) -> None:
    reference = paid(provider, fake)
    provider.refund(RefundRequest(reference, Money(1000, "PLN"), "refund:1", ""))
    with pytest.raises(ProviderRejected) as refusal:
        provider.refund(RefundRequest(reference, Money(1001, "PLN"), "refund:1", ""))
    assert refusal.value.reason == "idempotency_conflict"


def test_a_refund_in_another_currency_is_refused(provider: BTCPayProvider, fake: FakeBTCPay) -> None:
    with pytest.raises(ProviderRejected) as refusal:
        provider.refund(RefundRequest(paid(provider, fake), Money(1, "USD"), "refund:1", ""))
    assert refusal.value.reason == "currency_mismatch"


@pytest.mark.parametrize(("action", "most"), [("double", 9800), ("late", 4900)])
def test_what_came_beside_the_price_can_be_given_back(
    provider: BTCPayProvider, fake: FakeBTCPay, action: str, most: int
) -> None:
    reference = paid(provider, fake, action)
    with pytest.raises(ProviderRejected) as refusal:
        provider.refund(RefundRequest(reference, Money(most + 1, "PLN"), "refund:1", ""))
    assert refusal.value.reason == "refund_too_large"
    assert provider.refund(RefundRequest(reference, Money(most, "PLN"), "refund:1", "")).status == "pending"


def test_nothing_came_so_nothing_is_given_back(provider: BTCPayProvider) -> None:
    with pytest.raises(ProviderRejected) as refusal:
        provider.refund(RefundRequest(opened(provider), None, "refund:1", ""))
    assert refusal.value.reason == "refund_too_large"


# -- expiring --------------------------------------------------------------------------------------------------------


def test_coins_on_their_way_are_not_thrown_out(provider: BTCPayProvider, fake: FakeBTCPay) -> None:
    reference = opened(provider)
    fake.act(reference, "unconfirmed")
    with pytest.raises(ProviderRejected) as refusal:
        provider.expire(reference)
    assert refusal.value.reason == "already_completed"
    assert fake.world.invoices[reference]["status"] == "Processing"


def test_a_buyer_who_pays_between_looking_and_closing_was_faster(provider: BTCPayProvider, fake: FakeBTCPay) -> None:
    reference = opened(provider)
    mark = fake.world.mark

    def pay_first(identifier: str, status: str) -> dict[str, Any]:
        fake.world.pay(identifier)
        return mark(identifier, status)

    fake.world.mark = pay_first  # type: ignore[method-assign]  # the moment between two calls
    with pytest.raises(ProviderRejected) as refusal:
        provider.expire(reference)
    assert refusal.value.reason == "already_completed"
    assert facts(provider, reference) == [(Outcome.PAID, 4900)]


def test_an_invoice_that_is_over_stays_as_it_is(provider: BTCPayProvider, fake: FakeBTCPay) -> None:
    reference = opened(provider)
    fake.act(reference, "expire")
    provider.expire(reference)
    assert fake.world.invoices[reference]["status"] == "Expired"


@pytest.mark.parametrize("blank", ["url", "api_key", "store_id"])
def test_blanks_are_refused(blank: str) -> None:
    usual = {"url": "http://x", "api_key": "k", "store_id": "s"}
    with pytest.raises(ValueError, match="blank"):
        BTCPayProvider(**{**usual, blank: " "}, webhook_secrets=["s"])

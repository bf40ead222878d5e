"""Starting at Stripe, over real sockets to the fake: what is sent, what comes back, and what goes wrong."""

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from portal.core.money import Money
from portal.payments.providers.base import (
    ProviderRejected,
    ProviderUnavailable,
    RefundRequest,
)
from portal.payments.providers.stripe import StripeProvider
from tests.fakes.stripe import FakeStripe
from tests.payments.providers.harness import SESSION_ID, request
from tests.payments.providers.stripe_support import (
    sent,
    started,
)


def test_start_sends_what_stripe_needs_and_nothing_it_refuses(
    stripe_provider: StripeProvider, fake: FakeStripe
) -> None:
    wanted = request()
    stripe_provider.start(wanted)
    assert sent(fake) == {
        "mode": "payment",
        "line_items[0][price_data][currency]": "pln",
        "line_items[0][price_data][unit_amount]": "4900",
        "line_items[0][price_data][product_data][name]": "Automation bundle",
        "line_items[0][quantity]": "1",
        "adaptive_pricing[enabled]": "false",
        "success_url": wanted.success_url,
        "cancel_url": wanted.cancel_url,
        "client_reference_id": SESSION_ID,
        "metadata[order]": "ORD-2026-001",
        "metadata[session_id]": SESSION_ID,
        "metadata[attempt]": "1",
        "payment_intent_data[description]": "Automation bundle",
        "payment_intent_data[metadata][session_id]": SESSION_ID,
        "payment_intent_data[metadata][attempt]": "1",
        "customer_email": "alice@example.com",
        "expires_at": str(int(wanted.expires_at.timestamp())),
        "locale": "pl",
    }
    headers = fake.calls[-1].headers
    assert headers["Idempotency-Key"] == f"checkout:{SESSION_ID}:1"
    assert headers["Stripe-Version"] == "2026-10-28.endive"
    assert headers["Authorization"] == f"Bearer {fake.api_key}"


def test_nothing_is_reported_to_stripe_about_this_machine(stripe_provider: StripeProvider, fake: FakeStripe) -> None:
    stripe_provider.start(request())
    stripe_provider.start(request(idempotency_key="second"))
    headers = fake.calls[-1].headers
    assert "X-Stripe-Client-Telemetry" not in headers
    assert "platform" not in json.loads(headers["X-Stripe-Client-User-Agent"])


def test_a_merchants_metadata_cannot_pretend_to_be_another_session(
    stripe_provider: StripeProvider, fake: FakeStripe
) -> None:
    stripe_provider.start(request(metadata={"session_id": "another", "attempt": "9"}))
    assert (sent(fake)["metadata[session_id]"], sent(fake)["metadata[attempt]"]) == (SESSION_ID, "1")


def test_metadata_stripe_would_refuse_is_left_out(stripe_provider: StripeProvider, fake: FakeStripe) -> None:
    metadata = {f"key{number}": "x" for number in range(60)}
    stripe_provider.start(request(metadata={"a[b]": "x", "k" * 41: "x", "empty": "", "long": "x" * 600, **metadata}))
    kept = {name: value for name, value in sent(fake).items() if name.startswith("metadata[")}
    assert len(kept) == 50
    assert kept["metadata[long]"] == "x" * 500
    assert not {"metadata[empty]", "metadata[a[b]]"} & set(kept)


def test_optional_things_are_left_out(stripe_provider: StripeProvider, fake: FakeStripe) -> None:
    stripe_provider.start(request(customer_email=None, locale="tlh", metadata={}))
    assert not {"customer_email", "locale"} & set(sent(fake))


def test_the_return_address_keeps_stripes_placeholder(stripe_provider: StripeProvider, fake: FakeStripe) -> None:
    stripe_provider.start(request(success_url="https://portal.example/return?checkout={CHECKOUT_SESSION_ID}"))
    assert sent(fake)["success_url"] == "https://portal.example/return?checkout={CHECKOUT_SESSION_ID}"


@pytest.mark.parametrize(
    ("amount", "unit_amount"),
    [
        (Money(4900, "USD"), "4900"),
        (Money(500, "JPY"), "500"),
        (Money(500, "ISK"), "50000"),
        (Money(50_000, "MGA"), "500"),
        (Money(12_340, "KWD"), "12340"),
        (Money(500, "KRW"), "500"),
    ],
)
def test_amounts_are_counted_as_stripe_counts(
    stripe_provider: StripeProvider, fake: FakeStripe, amount: Money, unit_amount: str
) -> None:
    stripe_provider.start(request(amount=amount))
    assert sent(fake)["line_items[0][price_data][unit_amount]"] == unit_amount


@pytest.mark.parametrize("amount", [Money(12_345, "KWD"), Money(50_050, "MGA"), Money(1000, "UGX")])
def test_an_amount_stripe_cannot_take_exactly_is_refused_unsent(
    stripe_provider: StripeProvider, fake: FakeStripe, amount: Money
) -> None:
    with pytest.raises(ProviderRejected) as refusal:
        stripe_provider.start(request(amount=amount))
    assert refusal.value.reason == "currency_not_supported"
    assert fake.calls == []


@pytest.mark.parametrize("minor", [0, -1])
def test_nothing_to_pay_is_a_bug_of_ours(stripe_provider: StripeProvider, minor: int) -> None:
    with pytest.raises(ValueError, match="nothing to pay"):
        stripe_provider.start(request(amount=Money(minor, "PLN")))


AT = datetime(2026, 11, 21, 9, 0, 7, tzinfo=UTC)


class Clock:
    """Ours, which may differ from Stripe's."""

    def __init__(self, fake: FakeStripe) -> None:
        self.fake = fake
        self.at = AT
        self.ahead = timedelta(0)
        self.go(timedelta(0))

    def go(self, by: timedelta) -> None:
        self.at += by
        self.fake.world.offset = (self.at - self.ahead).timestamp() - time.time()

    def __call__(self) -> datetime:
        return self.at


def provider_at(fake: FakeStripe) -> tuple[StripeProvider, Clock]:
    ours = Clock(fake)
    return StripeProvider(api_key=fake.api_key, webhook_secrets=["w"], api_base=fake.url, retries=0, now=ours), ours


@pytest.mark.parametrize(
    ("ahead", "is_kept"),
    [
        (timedelta(hours=2), True),
        (timedelta(minutes=35), True),
        (timedelta(hours=23, minutes=59), True),
        (timedelta(minutes=29), False),
        (timedelta(days=-1), False),
        (timedelta(hours=25), False),
        (timedelta(days=30), False),
    ],
)
def test_the_page_closes_as_wanted_or_after_a_day(fake: FakeStripe, ahead: timedelta, is_kept: bool) -> None:
    provider, _ours = provider_at(fake)
    result = provider.start(request(expires_at=AT + ahead))
    assert len(fake.calls) == 1
    assert ("expires_at" in sent(fake)) is is_kept
    assert result.expires_at is not None
    assert abs(result.expires_at - AT - (ahead if is_kept else timedelta(hours=24))) < timedelta(seconds=2)


@pytest.mark.parametrize("wanted", [timedelta(minutes=31), timedelta(hours=23, minutes=55), timedelta(hours=26)])
@pytest.mark.parametrize("later", [timedelta(0), timedelta(minutes=10), timedelta(hours=3), timedelta(hours=23)])
def test_a_repeated_start_finds_the_page_however_much_later(
    fake: FakeStripe, wanted: timedelta, later: timedelta
) -> None:
    provider, ours = provider_at(fake)
    again = request(expires_at=AT + wanted)
    fake.control.add_fault("lost_answer")
    with pytest.raises(ProviderUnavailable):
        provider.start(again)
    ours.go(later)
    assert [session["id"] for session in fake.world.all("checkout.session")] == [provider.start(again).reference]


@pytest.mark.parametrize("ahead", [timedelta(minutes=3), timedelta(minutes=-3)])
@pytest.mark.parametrize("wanted", [timedelta(minutes=31), timedelta(hours=23, minutes=59)])
def test_a_clock_that_differs_from_stripes_opens_the_page_all_the_same(
    fake: FakeStripe, wanted: timedelta, ahead: timedelta
) -> None:
    provider, ours = provider_at(fake)
    ours.ahead = ahead
    ours.go(timedelta(0))
    again = request(expires_at=AT + wanted)
    assert provider.start(again) == provider.start(again)


def test_a_lost_answer_is_found_again_with_the_same_key(stripe_provider: StripeProvider, fake: FakeStripe) -> None:
    fake.control.add_fault("lost_answer")
    wanted = request()
    with pytest.raises(ProviderUnavailable):
        stripe_provider.start(wanted)
    made = fake.world.all("checkout.session")
    assert [session["id"] for session in made] == [stripe_provider.start(wanted).reference]


def test_the_retry_of_the_library_makes_nothing_twice(fake: FakeStripe) -> None:
    provider = StripeProvider(api_key=fake.api_key, webhook_secrets=["whsec_x"], api_base=fake.url, retries=1)
    fake.control.add_fault("lost_answer")
    reference = provider.start(request()).reference
    assert [session["id"] for session in fake.world.all("checkout.session")] == [reference]
    assert len(fake.calls) == 2


def test_a_failure_that_stripe_answered_is_given_again_so_a_new_key_is_needed(
    stripe_provider: StripeProvider, fake: FakeStripe
) -> None:
    fake.control.add_fault("status", status=500)
    wanted = request()
    for _ in range(2):
        with pytest.raises(ProviderUnavailable) as trouble:
            stripe_provider.start(wanted)
        assert trouble.value.is_answered is True
    assert started(stripe_provider, attempt=2, idempotency_key="checkout:x:2")


def test_two_calls_at_once_under_one_key_make_one_session(stripe_provider: StripeProvider, fake: FakeStripe) -> None:
    fake.control.add_fault("latency", seconds=0.5)
    wanted = request()
    found: list[str] = []
    slow = threading.Thread(target=lambda: found.append(stripe_provider.start(wanted).reference))
    slow.start()
    while not fake.calls:
        time.sleep(0.01)
    with pytest.raises(ProviderUnavailable) as trouble:
        stripe_provider.start(wanted)
    assert trouble.value.is_answered is False  # The same key is right: the answer is on its way.
    slow.join()
    assert found == [stripe_provider.start(wanted).reference]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("hang", {}),
        ("refused", {}),
        ("lost_answer", {}),
        ("garbage", {}),
        ("half", {}),
        ("status", {"status": 500}),
        ("status", {"status": 502}),
        ("status", {"status": 503}),
        ("status", {"status": 409}),
        ("status", {"status": 429}),
        ("latency", {"seconds": 2.0}),
    ],
)
def test_anything_but_a_clear_answer_is_unknown(
    stripe_provider: StripeProvider, fake: FakeStripe, kind: str, options: dict[str, Any]
) -> None:
    fake.control.add_fault(kind, **options)
    began = time.monotonic()
    with pytest.raises(ProviderUnavailable) as trouble:
        stripe_provider.start(request())
    assert time.monotonic() - began < 4
    assert "again" in str(trouble.value)
    assert trouble.value.detail
    fake.control.clear_faults()


def test_nobody_listening_is_unknown() -> None:
    provider = StripeProvider(
        api_key="sk_test_1", webhook_secrets=["whsec_x"], api_base="http://127.0.0.1:1", timeout=(0.5, 0.5), retries=0
    )
    with pytest.raises(ProviderUnavailable):
        provider.fetch("cs_test_1")


@pytest.mark.parametrize(
    "body", [b"[]", b"null", b'"x"', b"{}", b"", b"\xff\xfe", b'{"id":5,"url":"x"}', b'{"id":NaN}']
)
@pytest.mark.parametrize("status", [200, 400, 500])
def test_answers_that_stripe_never_gives_are_unknown(raw_server: Any, body: bytes, status: int) -> None:
    address = raw_server(status, body)
    provider = StripeProvider(
        api_key="sk_test_1", webhook_secrets=["whsec_x"], api_base=address, timeout=(1.0, 1.0), retries=0
    )
    with pytest.raises(ProviderUnavailable):
        provider.start(request())
    with pytest.raises(ProviderUnavailable):
        provider.fetch("cs_test_1")
    with pytest.raises(ProviderUnavailable):
        provider.refund(RefundRequest("pi_1", None, "refund:1", ""))


def test_an_error_of_the_wrong_shape_is_unknown(raw_server: Any) -> None:
    provider = StripeProvider(
        api_key="sk_test_1", webhook_secrets=["whsec_x"], api_base=raw_server(400, b'{"error":"x"}'), retries=0
    )
    with pytest.raises(ProviderUnavailable):
        provider.start(request())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"amount": Money(199, "PLN")}, "amount_too_small"),
        ({"amount": Money(100_000_000, "PLN")}, "amount_too_large"),
        ({"customer_email": "not an address"}, "email_invalid"),
        ({"success_url": "javascript:alert(1)"}, "url_invalid"),
    ],
)
def test_a_clear_no_is_final_and_in_words(
    stripe_provider: StripeProvider, fake: FakeStripe, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ProviderRejected) as refusal:
        stripe_provider.start(request(**changes))
    assert refusal.value.reason == reason
    assert str(refusal.value).endswith(".")
    assert "param" not in str(refusal.value)
    assert fake.world.all("checkout.session") == []


def test_a_refusal_is_not_remembered_under_the_key(stripe_provider: StripeProvider) -> None:
    with pytest.raises(ProviderRejected):
        stripe_provider.start(request(customer_email="not an address"))
    assert stripe_provider.start(request()).reference


def test_a_wrong_key_is_our_trouble_and_the_buyer_is_not_told_why(fake: FakeStripe) -> None:
    provider = StripeProvider(api_key="sk_test_wrong", webhook_secrets=["whsec_x"], api_base=fake.url, retries=0)
    with pytest.raises(ProviderRejected) as refusal:
        provider.start(request())
    assert refusal.value.reason == "not_configured"
    shown = str(refusal.value) + str(refusal.value.detail)
    assert "sk_test" not in shown
    assert "key" not in str(refusal.value).lower()

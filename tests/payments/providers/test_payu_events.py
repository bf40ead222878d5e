"""PayU's notifications: who may have signed them, and that they are read as hints and refunds."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from portal.payments.providers.base import (
    InvalidPayload,
    InvalidSignature,
    NormalisedEvent,
    Outcome,
    SignatureProblem,
)
from portal.payments.providers.payloads import Fields
from portal.payments.providers.payu_events import external_order_id, order_fact
from tests.fakes.payu import SECOND_KEY, sign
from tests.payments.providers.harness import SESSION_ID
from tests.payments.providers.payu_support import order, parse, provider, refund

# providers.md, section 6: made with the second key of PayU's public sandbox.
GOLDEN = (
    b'{"order":{"orderId":"ORD1","extOrderId":"ps_1","totalAmount":"39900","currencyCode":"PLN","status":"COMPLETED"}}'
)
GOLDEN_MD5 = "4430e87e32f1f1622bacc500f2e4c293"
GOLDEN_SHA256 = "6da8334e1c4f1d9a324cd5d4e1ec013cdc6aee5c16c539368e4a695771678499"
ORDER_ID = "WZHF5FFDRJ140731GUEST000P01"


def header(signature: str = GOLDEN_MD5, algorithm: str = "MD5") -> str:
    return f"sender=checkout;signature={signature};algorithm={algorithm};content=DOCUMENT"


def refusal_of(signature: str, body: bytes = GOLDEN) -> SignatureProblem:
    with pytest.raises(InvalidSignature) as refusal:
        parse(body, signature)
    return refusal.value.reason


@pytest.mark.parametrize(
    ("signature", "algorithm"),
    [
        (GOLDEN_MD5, "MD5"),
        (GOLDEN_SHA256, "SHA-256"),
        (GOLDEN_SHA256, "SHA256"),
        (GOLDEN_SHA256, "SHA"),
        (GOLDEN_SHA256, "sha-256"),
    ],
)
def test_golden_signatures_are_right(signature: str, algorithm: str) -> None:
    assert parse(GOLDEN, header(signature, algorithm)).delivery_key == "ORD1:COMPLETED"


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-384", "SHA-512"])
def test_each_algorithm_that_payu_names_is_understood(algorithm: str) -> None:
    assert parse(GOLDEN, sign(GOLDEN, SECOND_KEY, algorithm)).delivery_key == "ORD1:COMPLETED"


@pytest.mark.parametrize(
    "text",
    [
        f"signature={GOLDEN_MD5};algorithm=MD5",
        f"content=DOCUMENT;algorithm=MD5;signature={GOLDEN_MD5};sender=checkout",
        f"  sender = checkout ; signature = {GOLDEN_MD5} ; algorithm = MD5 ; content = DOCUMENT ;",
        f"Sender=checkout;Signature={GOLDEN_MD5};Algorithm=MD5;Content=DOCUMENT",
    ],
)
def test_the_header_may_be_written_in_any_order(text: str) -> None:
    assert parse(GOLDEN, text).delivery_key == "ORD1:COMPLETED"


@pytest.mark.parametrize(
    "name",
    ["OpenPayu-Signature", "openpayu-signature", "OPENPAYU-SIGNATURE", "X-OpenPayU-Signature", "x-openpayu-signature"],
)
def test_either_header_will_do_in_any_case(name: str) -> None:
    found = provider().parse_webhook({name: header()}, GOLDEN, at=datetime.now(UTC))
    assert found.delivery_key == "ORD1:COMPLETED"


def test_a_wrong_first_header_is_not_mended_by_the_second() -> None:
    headers = {"OpenPayu-Signature": header("0" * 32), "X-OpenPayU-Signature": header()}
    with pytest.raises(InvalidSignature):
        provider().parse_webhook(headers, GOLDEN, at=datetime.now(UTC))


@pytest.mark.parametrize(
    "text",
    [
        header(GOLDEN_MD5.upper()),
        header(GOLDEN_MD5[:-1]),
        header(GOLDEN_MD5 + "0"),
        header(""),
        header(GOLDEN_SHA256, "MD5"),
        header(GOLDEN_MD5, "SHA-256"),
        header("0" * 32),
    ],
)
def test_another_signature_matches_nothing(text: str) -> None:
    assert refusal_of(text) is SignatureProblem.NO_MATCH


@pytest.mark.parametrize("algorithm", ["SHA-1", "SHA1", "CRC32", "none", "", "MD5x"])
def test_another_algorithm_is_refused_however_right_its_hash_may_be(algorithm: str) -> None:
    signature = sign(GOLDEN, SECOND_KEY, "SHA-1").split("signature=")[1].split(";")[0]
    assert refusal_of(header(signature, algorithm)) is SignatureProblem.MALFORMED_HEADER


@pytest.mark.parametrize(
    "text",
    [
        f"signature={GOLDEN_MD5};signature={GOLDEN_MD5};algorithm=MD5",
        f"signature={'0' * 32};algorithm=MD5;signature={GOLDEN_MD5}",
        f"signature={GOLDEN_MD5};algorithm=MD5;algorithm=MD5",
        f"signature={GOLDEN_MD5}",
        f"{GOLDEN_MD5}",
        ";".join(["signature=ab"] * 10_000),
    ],
)
def test_a_header_that_two_could_read_differently_is_refused(text: str) -> None:
    assert refusal_of(text) is SignatureProblem.MALFORMED_HEADER


def test_an_altered_body_is_refused() -> None:
    assert refusal_of(header(), GOLDEN.replace(b"39900", b"39901")) is SignatureProblem.NO_MATCH


def test_a_body_that_ends_with_the_key_is_not_signed_by_it() -> None:
    """A plain hash of body and key: whoever shifts the border between them must not get through."""
    shifted = sign(GOLDEN + SECOND_KEY.encode()[:5], SECOND_KEY[5:])
    assert refusal_of(shifted, GOLDEN + SECOND_KEY.encode()[:5]) is SignatureProblem.NO_MATCH


def test_a_hash_without_any_key_is_refused() -> None:
    assert refusal_of(sign(GOLDEN, "")) is SignatureProblem.NO_MATCH


def test_both_keys_are_good_while_one_is_replaced() -> None:
    for key in ("new-key", "old-key"):
        assert parse(GOLDEN, sign(GOLDEN, key), "new-key", "old-key").delivery_key == "ORD1:COMPLETED"
    with pytest.raises(InvalidSignature):
        parse(GOLDEN, sign(GOLDEN, "old-key"), "new-key")


@pytest.mark.parametrize("secrets", [[], [""], ["key", " "]])
def test_without_a_second_key_nothing_starts(secrets: list[str]) -> None:
    with pytest.raises(ValueError, match="webhook secret"):
        provider(webhook_secrets=secrets)


@pytest.mark.parametrize("status", ["NEW", "PENDING", "WAITING_FOR_CONFIRMATION", "COMPLETED", "CANCELED", "REJECTED"])
def test_a_notification_about_an_order_is_a_hint_whatever_it_says(status: str) -> None:
    found = parse(order(status=status))
    assert (found.delivery_key, found.event_type) == (f"{ORDER_ID}:{status}", f"order.{status}")
    assert found.events == (
        NormalisedEvent(
            outcome=Outcome.HINT,
            session_id=SESSION_ID,
            attempt_reference=ORDER_ID,
            is_test=True,
            detail=status,
            attempt=1,
        ),
    )


@pytest.mark.parametrize(
    ("external", "expected"),
    [
        (SESSION_ID, (SESSION_ID, 1)),
        (f"{SESSION_ID}-2", (SESSION_ID, 2)),
        (f"{SESSION_ID}-17", (SESSION_ID, 17)),
        (f"{SESSION_ID}-0", (None, None)),
        (f"{SESSION_ID}-", (None, None)),
        (f"{SESSION_ID}-2-2", (None, None)),
        (SESSION_ID.upper(), (None, None)),
        ("ORD-2026-001", (None, None)),
        ("ps_1", (None, None)),
        ("x" * 1024, (None, None)),
        (None, (None, None)),
    ],
)
def test_our_session_is_read_from_the_name_we_gave(
    external: str | None, expected: tuple[str | None, int | None]
) -> None:
    (event,) = parse(order(extOrderId=external)).events
    assert (event.session_id, event.attempt) == expected
    assert event.attempt_reference == ORDER_ID


@pytest.mark.parametrize("attempt", [1, 2, 3, 12])
def test_the_name_of_an_attempt_is_read_back(attempt: int) -> None:
    (event,) = parse(order(extOrderId=external_order_id(SESSION_ID, attempt))).events
    assert (event.session_id, event.attempt) == (SESSION_ID, attempt)


def test_an_order_of_another_point_of_sale_is_ignored() -> None:
    (event,) = parse(order(merchantPosId="145227")).events
    assert event.outcome is Outcome.IGNORED


@pytest.mark.parametrize(
    ("status", "outcome", "business_key"),
    [
        ("FINALIZED", Outcome.REFUNDED, "payu:5000000142:succeeded"),
        ("CANCELED", Outcome.REFUND_FAILED, "payu:5000000142:failed"),
        ("PENDING", Outcome.IGNORED, None),
        ("PROMISED", Outcome.IGNORED, None),
    ],
)
def test_a_notification_about_a_refund_states_a_fact(status: str, outcome: Outcome, business_key: str | None) -> None:
    found = parse(refund(status=status))
    assert (found.delivery_key, found.event_type) == (f"5000000142:{status}", f"refund.{status}")
    assert found.events == (
        NormalisedEvent(
            outcome=outcome,
            session_id=SESSION_ID,
            payment_reference=ORDER_ID,
            business_key=business_key,
            amount_minor=1500,
            currency="PLN",
            is_test=True,
            occurred_at=datetime(2026, 11, 21, 11, 0, tzinfo=UTC),
            detail="Changed their mind",
            attempt=1,
        ),
    )


def test_a_refund_from_the_panel_may_say_less() -> None:
    body = refund(reasonDescription=None, statusDateTime=None, reason=None, refundDate=None)
    del body["extOrderId"]
    (event,) = parse(body).events
    assert (event.outcome, event.session_id, event.payment_reference) == (Outcome.REFUNDED, None, ORDER_ID)
    assert (event.occurred_at, event.detail) == (None, "FINALIZED")


@pytest.mark.parametrize("when", ["yesterday", "2026-11-21T12:00:00", "2026-99-99T12:00:00+01:00", ""])
def test_a_time_that_cannot_be_read_decides_nothing(when: str) -> None:
    (event,) = parse(refund(statusDateTime=when)).events
    assert (event.outcome, event.occurred_at) == (Outcome.REFUNDED, None)


@pytest.mark.parametrize(
    "body",
    [
        order(orderId=None),
        order(orderId=""),
        order(orderId="../../orders/OTHER"),
        order(orderId="x" * 65),
        order(orderId=7),
        order(status=None),
        order(status=""),
        order(status="X" * 33),
        order(extOrderId=7),
        {"order": []},
        {"order": "ORD1"},
        {"order": {}},
        refund(refundId=None),
        refund(refundId="5" * 65),
        refund(amount=None),
        refund(amount="15.00"),
        refund(amount="-1500"),
        refund(amount="1e3"),
        refund(amount="١٥٠٠"),
        refund(amount="9" * 30),
        refund(amount=15.5),
        refund(currencyCode=None),
        refund(currencyCode="złp"),
        refund(currencyCode="P"),
        {"refund": {"refundId": "1"}},
        {**refund(), "orderId": "a/b"},
    ],
)
def test_a_signed_notification_of_another_shape_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidPayload):
        parse(body)


def test_a_notification_of_another_kind_is_kept_and_has_a_key_of_its_own() -> None:
    first = parse(b'{"payout":{"payoutId":"1"}}')
    second = parse(b'{"payout":{"payoutId":"2"}}')
    assert first.events == second.events == ()
    assert first.event_type == "payout"
    assert first.delivery_key != second.delivery_key
    assert first.delivery_key == parse(b'{"payout":{"payoutId":"1"}}').delivery_key


@pytest.mark.parametrize(
    ("currency", "amount", "minor"),
    [
        ("PLN", "4900", 4900),
        ("HUF", "100000", 100_000),
        ("JPY", "50000", 500),
        ("KWD", "1234", 12_340),
        ("PLN", 4900, 4900),
    ],
)
def test_amounts_are_in_hundredths_whatever_the_currency(currency: str, amount: str | int, minor: int) -> None:
    (event,) = parse(refund(currencyCode=currency, amount=amount)).events
    assert (event.amount_minor, event.currency) == (minor, currency)


def test_an_amount_that_the_currency_cannot_have_is_refused_not_rounded() -> None:
    with pytest.raises(InvalidPayload):
        parse(refund(currencyCode="JPY", amount="50001"))


@pytest.mark.parametrize(
    ("status", "outcome", "key"),
    [
        ("NEW", Outcome.PENDING, None),
        ("PENDING", Outcome.PENDING, f"payu:{ORDER_ID}:pending"),
        ("WAITING_FOR_CONFIRMATION", Outcome.PENDING, f"payu:{ORDER_ID}:pending"),
        ("COMPLETED", Outcome.PAID, f"payu:{ORDER_ID}:paid"),
        ("CANCELED", Outcome.FAILED, f"payu:{ORDER_ID}:failed"),
        # Nothing is failed, and nothing is closed, for a word that we do not know.
        ("REJECTED", Outcome.PENDING, f"payu:{ORDER_ID}:pending"),
    ],
)
def test_what_an_order_says_when_it_is_asked_for(status: str, outcome: Outcome, key: str | None) -> None:
    asked = Fields(json.loads(json.dumps(order(status=status)))["order"])
    found, meaning, fact = order_fact(asked, is_test=False)
    assert (found, meaning) == (status, outcome)
    assert (fact.business_key if fact else None) == key
    if fact is not None:
        assert (fact.session_id, fact.attempt_reference) == (SESSION_ID, ORDER_ID)
        assert (fact.amount_minor, fact.currency, fact.is_test) == (4900, "PLN", False)
        assert fact.payment_reference == (ORDER_ID if outcome is Outcome.PAID else None)

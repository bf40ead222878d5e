"""The signature scheme that the sandbox, Recurrente and One.com share."""

from datetime import UTC, datetime, timedelta

import pytest

from portal.payments.providers.base import InvalidSignature, SignatureProblem
from portal.payments.providers.standard_webhooks import key_of, secret_from, sign, verify

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"
KEY = b"0123456789abcdef01234567"
AT = datetime.fromtimestamp(1_700_000_000, UTC)
# id, body and signature as other people's programs make them (docs/providers: golden vectors).
GOLDEN = [
    (
        "msg_1",
        b'{"id":"pa_1","event_type":"payment_intent.succeeded"}',
        "v1,9ypI1So8xV2Br/n220UF8sSOpUWq+qdo26/D17SrgYA=",
    ),
    (
        "evt_1",
        b'{"type":"payment.completed","data":{"reference":"ps_1"}}',
        "v1,b3RrSKSi6Xq6ucMCmn1XwzHm4C/PU/PK+GGXueZDZjM=",
    ),
]
ID, BODY, SIGNATURE = GOLDEN[0]


def headers(**changes: str) -> dict[str, str]:
    usual = {"webhook-id": ID, "webhook-timestamp": "1700000000", "webhook-signature": SIGNATURE}
    return {**usual, **{name.replace("_", "-"): value for name, value in changes.items()}}


@pytest.mark.parametrize(("webhook_id", "body", "signature"), GOLDEN)
def test_golden_vectors(webhook_id: str, body: bytes, signature: str) -> None:
    made = sign(webhook_id, body, KEY, at=AT)
    assert made == {
        "webhook-id": webhook_id, "webhook-timestamp": "1700000000", "webhook-signature": signature,
    }  # fmt: skip
    assert verify(made, body, [key_of(SECRET)], at=AT) == webhook_id


def test_a_secret_is_its_key_in_base64() -> None:
    assert key_of(SECRET) == KEY
    assert secret_from(KEY) == SECRET
    assert key_of(" " + SECRET.removeprefix("whsec_") + " ") == KEY


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_!!!!", "whsec_c2hvcnQ=", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY", "é"]
)
def test_a_bad_secret_is_named(secret: str) -> None:
    with pytest.raises(ValueError, match="webhook secret"):
        key_of(secret)


def test_one_good_signature_among_several_is_enough() -> None:
    several = f"v1,{'A' * 43}= v1a,abc {SIGNATURE} v2,x"
    assert verify(headers(webhook_signature=several), BODY, [b"x" * 24, KEY], at=AT) == ID


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"webhook_signature": SIGNATURE.replace("v1,", "v0,")}, SignatureProblem.NO_MATCH),
        ({"webhook_signature": SIGNATURE.removeprefix("v1,")}, SignatureProblem.NO_MATCH),
        ({"webhook_signature": SIGNATURE.lower()}, SignatureProblem.NO_MATCH),
        ({"webhook_signature": SIGNATURE.rstrip("=")}, SignatureProblem.NO_MATCH),
        ({"webhook_signature": SIGNATURE + "="}, SignatureProblem.NO_MATCH),
        ({"webhook_signature": SIGNATURE.replace(",", ", ")}, SignatureProblem.NO_MATCH),
        ({"webhook_signature": " ".join([SIGNATURE] * 1_000)}, SignatureProblem.MALFORMED_HEADER),
        ({"webhook_signature": "é"}, SignatureProblem.MALFORMED_HEADER),
        ({"webhook_signature": ""}, SignatureProblem.MISSING_HEADER),
        ({"webhook_id": ""}, SignatureProblem.MISSING_HEADER),
        ({"webhook_id": "msg_2"}, SignatureProblem.NO_MATCH),
        # A dot in the id would let the border between id and time wander.
        ({"webhook_id": "msg.1"}, SignatureProblem.MALFORMED_HEADER),
        ({"webhook_id": "m" * 129}, SignatureProblem.MALFORMED_HEADER),
        ({"webhook_timestamp": "1700000001"}, SignatureProblem.NO_MATCH),
        ({"webhook_timestamp": "01700000000"}, SignatureProblem.NO_MATCH),
        ({"webhook_timestamp": "-1700000000"}, SignatureProblem.MALFORMED_HEADER),
        ({"webhook_timestamp": "1.7e9"}, SignatureProblem.MALFORMED_HEADER),
        ({"webhook_timestamp": "١٧٠٠٠٠٠٠٠٠"}, SignatureProblem.MALFORMED_HEADER),
        ({"webhook_timestamp": "9" * 400}, SignatureProblem.MALFORMED_HEADER),
    ],
)
def test_anything_else_is_refused(changes: dict[str, str], reason: SignatureProblem) -> None:
    with pytest.raises(InvalidSignature) as refusal:
        verify(headers(**changes), BODY, [KEY], at=AT)
    assert refusal.value.reason is reason


@pytest.mark.parametrize("body", [b"", BODY + b"\n", BODY.replace(b":", b": "), BODY[:-1]])
def test_another_body_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidSignature):
        verify(headers(), body, [KEY], at=AT)


@pytest.mark.parametrize("seconds", [-300, -299, 0, 299, 300])
def test_five_minutes_either_way_are_believed(seconds: int) -> None:
    assert verify(headers(), BODY, [KEY], at=AT + timedelta(seconds=seconds)) == ID


@pytest.mark.parametrize(("seconds", "reason"), [(301, SignatureProblem.TOO_OLD), (-301, SignatureProblem.IN_FUTURE)])
def test_more_is_refused_and_the_skew_is_known(seconds: int, reason: SignatureProblem) -> None:
    with pytest.raises(InvalidSignature) as refusal:
        verify(headers(), BODY, [KEY], at=AT + timedelta(seconds=seconds))
    assert (refusal.value.reason, refusal.value.skew) == (reason, timedelta(seconds=seconds))


def test_no_key_believes_nothing() -> None:
    with pytest.raises(InvalidSignature):
        verify(headers(), BODY, [], at=AT)

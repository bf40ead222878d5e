"""Stripe's signatures: who is believed, and when (providers.md 1.2 and 6, reliability.md W5 to W7)."""

from datetime import timedelta
from typing import Any

import pytest
import stripe as sdk
from hypothesis import given, settings
from hypothesis import strategies as st

from portal.payments.providers.base import (
    InvalidPayload,
    InvalidSignature,
    SignatureProblem,
)
from portal.payments.providers.stripe import StripeProvider
from tests.payments.providers.stripe_support import (
    SECRET,
    SIGNED_AT,
    mark,
    parse,
)

OLD_SECRET = "whsec_retired_secret"
GOLDEN_BODY = b'{"id":"evt_test_1","object":"event","type":"checkout.session.completed"}'
GOLDEN_HEADER = "t=1700000000,v1=ca796b857b81e24d595a4c37abf88d2fafb533a32ede6ce4cfc9b0e892a35b08"
IGNORABLE = b'{"id":"evt_1","object":"event","type":"account.updated","data":{"object":{"id":"acct_1"}}}'


def refused(body: bytes, header: str, **options: Any) -> SignatureProblem:
    with pytest.raises(InvalidSignature) as refusal:
        parse(body, header, **options)
    return refusal.value.reason


def test_golden_vector_is_believed() -> None:
    # The body has no data, so believing it shows in a complaint about the payload.
    with pytest.raises(InvalidPayload) as refusal:
        parse(GOLDEN_BODY, GOLDEN_HEADER)
    assert refusal.value.reason == "data is missing"


def test_golden_vector_is_what_the_official_library_signs() -> None:
    signed = sdk.WebhookSignature.generate_signature_header(GOLDEN_BODY.decode(), SECRET, 1_700_000_000)
    assert signed == GOLDEN_HEADER


@given(st.binary(max_size=200), st.text(alphabet=st.characters(codec="ascii", exclude_characters=","), max_size=80))
@settings(deadline=None)
def test_only_the_right_signature_is_believed(body: bytes, noise: str) -> None:
    header = f"t=1700000000,v1={noise}"
    if noise != mark(body):
        assert refused(body, header) in (SignatureProblem.NO_MATCH, SignatureProblem.MALFORMED_HEADER)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("", SignatureProblem.MISSING_HEADER),
        (" ", SignatureProblem.MISSING_HEADER),
        ("nonsense", SignatureProblem.MALFORMED_HEADER),
        (f"v1={mark(IGNORABLE)}", SignatureProblem.MALFORMED_HEADER),
        (f"t=,v1={mark(IGNORABLE)}", SignatureProblem.MALFORMED_HEADER),
        (f"t=now,v1={mark(IGNORABLE)}", SignatureProblem.MALFORMED_HEADER),
        (f"t=-1700000000,v1={mark(IGNORABLE)}", SignatureProblem.MALFORMED_HEADER),
        (f"t=1700000000.0,v1={mark(IGNORABLE)}", SignatureProblem.MALFORMED_HEADER),
        (f"t={'9' * 400},v1={mark(IGNORABLE)}", SignatureProblem.MALFORMED_HEADER),
        (f"t=1700000000,t=1700000000,v1={mark(IGNORABLE)}", SignatureProblem.MALFORMED_HEADER),
        (f"t=١٧٠٠٠٠٠٠٠٠,v1={mark(IGNORABLE)}", SignatureProblem.MALFORMED_HEADER),
        (f"t=1700000000,v1={mark(IGNORABLE)}ż", SignatureProblem.MALFORMED_HEADER),
        ("t=1700000000", SignatureProblem.NO_MATCH),
        ("t=1700000000,v1=", SignatureProblem.NO_MATCH),
        (f"t=1700000000,v0={mark(IGNORABLE)}", SignatureProblem.NO_MATCH),
        (f"t=1700000000,v1={mark(IGNORABLE).upper()}", SignatureProblem.NO_MATCH),
        (f"t=1700000000,v1={mark(IGNORABLE)[:-1]}", SignatureProblem.NO_MATCH),
        (f"t=1700000000,v1={mark(IGNORABLE)}0", SignatureProblem.NO_MATCH),
        (f"t=1700000000,v1={mark(IGNORABLE)}=", SignatureProblem.NO_MATCH),
        (f"t=1700000000,V1={mark(IGNORABLE)}", SignatureProblem.NO_MATCH),
        (f"t=1700000000,v1={mark(IGNORABLE, 'whsec_wrong')}", SignatureProblem.NO_MATCH),
        (f"t=1700000000,v1={mark(IGNORABLE + b' ')}", SignatureProblem.NO_MATCH),
        (f"t=1700000000,v1={mark(IGNORABLE, time='1700000001')}", SignatureProblem.NO_MATCH),
        (f"t=01700000000,v1={mark(IGNORABLE)}", SignatureProblem.NO_MATCH),
    ],
)
def test_forged_header_is_refused(header: str, reason: SignatureProblem) -> None:
    assert refused(IGNORABLE, header) is reason


def test_ten_thousand_signatures_are_refused_unread() -> None:
    many = ",".join([f"v1={'0' * 64}"] * 10_000)
    assert refused(IGNORABLE, f"t=1700000000,{many},v1={mark(IGNORABLE)}") is SignatureProblem.MALFORMED_HEADER


def test_unknown_schemes_beside_the_right_one_are_passed_over() -> None:
    header = f"t=1700000000, v0=abc ,v2={'f' * 64},v1={'0' * 64},v1={mark(IGNORABLE)}"
    assert parse(IGNORABLE, header).delivery_key == "evt_1"


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
def test_both_secrets_count_while_one_is_rolled(secret: str) -> None:
    header = f"t=1700000000,v1={mark(IGNORABLE, secret)}"
    assert parse(IGNORABLE, header, secrets=(SECRET, OLD_SECRET)).delivery_key == "evt_1"


def test_a_retired_secret_counts_no_more() -> None:
    assert refused(IGNORABLE, f"t=1700000000,v1={mark(IGNORABLE, OLD_SECRET)}") is SignatureProblem.NO_MATCH


@pytest.mark.parametrize("secrets", [(), ("",), (SECRET, " ")])
def test_a_blank_secret_stops_the_start(secrets: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="secret"):
        StripeProvider(api_key="sk_test_1", webhook_secrets=secrets)


def test_a_blank_key_stops_the_start() -> None:
    with pytest.raises(ValueError, match="key"):
        StripeProvider(api_key=" ", webhook_secrets=[SECRET])


@pytest.mark.parametrize("seconds", [-300, -299, 0, 299, 300])
def test_within_five_minutes_either_way_is_believed(seconds: int) -> None:
    header = f"t=1700000000,v1={mark(IGNORABLE)}"
    assert parse(IGNORABLE, header, at=SIGNED_AT + timedelta(seconds=seconds)).delivery_key == "evt_1"


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [
        (301, SignatureProblem.TOO_OLD),
        (600, SignatureProblem.TOO_OLD),
        (-301, SignatureProblem.IN_FUTURE),
        (-86_400, SignatureProblem.IN_FUTURE),
    ],
)
def test_outside_five_minutes_is_refused_and_tells_the_skew(seconds: int, reason: SignatureProblem) -> None:
    with pytest.raises(InvalidSignature) as refusal:
        parse(IGNORABLE, f"t=1700000000,v1={mark(IGNORABLE)}", at=SIGNED_AT + timedelta(seconds=seconds))
    assert refusal.value.reason is reason
    assert refusal.value.skew == timedelta(seconds=seconds)


def test_a_forged_old_header_tells_nothing_of_the_clock() -> None:
    with pytest.raises(InvalidSignature) as refusal:
        parse(IGNORABLE, f"t=1,v1={'0' * 64}")
    assert (refusal.value.reason, refusal.value.skew) == (SignatureProblem.NO_MATCH, None)


def test_forged_and_replayed_read_alike() -> None:
    words = set()
    for header in (f"t=1700000000,v1={'0' * 64}", f"t=1,v1={mark(IGNORABLE, time='1')}", ""):
        with pytest.raises(InvalidSignature) as refusal:
            parse(IGNORABLE, header)
        words.add((str(refusal.value), refusal.value.code, refusal.value.status))
    assert len(words) == 1

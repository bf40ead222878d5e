"""One.com's adapter: the link, the messages, and what the guide for their sender promises."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from portal.core.money import Money
from portal.payments.providers.base import InvalidPayload, InvalidSignature, Outcome
from portal.payments.providers.onecom import OneComProvider
from tests.fakes.onecom import WEBHOOK_SECRET
from tests.fakes.standard_webhooks import headers
from tests.payments.providers.harness import SESSION_ID, request
from tests.payments.providers.onecom_support import LINK, SAMPLE, SIGNED_AT, offline, only_fact, parse, sample

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "providers" / "onecom.md"
GOLDEN_BODY = b'{"type":"payment.completed","data":{"reference":"ps_1"}}'
GOLDEN = "v1,b3RrSKSi6Xq6ucMCmn1XwzHm4C/PU/PK+GGXueZDZjM="
SIGNED = {"webhook-id": "evt_1", "webhook-timestamp": "1700000000", "webhook-signature": GOLDEN}


def test_the_golden_signature() -> None:
    parsed = offline(requires_amount=False).parse_webhook(SIGNED, GOLDEN_BODY, at=SIGNED_AT)
    assert (parsed.delivery_key, parsed.event_type) == ("evt_1", "payment.completed")
    assert headers([WEBHOOK_SECRET], "evt_1", GOLDEN_BODY, at=1_700_000_000) == SIGNED


@pytest.mark.parametrize(("age", "is_good"), [(299, True), (301, False), (-299, True), (-301, False)])
def test_how_old_a_signature_may_be(age: int, is_good: bool) -> None:
    at = SIGNED_AT + timedelta(seconds=age)
    if is_good:
        assert offline().parse_webhook(SIGNED, GOLDEN_BODY, at=at).delivery_key == "evt_1"
        return
    with pytest.raises(InvalidSignature):
        offline().parse_webhook(SIGNED, GOLDEN_BODY, at=at)


def test_the_guides_python_recipe_makes_the_golden_signature(tmp_path: Path) -> None:
    [recipe] = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    program = tmp_path / "recipe.py"
    program.write_text(f"{recipe}\nprint(sign({WEBHOOK_SECRET!r}, 'evt_1', 1700000000, {GOLDEN_BODY!r}))\n")
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == GOLDEN


def test_the_guides_shell_recipe_makes_the_golden_signature() -> None:
    [recipe] = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    given = {"SECRET": WEBHOOK_SECRET, "ID": "evt_1", "TIME": "1700000000", "BODY": GOLDEN_BODY.decode()}
    done = subprocess.run(
        ["bash", "-ec", recipe], capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin", **given}
    )
    assert done.stdout.strip() == GOLDEN


def test_the_guides_sample_is_read() -> None:
    [text] = re.findall(r"```json\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    assert json.loads(text) == SAMPLE
    [fact] = parse(text.encode()).events
    assert (fact.outcome, fact.session_id, fact.amount_minor, fact.currency) == (Outcome.PAID, "ps_1", 4900, "DKK")


def test_the_link_holds_what_it_was_asked_to_hold() -> None:
    started = offline().start(request(success_url="https://portal.example/orders/1/return?key=a&b=c#d"))
    parts = urlsplit(started.redirect_url)
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "shop.example", "/pay")
    assert parse_qs(parts.query) == {
        "ref": [SESSION_ID], "sum": ["4900"], "cur": ["PLN"],
        "back": ["https://portal.example/orders/1/return?key=a&b=c#d"],
    }  # fmt: skip
    assert (started.reference, started.expires_at) == (f"{SESSION_ID}:1", None)


def test_what_looks_like_a_blank_in_a_value_is_not_filled() -> None:
    started = offline().start(request(success_url="https://portal.example/{amount}"))
    assert parse_qs(urlsplit(started.redirect_url).query)["back"] == ["https://portal.example/{amount}"]


@pytest.mark.parametrize("link", ["", "https://shop.example/pay", "https://shop.example/{reference}/{secret}"])
def test_a_link_that_cannot_work_is_refused_at_the_start(link: str) -> None:
    with pytest.raises(ValueError, match="reference"):
        OneComProvider(checkout_url=link, webhook_secrets=[WEBHOOK_SECRET], requires_amount=True)


@pytest.mark.parametrize(
    ("event_type", "outcome"),
    [
        ("payment.pending", Outcome.PENDING),
        ("payment.completed", Outcome.PAID),
        ("payment.failed", Outcome.FAILED),
        ("payment.refunded", Outcome.REFUNDED),
        ("payment.disputed", Outcome.DISPUTED),
    ],
)
def test_every_type_of_the_contract(event_type: str, outcome: Outcome) -> None:
    fact = only_fact(sample(event_type))
    assert (fact.outcome, fact.session_id, fact.payment_reference) == (outcome, "ps_1", "oc_123")
    assert (fact.amount_minor, fact.currency) == (4900, "DKK")
    assert fact.occurred_at == datetime(2026, 11, 21, 9, tzinfo=UTC)
    # One payment is announced once or twice; refunds may be several.
    subject = "oc_123" if outcome in (Outcome.REFUNDED, Outcome.DISPUTED) else "ps_1"
    assert fact.business_key == f"onecom:{subject}:{outcome}"


@pytest.mark.parametrize("event_type", ["payment.started", "stock.changed", "payment.completed.v2", "x" * 128])
def test_other_types_are_stored_and_ignored(event_type: str) -> None:
    assert parse({"type": event_type}).events == ()


@pytest.mark.parametrize("missing", [("amount",), ("currency",), ("amount", "currency")])
@pytest.mark.parametrize("requires_amount", [True, False])
def test_a_message_without_an_amount(requires_amount: bool, missing: tuple[str, ...]) -> None:
    """The brief's own message has a reference alone: believed only where the owner said so."""
    fact = only_fact(sample(**dict.fromkeys(missing)), requires_amount=requires_amount)
    assert fact.outcome is (Outcome.CLAIMED if requires_amount else Outcome.PAID)
    assert fact.session_id == "ps_1"


def test_an_amount_that_is_there_counts_whatever_is_required() -> None:
    for requires_amount in (True, False):
        fact = only_fact(sample(amount=1), requires_amount=requires_amount)
        assert (fact.outcome, fact.amount_minor) == (Outcome.PAID, 1)


def test_the_word_of_staff_has_the_key_of_the_message() -> None:
    told = only_fact(sample())
    for transaction in (None, "oc_123"):
        said = offline().fact_by_hand("ps_1:3", Outcome.PAID, transaction)
        assert (said.business_key, said.session_id, said.attempt) == (told.business_key, "ps_1", 3)
        assert said.payment_reference == transaction


@pytest.mark.parametrize(
    "broken",
    [
        {}, {"type": None}, {"type": 5}, {"type": "x" * 129}, {"data": None}, {"data": []}, {"data": {}},
        {"data": {"reference": 5}}, {"data": {"reference": ""}}, {"data": {"reference": "x" * 65}},
        {"data": {"reference": "ps_1", "amount": "4900"}}, {"data": {"reference": "ps_1", "amount": 49.0}},
        {"data": {"reference": "ps_1", "amount": True}}, {"data": {"reference": "ps_1", "currency": "KRONE"}},
        {"data": {"reference": "ps_1", "transaction_id": {}}}, {"timestamp": "yesterday"}, {"timestamp": 5},
    ],
)  # fmt: skip
def test_a_field_of_the_wrong_kind_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(InvalidPayload):
        parse({**SAMPLE, **broken} if broken else {})


def test_the_amount_is_in_minor_units_of_any_currency() -> None:
    query = parse_qs(urlsplit(offline().start(request(amount=Money(4900, "JPY"))).redirect_url).query)
    assert (query["sum"], query["cur"]) == (["4900"], ["JPY"])
    assert "{amount}" in LINK

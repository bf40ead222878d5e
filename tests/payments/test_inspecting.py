"""A pasted delivery: which part of the signature is wrong, and what it says all the same."""

import json
from datetime import timedelta

import pytest
from flask import Flask

from portal.core import clock
from portal.payments.providers.base import PLACEHOLDER, Rereads, SignatureProblem
from portal.payments.services.inspecting import Inspection, Mending, inspect
from tests import sandbox
from tests.payments import signed

BODY = json.dumps(signed.checkout_event("7d3d0e57-6c1c-4d1e-9a2d-000000000001"))
PRETTY = json.dumps(json.loads(BODY), indent=2)


def _inspect(app: Flask, header: str | None, body: str = BODY) -> Inspection:
    provider = app.extensions["payment_registry"].get("stripe")
    headers = {"stripe-signature": header} if header is not None else {}
    return inspect(provider, headers, body, at=clock.now())


def test_a_right_one_is_believed_and_read(app: Flask) -> None:
    found = _inspect(app, signed.signature(BODY))
    assert (found.problem, found.unreadable, found.mending, found.is_signed) == (None, None, Mending.NONE, True)
    assert found.parsed is not None
    assert found.parsed.events[0].session_id == "7d3d0e57-6c1c-4d1e-9a2d-000000000001"


@pytest.mark.parametrize(
    ("header", "problem", "is_signed"),
    [
        (None, SignatureProblem.MISSING_HEADER, False),
        ("nonsense", SignatureProblem.MALFORMED_HEADER, False),
        ("wrong", SignatureProblem.NO_MATCH, False),
        ("old", SignatureProblem.TOO_OLD, True),
        ("early", SignatureProblem.IN_FUTURE, True),
    ],
)
def test_the_part_that_is_wrong_is_named(
    app: Flask, header: str | None, problem: SignatureProblem, is_signed: bool
) -> None:
    at = clock.now()
    made = {
        "wrong": signed.signature(BODY, secret="whsec_other"),
        "old": signed.signature(BODY, at=at - timedelta(seconds=900)),
        "early": signed.signature(BODY, at=at + timedelta(seconds=900)),
    }
    found = _inspect(app, made.get(header, header) if header else header)
    assert (found.problem, found.is_signed) == (problem, is_signed)
    assert (found.skew is not None) is is_signed
    # What it says is shown in any case; whether anybody signed it is said beside it.
    assert found.parsed is not None
    assert found.parsed.event_type == "checkout.session.completed"


@pytest.mark.parametrize(
    ("sent", "pasted", "mending"),
    [
        (BODY, BODY, Mending.NONE),
        (BODY, BODY + "\r\n", Mending.LAST_NEWLINE),
        (BODY + "\n", BODY, Mending.LAST_NEWLINE),
        (PRETTY, PRETTY.replace("\n", "\r\n"), Mending.NONE),
        (PRETTY.replace("\n", "\r\n"), PRETTY.replace("\n", "\r\n"), Mending.LINE_ENDS),
        (PRETTY.replace("\n", "\r\n"), PRETTY.replace("\n", "\r\n") + "\r\n", Mending.LINE_ENDS),
    ],
    # The bodies carry the time, and a test is found by its name.
    ids=["as it was", "end added", "end lost", "line ends changed", "line ends kept", "line ends kept, end added"],
)
def test_what_copying_changes_is_found(app: Flask, sent: str, pasted: str, mending: Mending) -> None:
    """A browser sends CRLF for each end of a line, whatever was pasted."""
    found = _inspect(app, signed.signature(sent), pasted)
    assert (found.problem, found.mending) == (None, mending)
    assert found.body == sent


def test_another_body_is_not_mended_into_a_right_one(app: Flask) -> None:
    found = _inspect(app, signed.signature(BODY), BODY.replace("4900", "4901"))
    assert (found.problem, found.mending) == (SignatureProblem.NO_MATCH, Mending.NONE)


@pytest.mark.parametrize("body", ["", "[]", "not json", '{"a": NaN}', "{", '{"id": 1}', "\ud800"])
def test_a_body_that_cannot_be_read_says_why(app: Flask, body: str) -> None:
    at = clock.now()
    found = _inspect(app, signed.signature(body.encode("utf-8", "replace").decode(), at=at), body)
    assert found.parsed is None
    assert found.unreadable
    found = _inspect(app, "wrong", body)
    assert (found.parsed, found.problem) == (None, SignatureProblem.MALFORMED_HEADER)


def test_every_provider_that_can_be_looked_into_keeps_its_signature(app: Flask) -> None:
    """What staff can copy is never a signature that would be believed, outside of a developer's own machine."""
    looked_into = [one for one in app.extensions["payment_registry"].enabled() if isinstance(one, Rereads)]
    assert {one.name for one in looked_into} >= {"stripe", "sandbox"}
    for provider in looked_into:
        headers = provider.sample_headers(BODY.encode(), delivery_key="evt_1", at=clock.now())
        assert any(PLACEHOLDER in value for value in headers.values()), provider.name
        assert not inspect(provider, headers, BODY, at=clock.now()).is_signed


def test_the_sandbox_reads_its_own_again(app: Flask) -> None:
    provider = app.extensions["payment_registry"].get("sandbox")
    body = (
        '{"type":"payment.paid","created":1,"data":{"page":"p1","session_id":"s1","amount":1,"currency":"PLN",'
        '"test":true,"payment":"c1"}}'
    )
    found = inspect(provider, sandbox.signed(app, body.encode()), body, at=clock.now())
    assert found.problem is None
    assert found.parsed is not None
    again = provider.reread(body.encode(), delivery_key=found.parsed.delivery_key)
    assert again == found.parsed

"""Pasting a delivery: the verdict, what it says, what it would do; nothing is stored, nothing is counted."""

import json
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.core import clock, metrics
from portal.core.queues import connection
from portal.payments.webhooks import LARGEST_BODY
from tests.admin import support
from tests.admin.reading import words
from tests.browser_like import csrf_token
from tests.payments import signed
from tests.structure.world import everything

ADDRESS = "/admin/webhooks/check"
HOSTILE = '</textarea><script>alert("x")</script>{{7*7}}'


def _paste(office: FlaskClient, body: str, *, headers: str | None = None, provider: str = "stripe") -> TestResponse:
    token = csrf_token(office, ADDRESS)
    given = headers if headers is not None else f"Stripe-Signature: {signed.signature(body)}\r\nUser-Agent: x"
    # As a browser sends a form with enctype multipart/form-data.
    data: dict[str, Any] = {"csrf_token": token, "provider": provider, "headers": given, "body": body}
    return office.post(ADDRESS, data=data, content_type="multipart/form-data")


def _delivery() -> str:
    order = support.make_order(email="late@example.com")
    return json.dumps(signed.checkout_event(support.make_session(order)))


def test_a_right_delivery_shows_what_it_would_do_and_does_nothing(app: Flask, office: FlaskClient) -> None:
    body = _delivery()
    csrf_token(office, ADDRESS)
    before = everything()
    counted = metrics.WEBHOOKS.collect()
    queued = [key for key in connection().keys("*") if b"LIMIT" not in key]  # type: ignore[union-attr]  # never async
    answer = _paste(office, body)
    assert answer.status_code == 200
    text = words(answer)
    for part in (
        "The signature is right. A delivery like this is believed.", "checkout.session.completed", "Paid, PLN 69.00",
        "This is what would happen. Nothing has.", "The payment is settled.", "New Invoice", "New Money", "New Mail",
    ):  # fmt: skip
        assert part in text, part
    assert "Apply it now" not in text
    assert everything() == before
    assert metrics.WEBHOOKS.collect() == counted
    left = [key for key in connection().keys("*") if b"LIMIT" not in key]  # type: ignore[union-attr]  # never async
    assert left == queued


@pytest.mark.parametrize(
    ("made", "part"),
    [
        ("none", "The header with the signature is missing"),
        ("malformed", "The header with the signature cannot be read"),
        ("wrong", "The signature does not fit the body"),
        ("old", "signed 15 minutes ago"),
        ("early", "signed 15 minutes from now"),
    ],
)
def test_the_part_that_is_wrong_is_said(app: Flask, office: FlaskClient, made: str, part: str) -> None:
    body, at = _delivery(), clock.now()
    header = {
        "malformed": "nonsense",
        "wrong": signed.signature(body, secret="whsec_other"),
        "old": signed.signature(body, at=at - timedelta(minutes=15)),
        "early": signed.signature(body, at=at + timedelta(minutes=15)),
    }.get(made)
    csrf_token(office, ADDRESS)
    before = everything()
    text = words(_paste(office, body, headers=f"stripe-signature:{header}" if header else ""))
    assert part in text
    assert "is believed" not in text
    is_unsigned = made in ("none", "malformed", "wrong")
    assert ("nobody whom we trust has signed that" in text) is is_unsigned
    assert ("This is what it would do, were it signed." in text) is is_unsigned
    assert ("This is what would happen. Nothing has." in text) is not is_unsigned
    assert everything() == before


def test_no_answer_holds_a_secret_or_a_signature_that_fits(app: Flask, office: FlaskClient) -> None:
    body = _delivery()
    raw = _paste(office, body, headers="Stripe-Signature: t=1,v1=00").get_data(as_text=True)
    settings = app.config["SETTINGS"]
    for secret in (settings.stripe_webhook_secret, settings.sandbox_webhook_secret, settings.secret_key):
        assert secret not in raw
    assert signed.signature(body).rpartition("=")[2] not in raw


def test_a_delivery_that_came_before_is_named(app: Flask, office: FlaskClient, client: FlaskClient) -> None:
    body = _delivery()
    signed.post(client, body)
    text = words(_paste(office, body))
    assert "Came before as Event 1" in text
    assert "answered as a duplicate" in text


@pytest.mark.parametrize("body", ["not json", "[]", "\x00", '{"a": NaN}', "[" * 5000])
def test_what_cannot_be_read_says_so(office: FlaskClient, body: str) -> None:
    answer = _paste(office, body)
    assert answer.status_code == 200
    assert "The signature is right and the body cannot be read" in words(answer)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"body": ""}, "required"),
        ({"body": "{}", "provider": "nobody"}, "valid choice"),
        ({"body": "{}", "headers": "x" * 20_000}, "16384"),
    ],
)
def test_a_form_that_is_wrong_is_shown_again(office: FlaskClient, values: dict[str, str], complaint: str) -> None:
    token = csrf_token(office, ADDRESS)
    data: dict[str, Any] = {"csrf_token": token, "provider": "stripe", "headers": "", "body": "", **values}
    answer = office.post(ADDRESS, data=data)
    assert answer.status_code == 422
    assert complaint in words(answer)


def test_a_body_may_be_as_large_as_a_webhook_and_not_larger(app: Flask, office: FlaskClient) -> None:
    body = _delivery()
    largest = body[:-1] + " " * (LARGEST_BODY - len(body)) + "}"
    assert len(largest) == LARGEST_BODY
    assert "is believed" in words(_paste(office, largest))
    assert _paste(office, largest + " ").status_code == 422
    huge = {"csrf_token": csrf_token(office, ADDRESS), "body": "x" * 3_000_000}
    assert office.post(ADDRESS, data=huge).status_code == 413


def test_hostile_text_is_shown_as_text(office: FlaskClient) -> None:
    raw = _paste(office, HOSTILE, headers=f"X: {HOSTILE}").get_data(as_text=True)
    assert "<script>alert" not in raw
    event = json.dumps({**signed.checkout_event("x"), "type": "payment_intent.payment_failed" + HOSTILE[:40]})
    assert "<script>alert" not in _paste(office, event).get_data(as_text=True)


def test_it_is_limited(app: Flask, office: FlaskClient) -> None:
    token = csrf_token(office, ADDRESS)
    data = {"csrf_token": token, "provider": "stripe", "headers": "", "body": "{}"}
    statuses = [office.post(ADDRESS, data=data).status_code for _ in range(31)]
    assert statuses == [200] * 30 + [429]


def test_in_place_with_htmx(app: Flask, office: FlaskClient) -> None:
    token = csrf_token(office, ADDRESS)
    data = {"csrf_token": token, "provider": "stripe", "headers": "", "body": "{}"}
    answer = office.post(ADDRESS, data=data, headers={"HX-Request": "true"})
    text = answer.get_data(as_text=True)
    # The form stays as it is; only what is known of the delivery is put beside it.
    assert 'id="checked"' in text
    assert "<textarea" not in text
    wrong = office.post(ADDRESS, data={**data, "body": ""}, headers={"HX-Request": "true"})
    assert wrong.status_code == 422
    assert "error-summary" in wrong.get_data(as_text=True)

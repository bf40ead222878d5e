"""`/api/v1/sessions/<id>/refunds`: a merchant's program gives money back, once, and only its own."""

import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from portal.core.db import db
from portal.core.outbox import OutboxMessage
from portal.merchants.models import Merchant, Scope
from portal.merchants.outbound.models import MerchantEvent
from portal.payments.models import Payment, Standing
from portal.payments.refund_models import CreditNote, Refund
from tests import invariants
from tests.crowd import all_at_once
from tests.merchants.support import (
    SESSIONS,
    all_of,
    bearer,
    error_of,
    fields_of,
    get,
    look_again,
    make_key,
    make_session,
    pay,
    work,
)

UNKNOWN = "3f0c8a52-7d1e-4b8f-9c55-0d6f1f6b2a10"


@pytest.fixture
def paid(app: Flask, client: FlaskClient, cafe: Merchant) -> str:
    """The id of a session of 49.00 PLN that was paid at the sandbox."""
    session = make_session(cafe, customer_email="buyer@example.com")
    public_id = session.public_id
    pay(app, client, public_id)
    return public_id


def address(public_id: str) -> str:
    return f"{SESSIONS}/{public_id}/refunds"


def give(client: FlaskClient, secret: str, public_id: str, body: Any = None, **headers: str) -> TestResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(address(public_id), json={} if body is None else body, headers=bearer(secret, **named))


def told(kind: str) -> list[dict[str, Any]]:
    """What the merchant was told, as events of one type."""
    return [json.loads(event.payload)["data"] for event in all_of(MerchantEvent) if event.type == kind]


def test_a_part_goes_back_and_is_seen(app: Flask, client: FlaskClient, secret: str, paid: str) -> None:
    answer = give(client, secret, paid, {"amount": "10.00", "reason": "duplicate"})
    assert answer.status_code == 201
    made = answer.get_json()
    assert {name: made[name] for name in ("amount", "amount_minor", "currency", "status", "reason", "session_id")} == {
        "amount": "10.00", "amount_minor": 1000, "currency": "PLN", "status": "pending", "reason": "duplicate",
        "session_id": paid,
    }  # fmt: skip
    assert get(client, secret, f"{SESSIONS}/{paid}").get_json()["refunded_minor"] == 0
    work(app)
    [seen] = get(client, secret, address(paid)).get_json()["data"]
    assert (seen["id"], seen["status"], seen["failure"]) == (made["id"], "succeeded", None)
    assert seen["succeeded_at"]
    session = get(client, secret, f"{SESSIONS}/{paid}").get_json()
    assert (session["refunded_minor"], session["status"]) == (1000, "paid")
    assert [one["refunded_minor"] for one in get(client, secret).get_json()["data"]] == [1000]
    assert [one["refunded_minor"] for one in told("session.refunded")] == [1000]
    assert len(all_of(CreditNote)) == 1
    assert invariants.check(db.session) == []


def test_without_an_amount_all_that_is_left_goes_back(app: Flask, client: FlaskClient, secret: str, paid: str) -> None:
    assert give(client, secret, paid, {"amount_minor": 900}).status_code == 201
    assert give(client, secret, paid).get_json()["amount_minor"] == 4000
    work(app)
    assert [one["amount_minor"] for one in get(client, secret, address(paid)).get_json()["data"]] == [4000, 900]
    refused = give(client, secret, paid)
    assert (refused.status_code, error_of(refused)["code"]) == (409, "nothing_to_refund")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"amount_minor": 4901}, 422, "refund_too_large"),
        ({"amount_minor": 10**12 - 1}, 422, "refund_too_large"),
        ({"amount_minor": 10**12}, 422, "invalid_fields"),
        ({"amount_minor": 0}, 422, "invalid_fields"),
        ({"amount_minor": -100}, 422, "invalid_fields"),
        ({"amount_minor": 1.5}, 422, "invalid_fields"),
        ({"amount_minor": True}, 422, "invalid_fields"),
        ({"amount_minor": "100"}, 422, "invalid_fields"),
        ({"amount": "10.001"}, 422, "invalid_fields"),
        ({"amount": "1e3"}, 422, "invalid_fields"),
        ({"amount": "10.00", "amount_minor": 999}, 422, "invalid_fields"),
        ({"reason": "because"}, 422, "invalid_fields"),
        ({"reason": ["duplicate"]}, 422, "invalid_fields"),
        ({"currency": "EUR"}, 400, "unknown_fields"),
        ({"payment_id": 1}, 400, "unknown_fields"),
        ([], 400, "malformed_json"),
    ],
    ids=str,
)
def test_what_cannot_be_given_is_refused(
    client: FlaskClient, secret: str, paid: str, body: Any, status: int, code: str
) -> None:
    answer = give(client, secret, paid, body)
    assert (answer.status_code, error_of(answer)["code"]) == (status, code)
    assert all_of(Refund) == []
    assert [payment.returned_minor for payment in all_of(Payment)] == [0]


def test_every_wrong_field_is_named(client: FlaskClient, secret: str, paid: str) -> None:
    answer = give(client, secret, paid, {"amount_minor": 0, "reason": 5})
    assert fields_of(answer) == {"amount_minor": "not_positive", "reason": "unknown_reason"}


def test_what_is_not_paid_has_nothing_to_give(client: FlaskClient, cafe: Merchant, secret: str) -> None:
    answer = give(client, secret, make_session(cafe).public_id)
    assert (answer.status_code, error_of(answer)["code"]) == (409, "nothing_to_refund")


def test_strangers_modes_and_rights_are_kept_apart(
    app: Flask, client: FlaskClient, cafe: Merchant, rival: Merchant, paid: str
) -> None:
    reader = make_key(cafe, scopes=(Scope.SESSIONS_READ.value, Scope.SESSIONS_WRITE.value))[1]
    giver = make_key(cafe, scopes=(Scope.REFUNDS_WRITE.value,))[1]
    for name, secret in (("stranger", make_key(rival)[1]), ("live", make_key(cafe, mode="live")[1])):
        for answer in (give(client, secret, paid), get(client, secret, address(paid))):
            assert answer.status_code == 404, name
            unknown = give(client, secret, UNKNOWN)
            assert error_of(answer)["code"] == error_of(unknown)["code"]
    assert error_of(give(client, reader, paid))["code"] == "missing_scope"
    assert error_of(get(client, giver, address(paid)))["code"] == "missing_scope"
    assert get(client, reader, address(paid)).get_json() == {"object": "list", "data": []}
    assert client.post(address(paid), json={}).status_code == 401
    assert all_of(Refund) == []
    assert give(client, giver, paid).status_code == 201


def test_asked_twice_under_one_key_it_is_given_once(client: FlaskClient, secret: str, paid: str) -> None:
    first = give(client, secret, paid, {"amount_minor": 1000}, Idempotency_Key="refund-1")
    again = give(client, secret, paid, {"amount_minor": 1000}, Idempotency_Key="refund-1")
    assert (first.data, first.status_code) == (again.data, again.status_code)
    assert again.headers["Idempotent-Replayed"] == "true"
    other = give(client, secret, paid, {"amount_minor": 1001}, Idempotency_Key="refund-1")
    assert error_of(other)["code"] == "idempotency_key_reused"
    assert len(all_of(Refund)) == 1


def test_one_key_names_one_thing_on_every_address(
    app: Flask, client: FlaskClient, cafe: Merchant, secret: str, paid: str
) -> None:
    second = make_session(cafe).public_id
    pay(app, client, second)
    assert give(client, secret, paid, Idempotency_Key="refund-1").status_code == 201
    assert error_of(give(client, secret, second, Idempotency_Key="refund-1"))["code"] == "idempotency_key_reused"


def test_many_at_once_never_give_more_than_came(app: Flask, secret: str, paid: str) -> None:
    look_again()
    work_at_once = [lambda: give(app.test_client(), secret, paid, {"amount_minor": 2000}).status_code] * 8
    answers = all_at_once(app, work_at_once)
    assert sorted(answers) == [201, 201, *[422] * 6]
    assert sum(refund.amount_minor for refund in all_of(Refund)) == 4000
    assert invariants.check(db.session) == []


def test_many_at_once_under_one_key_give_once(app: Flask, secret: str, paid: str) -> None:
    look_again()
    asked = {"amount_minor": 1000}
    work_at_once = [lambda: give(app.test_client(), secret, paid, asked, Idempotency_Key="k").data] * 8
    answers = all_at_once(app, work_at_once)
    assert len(set(answers)) == 1
    assert len(all_of(Refund)) == 1


def test_the_provider_is_asked_by_a_worker(client: FlaskClient, secret: str, paid: str) -> None:
    assert give(client, secret, paid).status_code == 201
    [refund] = all_of(Refund)
    planned = db.session.scalars(select(OutboxMessage).where(OutboxMessage.topic == "refund.requested")).all()
    assert [message.payload for message in planned] == [{"refund_id": refund.id}]
    assert refund.requested_by.startswith("api_key:")


def test_money_that_was_kept_apart_is_not_the_merchants_to_give(
    app: Flask, client: FlaskClient, cafe: Merchant, secret: str
) -> None:
    public_id = make_session(cafe).public_id
    pay(app, client, public_id, "pay_twice")
    assert sorted(payment.standing for payment in all_of(Payment)) == [Standing.COUNTED, Standing.SURPLUS]
    assert give(client, secret, public_id).get_json()["amount_minor"] == 4900
    assert error_of(give(client, secret, public_id))["code"] == "nothing_to_refund"
    assert [refund.payment.standing for refund in all_of(Refund)] == [Standing.COUNTED]

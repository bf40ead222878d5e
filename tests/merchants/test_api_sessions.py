"""`/api/v1/sessions`: what a program can do with a key, and everything that it is refused."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.core.db import unit_of_work
from portal.merchants.models import Merchant
from portal.merchants.services import merchants
from portal.payments.models import PaymentSession
from tests.merchants.support import (
    SESSIONS,
    WISH,
    all_of,
    bearer,
    error_of,
    fields_of,
    get,
    make_key,
    make_session,
    pay,
    post,
)

FIELDS = {
    "id", "object", "merchant_id", "amount", "amount_minor", "refunded_minor", "currency", "mode", "status",
    "payment_status", "description", "success_url", "cancel_url", "url", "created_at", "expires_at", "paid_at",
    "payment_provider", "provider_reference", "stripe_intent_id", "metadata",
}  # fmt: skip


def test_a_session_is_opened_and_read(client: FlaskClient, cafe: Merchant, secret: str) -> None:
    answer = post(client, secret, {**WISH, "customer_email": "Buyer@Example.com", "metadata": {"order": 17}})
    assert answer.status_code == 201, answer.get_data(as_text=True)
    values = answer.get_json()
    assert set(values) == FIELDS
    assert (values["amount"], values["amount_minor"], values["currency"]) == ("49.00", 4900, "PLN")
    assert (values["mode"], values["status"], values["payment_status"]) == ("test", "created", "not_started")
    assert values["merchant_id"] == cafe.public_id
    assert values["url"] == f"http://localhost/pay/{values['id']}"
    assert values["metadata"] == {
        "order": 17, "customer_email": "buyer@example.com", "customer_name": None, "webhook_sources": [],
    }  # fmt: skip
    assert "Set-Cookie" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"
    (session,) = all_of(PaymentSession)
    assert (session.merchant_id, session.purpose, session.mode) == (cafe.id, "merchant", "test")
    assert get(client, secret, f"{SESSIONS}/{values['id']}").get_json() == values


def test_a_paid_session_says_who_took_the_money(app: Flask, client: FlaskClient, cafe: Merchant, secret: str) -> None:
    public_id = post(client, secret).get_json()["id"]
    pay(app, client, public_id)
    values = get(client, secret, f"{SESSIONS}/{public_id}").get_json()
    assert (values["status"], values["payment_status"], values["payment_provider"]) == ("paid", "completed", "sandbox")
    assert values["paid_at"].endswith("Z")
    assert values["provider_reference"] == values["stripe_intent_id"]
    assert values["metadata"]["webhook_sources"] == ["sandbox"]


@pytest.mark.parametrize(
    ("change", "amount_minor"),
    [
        ({"amount_minor": 1}, 1),
        ({"amount_minor": None, "amount": "49.00"}, 4900),
        ({"amount_minor": None, "amount": 49}, 4900),
        ({"amount_minor": None, "amount": 49.5}, 4950),
        ({"amount_minor": 4900, "amount": "49"}, 4900),
        ({"amount_minor": None, "amount": "700", "currency": "JPY"}, 700),
        ({"amount_minor": None, "amount": "1.234", "currency": "KWD"}, 1234),
        ({"amount_minor": 10**12 - 1}, 10**12 - 1),
        ({"currency": "eur"}, 4900),
    ],
)
def test_amounts_are_exact(client: FlaskClient, secret: str, change: dict[str, Any], amount_minor: int) -> None:
    body = {name: value for name, value in {**WISH, **change}.items() if value is not None}
    answer = post(client, secret, body)
    assert answer.status_code == 201, answer.get_data(as_text=True)
    assert answer.get_json()["amount_minor"] == amount_minor


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"amount_minor": 0}, {"amount_minor": "not_positive"}),
        ({"amount_minor": -5}, {"amount_minor": "not_positive"}),
        ({"amount_minor": 10**12}, {"amount_minor": "too_large"}),
        ({"amount_minor": 10**30}, {"amount_minor": "too_large"}),
        ({"amount_minor": "4900"}, {"amount_minor": "wrong_type"}),
        ({"amount_minor": 49.0}, {"amount_minor": "wrong_type"}),
        ({"amount_minor": True}, {"amount_minor": "wrong_type"}),
        ({"amount_minor": None}, {"amount_minor": "missing"}),
        ({"amount_minor": None, "amount": "49.001"}, {"amount": "not_an_amount"}),
        ({"amount_minor": None, "amount": "1e3"}, {"amount": "not_an_amount"}),
        ({"amount_minor": None, "amount": "4_9"}, {"amount": "not_an_amount"}),
        ({"amount_minor": None, "amount": "٤٩"}, {"amount": "not_an_amount"}),
        ({"amount_minor": None, "amount": "-1"}, {"amount": "not_positive"}),
        ({"amount_minor": None, "amount": []}, {"amount": "wrong_type"}),
        ({"amount_minor": None, "amount": "1.5", "currency": "JPY"}, {"amount": "not_an_amount"}),
        ({"amount": "50.00"}, {"amount": "amounts_differ"}),
        ({"currency": "XXX"}, {"currency": "unknown_currency"}),
        ({"currency": "DEM"}, {"currency": "unknown_currency"}),
        ({"currency": 985}, {"currency": "wrong_type"}),
        ({"currency": None}, {"currency": "missing"}),
        ({"mode": "live"}, {"mode": "mode_mismatch"}),
        ({"mode": "TEST"}, {"mode": "mode_mismatch"}),
        ({"customer_email": "not an address"}, {"customer_email": "invalid_email"}),
        ({"customer_email": "a@example.com\r\nBcc: x@example.com"}, {"customer_email": "control_characters"}),
        ({"customer_name": "x" * 121}, {"customer_name": "too_long"}),
        ({"customer_name": "a\x00b"}, {"customer_name": "control_characters"}),
        ({"customer_name": "\ud800"}, {"customer_name": "control_characters"}),
        ({"description": 5}, {"description": "wrong_type"}),
        ({"locale": "xx"}, {"locale": "unknown_locale"}),
        ({"metadata": []}, {"metadata": "wrong_type"}),
        ({"metadata": {str(n): 1 for n in range(41)}}, {"metadata": "too_many"}),
        ({"metadata": {"a": {"b": 1}}}, {"metadata.a": "wrong_type"}),
        ({"metadata": {"a": "x" * 501}}, {"metadata.a": "too_long"}),
        ({"metadata": {"a b": 1}}, {"metadata.a b": "invalid_name"}),
        ({"metadata": {"webhook_sources": "x"}}, {"metadata.webhook_sources": "reserved"}),
        ({"metadata": {"a": "\x00"}}, {"metadata.a": "control_characters"}),
        ({"metadata": {"customer_email": "nobody"}}, {"metadata.customer_email": "invalid_email"}),
        ({"amount_minor": -1, "currency": "?"}, {"amount_minor": "not_positive", "currency": "unknown_currency"}),
    ],
)
def test_every_wrong_field_is_named(
    client: FlaskClient, secret: str, change: dict[str, Any], wrong: dict[str, str]
) -> None:
    body = {name: value for name, value in {**WISH, **change}.items() if value is not None}
    answer = post(client, secret, body)
    assert answer.status_code == 422, answer.get_data(as_text=True)
    assert fields_of(answer) == wrong
    error = error_of(answer)
    assert (error["type"], error["code"]) == ("invalid_values", "invalid_fields")
    assert error["request_id"] == answer.headers["X-Request-ID"]
    assert all_of(PaymentSession) == []


BAD_ADDRESSES = [
    "javascript:alert(1)", "data:text/html,x", "//evil.example", "https:evil.example", "https:/evil.example",
    "\\\\evil.example", "https://a@evil.example/", "https://user:pw@shop.example.com/", "https://shop.example.com/#x",
    "https://shop.example.com/\r\nSet-Cookie: a=b", "https://shop.example.com/ x", "https://shop.example.com\\@evil",
    "http://shop.example.com/", "ftp://shop.example.com/", "/thanks", "", "https://", "https://:443/",
    "https://shop.example.com:99999/", "https://shop..example.com/", "https://żółw.example/", "https://[::1]/",
    "https://shop.example.com/?session_id=1", "https://shop.example.com/?a=1&session_id=2", "HTTPS://shop.example.com/",
    "https://shop.example.com/" + "x" * 2000, "http://localhost.evil.example/", "http://127.0.0.1.evil.example/",
    "https://shop.example.com\t/", "https://-shop.example.com/", " https://shop.example.com/",
]  # fmt: skip


@pytest.mark.parametrize("field", ["success_url", "cancel_url"])
@pytest.mark.parametrize("address", BAD_ADDRESSES)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_buyers_are_sent_nowhere_strange(client: FlaskClient, secret: str, field: str, address: str) -> None:
    answer = post(client, secret, {**WISH, field: address})
    assert answer.status_code == 422, address
    assert fields_of(answer) == {field: "invalid_url"}


@pytest.mark.parametrize(
    "address",
    [
        "http://localhost:3000/thanks",
        "http://127.0.0.1/ok?a=1",
        "https://shop.example.com",
        "https://xn--w-uga.example/",
    ],
)
def test_good_addresses_are_kept_as_they_are(client: FlaskClient, secret: str, address: str) -> None:
    assert post(client, secret, {**WISH, "success_url": address}).get_json()["success_url"] == address


def test_the_developers_machine_is_for_tests_only(client: FlaskClient, cafe: Merchant) -> None:
    live = make_key(cafe, mode="live")[1]
    assert fields_of(post(client, live, {**WISH, "success_url": "http://localhost/"})) == {"success_url": "invalid_url"}
    assert post(client, live).get_json()["mode"] == "live"


def test_only_registered_hosts_are_taken(client: FlaskClient, alice: User) -> None:
    shop = make_key(make_merchant_with_hosts(alice))[1]
    assert post(client, shop).status_code == 201
    other = post(client, shop, {**WISH, "success_url": "https://evil.example.com/"})
    assert fields_of(other) == {"success_url": "invalid_url"}


def make_merchant_with_hosts(alice: User) -> Merchant:
    from tests.merchants.support import make_merchant

    return make_merchant(alice, return_hosts=["shop.example.com"])


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed_json"),
        (b"[]", 400, "malformed_json"),
        (b"null", 400, "malformed_json"),
        (b"", 400, "malformed_json"),
        (b'{"amount_minor": NaN}', 400, "malformed_json"),
        (b'{"amount_minor": 1, "amount_minor": 2}', 400, "malformed_json"),
        (b'{"a": "\xff"}', 400, "malformed_json"),
        (b"[" * 100_000, 400, "malformed_json"),
        (b'{"metadata": ' + b'{"a":' * 60 + b"1" + b"}" * 61, 400, "malformed_json"),
        (b'{"amount_minor": ' + b"9" * 5000 + b"}", 400, "malformed_json"),
        (b'{"a": "' + b"x" * (256 * 1024) + b'"}', 413, "too_large"),
        (b'{"amount": 1e999999, "currency": "PLN"}', 422, "invalid_fields"),
        (b'{"amount": 1e-999999, "currency": "PLN"}', 422, "invalid_fields"),
    ],
)
def test_bodies_that_are_none(client: FlaskClient, secret: str, body: bytes, status: int, code: str) -> None:
    headers = {**bearer(secret), "Content-Type": "application/json"}
    answer = client.post(SESSIONS, data=body, headers=headers)
    assert (answer.status_code, error_of(answer)["code"]) == (status, code)
    assert all_of(PaymentSession) == []


def test_what_is_not_json_is_refused(client: FlaskClient, secret: str) -> None:
    answer = client.post(SESSIONS, data=json.dumps(WISH), headers={**bearer(secret), "Content-Type": "text/plain"})
    assert (answer.status_code, error_of(answer)["code"]) == (415, "not_json")


def test_unknown_fields_are_named(client: FlaskClient, secret: str) -> None:
    hostile = {"status": "paid", "merchant_id": 1, "is_admin": True}
    answer = post(client, secret, {**WISH, **hostile})
    assert (answer.status_code, error_of(answer)["code"]) == (400, "unknown_fields")
    assert set(fields_of(answer)) == set(hostile)
    assert all_of(PaymentSession) == []
    assert error_of(get(client, secret, f"{SESSIONS}?page=2"))["code"] == "unknown_fields"


def test_lists_go_on_from_a_cursor(client: FlaskClient, cafe: Merchant, secret: str) -> None:
    made = [make_session(cafe).public_id for _ in range(5)]
    seen, address = [], f"{SESSIONS}?limit=2"
    while address:
        page = get(client, secret, address).get_json()
        seen += [one["id"] for one in page["data"]]
        assert page["has_more"] is (page["next_cursor"] is not None)
        address = f"{SESSIONS}?limit=2&cursor={page['next_cursor']}" if page["has_more"] else ""
    assert seen == made[::-1]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"), ("limit=101", "limit"), ("limit=-1", "limit"), ("limit=x", "limit"), ("limit=", "limit"),
        ("limit=1000000000", "limit"), ("status=done", "status"), ("cursor=5", "cursor"), ("cursor=%00", "cursor"),
        ("cursor=00000000-0000-0000-0000-000000000000", "cursor"),
    ],
)  # fmt: skip
def test_lists_refuse_what_they_cannot_read(client: FlaskClient, secret: str, query: str, field: str) -> None:
    answer = get(client, secret, f"{SESSIONS}?{query}")
    assert answer.status_code == 422
    assert list(fields_of(answer)) == [field]


def test_lists_filter_by_status(client: FlaskClient, cafe: Merchant, secret: str) -> None:
    make_session(cafe)
    assert len(get(client, secret, f"{SESSIONS}?status=created").get_json()["data"]) == 1
    assert get(client, secret, f"{SESSIONS}?status=paid").get_json()["data"] == []


def test_a_list_costs_the_same_for_many(
    client: FlaskClient, cafe: Merchant, secret: str, count_queries: Callable[[], int]
) -> None:
    make_session(cafe)
    get(client, secret)
    count_queries()
    get(client, secret)
    cost = count_queries()
    for _ in range(30):
        make_session(cafe)
    count_queries()
    assert len(get(client, secret).get_json()["data"]) == 25
    assert count_queries() == cost <= 4


def test_a_strangers_session_does_not_exist(client: FlaskClient, cafe: Merchant, rival: Merchant, secret: str) -> None:
    theirs = make_session(rival).public_id
    stranger, unknown = get(client, secret, f"{SESSIONS}/{theirs}"), get(client, secret, f"{SESSIONS}/{theirs[::-1]}")
    assert (stranger.status_code, error_of(stranger)["code"]) == (404, "not_found")
    left, right = error_of(stranger), error_of(unknown)
    assert {**left, "request_id": ""} == {**right, "request_id": ""}
    assert get(client, secret).get_json()["data"] == []
    assert fields_of(get(client, secret, f"{SESSIONS}?cursor={theirs}")) == {"cursor": "unknown_cursor"}


def test_test_keys_see_test_data_only(client: FlaskClient, cafe: Merchant, secret: str) -> None:
    live_key = make_key(cafe, mode="live")[1]
    test, live = make_session(cafe).public_id, make_session(cafe, mode="live").public_id
    for key, own, other in ((secret, test, live), (live_key, live, test)):
        assert [one["id"] for one in get(client, key).get_json()["data"]] == [own]
        assert get(client, key, f"{SESSIONS}/{other}").status_code == 404
        assert get(client, key, f"{SESSIONS}/{own}").status_code == 200


@pytest.mark.parametrize("public_id", ["1", "%00", "..", "a" * 300, "' OR 1=1 --", "0" * 36])
def test_ids_that_are_none_are_not_found(client: FlaskClient, secret: str, public_id: str) -> None:
    assert get(client, secret, f"{SESSIONS}/{public_id}").status_code == 404


def test_a_suspended_merchant_is_refused(client: FlaskClient, cafe: Merchant, secret: str) -> None:
    with unit_of_work():
        merchants.suspend_merchant(cafe.id, reason="Complaints", by="staff@example.com", at=cafe.created_at)
    for answer in (post(client, secret), get(client, secret)):
        assert (answer.status_code, error_of(answer)["code"]) == (403, "merchant_suspended")


def test_a_wrong_method_is_told_in_the_same_shape(client: FlaskClient, secret: str) -> None:
    answer = client.delete(SESSIONS, headers=bearer(secret))
    assert answer.status_code == 405
    assert set(error_of(answer)) == {"type", "code", "message", "field", "fields", "request_id"}

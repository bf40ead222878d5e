"""The description of the API is true: real answers are checked with it, and so are the routes."""

import json
import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator, ValidationError
from werkzeug.test import TestResponse

from portal.merchants.api import docs, reading
from portal.merchants.models import Merchant, Scope
from tests.merchants.support import SESSIONS, WISH, bearer, get, make_key, make_session, pay, post

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def described(client: FlaskClient, app: Flask) -> dict[str, Any]:
    document: dict[str, Any] = client.get("/docs/openapi.json").get_json()
    return document


def whole(schema: Any, document: dict[str, Any]) -> Any:
    """A schema with its references filled in. Raises KeyError for one that leads nowhere."""
    if isinstance(schema, list):
        return [whole(one, document) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return whole(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    return {name: whole(value, document) for name, value in schema.items()}


def check_answer(answer: TestResponse, operation: dict[str, Any], document: dict[str, Any]) -> None:
    """The answer's status is described, and its body is what the description says."""
    told = operation["responses"][str(answer.status_code)]
    assert answer.mimetype == "application/json"
    schema = whole(told["content"]["application/json"]["schema"], document)
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(answer.get_json())


def test_every_schema_is_one(described: dict[str, Any]) -> None:
    for schema in described["components"]["schemas"].values():
        Draft202012Validator.check_schema(whole(schema, described))
    assert described["openapi"] == "3.1.0"
    names = [one["operationId"] for path in described["paths"].values() for one in path.values()]
    assert len(names) == len(set(names)) == 7


def test_every_route_for_programs_is_described_and_no_other(app: Flask, described: dict[str, Any]) -> None:
    routes = {
        (re.sub(r"<(\w+:)?\w+>", "{id}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if rule.endpoint.startswith("api.") and method not in ("HEAD", "OPTIONS")
    }
    told = {(path, method.upper()) for path, methods in described["paths"].items() for method in methods}
    assert told == routes | {("/session/{id}/status", "GET"), ("/api/v1/sites/{slug}", "GET")}


def test_every_field_that_is_read_is_described(described: dict[str, Any]) -> None:
    assert set(described["components"]["schemas"]["SessionWish"]["properties"]) == reading._SESSION_FIELDS
    assert set(described["components"]["schemas"]["RefundWish"]["properties"]) == reading._REFUND_FIELDS


def test_real_answers_are_as_described(
    app: Flask, client: FlaskClient, cafe: Merchant, secret: str, described: dict[str, Any]
) -> None:
    create, listing = described["paths"][SESSIONS]["post"], described["paths"][SESSIONS]["get"]
    read = described["paths"][f"{SESSIONS}/{{id}}"]["get"]
    writer = make_key(cafe, scopes=(Scope.SESSIONS_WRITE.value,))[1]
    example = create["requestBody"]["content"]["application/json"]["example"]
    bare = {"amount": 5.5, "currency": "KWD", "metadata": {"a": None, "b": True, "c": 1}}
    opened = [post(client, secret, body) for body in (example, WISH, bare)]
    paid = opened[0].get_json()["id"]
    pay(app, client, paid)
    make_session(cafe, description="From the page")
    back = described["paths"][f"{SESSIONS}/{{id}}/refunds"]
    refunds = f"{SESSIONS}/{paid}/refunds"
    given = back["post"]["requestBody"]["content"]["application/json"]["example"]

    def give(address: str, body: object) -> TestResponse:
        return client.post(address, json=body, headers=bearer(secret))

    answers = [
        *((answer, create) for answer in opened),
        (post(client, secret, {**WISH, "oops": 1}), create),
        (post(client, "sk_test_x"), create),
        (post(client, secret, {"currency": 5}), create),
        (post(client, secret, Idempotency_Key=" "), create),
        (client.post(SESSIONS, data="x", headers=bearer(secret)), create),
        (client.post(SESSIONS, data="x" * 300_000, headers=bearer(secret)), create),
        (get(client, secret), listing),
        (get(client, secret, f"{SESSIONS}?limit=1"), listing),
        (get(client, secret, f"{SESSIONS}?limit=x"), listing),
        (get(client, writer), listing),
        (get(client, secret, f"{SESSIONS}/{paid}"), read),
        (get(client, secret, f"{SESSIONS}/{paid[::-1]}"), read),
        (get(client, writer, f"{SESSIONS}/{paid}"), read),
        (give(refunds, given), back["post"]),
        (give(refunds, {**given, "oops": 1}), back["post"]),
        (give(refunds, {"amount_minor": 10**6}), back["post"]),
        (give(f"{SESSIONS}/{opened[1].get_json()['id']}/refunds", {}), back["post"]),
        (get(client, secret, refunds), back["get"]),
        (get(client, secret, refunds.replace(paid, paid[::-1])), back["get"]),
        (client.get(f"/session/{paid}/status"), described["paths"]["/session/{id}/status"]["get"]),
        (
            client.get(f"/session/{opened[1].get_json()['id']}/status"),
            described["paths"]["/session/{id}/status"]["get"],
        ),
    ]
    for answer, operation in answers:
        check_answer(answer, operation, described)
    assert {answer.status_code for answer, _operation in answers} == {200, 201, 400, 401, 403, 404, 409, 413, 415, 422}


@pytest.mark.parametrize(
    "body",
    [{}, {"currency": "PLN"}, {"amount_minor": 0, "currency": "PLN"}, {**WISH, "x": 1}, {**WISH, "mode": "real"}],
)
def test_what_the_description_refuses_is_refused(
    client: FlaskClient, secret: str, described: dict[str, Any], body: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError):
        Draft202012Validator(described["components"]["schemas"]["SessionWish"]).validate(body)
    assert post(client, secret, body).status_code in (400, 422)


def test_the_check_can_fail(client: FlaskClient, secret: str, described: dict[str, Any]) -> None:
    answer = post(client, secret)
    described["components"]["schemas"]["Session"]["properties"].pop("paid_at")
    with pytest.raises(ValidationError, match="paid_at"):
        check_answer(answer, described["paths"][SESSIONS]["post"], described)


def test_people_can_read_it(client: FlaskClient, described: dict[str, Any]) -> None:
    page = client.get("/docs").get_data(as_text=True)
    for words in ("Open a payment", "/api/v1/sessions/{id}", "Idempotency-Key", "success_url", "curl -sS"):
        assert words in page
    assert set(docs.examples()) == {one["id"] for one in docs.operations(described)}
    body = re.search(r"-d '(.*)'", docs.examples()["createSession"], re.DOTALL)
    assert body is not None
    assert json.loads(body.group(1))["amount_minor"] == 4900

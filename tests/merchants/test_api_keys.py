"""API keys: who they let in, and that their secrets are nowhere."""

import json
import logging
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from portal.core import clock
from portal.core.audit import AuditEvent
from portal.core.db import Base, db, unit_of_work
from portal.merchants.errors import KeyNotFound, KeyNotUsable, TooManyKeys
from portal.merchants.models import ApiKey, Merchant, Scope
from portal.merchants.services import keys
from tests.crowd import all_at_once
from tests.merchants.support import SESSIONS, all_of, bearer, error_of, get, look_again, make_key, make_session, post

POSTGRESQL = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


def test_a_key_is_stored_as_a_hash_with_its_ends(cafe: Merchant) -> None:
    key, secret = make_key(cafe)
    assert keys.SECRET.fullmatch(secret)
    assert secret.startswith("sk_test_")
    assert (key.prefix, key.last_four) == ("sk_test_", secret[-4:])
    assert key.shown == f"sk_test_…{secret[-4:]}"
    assert key.secret_hash == keys.secret_hash(secret)
    with db.engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            for row in connection.execute(text(f'SELECT * FROM "{table.name}"')):
                assert secret not in str(row)
    (line,) = [line for line in all_of(AuditEvent) if line.event == "API_KEY_CREATED"]
    assert line.after["shown"] == key.shown


def test_nothing_of_a_key_is_logged(client: FlaskClient, cafe: Merchant, caplog: pytest.LogCaptureFixture) -> None:
    secret = make_key(cafe)[1]
    with caplog.at_level(logging.DEBUG):
        post(client, secret)
        client.get(f"{SESSIONS}?api_key={secret}")
        client.get(SESSIONS, headers=bearer(secret + "x"))
    assert secret not in caplog.text


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "missing_key"),
        ("", "missing_key"),
        ("Bearer", "missing_key"),
        ("Bearer ", "missing_key"),
        ("Basic c2tfdGVzdDo=", "missing_key"),
        ("sk_test_x", "missing_key"),
        ("Bearer sk_test_x", "invalid_key"),
        ("Bearer sk_test_" + "A" * 43, "invalid_key"),
        ("Bearer sk_live_" + "A" * 43, "invalid_key"),
        ("Bearer pk_test_" + "A" * 43, "invalid_key"),
        ("Bearer " + "x" * 9000, "invalid_key"),
        ("Bearer sk_test_' OR '1'='1", "invalid_key"),
        ("Bearer żółw", "invalid_key"),
    ],
)
def test_without_a_good_key_nobody_gets_in(client: FlaskClient, header: str | None, code: str) -> None:
    headers = {} if header is None else {"Authorization": header}
    for answer in (client.get(SESSIONS, headers=headers), client.post(SESSIONS, json={}, headers=headers)):
        assert (answer.status_code, error_of(answer)["code"]) == (401, code)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert error_of(answer)["type"] == "authentication"


@pytest.mark.parametrize("name", ["api_key", "key", "token", "anything"])
def test_a_key_in_an_address_is_refused_even_beside_a_good_header(client: FlaskClient, secret: str, name: str) -> None:
    answer = get(client, secret, f"{SESSIONS}?{name}={secret}")
    assert (answer.status_code, error_of(answer)["code"]) == (400, "key_in_url")
    assert secret not in answer.get_data(as_text=True)


def test_a_cookie_opens_nothing(client: FlaskClient, login: object, alice: object, cafe: Merchant) -> None:
    browser = login(alice)  # type: ignore[operator]  # the fixture is a function
    for answer in (browser.get(SESSIONS), browser.post(SESSIONS, json={})):
        assert answer.status_code == 401
        assert "Set-Cookie" not in answer.headers


def test_a_revoked_key_is_refused_at_once(client: FlaskClient, cafe: Merchant) -> None:
    key, secret = make_key(cafe)
    assert get(client, secret).status_code == 200
    for _ in range(2):
        with unit_of_work():
            keys.revoke_key(cafe, key.id, by="alice@example.com", at=clock.now())
    answer = get(client, secret)
    assert (answer.status_code, error_of(answer)["code"]) == (401, "key_revoked")
    assert [line.event for line in all_of(AuditEvent)].count("API_KEY_REVOKED") == 1


def test_an_expired_key_is_refused_from_that_moment(client: FlaskClient, cafe: Merchant) -> None:
    secret = make_key(cafe, expires_at=clock.now() + timedelta(hours=1))[1]
    assert get(client, secret).status_code == 200
    with clock.shifted(timedelta(hours=1, seconds=1)):
        answer = get(client, secret)
    assert (answer.status_code, error_of(answer)["code"]) == (401, "key_expired")


def test_a_key_does_only_what_it_may(client: FlaskClient, cafe: Merchant) -> None:
    reader = make_key(cafe, scopes=(Scope.SESSIONS_READ.value,))[1]
    writer = make_key(cafe, scopes=(Scope.SESSIONS_WRITE.value,))[1]
    public_id = make_session(cafe).public_id
    refused = [post(client, reader), get(client, writer), get(client, writer, f"{SESSIONS}/{public_id}")]
    for answer in refused:
        assert (answer.status_code, error_of(answer)["code"]) == (403, "missing_scope")
    assert post(client, writer).status_code == 201
    assert get(client, reader, f"{SESSIONS}/{public_id}").status_code == 200


def test_a_replaced_key_goes_on_working_for_the_overlap(client: FlaskClient, cafe: Merchant) -> None:
    old, old_secret = make_key(cafe, scopes=(Scope.SESSIONS_READ.value,), label="Till 3")
    with unit_of_work():
        new, new_secret = keys.rotate_key(cafe, old.id, overlap=timedelta(hours=24), by="a@example.com", at=clock.now())
    assert (new.label, new.scopes, new.mode) == ("Till 3", [Scope.SESSIONS_READ.value], "test")
    assert get(client, old_secret).status_code == get(client, new_secret).status_code == 200
    with clock.shifted(timedelta(hours=25)):
        assert error_of(get(client, old_secret))["code"] == "key_expired"
        assert get(client, new_secret).status_code == 200
    with pytest.raises(KeyNotUsable), unit_of_work():
        keys.rotate_key(cafe, old.id, overlap=timedelta(0), by="a@example.com", at=clock.now())


def test_replacing_gives_no_key_a_longer_life(cafe: Merchant) -> None:
    at = clock.now()
    old, _secret = make_key(cafe, expires_at=at + timedelta(hours=2))
    with unit_of_work():
        new, _secret = keys.rotate_key(cafe, old.id, overlap=timedelta(days=400), by="a@example.com", at=at)
    look_again()
    assert db.session.get_one(ApiKey, old.id).expires_at == at + timedelta(hours=2)
    assert new.expires_at is not None
    assert abs(new.expires_at - at - timedelta(hours=2)) < timedelta(minutes=1)


def test_another_merchants_key_is_not_found(cafe: Merchant, rival: Merchant) -> None:
    key, _secret = make_key(rival)
    for act in (
        lambda: keys.revoke_key(cafe, key.id, by="x", at=clock.now()),
        lambda: keys.rotate_key(cafe, key.id, overlap=timedelta(0), by="x", at=clock.now()),
        lambda: keys.reveal_secret(cafe, key.id, by="x", at=clock.now()),
    ):
        with pytest.raises(KeyNotFound), unit_of_work():
            act()
    look_again()
    assert db.session.get_one(ApiKey, key.id).revoked_at is None


def test_there_is_an_end_to_keys(cafe: Merchant) -> None:
    for _ in range(keys.MOST_KEYS):
        make_key(cafe)
    with pytest.raises(TooManyKeys):
        make_key(cafe)


@POSTGRESQL
def test_two_windows_replace_a_key_once(app: Flask, cafe: Merchant) -> None:
    old, _secret = make_key(cafe)

    def rotate() -> object:
        with unit_of_work():
            mine = db.session.get_one(Merchant, cafe.id)
            return keys.rotate_key(mine, old.id, overlap=timedelta(hours=1), by="x", at=clock.now())

    results = all_at_once(app, [rotate] * 5)
    assert sum(isinstance(result, tuple) for result in results) == 1
    assert sum(isinstance(result, KeyNotUsable) for result in results) == 4
    assert len(all_of(ApiKey)) == 2


def test_when_it_was_last_used_is_written_once_a_minute(client: FlaskClient, cafe: Merchant) -> None:
    key, secret = make_key(cafe)

    def use() -> object:
        answer = client.get(SESSIONS, headers=bearer(secret), buffered=True)
        assert answer.status_code == 200
        answer.close()
        look_again()
        return db.session.get_one(ApiKey, key.id).last_used_at

    first = use()
    assert first is not None
    assert use() == first
    with clock.shifted(timedelta(seconds=61)):
        later = use()
    assert later is not None
    assert later > first  # type: ignore[operator]  # two instants


@POSTGRESQL
def test_nobody_waits_for_the_note_of_the_last_use(client: FlaskClient, cafe: Merchant) -> None:
    """Somebody else holds the key's row: the call is answered, and the note is left out."""
    key, secret = make_key(cafe)
    with db.engine.connect() as other:
        other.execute(text("SELECT id FROM api_keys WHERE id = :id FOR UPDATE"), {"id": key.id})
        answer = client.get(SESSIONS, headers=bearer(secret), buffered=True)
        answer.close()
        assert answer.status_code == 200
        other.rollback()
    look_again()
    assert db.session.get_one(ApiKey, key.id).last_used_at is None


def test_calls_are_counted_by_key(client: FlaskClient, cafe: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    busy, quiet = make_key(cafe)[1], make_key(cafe)[1]
    answers = [get(client, busy).status_code for _ in range(121)]
    assert answers == [200] * 120 + [429]
    refused = get(client, busy)
    assert error_of(refused)["type"] == "rate_limit"
    # The library rounds the minute up to the next full second.
    assert 1 <= int(refused.headers["Retry-After"]) <= 61
    assert get(client, quiet).status_code == 200


def test_json_is_told_in_utf8(client: FlaskClient, secret: str) -> None:
    answer = post(client, secret, {"amount_minor": 1, "currency": "PLN", "description": "Żółć 🦁"})
    assert json.loads(answer.get_data())["description"] == "Żółć 🦁"

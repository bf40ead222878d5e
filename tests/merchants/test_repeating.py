"""Idempotency keys: whatever is sent again is answered as before, and one payment is opened."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.core import clock
from portal.core.db import unit_of_work
from portal.merchants import jobs
from portal.merchants.models import Merchant, RepeatableAnswer
from portal.merchants.services import repeating
from portal.payments.models import PaymentSession
from tests.crowd import all_at_once
from tests.merchants.support import WISH, all_of, error_of, make_key, post

POSTGRESQL = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


def test_the_same_request_is_answered_to_the_letter(client: FlaskClient, secret: str) -> None:
    first = post(client, secret, Idempotency_Key="order-17")
    again = post(client, secret, dict(reversed(WISH.items())), Idempotency_Key="order-17")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.get_data() == again.get_data()
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(all_of(PaymentSession)) == 1


def test_without_a_key_each_request_is_one(client: FlaskClient, secret: str) -> None:
    assert post(client, secret).get_json()["id"] != post(client, secret).get_json()["id"]


def test_another_body_under_the_same_key_is_refused(client: FlaskClient, secret: str) -> None:
    post(client, secret, Idempotency_Key="order-17")
    answer = post(client, secret, {**WISH, "amount_minor": 4901}, Idempotency_Key="order-17")
    assert (answer.status_code, error_of(answer)["code"]) == (422, "idempotency_key_reused")
    assert len(all_of(PaymentSession)) == 1


def test_a_wrong_request_leaves_the_key_free(client: FlaskClient, secret: str) -> None:
    assert post(client, secret, {**WISH, "amount_minor": 0}, Idempotency_Key="order-17").status_code == 422
    assert post(client, secret, Idempotency_Key="order-17").status_code == 201


def test_keys_of_merchants_and_modes_are_their_own(client: FlaskClient, cafe: Merchant, rival: Merchant) -> None:
    secrets = [make_key(cafe)[1], make_key(rival)[1], make_key(cafe, mode="live")[1]]
    ids = {post(client, one, Idempotency_Key="order-17").get_json()["id"] for one in secrets}
    assert len(ids) == 3
    # A replaced key is the same merchant's: what is repeated with it is still a repetition.
    assert post(client, make_key(cafe)[1], Idempotency_Key="order-17").get_json()["id"] in ids


def test_after_a_day_a_key_is_new(client: FlaskClient, secret: str) -> None:
    first = post(client, secret, Idempotency_Key="order-17").get_json()["id"]
    with clock.shifted(timedelta(hours=23, minutes=59)):
        assert post(client, secret, Idempotency_Key="order-17").get_json()["id"] == first
    with clock.shifted(timedelta(hours=24, seconds=1)):
        assert post(client, secret, Idempotency_Key="order-17").get_json()["id"] != first
        jobs.tidy_up()
    (left,) = all_of(RepeatableAnswer)
    with clock.shifted(timedelta(hours=49)):
        jobs.tidy_up()
    assert left.body
    assert all_of(RepeatableAnswer) == []


@pytest.mark.parametrize("key", ["", " ", " a", "x" * 256, "a\tb", "ż"])
def test_keys_that_are_none(client: FlaskClient, secret: str, key: str) -> None:
    answer = post(client, secret, Idempotency_Key=key)
    assert (answer.status_code, error_of(answer)["code"]) == (400, "invalid_idempotency_key")
    assert all_of(PaymentSession) == []


def ask_at_once(app: Flask, secret: str, count: int = 12) -> list[Any]:
    return all_at_once(app, [lambda: post(app.test_client(), secret, Idempotency_Key="order-17") for _ in range(count)])


def test_many_at_once_open_one_session(app: Flask, secret: str) -> None:
    answers = ask_at_once(app, secret)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.get_data() for answer in answers}) == 1
    assert sum("Idempotent-Replayed" in answer.headers for answer in answers) == 11
    assert len(all_of(PaymentSession)) == 1


@POSTGRESQL
def test_without_the_unique_key_they_would_open_many(app: Flask, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: with the guard off, the same race shows the bug."""
    monkeypatch.setattr(
        repeating,
        "answer_once",
        lambda _merchant, _mode, _key, _asked, work, at: work(),
    )
    ask_at_once(app, secret)
    assert len(all_of(PaymentSession)) == 12


def test_a_request_that_died_half_way_is_done_by_the_next(client: FlaskClient, secret: str) -> None:
    """Key and session are one transaction: nothing of the first is left that the second would have to wait for."""

    def die() -> Any:
        raise RuntimeError("died in the middle")

    with pytest.raises(RuntimeError), unit_of_work():
        repeating.answer_once(all_of(Merchant)[0].id, "test", "order-17", "f" * 64, die, at=clock.now())
    assert all_of(RepeatableAnswer) == []
    assert post(client, secret, Idempotency_Key="order-17").status_code == 201

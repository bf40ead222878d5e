"""Saying how a payment ended at a provider that cannot be asked: who may, what follows, and twenty at once."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal import payments
from portal.accounts.models import Role, User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.payments import BillLine, BillOfSale, hooks
from portal.payments.models import AttemptStatus, EventStatus, Payment, PaymentSession, ProviderEvent, SessionStatus
from portal.payments.services import checking
from tests import factories
from tests.admin import support
from tests.admin.reading import FRAGMENT, audited, page, rows, words
from tests.admin.test_races import CROWD, press_at_once
from tests.browser_like import csrf_token, post_form
from tests.payments.serving import configured

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"
PAID = {"outcome": "paid", "reason": "Seen on the statement of 3 March", "transaction": "oc_5"}


@pytest.fixture(autouse=True)
def onecom(app: Flask) -> Iterator[None]:
    """One.com is switched on, and the purpose `test` can be settled."""

    def describe(session: PaymentSession) -> BillOfSale:
        line = BillLine("A purchase", 1, session.amount_minor, 2300)
        return BillOfSale(None, None, {"name": session.customer_name}, (line,))

    payments.on_settled("test", lambda session, *, at: None)
    payments.describes("test", describe)
    with configured(app, onecom_checkout_url="https://shop.example/pay?ref={reference}", onecom_webhook_secret=SECRET):
        yield
    for registered in (hooks._settled, hooks._describes):
        registered.pop("test", None)  # type: ignore[attr-defined]  # two dictionaries of different hooks


def open_session(*, age: timedelta = timedelta(hours=25), provider: str = "onecom") -> PaymentSession:
    """A payment that waits at the shop since yesterday."""
    session = support.make_session(provider=provider, at=clock.now() - age)
    with unit_of_work():
        attempt = db.session.get_one(PaymentSession, session.id).attempts[0]
        attempt.provider_reference = f"{session.public_id}:1"
    return session


def address_of(session: PaymentSession) -> str:
    return f"/admin/payments/{session.public_id}/by-hand"


def now(session: PaymentSession) -> PaymentSession:
    db.session.rollback()
    return db.session.get_one(PaymentSession, session.id, populate_existing=True)


def test_an_administrator_marks_a_payment_as_paid(owner: FlaskClient, admin: User) -> None:
    session = open_session()
    assert "One.com cannot be asked" in page(owner, address_of(session))
    answer = post_form(owner, address_of(session), PAID)
    assert (answer.status_code, answer.location) == (303, f"/admin/payments/{session.public_id}")
    assert now(session).status is SessionStatus.PAID
    assert session.attempts[0].status is AttemptStatus.PAID
    [payment] = db.session.scalars(db.select(Payment))
    assert (payment.amount_minor, payment.business_key) == (6900, f"onecom:{session.public_id}:paid")
    assert payment.provider_reference == "oc_5"
    [line] = audited("payment_session.decided_by_hand")
    assert (line.actor, line.subject, line.detail) == (admin.email, f"payment_sessions:{session.id}", PAID["reason"])
    assert line.after == {"outcome": "paid", "provider": "onecom", "transaction_id": "oc_5"}
    text = page(owner, f"/admin/payments/{session.public_id}")
    assert "Say how it ended" not in text
    event = db.session.scalars(db.select(ProviderEvent)).one()
    assert "Said by staff" in page(owner, f"/admin/webhooks/{event.id}")


def test_an_administrator_ends_a_payment_that_never_came(owner: FlaskClient) -> None:
    session = open_session()
    post_form(owner, address_of(session), {"outcome": "failed", "reason": "The buyer went elsewhere"})
    assert now(session).status is SessionStatus.FAILED
    assert db.session.scalars(db.select(Payment)).all() == []
    assert rows(owner.get("/admin?kind=late")) == []


def test_a_second_time_shows_how_it_stands(owner: FlaskClient) -> None:
    session = open_session()
    token = csrf_token(owner, address_of(session))
    for expected in (303, 409, 409):
        answer = owner.post(address_of(session), data={**PAID, "csrf_token": token})
        assert answer.status_code == expected
    assert "already finished" in words(answer)
    assert len(db.session.scalars(db.select(ProviderEvent)).all()) == 1


@pytest.mark.parametrize(
    "values",
    [
        {}, {"outcome": "paid"}, {"reason": "I saw it"}, {"outcome": "refunded", "reason": "I saw it"},
        {"outcome": "paid", "reason": "x"}, {"outcome": "paid", "reason": "x" * 301},
        {"outcome": "paid", "reason": "   "}, {"outcome": "paid", "reason": "\0\0\0"},
        {**PAID, "transaction": "x" * 201}, {**PAID, "transaction": "two words"}, {**PAID, "transaction": "ö"},
    ],
)  # fmt: skip
def test_half_a_form_decides_nothing(owner: FlaskClient, values: dict[str, str]) -> None:
    session = open_session()
    assert post_form(owner, address_of(session), values).status_code == 422
    assert now(session).status is SessionStatus.PENDING
    assert db.session.scalars(db.select(ProviderEvent)).all() == []


def test_what_no_database_holds_is_taken_out(owner: FlaskClient) -> None:
    session = open_session()
    values = {"outcome": "paid", "reason": " I saw\0 it ", "transaction": " oc\0_5 "}
    assert post_form(owner, address_of(session), values).status_code == 303
    [line] = audited("payment_session.decided_by_hand")
    assert (line.detail, (line.after or {})["transaction_id"]) == ("I saw it", "oc_5")


@pytest.mark.parametrize("text", ["<script>alert(1)</script>{{7*7}}", '"><img src=x onerror=alert(1)>'])
def test_what_was_typed_is_shown_as_text(owner: FlaskClient, text: str) -> None:
    session = open_session()
    post_form(owner, address_of(session), {"outcome": "failed", "reason": text})
    event = db.session.scalars(db.select(ProviderEvent)).one()
    for where in (f"/admin/payments/{session.public_id}", f"/admin/webhooks/{event.id}", "/admin/audit"):
        answer = owner.get(where)
        assert text in words(answer)
        assert text not in answer.get_data(as_text=True)


def test_hidden_fields_change_nothing(owner: FlaskClient) -> None:
    session = open_session()
    more = {"amount_minor": "1", "currency": "USD", "provider": "stripe", "status": "paid", "by": "mallory@example.com"}
    post_form(owner, address_of(session), {**PAID, **more})
    [payment] = db.session.scalars(db.select(Payment))
    assert (payment.amount_minor, payment.currency, payment.provider) == (6900, "PLN", "onecom")


def test_staff_and_strangers_may_not(
    app: Flask, office: FlaskClient, client: FlaskClient, login: Callable[[User], FlaskClient], mallory: User
) -> None:
    session = open_session()
    customer = login(mallory)
    for browser, where, expected in ((office, "/admin", 403), (customer, "/account", 403), (client, "/login", 303)):
        token = csrf_token(browser, where)
        assert browser.get(address_of(session)).status_code == expected
        assert browser.post(address_of(session), data={**PAID, "csrf_token": token}).status_code == expected
    assert now(session).status is SessionStatus.PENDING
    text = page(office, f"/admin/payments/{session.public_id}")
    assert "An administrator can say how it ended" in text
    assert "/by-hand" not in office.get(f"/admin/payments/{session.public_id}").get_data(as_text=True)


def test_without_its_token_the_form_does_nothing(owner: FlaskClient) -> None:
    session = open_session()
    assert owner.post(address_of(session), data=PAID).status_code == 400
    assert owner.post(address_of(session), data={**PAID, "csrf_token": "x"}).status_code == 400
    assert now(session).status is SessionStatus.PENDING


def test_an_old_log_in_asks_for_the_password_first(owner: FlaskClient) -> None:
    session = open_session()
    token = csrf_token(owner, address_of(session))
    with clock.shifted(timedelta(minutes=16)):
        assert owner.get(address_of(session)).location.startswith("/confirm-password")
        answer = owner.post(address_of(session), data={**PAID, "csrf_token": token})
        assert answer.location.startswith("/confirm-password")
    assert now(session).status is SessionStatus.PENDING


@pytest.mark.parametrize("public_id", ["nope", "5f0e3f7e-0000-4000-8000-000000000001", "%00"])
def test_an_unknown_payment_is_not_found(owner: FlaskClient, public_id: str) -> None:
    assert owner.get(f"/admin/payments/{public_id}/by-hand").status_code == 404


@pytest.mark.parametrize("provider", ["stripe", "sandbox", "gone"])
def test_what_a_provider_tells_is_not_decided_by_hand(owner: FlaskClient, provider: str) -> None:
    session = open_session(provider=provider)
    assert "nothing to decide by hand" in page(owner, address_of(session))
    answer = post_form(owner, address_of(session), PAID, page="/admin/customers")
    assert answer.status_code == 409
    assert now(session).status is SessionStatus.PENDING


def test_the_work_list_shows_what_waits_for_a_day(owner: FlaskClient) -> None:
    young, old = open_session(age=timedelta(hours=23)), open_session(age=timedelta(hours=24, minutes=1))
    answer = owner.get("/admin?kind=late")
    assert rows(answer) == [old.description]
    assert "cannot be asked" in words(answer)
    assert f"/admin/payments/{old.public_id}" in answer.get_data(as_text=True)
    assert f"/admin/payments/{old.public_id}/ask" not in answer.get_data(as_text=True)
    panel = owner.get(f"/admin/payments/{young.public_id}", headers=FRAGMENT).get_data(as_text=True)
    assert f'{address_of(young)}"' in panel


def test_the_work_list_costs_the_same_with_one_and_with_many(
    owner: FlaskClient, count_queries: Callable[[], int]
) -> None:
    open_session()
    count_queries()
    owner.get("/admin?kind=late")
    with_one = count_queries()
    for _ in range(30):
        open_session()
    count_queries()
    owner.get("/admin?kind=late")
    assert count_queries() == with_one


def test_a_check_cannot_end_it(app: Flask) -> None:
    session = open_session()
    checking.check_session(session.id)
    assert now(session).status is SessionStatus.PENDING


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_twenty_at_once_decide_once(app: Flask, admin: User) -> None:
    session = open_session()
    answers = press_at_once(app, admin, address_of(session), values=PAID)
    assert sorted(status for status, _page in answers) == [303] + [409] * (CROWD - 1)
    assert len(db.session.scalars(db.select(Payment)).all()) == 1
    assert len(audited("payment_session.decided_by_hand")) == 1


def test_another_administrators_session_does_not_matter(app: Flask, login: Callable[[User], FlaskClient]) -> None:
    """Two administrators with the form open: the second one is told."""
    session = open_session()
    first, second = (login(factories.make_user(role=Role.ADMIN)) for _ in range(2))
    tokens = [csrf_token(browser, address_of(session)) for browser in (first, second)]
    values = {"outcome": "failed", "reason": "It never came"}
    assert first.post(address_of(session), data={**PAID, "csrf_token": tokens[0]}).status_code == 303
    assert second.post(address_of(session), data={**values, "csrf_token": tokens[1]}).status_code == 409
    assert now(session).status is SessionStatus.PAID
    [event] = db.session.scalars(db.select(ProviderEvent))
    assert event.status is EventStatus.APPLIED

"""Giving money back from the back office, and looking after what went back."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.accounts.models import User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.orders.models import Order, PaymentStatus
from portal.payments.models import InvoiceLine, Payment
from portal.payments.refund_models import CreditNote, Refund, RefundFlag, RefundOrigin, RefundStatus
from portal.payments.services.returning import book_failure, book_success, lock_refund, record_refund
from portal.payments.services.sales import day_of
from tests import factories, invariants
from tests.admin.reading import FRAGMENT, audited, page, rows, words
from tests.browser_like import csrf_token, post_form
from tests.crowd import all_at_once
from tests.orders import shop

_KEY = re.compile(r'name="key"[^>]*value="([^"]+)"')


@pytest.fixture
def order(app: Flask, login: Callable[[User], FlaskClient], alice: User) -> Order:
    """An order of two packages that Alice has paid: 69.00 and 31.00 PLN."""
    packages = [factories.make_package(slug="one"), factories.make_package(slug="two", price_minor=3100)]
    return shop.buy(app, login(alice), *packages, email=alice.email)


def form_of(browser: FlaskClient, address: str) -> dict[str, str]:
    """The hidden fields of the form, as a person gets them."""
    text = browser.get(address).get_data(as_text=True)
    found = _KEY.search(text)
    assert found is not None, text
    return {"key": found.group(1), "csrf_token": csrf_token(browser, address)}


def give(browser: FlaskClient, address: str, *, htmx: bool = False, **values: Any) -> TestResponse:
    """Fill in the form and send it."""
    filled = {"what": "all", "reason": "requested_by_customer", **form_of(browser, address), **values}
    return browser.post(address, data=filled, headers=FRAGMENT if htmx else {})


def refunds() -> list[Refund]:
    shop.look_again()
    return list(db.session.scalars(db.select(Refund).order_by(Refund.id)))


def address_of(order: Order) -> str:
    return f"/admin/orders/{order.number}/refund"


def session_address(order: Order) -> str:
    return f"/admin/payments/{shop.sessions()[0].public_id}"


def test_an_order_is_given_back_from_its_page(app: Flask, owner: FlaskClient, order: Order, admin: User) -> None:
    assert f'href="{address_of(order)}"' in owner.get(f"/admin/orders/{order.number}").get_data(as_text=True)
    answer = give(owner, address_of(order), note="she asked by phone")
    [refund] = refunds()
    assert answer.location == f"/admin/refunds/{refund.id}"
    assert (refund.requested_by, refund.amount_minor, refund.note) == (admin.email, 10000, "she asked by phone")
    shop.work(app)
    assert shop.only_order().payment_status is PaymentStatus.REFUNDED
    [line] = audited("refund.requested")
    assert (line.actor, line.subject) == (admin.email, f"refunds:{refund.id}")
    text = page(owner, f"/admin/refunds/{refund.id}")
    for part in ("Given back", "The customer asked for it", "she asked by phone", order.number, "CN-"):
        assert part in text
    assert address_of(order) not in owner.get(f"/admin/orders/{order.number}").get_data(as_text=True)
    assert "Nothing to give back" in page(owner, address_of(order))
    assert invariants.check(db.session()) == []


def test_lines_are_chosen(app: Flask, owner: FlaskClient, order: Order, alice: User) -> None:
    assert "The customer keeps access" in page(owner, address_of(order))
    assert "The customer keeps access" in page(owner, f"{session_address(order)}/refund")
    second = db.session.scalars(db.select(InvoiceLine).order_by(InvoiceLine.position.desc())).first()
    assert second is not None
    give(owner, address_of(order), what="lines", lines=[str(second.id)], keeps_access="y")
    shop.work(app)
    [refund] = refunds()
    assert (refund.amount_minor, refund.line_ids, refund.keeps_access) == (3100, [second.id], True)
    assert shop.owned_by(alice.email) == {"one": 1, "two": 1}
    text = owner.get(address_of(order)).get_data(as_text=True)
    assert re.search(rf'value="{second.id}"[^>]* disabled', text)
    assert "69.00 is left to give back." in words(owner.get(address_of(order))).replace("PLN\xa0", "")


@pytest.mark.parametrize("htmx", [False, True])
@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"what": "amount", "amount": "100.01"}, "more than is left"),
        ({"what": "amount", "amount": "0"}, "above zero"),
        ({"what": "amount", "amount": "-1"}, "Write an amount"),
        ({"what": "amount", "amount": "1e3"}, "Write an amount"),
        ({"what": "amount", "amount": "NaN"}, "Write an amount"),
        ({"what": "amount", "amount": ""}, "Write an amount"),
        ({"what": "amount", "amount": "1.001"}, "Write an amount"),
        ({"what": "lines"}, "Choose at least one line"),
        ({"what": "lines", "lines": ["999999"]}, "not a valid choice"),
        ({"what": "nothing"}, "Not a valid choice"),
        ({"reason": "no such reason"}, "Not a valid choice"),
        ({"key": ""}, ""),
        ({"key": "k" * 100}, ""),
    ],
)
def test_what_makes_no_sense_is_said_at_its_field(
    owner: FlaskClient, order: Order, values: dict[str, Any], sentence: str, htmx: bool
) -> None:
    answer = give(owner, address_of(order), htmx=htmx, **values)
    assert answer.status_code == 422
    assert sentence.lower() in words(answer).lower()
    assert refunds() == []


def test_without_the_page_around_it_works_too(owner: FlaskClient, order: Order) -> None:
    answer = give(owner, address_of(order), htmx=True, what="amount", amount="10")
    assert answer.status_code == 204
    assert answer.headers["HX-Redirect"] == f"/admin/refunds/{refunds()[0].id}"


def test_pressed_twice_and_from_two_windows_it_gives_once(app: Flask, owner: FlaskClient, order: Order) -> None:
    filled = {"what": "all", "reason": "other", **form_of(owner, address_of(order))}
    address = address_of(order)
    windows = [shop.twin(app, owner) for _ in range(4)]
    answers = all_at_once(app, [lambda one=one: one.post(address, data=filled).status_code for one in windows])  # type: ignore[misc]  # bound now
    assert answers == [303] * 4
    shop.work(app)
    assert owner.post(address, data=filled).location == f"/admin/refunds/{refunds()[0].id}"
    assert len(refunds()) == 1
    # The same form with another answer is another wish.
    assert owner.post(address, data={**filled, "reason": "duplicate"}).status_code == 409
    assert len(refunds()) == 1


def test_two_administrators_at_once_never_give_too_much(app: Flask, owner: FlaskClient, order: Order) -> None:
    address = address_of(order)
    forms = [{"what": "amount", "amount": "60", "reason": "other", **form_of(owner, address)} for _ in range(4)]
    windows = [shop.twin(app, owner) for _ in forms]
    pairs = list(zip(windows, forms, strict=True))
    answers = all_at_once(app, [lambda one=one: one[0].post(address, data=one[1]).status_code for one in pairs])  # type: ignore[misc]  # bound now
    assert sorted(answers) == [303, 422, 422, 422]
    assert len(refunds()) == 1


def test_only_administrators_who_just_proved_it_give_money(
    login: Callable[[User], FlaskClient], office: FlaskClient, owner: FlaskClient, app: Flask, admin: User, order: Order
) -> None:
    address = address_of(order)
    filled = {"what": "all", "reason": "other", **form_of(owner, address)}
    alice = login(db.session.get_one(User, order.user_id))
    for browser, status in ((office, 403), (alice, 403), (app.test_client(), 303)):
        token = shop.token(browser)
        assert browser.get(address).status_code == status
        assert browser.post(address, data={**filled, "csrf_token": token}).status_code == status
    stale = app.test_client()
    factories.sign_in(stale, admin, at=clock.now() - timedelta(minutes=16))
    assert stale.get(address).location.startswith("/confirm-password")
    assert owner.post(address, data={**filled, "csrf_token": "no"}).status_code == 400
    assert refunds() == []
    # Staff may look, and see no button.
    assert address not in office.get(f"/admin/orders/{order.number}").get_data(as_text=True)


def test_a_surplus_is_given_back_by_its_own_button(app: Flask, owner: FlaskClient, order: Order) -> None:
    session = shop.sessions()[0]
    with unit_of_work():
        first = db.session.scalars(db.select(Payment)).one()
        surplus = Payment(
            session_id=session.id, event_id=first.event_id, provider="switched_off", provider_reference="x_1",
            business_key="second", amount_minor=10000, currency="PLN", standing="surplus",
            surplus_reason="second_payment", received_at=clock.now(),
        )  # fmt: skip
        db.session.add(surplus)
    address = f"{session_address(order)}/refund"
    link = f"{address}?payment={surplus.id}"
    assert link in owner.get(session_address(order)).get_data(as_text=True)
    # A payment of somebody else's session is none of this one.
    stray = {"what": "all", "reason": "other", "key": "k" * 20, "payment": "999999"}
    answer = owner.post(address, data={**stray, "csrf_token": csrf_token(owner, session_address(order))})
    assert (answer.status_code, refunds()) == (409, [])
    give(owner, link, payment=str(surplus.id))
    [refund] = refunds()
    assert (refund.payment_id, refund.flag) == (surplus.id, RefundFlag.BY_HAND)
    assert shop.only_order().refunded_minor == 0
    text = page(owner, "/admin?kind=refund")
    assert "cannot give money back by itself" in text
    # By hand: with a reference and a day, or not at all.
    decide = f"/admin/refunds/{refund.id}/decide"
    assert decide in owner.get(f"/admin/refunds/{refund.id}").get_data(as_text=True)
    assert post_form(owner, decide, {"outcome": "given", "reference": "", "given_on": ""}).status_code == 422
    assert (
        post_form(owner, decide, {"outcome": "given", "reference": "BANK", "given_on": "2199-01-01"}).status_code == 422
    )
    assert post_form(owner, decide, {"outcome": "not_given"}).status_code == 422
    day = day_of(clock.now())
    answer = post_form(owner, decide, {"outcome": "given", "reference": "BANK 17", "given_on": day})
    assert answer.location == f"/admin/refunds/{refund.id}"
    assert "BANK 17" in page(owner, f"/admin/refunds/{refund.id}")
    again = post_form(owner, decide, {"outcome": "not_given", "note": "it was not"})
    assert again.status_code == 409
    assert refunds()[0].status is RefundStatus.SUCCEEDED


def test_a_refund_that_was_not_given_is_let_go(owner: FlaskClient, order: Order) -> None:
    with unit_of_work():
        db.session.scalars(db.select(Payment)).one().provider = "switched_off"
    give(owner, address_of(order))
    [refund] = refunds()
    post_form(owner, f"/admin/refunds/{refund.id}/decide", {"outcome": "not_given", "note": "she changed her mind"})
    assert (refunds()[0].status, refunds()[0].flag) == (RefundStatus.FAILED, None)
    assert "she changed her mind" in page(owner, f"/admin/refunds/{refund.id}")


def make(order: Order, amount_minor: int, origin: RefundOrigin, flag: RefundFlag | None = None) -> Refund:
    """A refund that succeeded."""
    with unit_of_work():
        payment = db.session.scalars(db.select(Payment)).one()
        number = len(db.session.scalars(db.select(Refund)).all())
        refund = record_refund(
            payment, amount_minor, origin=origin, request_key=f"made{number}", by="a@example.com", at=clock.now(),
            provider_reference=f"re_{number}",
        )  # fmt: skip
        book_success(refund, by="a@example.com", at=clock.now(), flag=flag)
    return refund


def test_what_was_made_elsewhere_is_looked_at_once(office: FlaskClient, order: Order) -> None:
    refund = make(order, 1000, RefundOrigin.PROVIDER, RefundFlag.ELSEWHERE)
    assert "made at the provider and not here" in page(office, "/admin?kind=refund")
    address = f"/admin/refunds/{refund.id}"
    assert post_form(office, f"{address}/seen", page=address).location == address
    assert refunds()[0].flag is None
    assert "All is well" in page(office, "/admin")
    assert len(audited("refund.seen")) == 1


def test_an_open_refund_cannot_be_waved_through(owner: FlaskClient, order: Order) -> None:
    give(owner, address_of(order), what="amount", amount="1")
    [refund] = refunds()
    with unit_of_work():
        db.session.get_one(Refund, refund.id).flag = RefundFlag.UNANSWERED
    token = csrf_token(owner, f"/admin/refunds/{refund.id}")
    assert owner.post(f"/admin/refunds/{refund.id}/seen", data={"csrf_token": token}).status_code == 409


def test_asking_again_asks_once_and_a_finished_one_is_refused(app: Flask, owner: FlaskClient, order: Order) -> None:
    give(owner, address_of(order), what="amount", amount="1")
    [refund] = refunds()
    address = f"/admin/refunds/{refund.id}"
    for _ in range(3):
        assert post_form(owner, f"{address}/ask", page=address, htmx=True).status_code == 200
    shop.work(app)
    assert refunds()[0].status is RefundStatus.SUCCEEDED
    token = csrf_token(owner, address)
    assert owner.post(f"{address}/ask", data={"csrf_token": token}).status_code == 409
    assert len(db.session.scalars(db.select(CreditNote)).all()) == 1


def test_a_failed_refund_is_work(office: FlaskClient, order: Order) -> None:
    refund = make(order, 1000, RefundOrigin.STAFF)
    with unit_of_work():
        book_failure(lock_refund(refund.id), by="event:1", at=clock.now(), reason="lost_or_stolen_card")
    assert "The money did not go back" in page(office, "/admin?kind=refund")
    text = page(office, f"/admin/refunds/{refund.id}")
    assert "lost_or_stolen_card" in text
    assert "Cancellation" in text
    number = db.session.scalars(db.select(CreditNote.number)).first()
    assert office.get(f"/admin/search?q={number}").location == f"/admin/refunds/{refund.id}"


def test_refunds_are_found_and_filtered(office: FlaskClient, order: Order, alice: User) -> None:
    assert "No refunds yet" in page(office, "/admin/refunds")
    make(order, 1000, RefundOrigin.STAFF)
    make(order, 2000, RefundOrigin.PROVIDER, RefundFlag.ELSEWHERE)
    session = shop.sessions()[0]
    for query, count in (
        ("", 2), ("?status=succeeded", 2), ("?status=failed", 0), ("?origin=provider", 1), ("?provider=sandbox", 2),
        ("?provider=stripe", 0), ("?look=1", 1), (f"?q={alice.email}", 2), ("?q=re_1", 1), ("?q=nothing-like-it", 0),
        (f"?q={session.public_id}", 2), ("?status=%00&before=x", 2),
    ):  # fmt: skip
        assert len(rows(office.get(f"/admin/refunds{query}"))) == count, query
    assert "Nothing fits these filters" in page(office, "/admin/refunds?status=failed")
    panel = office.get(f"/admin/refunds/{refunds()[0].id}", headers=FRAGMENT).get_data(as_text=True)
    assert panel.lstrip().startswith("<article")
    for unknown in ("999999", "0", "x"):
        assert office.get(f"/admin/refunds/{unknown}").status_code == 404


def test_the_pages_cost_the_same_however_much_went_back(
    office: FlaskClient, order: Order, count_queries: Callable[[], int]
) -> None:
    make(order, 100, RefundOrigin.STAFF)
    addresses = ("/admin/refunds", session_address(order), f"/admin/orders/{order.number}", "/admin")

    def costs() -> list[int]:
        found = []
        for address in addresses:
            count_queries()
            assert office.get(address).status_code == 200
            found.append(count_queries())
        return found

    before = costs()
    for _ in range(15):
        make(order, 100, RefundOrigin.STAFF)
    assert costs() == before
    assert before[0] <= 4

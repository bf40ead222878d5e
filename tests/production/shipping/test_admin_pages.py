"""Shipping in the back office, as staff click it: with a carrier, by hand, plain and by htmx, and in trouble."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.production.models import SalesOrder, SalesOrderStatus, Shipment, ShipmentStatus
from tests.admin.reading import words
from tests.browser_like import post_form
from tests.fakes.easypost import FakeEasyPost
from tests.production.shipping import support

Login = Callable[[User], FlaskClient]
BOX = {"grams": "800", "length": "30", "width": "20", "height": "15"}
S, P = SalesOrderStatus, ShipmentStatus


def page_of(order: SalesOrder) -> str:
    return f"/admin/production/{order.order.number}/shipping"


def read(browser: FlaskClient, order: SalesOrder) -> str:
    answer = browser.get(page_of(order))
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def test_from_box_to_shipped(login: Login, staff: User, fake: FakeEasyPost, checked: SalesOrder) -> None:
    browser, page = login(staff), page_of(checked)
    assert "Get prices" in read(browser, checked)
    assert post_form(browser, f"{page}/rates", BOX, page=page).status_code == 303
    shown = read(browser, checked)
    assert "Buy for $7.03" in shown
    assert "800 g, 30 × 20 × 15 cm" in shown
    [shipment] = support.shipments()
    rate = shipment.rates[0]["reference"]
    assert post_form(browser, f"{page}/{shipment.public_id}/buy", {"rate": rate}, page=page).status_code == 303
    shown = read(browser, checked)
    assert "Mark as shipped" in shown
    assert "The label is bought" in shown
    label = browser.get(f"{page}/{shipment.public_id}/label.pdf")
    assert (label.status_code, label.mimetype) == (200, "application/pdf")
    assert label.data.startswith(b"%PDF-")
    assert label.headers["Cache-Control"] == "no-store"
    assert post_form(browser, f"{page}/{shipment.public_id}/hand-over", page=page).status_code == 303
    shown = read(browser, checked)
    assert "Mark as shipped" not in shown
    assert support.current(checked).status is S.SHIPPED


def test_each_step_answers_htmx_in_place(login: Login, staff: User, fake: FakeEasyPost, checked: SalesOrder) -> None:
    browser, page = login(staff), page_of(checked)
    root = f'id="shipping-{checked.order.number}"'
    answer = post_form(browser, f"{page}/rates", BOX, page=page, htmx=True)
    assert (answer.status_code, root in answer.get_data(as_text=True)) == (200, True)
    [shipment] = support.shipments()
    rate = {"rate": shipment.rates[0]["reference"]}
    for verb, values, said in (("buy", rate, "Mark as shipped"), ("hand-over", {}, "Shipped")):
        answer = post_form(browser, f"{page}/{shipment.public_id}/{verb}", values, page=page, htmx=True)
        text = answer.get_data(as_text=True)
        assert answer.status_code == 200
        assert root in text
        assert said in text


def test_shipping_twice_is_a_409_that_shows_how_it_stands(
    login: Login, staff: User, app: Flask, checked: SalesOrder
) -> None:
    shipment, browser = support.by_hand(checked), login(staff)
    answer = post_form(browser, f"{page_of(checked)}/{shipment.public_id}/hand-over", page="/admin/audit")
    assert answer.status_code == 409
    assert "has been shipped already" in answer.get_data(as_text=True)


def test_without_a_carrier_the_parcel_is_entered_by_hand(
    login: Login, staff: User, app: Flask, checked: SalesOrder
) -> None:
    browser, page = login(staff), page_of(checked)
    assert "Get prices" not in read(browser, checked)
    typed = {"carrier": "InPost", "tracking_number": "620999", "tracking_url": "https://inpost.pl/x"}
    assert post_form(browser, f"{page}/by-hand", typed, page=page).status_code == 303
    [shipment] = support.shipments()
    assert "620999" in read(browser, checked)
    assert post_form(browser, f"{page}/{shipment.public_id}/hand-over", page=page).status_code == 303
    assert support.current(checked).status is S.SHIPPED


def test_what_is_typed_wrong_is_said_at_its_field(login: Login, staff: User, app: Flask, checked: SalesOrder) -> None:
    typed = {"carrier": "InPost", "tracking_number": "620999", "tracking_url": "javascript:alert(1)"}
    page = page_of(checked)
    answer = post_form(login(staff), f"{page}/by-hand", typed, page=page)
    text = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert "whole https:// address" in text
    assert 'value="620999"' in text
    assert support.shipments() == []


@pytest.mark.parametrize(
    "change", [{"grams": "0"}, {"grams": ""}, {"grams": "1e3"}, {"length": "201"}, {"height": "-1"}, {"width": "NaN"}]
)
def test_an_impossible_box_is_said_at_its_field(
    login: Login, staff: User, fake: FakeEasyPost, checked: SalesOrder, change: dict[str, str]
) -> None:
    page = page_of(checked)
    answer = post_form(login(staff), f"{page}/rates", {**BOX, **change}, page=page)
    assert answer.status_code == 422
    assert fake.requests == []
    assert support.shipments() == []


def test_a_carrier_that_is_down_is_said_in_words(
    login: Login, staff: User, fake: FakeEasyPost, checked: SalesOrder
) -> None:
    browser, page = login(staff), page_of(checked)
    fake.set_trouble("500")
    answer = post_form(browser, f"{page}/rates", BOX, page=page)
    text = answer.get_data(as_text=True)
    assert answer.status_code == 503
    assert "does not answer right now" in text
    assert "no prices for this box" in text
    assert "Internal" not in text


def test_a_lost_answer_is_waited_for_and_the_page_looks_again(
    login: Login, staff: User, fake: FakeEasyPost, checked: SalesOrder
) -> None:
    browser, page = login(staff), page_of(checked)
    shipment = support.priced(checked)
    fake.set_trouble("silent", on="/buy", seconds=2.5)
    rate = {"rate": shipment.rates[0]["reference"]}
    answer = post_form(browser, f"{page}/{shipment.public_id}/buy", rate, page=page)
    text = answer.get_data(as_text=True)
    assert answer.status_code == 503
    assert "never buy it twice" in text
    assert 'hx-trigger="load delay:10s"' in text
    assert "Buy for" not in text
    again = post_form(browser, f"{page}/{shipment.public_id}/buy", rate, page="/admin/audit")
    assert again.status_code == 409


def test_a_forged_price_buys_nothing(login: Login, staff: User, fake: FakeEasyPost, checked: SalesOrder) -> None:
    browser, page = login(staff), page_of(checked)
    shipment = support.priced(checked)
    for rate in ("rate_forged", "", "x" * 5_000):
        answer = post_form(browser, f"{page}/{shipment.public_id}/buy", {"rate": rate, "cost_minor": "1"}, page=page)
        assert answer.status_code == 409
    assert fake.calls("/buy") == 0


def test_a_label_is_given_back(login: Login, staff: User, fake: FakeEasyPost, checked: SalesOrder) -> None:
    browser, page = login(staff), page_of(checked)
    shipment = support.bought(checked)
    assert post_form(browser, f"{page}/{shipment.public_id}/return-label", page=page).status_code == 303
    shown = read(browser, checked)
    assert "Get prices" in shown
    assert "Submitted" in shown


def test_a_draft_is_discarded(login: Login, staff: User, fake: FakeEasyPost, checked: SalesOrder) -> None:
    browser, page = login(staff), page_of(checked)
    shipment = support.priced(checked)
    assert post_form(browser, f"{page}/{shipment.public_id}/discard", page=page).status_code == 303
    assert support.current(shipment).status is P.CANCELLED


def test_a_parcel_of_another_order_is_not_found(
    login: Login, staff: User, fake: FakeEasyPost, alice: User, checked: SalesOrder
) -> None:
    browser = login(staff)
    shipment = support.bought(checked)
    other = page_of(support.make_sales_order(alice))
    for verb in ("buy", "hand-over", "return-label", "discard"):
        assert post_form(browser, f"{other}/{shipment.public_id}/{verb}", page=other).status_code == 404
    assert browser.get(f"{other}/{shipment.public_id}/label.pdf").status_code == 404
    assert browser.get("/admin/production/SO-1999-001/shipping").status_code == 404
    assert support.current(shipment).status is P.READY


def test_a_label_that_is_not_here_yet_is_not_found(
    login: Login, staff: User, fake: FakeEasyPost, checked: SalesOrder
) -> None:
    shipment = support.bought(checked)
    assert login(staff).get(f"{page_of(checked)}/{shipment.public_id}/label.pdf").status_code == 404


def test_customers_and_visitors_see_nothing(
    client: FlaskClient, login: Login, alice: User, app: Flask, checked: SalesOrder
) -> None:
    shipment = support.by_hand(checked, is_shipped=False)
    assert client.get(page_of(checked)).status_code == 303
    browser = login(alice)
    assert browser.get(page_of(checked)).status_code == 403
    answer = post_form(browser, f"{page_of(checked)}/{shipment.public_id}/hand-over", page="/account")
    assert answer.status_code == 403
    assert support.current(checked).status is S.QUALITY_CHECK


def test_a_post_without_its_token_ships_nothing(login: Login, staff: User, app: Flask, checked: SalesOrder) -> None:
    shipment = support.by_hand(checked, is_shipped=False)
    answer = login(staff).post(f"{page_of(checked)}/{shipment.public_id}/hand-over")
    assert answer.status_code == 400
    assert support.current(checked).status is S.QUALITY_CHECK


def test_an_order_that_is_not_checked_says_what_is_missing(
    login: Login, staff: User, fake: FakeEasyPost, alice: User
) -> None:
    order = support.make_sales_order(alice, status=S.IN_PRODUCTION)
    shown = read(login(staff), order)
    assert "at the quality check" in shown
    assert "Get prices" not in shown
    answer = post_form(login(staff), f"{page_of(order)}/rates", BOX, page="/admin/audit")
    assert answer.status_code == 409


HOSTILE = {
    **support.ADDRESS,
    "name": "<script>alert(1)</script>",
    "line2": '"><img src=x onerror=y>',
    "company": "{{7*7}}",
}


def test_hostile_text_is_shown_as_text(login: Login, staff: User, fake: FakeEasyPost, alice: User) -> None:
    order = support.make_sales_order(alice, shipping_address=HOSTILE)
    support.priced(order)
    shown = read(login(staff), order)
    assert "&lt;script&gt;alert(1)" in shown
    assert "{{7*7}}" in shown
    assert "<img src=x" not in shown


def test_the_page_costs_the_same_with_many_earlier_parcels(
    login: Login, staff: User, app: Flask, checked: SalesOrder, count_queries: Callable[[], int]
) -> None:
    browser, counts = login(staff), []
    for _round in range(2):
        for _parcel in range(4):
            shipment = support.by_hand(checked, is_shipped=False)
            post_form(browser, f"{page_of(checked)}/{shipment.public_id}/discard", page=page_of(checked))
        db.session.rollback()
        count_queries()
        read(browser, checked)
        counts.append(count_queries())
    assert counts[0] == counts[1]


def test_a_label_that_nobody_knows_of_and_a_parcel_that_came_back_are_on_the_work_list(
    login: Login, staff: User, app: Flask, checked: SalesOrder
) -> None:
    browser, shipment = login(staff), support.by_hand(checked)
    number = checked.order.number

    def found() -> str:
        return words(browser.get("/admin?kind=production"))

    assert number not in found()
    for status, asked_at, sentence in (
        (P.BUYING, clock.now(), None),
        (P.BUYING, clock.now() - timedelta(minutes=20), "whether the label is bought"),
        (P.RETURNED, None, "the parcel came back"),
    ):
        with unit_of_work():
            change = db.update(Shipment).where(Shipment.id == shipment.id)
            db.session.execute(change.values(status=status, asked_at=asked_at))
        assert (number in found()) is (sentence is not None)
        assert sentence is None or sentence in found()
    # Packed again: what to do next is on the board.
    with unit_of_work():
        db.session.add(Shipment(public_id="again", sales_order_id=checked.id, source="by_hand", created_at=clock.now()))
    assert number not in found()

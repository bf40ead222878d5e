"""The tracking link: it opens without a log-in, hides what is private, and dies when the customer says so."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.core import clock, sealed
from portal.core.db import db
from portal.core.state import history
from portal.payments.services.draining import drain_inbox
from portal.production.models import SalesOrder, SalesOrderStatus
from portal.production.shipping.services.links import token_of
from portal.production.tracking import steps_of
from tests.browser_like import post_form
from tests.fakes.easypost import FakeEasyPost
from tests.production.shipping import support
from tests.production.shipping.support import post_event

Login = Callable[[User], FlaskClient]
PRIVATE = ("Alice", "alice@example.com", "ul. Tajna", "m. 3", "Kraków", "31-001", "+48123456789", "123.00", "12300")


def link(sales_order: SalesOrder) -> str:
    return f"/track/{token_of(support.current(sales_order))}"


def as_it_looks(page: str, token: str) -> str:
    """The page without the number of the request and the address that was asked for."""
    return re.sub(r"[0-9a-f]{16,32}", "", page.replace(token, ""))


def test_anybody_with_the_link_sees_the_progress(client: FlaskClient, fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.shipped(checked)
    for status, city in (("in_transit", "ŁÓDŹ"), ("out_for_delivery", "KRAKÓW-PODGÓRZE")):
        post_event(
            client, fake.world.scan(shipment.tracker_reference or "", status, city=city, message="SIGNED BY A NOWAK")
        )
    drain_inbox()
    answer = client.get(link(checked))
    page = answer.get_data(as_text=True)
    assert answer.status_code == 200
    assert checked.order.number in page
    assert shipment.tracking_number in page
    assert "Out for delivery" in page
    assert "ŁÓDŹ" in page
    for hidden in (*PRIVATE, "SIGNED BY", "PODGÓRZE"):
        assert hidden not in page, hidden


def test_the_link_is_kept_by_nobody(client: FlaskClient, checked: SalesOrder) -> None:
    headers = client.get(link(checked)).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Robots-Tag"] == "noindex, nofollow"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert 'name="robots" content="noindex, nofollow"' in client.get(link(checked)).get_data(as_text=True)


def test_it_asks_again_by_itself_only_while_the_order_moves(
    client: FlaskClient, fake: FakeEasyPost, checked: SalesOrder
) -> None:
    held = support.make_sales_order(checked.order.user, status=SalesOrderStatus.ON_HOLD, held_from="quality_check")
    assert "hx-trigger" not in client.get(link(held)).get_data(as_text=True)
    shipment = support.shipped(checked)
    page = client.get(link(checked)).get_data(as_text=True)
    assert 'hx-trigger="load delay:30s"' in page
    assert "polls=1" in page
    late = client.get(f"{link(checked)}?polls=40").get_data(as_text=True)
    assert 'hx-trigger="load delay:300s"' in late
    assert "hx-trigger" not in client.get(f"{link(checked)}?polls=200").get_data(as_text=True)
    post_event(client, fake.world.scan(shipment.tracker_reference or "", "delivered"))
    drain_inbox()
    assert "hx-trigger" not in client.get(link(checked)).get_data(as_text=True)


@pytest.mark.parametrize("polls", ["-1", "1e9", "x", "9" * 50, "²"])
def test_a_strange_count_is_no_trouble(client: FlaskClient, checked: SalesOrder, polls: str) -> None:
    assert client.get(link(checked), query_string={"polls": polls}).status_code == 200


def test_htmx_gets_the_part(client: FlaskClient, checked: SalesOrder) -> None:
    part = client.get(link(checked), headers={"HX-Request": "true"}).get_data(as_text=True)
    assert part.lstrip().startswith('<section id="track"')


def dead_links(sales_order: SalesOrder, other: SalesOrder) -> dict[str, str]:
    """Links that were never ours, belong to another, or are cut."""
    token = token_of(sales_order) or ""
    crossed = sealed.sign(f"{other.id}.{sales_order.tracking_key}", purpose="tracking-link")
    return {
        "nonsense": "nonsense",
        "cut": token[:-1],
        "changed": ("x" if token[0] != "x" else "y") + token[1:],
        "of another purpose": sealed.sign(f"{sales_order.id}.{sales_order.tracking_key}", purpose="order-return"),
        "a number": sealed.sign(sales_order.id, purpose="tracking-link"),
        "no key": sealed.sign(f"{sales_order.id}.", purpose="tracking-link"),
        "no such order": sealed.sign(f"999999.{sales_order.tracking_key}", purpose="tracking-link"),
        "another order's": crossed,
    }


def test_wrong_foreign_and_revoked_links_look_alike(
    client: FlaskClient, login: Login, alice: User, bob: User, checked: SalesOrder
) -> None:
    other = support.make_sales_order(bob)
    live = link(checked)
    bodies = {}
    for name, token in dead_links(checked, other).items():
        answer = client.get(f"/track/{token}")
        assert answer.status_code == 404, name
        bodies[name] = as_it_looks(answer.get_data(as_text=True), token)
    post_form(login(alice), f"/orders/{checked.order.number}/tracking/revoke",
              page=f"/orders/{checked.order.number}/tracking")  # fmt: skip
    answer = client.get(live)
    assert answer.status_code == 404
    bodies["revoked"] = as_it_looks(answer.get_data(as_text=True), live.removeprefix("/track/"))
    assert len(set(bodies.values())) == 1


def test_the_customer_copies_renews_and_revokes(
    client: FlaskClient, login: Login, alice: User, checked: SalesOrder
) -> None:
    browser, page = login(alice), f"/orders/{checked.order.number}/tracking"
    first = link(checked)
    assert f"http://localhost{first}" in browser.get(page).get_data(as_text=True)
    assert post_form(browser, f"{page}/renew", page=page).status_code == 303
    second = link(checked)
    assert second != first
    assert [client.get(one).status_code for one in (first, second)] == [404, 200]
    assert post_form(browser, f"{page}/revoke", page=page).status_code == 303
    assert client.get(second).status_code == 404
    shown = browser.get(page).get_data(as_text=True)
    assert "/track/" not in shown
    assert "Make a new link" in shown
    post_form(browser, f"{page}/renew", page=page)
    assert client.get(link(checked)).status_code == 200


def test_htmx_gets_the_new_link_in_place(login: Login, alice: User, checked: SalesOrder) -> None:
    page = f"/orders/{checked.order.number}/tracking"
    answer = post_form(login(alice), f"{page}/renew", page=page, htmx=True)
    assert answer.status_code == 200
    assert link(checked) in answer.get_data(as_text=True)


def test_strangers_and_visitors_cannot_manage_it(
    client: FlaskClient, login: Login, mallory: User, checked: SalesOrder
) -> None:
    page, key = f"/orders/{checked.order.number}/tracking", checked.tracking_key
    stranger = login(mallory)
    assert stranger.get(page).status_code == 404
    assert client.get(page).status_code == 303
    for verb in ("renew", "revoke"):
        assert post_form(stranger, f"{page}/{verb}", page="/account").status_code == 404
        assert client.post(f"{page}/{verb}").status_code in (303, 400)
    assert support.current(checked).tracking_key == key


def test_a_post_without_its_token_changes_nothing(login: Login, alice: User, checked: SalesOrder) -> None:
    key = checked.tracking_key
    assert login(alice).post(f"/orders/{checked.order.number}/tracking/renew").status_code == 400
    assert support.current(checked).tracking_key == key


def test_the_customer_reads_the_carriers_own_words(
    client: FlaskClient, login: Login, alice: User, fake: FakeEasyPost, checked: SalesOrder
) -> None:
    shipment = support.shipped(checked)
    post_event(
        client, fake.world.scan(shipment.tracker_reference or "", "delivered", message="<b>Signed</b> by A NOWAK")
    )
    drain_inbox()
    page = login(alice).get(f"/orders/{checked.order.number}/tracking").get_data(as_text=True)
    assert "&lt;b&gt;Signed&lt;/b&gt; by A NOWAK" in page


def test_carriers_words_stand_between_shipped_and_delivered(
    client: FlaskClient, fake: FakeEasyPost, checked: SalesOrder
) -> None:
    shipment = support.shipped(checked)
    for hour, status in enumerate(("in_transit", "error", "delivered")):
        at = clock.now() + timedelta(hours=hour)
        post_event(client, fake.world.scan(shipment.tracker_reference or "", status, at=at))
    drain_inbox()
    order = support.current(checked)
    told = [f"{step.label}:{step.state}" for step in steps_of(order, history(order))]
    assert told[-4:] == ["Shipped:done", "On its way:done", "Delivered:done", "Delivered:done"]


@pytest.mark.parametrize("status", [SalesOrderStatus.PENDING, SalesOrderStatus.IN_PRODUCTION, SalesOrderStatus.ON_HOLD])
def test_the_link_says_nothing_about_money_or_trouble(
    client: FlaskClient, alice: User, status: SalesOrderStatus
) -> None:
    held = "in_production" if status is SalesOrderStatus.ON_HOLD else None
    order = support.make_sales_order(alice, status=status, held_from=held)
    assert all(step.note is None for step in steps_of(order, history(order), is_public=True))
    page = client.get(link(order)).get_data(as_text=True)
    assert "payment" not in page.lower()


def test_the_page_costs_the_same_however_long_the_story_is(
    app: Flask, client: FlaskClient, fake: FakeEasyPost, checked: SalesOrder, count_queries: Callable[[], int]
) -> None:
    shipment = support.shipped(checked)
    address, counts = link(checked), []
    for _round in range(2):
        db.session.rollback()
        count_queries()
        client.get(address)
        counts.append(count_queries())
        for hour in range(20):
            fake.world.scan(shipment.tracker_reference or "", "in_transit", at=clock.now() + timedelta(hours=hour))
        post_event(client, fake.webhooks.events[-1])
        drain_inbox()
    assert counts[0] == counts[1]
    assert len(support.scans(shipment)) >= 20

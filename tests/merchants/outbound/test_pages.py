"""A merchant's pages about webhooks: the address, the secret, every delivery; and what staff see of them."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.core import clock
from portal.core.audit import AuditEvent
from portal.core.db import unit_of_work
from portal.merchants.models import Merchant
from portal.merchants.outbound import endpoints
from portal.merchants.outbound.models import MerchantEvent, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from tests import factories
from tests.browser_like import csrf_token, post_form
from tests.fakes.receiver import Receiver
from tests.merchants.outbound.test_delivering import happen, send, the_delivery, the_endpoint
from tests.merchants.support import all_of, look_again

Login = Callable[[User], FlaskClient]
HOOKS = "/merchant/webhooks"
ADDRESS = f"{HOOKS}/address"
SECRET = f"{HOOKS}/secret"
URL = "https://shop.example.com/webhooks"
_SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{43}=")


def secrets_on(page: str) -> set[str]:
    """Every secret that a page shows."""
    return set(_SECRET.findall(page.replace("&#43;", "+").replace("&#x2B;", "+")))


def press(browser: FlaskClient, address: str, page: str = HOOKS, **values: str) -> int:
    """Press a button of a page; the answer's code."""
    return post_form(browser, address, {"mode": "test", **values}, page=page).status_code


def text_of(browser: FlaskClient, address: str) -> str:
    """A page that opens."""
    answer = browser.get(address)
    assert answer.status_code == 200, address
    return answer.get_data(as_text=True)


def test_the_secret_is_shown_once_with_the_first_address(login: Login, alice: User, cafe: Merchant) -> None:
    browser = login(alice)
    assert "No address yet" in text_of(browser, HOOKS)
    made = post_form(browser, ADDRESS, {"mode": "test", "url": f"  {URL} "})
    assert (made.status_code, made.headers["Cache-Control"]) == (200, "no-store")
    (secret,) = secrets_on(made.get_data(as_text=True))
    assert (the_endpoint().url, the_endpoint().mode, the_endpoint().merchant_id) == (URL, "test", cafe.id)
    assert secret not in the_endpoint().sealed_secret
    for page in (HOOKS, ADDRESS, SECRET, f"{HOOKS}?mode=live"):
        assert secrets_on(text_of(browser, page)) == set()
    before = the_endpoint().sealed_secret
    changed = post_form(browser, ADDRESS, {"mode": "test", "url": f"{URL}/new"})
    assert (changed.status_code, changed.location) == (303, f"{HOOKS}?mode=test")
    assert (the_endpoint().url, the_endpoint().sealed_secret) == (f"{URL}/new", before)
    told = [(line.actor, line.after["url"]) for line in all_of(AuditEvent) if line.event == "WEBHOOK_URL_SET"]
    assert told == [(alice.email, URL), (alice.email, f"{URL}/new")]


def test_test_and_live_have_their_own(login: Login, alice: User, cafe: Merchant) -> None:
    browser = login(alice)
    shown = [post_form(browser, ADDRESS, {"mode": mode, "url": URL}) for mode in ("test", "live")]
    assert len(set.union(*[secrets_on(page.get_data(as_text=True)) for page in shown])) == 2
    assert [one.mode for one in all_of(WebhookEndpoint)] == ["test", "live"]


@pytest.mark.parametrize(
    "change",
    [
        {"url": ""}, {"url": "shop"}, {"url": "https://127.0.0.1/"}, {"url": "https://169.254.169.254/latest"},
        {"url": "https://user:pass@shop.example.com/"}, {"url": "https://2130706433/"}, {"mode": "real"}, {"mode": ""},
        {"url": "https://shop.example.com/" + "a" * 2_000}, {"url": "http://shop.example.com/", "mode": "live"},
        {"url": "javascript:alert(1)"}, {"url": '"><script>alert(1)</script>'},
    ],
)  # fmt: skip
def test_the_form_says_what_is_wrong(login: Login, alice: User, cafe: Merchant, change: dict[str, str]) -> None:
    answer = post_form(login(alice), ADDRESS, {"mode": "test", "url": URL, **change})
    assert answer.status_code == 422
    assert "<script>alert" not in answer.get_data(as_text=True)
    assert all_of(WebhookEndpoint) == []


def test_a_replaced_secret_signs_for_one_more_day(
    login: Login, alice: User, cafe: Merchant, shop: Receiver, hook_secret: str
) -> None:
    browser = login(alice)
    shown = post_form(browser, SECRET, {"mode": "test"})
    (new,) = secrets_on(shown.get_data(as_text=True))
    assert (shown.headers["Cache-Control"], new != hook_secret) == ("no-store", True)
    again = post_form(browser, SECRET, {"mode": "test"})
    assert again.status_code == 409
    assert secrets_on(again.get_data(as_text=True)) == set()
    assert "The previous secret still signs as well" in text_of(browser, HOOKS)
    for hours, both in ((0, True), (23, True), (25, False)):
        with clock.shifted(timedelta(hours=hours)):
            event = happen(cafe, f"after {hours}")
            send()
        request = next(one for one in shop.received if one.webhook_id == event.public_id)
        assert len(request.headers["webhook-signature"].split(" ")) == 1 + both
        assert request.is_signed_with(new)
        assert request.is_signed_with(hook_secret) is both
    with clock.shifted(timedelta(hours=25)):
        factories.sign_in(browser, alice)
        assert "The previous secret" not in text_of(browser, HOOKS)
        assert post_form(browser, SECRET, {"mode": "test"}).status_code == 200


def test_a_secret_wants_the_password_again(login: Login, alice: User, cafe: Merchant, hook_secret: str) -> None:
    browser = login(alice)
    token, before = csrf_token(browser, SECRET), the_endpoint().sealed_secret
    with clock.shifted(timedelta(minutes=16)):
        for page in (ADDRESS, SECRET):
            assert "/confirm" in browser.get(page).location
            answer = browser.post(page, data={"csrf_token": token, "mode": "test", "url": f"{URL}/stolen"})
            assert (answer.status_code, "/confirm" in answer.location) == (303, True)
    assert (the_endpoint().sealed_secret, "stolen" in the_endpoint().url) == (before, False)


def test_a_test_event_is_sent_and_shown(
    login: Login, alice: User, cafe: Merchant, shop: Receiver, hook_secret: str
) -> None:
    browser = login(alice)
    assert press(browser, f"{HOOKS}/test") == 303
    (event,) = all_of(MerchantEvent)
    page = f"{HOOKS}/deliveries/{event.public_id}"
    assert "It was not tried yet" in text_of(browser, page)
    send()
    assert shop.received[0].is_signed_with(hook_secret)
    assert (event.type, shop.ids) == ("test.ping", [event.public_id])
    assert event.public_id in text_of(browser, page)
    assert "test.ping" in text_of(browser, HOOKS)
    for chosen, rows in (
        ("status=delivered", 1),
        ("status=failed", 0),
        ("type=session.paid", 0),
        ("status=x&type=x", 1),
    ):
        assert (page in text_of(browser, f"{HOOKS}?{chosen}")) is bool(rows), chosen


def test_a_delivery_is_sent_again_under_its_id(
    login: Login, alice: User, cafe: Merchant, shop: Receiver, hook_secret: str
) -> None:
    browser, event = login(alice), happen(cafe)
    page = f"{HOOKS}/deliveries/{event.public_id}"
    send()
    token = csrf_token(browser, page)
    # Pressed twice: the second time it is on its way already.
    codes = [browser.post(f"{page}/again", data={"csrf_token": token}).status_code for _twice in range(2)]
    assert codes == [303, 409]
    send()
    assert shop.ids == [event.public_id] * 2
    assert shop.received[0].body == shop.received[1].body
    assert (the_delivery().status, len(all_of(WebhookAttempt))) == ("delivered", 2)


def test_pausing_keeps_and_resuming_sends(
    login: Login, alice: User, cafe: Merchant, shop: Receiver, hook_secret: str
) -> None:
    browser = login(alice)
    for _twice in range(2):
        assert press(browser, f"{HOOKS}/pause") == 303
    assert "Nothing is sent" in text_of(browser, HOOKS)
    event = happen(cafe)
    send()
    assert (shop.received, the_delivery().status) == ([], "pending")
    for _twice in range(2):
        assert press(browser, f"{HOOKS}/resume") == 303
    send()
    assert (shop.ids, the_delivery().status) == ([event.public_id], "delivered")


def test_a_hostile_answer_is_only_text(
    login: Login, alice: User, cafe: Merchant, staff: User, shop: Receiver, hook_secret: str
) -> None:
    shop.answers = ["huge"]
    event = happen(cafe, "<img src=x onerror=alert(1)>")
    send()
    pages = [text_of(login(alice), f"{HOOKS}/deliveries/{event.public_id}"), text_of(login(alice), HOOKS)]
    pages.append(text_of(login(staff), f"/admin/merchants/{cafe.id}"))
    assert "&lt;script&gt;x&lt;/script&gt;" in pages[0]
    for page in pages:
        assert "<script>x" not in page
        assert "<img src=x" not in page


def test_a_strangers_webhooks_do_not_exist(
    login: Login,
    alice: User,
    bob: User,
    mallory: User,
    cafe: Merchant,
    rival: Merchant,
    shop: Receiver,
    hook_secret: str,
) -> None:
    """Bob sells too, mallory does not."""
    event = happen(cafe)
    send()
    page = f"{HOOKS}/deliveries/{event.public_id}"
    assert text_of(login(alice), page)
    for other in (bob, mallory):
        browser = login(other)
        token = csrf_token(browser, "/merchant") if other is mallory else csrf_token(browser, ADDRESS)
        for address in (page, SECRET, f"{HOOKS}/deliveries/evt_1", f"{HOOKS}/deliveries/%27"):
            assert browser.get(f"{address}?mode=test").status_code == 404, address
        for address in (f"{page}/again", SECRET, f"{HOOKS}/test", f"{HOOKS}/pause", f"{HOOKS}/resume"):
            answer = browser.post(address, data={"csrf_token": token, "mode": "test"})
            assert answer.status_code == 404, address
    assert login(mallory).get(HOOKS).status_code == 404
    assert shop.url not in text_of(login(bob), HOOKS)
    look_again()
    assert (the_delivery().status, the_endpoint().status, len(shop.received)) == ("delivered", "active", 1)
    assert the_endpoint().previous_ends_at is None


def test_nothing_happens_without_the_pages_token(
    login: Login, alice: User, cafe: Merchant, shop: Receiver, hook_secret: str
) -> None:
    event = happen(cafe)
    send()
    browser, before = login(alice), the_endpoint().sealed_secret
    again = f"{HOOKS}/deliveries/{event.public_id}/again"
    for address in (ADDRESS, SECRET, f"{HOOKS}/test", f"{HOOKS}/pause", f"{HOOKS}/resume", again):
        for token in ({}, {"csrf_token": "x" * 90}):
            answer = browser.post(address, data={"mode": "test", "url": URL, **token})
            assert answer.status_code == 400, address
    assert (the_endpoint().url, the_endpoint().sealed_secret, the_endpoint().status) == (shop.url, before, "active")
    assert (the_delivery().status, len(all_of(MerchantEvent))) == ("delivered", 1)


def test_without_an_address_there_is_nothing_to_press(login: Login, alice: User, cafe: Merchant) -> None:
    browser = login(alice)
    token = csrf_token(browser, ADDRESS)
    for address in (SECRET, f"{HOOKS}/test", f"{HOOKS}/pause", f"{HOOKS}/resume"):
        assert browser.post(address, data={"csrf_token": token, "mode": "test"}).status_code == 404, address
    assert browser.get(SECRET).status_code == 404


def test_staff_see_where_a_merchant_listens_and_no_secret(
    login: Login, cafe: Merchant, staff: User, shop: Receiver, count_queries: Callable[[], int], loopback: None
) -> None:
    office, page = login(staff), f"/admin/merchants/{cafe.id}"
    assert "It listens nowhere" in text_of(office, page)
    with unit_of_work():
        endpoints.set_url(cafe, mode="test", url=shop.url, by="alice", at=clock.now())
    costs = []
    for number in (1, 29):
        for one in range(number):
            happen(cafe, f"{number} {one}")
        send()
        text_of(office, page)
        count_queries()
        shown = text_of(office, page)
        costs.append(count_queries())
        assert shop.url in shown
        assert "session.paid" in shown
        assert secrets_on(shown) == set()
    assert costs[0] == costs[1]


def test_the_list_costs_the_same_for_many(
    login: Login, alice: User, cafe: Merchant, shop: Receiver, hook_secret: str, count_queries: Callable[[], int]
) -> None:
    browser, costs = login(alice), []
    for number in (1, 29):
        for one in range(number):
            happen(cafe, f"{number} {one}")
        text_of(browser, HOOKS)
        count_queries()
        shown = text_of(browser, HOOKS)
        costs.append(count_queries())
        assert shown.count('class="row-link"') == min(len(all_of(WebhookDelivery)), 25)
    assert costs[0] == costs[1] <= 6

"""A merchant's own pages: becoming one, keys, payment links, payments and invoices; and the back office's room."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import User
from portal.core import clock
from portal.core.audit import AuditEvent
from portal.core.db import db, unit_of_work
from portal.core.mail import MailMessage
from portal.core.money import Money
from portal.merchants import queries
from portal.merchants.errors import AlreadyMerchant
from portal.merchants.models import ApiKey, Merchant, MerchantRequest, MerchantStatus, RequestStatus
from portal.merchants.services import keys, merchants, refunding
from portal.payments.models import Invoice, PaymentSession, ProviderEvent
from portal.payments.refund_models import RefundReason
from tests.browser_like import csrf_token, post_form
from tests.crowd import all_at_once
from tests.merchants.support import (
    all_of,
    get,
    look_again,
    make_key,
    make_merchant,
    make_session,
    pay,
    send_mail,
    work,
)

Login = Callable[[User], FlaskClient]
POSTGRESQL = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
WISH = {
    "name": "Kawiarnia Miś",
    "contact_email": "Shop@Example.com",
    "website": "https://mis.example",
    "message": "Coffee",
}
_SECRET = re.compile(r"sk_(?:test|live)_[A-Za-z0-9_-]{43}")


# --- becoming a merchant ---


def test_a_customer_asks_and_staff_say_yes(login: Login, alice: User, staff: User) -> None:
    browser, office = login(alice), login(staff)
    assert "Become a merchant" in browser.get("/merchant").get_data(as_text=True)
    assert post_form(browser, "/merchant/request", WISH, page="/merchant").status_code == 303
    assert "We are looking at your request" in browser.get("/merchant").get_data(as_text=True)
    (wish,) = all_of(MerchantRequest)
    assert wish.contact_email == "shop@example.com"
    assert "Kawiarnia Miś" in office.get("/admin/merchants").get_data(as_text=True)
    page = f"/admin/merchants/requests/{wish.id}"
    for expected in (303, 409):
        token = csrf_token(office, page)
        assert office.post(f"{page}/approve", data={"csrf_token": token}).status_code == expected
    (merchant,) = all_of(Merchant)
    assert (merchant.owner_user_id, merchant.name, merchant.status) == (alice.id, "Kawiarnia Miś", "active")
    assert all_of(MerchantRequest)[0].status is RequestStatus.APPROVED
    send_mail()
    (message,) = all_of(MailMessage)
    assert (message.template, message.to, message.status) == ("merchant_approved", alice.email, "sent")
    assert "Latest payments" in browser.get("/merchant").get_data(as_text=True)


def test_a_no_has_a_reason_and_is_not_for_ever(login: Login, alice: User, staff: User) -> None:
    browser, office = login(alice), login(staff)
    post_form(browser, "/merchant/request", WISH, page="/merchant")
    page = f"/admin/merchants/requests/{all_of(MerchantRequest)[0].id}"
    assert post_form(office, f"{page}/decline", {"reason": "x"}, page=page).status_code == 422
    assert post_form(office, f"{page}/decline", {"reason": "We sell coffee ourselves"}, page=page).status_code == 303
    assert all_of(Merchant) == []
    send_mail()
    (message,) = all_of(MailMessage)
    assert (message.template, message.status) == ("merchant_declined", "sent")
    assert "We sell coffee ourselves" in (message.text_body or "")
    assert "We sell coffee ourselves" in browser.get("/merchant").get_data(as_text=True)
    assert post_form(browser, "/merchant/request", WISH, page="/merchant").status_code == 303


@pytest.mark.parametrize(
    "change", [{"name": ""}, {"name": "x" * 121}, {"contact_email": "nobody"}, {"message": ""}, {"message": "x" * 2001}]
)
def test_a_request_says_what_is_missing(login: Login, alice: User, change: dict[str, str]) -> None:
    answer = post_form(login(alice), "/merchant/request", {**WISH, **change}, page="/merchant")
    assert answer.status_code == 422
    assert all_of(MerchantRequest) == []


@POSTGRESQL
def test_two_windows_ask_once(app: Flask, alice: User) -> None:
    def ask() -> object:
        with unit_of_work():
            user = db.session.get_one(User, alice.id)
            return merchants.request_merchant(
                user, name="A", contact_email="a@example.com", website="", message="x", at=clock.now()
            )

    results = all_at_once(app, [ask] * 5)
    assert sum(isinstance(result, AlreadyMerchant) for result in results) == 4
    assert len(all_of(MerchantRequest)) == 1


@POSTGRESQL
def test_two_members_of_staff_decide_once(app: Flask, alice: User) -> None:
    with unit_of_work():
        wish = merchants.request_merchant(
            alice, name="A", contact_email="a@example.com", website="", message="x", at=clock.now()
        )

    def approve() -> object:
        with unit_of_work():
            return merchants.approve_request(wish.id, by="staff@example.com", at=clock.now())

    def decline() -> object:
        with unit_of_work():
            return merchants.decline_request(wish.id, answer="No, sorry", by="staff@example.com", at=clock.now())

    results = all_at_once(app, [approve, decline] * 3)
    assert sum(not isinstance(result, Exception) for result in results) == 1
    assert len(all_of(Merchant)) == (all_of(MerchantRequest)[0].status is RequestStatus.APPROVED)


# --- the back office's room ---

FORM = {
    "owner_email": "alice@example.com", "name": "Kawiarnia Miś", "contact_email": "shop@example.com", "tax_rate": "8",
    "brand_name": "Miś", "brand_color": "#0F766E", "allowed_providers": ["sandbox"], "first_key_mode": "test",
    "return_hosts": "Shop.example.com\r\nlocalhost", "webhook_url": "https://shop.example.com/hook",
    "address": "ul. Prosta 1, Warszawa", "tax_id": "PL5260001246",
}  # fmt: skip


def test_staff_make_and_change_a_merchant(login: Login, alice: User, staff: User) -> None:
    office = login(staff)
    made = post_form(office, "/admin/merchants/new", FORM)
    assert made.status_code == 303, made.get_data(as_text=True)
    (merchant,) = all_of(Merchant)
    assert (merchant.tax_rate_basis_points, merchant.brand_color) == (800, "#0f766e")
    assert (merchant.return_hosts, merchant.allowed_providers) == (["shop.example.com", "localhost"], ["sandbox"])
    page = f"/admin/merchants/{merchant.id}"
    assert post_form(office, page, {**FORM, "name": "Misiek", "tax_rate": "5,5"}).status_code == 303
    (merchant,) = all_of(Merchant)
    assert (merchant.name, merchant.tax_rate_basis_points, merchant.owner_user_id) == ("Misiek", 550, alice.id)
    changed = next(line for line in all_of(AuditEvent) if line.event == "merchant.changed")
    assert (changed.actor, changed.before["name"], changed.after["name"]) == (staff.email, "Kawiarnia Miś", "Misiek")
    assert 'value="5.5"' in office.get(page).get_data(as_text=True)


@pytest.mark.parametrize(
    "change",
    [
        {"owner_email": "nobody@example.com"}, {"owner_email": "x"}, {"name": ""}, {"brand_color": "red"},
        {"tax_rate": "101"}, {"tax_rate": "-1"}, {"tax_rate": "x"}, {"webhook_url": "http://evil.example/"},
        {"webhook_url": "javascript:x"}, {"return_hosts": "https://shop.example.com"}, {"return_hosts": "a b"},
        {"return_hosts": "\n".join(f"h{n}.example.com" for n in range(21))}, {"allowed_providers": ["paypal"]},
        {"first_key_mode": "real"},
    ],
)  # fmt: skip
def test_a_merchants_form_says_what_is_wrong(login: Login, alice: User, staff: User, change: dict[str, object]) -> None:
    assert post_form(login(staff), "/admin/merchants/new", {**FORM, **change}).status_code == 422
    assert all_of(Merchant) == []


def test_an_account_looks_after_one_merchant(login: Login, cafe: Merchant, staff: User) -> None:
    assert post_form(login(staff), "/admin/merchants/new", FORM).status_code == 409
    assert len(all_of(Merchant)) == 1


def test_staff_suspend_with_a_reason_and_let_it_sell_again(login: Login, cafe: Merchant, staff: User) -> None:
    office, page = login(staff), f"/admin/merchants/{cafe.id}"
    assert post_form(office, f"{page}/suspend", {"reason": ""}, page=page).status_code == 422
    assert post_form(office, f"{page}/suspend", {"reason": "Complaints"}, page=page).status_code == 303
    assert all_of(Merchant)[0].status is MerchantStatus.SUSPENDED
    for expected in (303, 409):
        token = csrf_token(office, page)
        assert office.post(f"{page}/activate", data={"csrf_token": token}).status_code == expected
    assert all_of(Merchant)[0].status is MerchantStatus.ACTIVE


def test_the_list_of_merchants_is_found_and_costs_the_same(
    login: Login, cafe: Merchant, staff: User, count_queries: Callable[[], int]
) -> None:
    from tests.factories import make_user

    office = login(staff)
    office.get("/admin/merchants")
    count_queries()
    office.get("/admin/merchants")
    cost = count_queries()
    for number in range(30):
        make_merchant(make_user(), name=f"Shop {number}")
    count_queries()
    page = office.get("/admin/merchants").get_data(as_text=True)
    assert count_queries() == cost <= 4
    assert page.count("row-link") == 25
    for query, found in (("q=misia", 0), ("q=kawiarnia", 1), ("q=shop@example.com", 25), ("status=suspended", 0)):
        listed = office.get(f"/admin/merchants?{query}").get_data(as_text=True)
        assert listed.count("row-link") == found, query


# --- keys ---


def test_a_key_is_shown_once(login: Login, alice: User, cafe: Merchant, client: FlaskClient) -> None:
    browser = login(alice)
    values = {"label": "Till", "mode": "live", "scopes": ["sessions:read"], "expires": "30"}
    made = post_form(browser, "/merchant/keys/new", values)
    assert made.headers["Cache-Control"] == "no-store"
    found = _SECRET.search(made.get_data(as_text=True))
    assert found is not None
    (key,) = all_of(ApiKey)
    assert (key.label, key.mode, key.scopes) == ("Till", "live", ["sessions:read"])
    assert key.expires_at - key.created_at == timedelta(days=30)
    assert get(client, found.group()).status_code == 200
    for page in ("/merchant/keys", "/merchant", f"/merchant/keys/{key.id}/rotate"):
        assert _SECRET.search(browser.get(page).get_data(as_text=True)) is None


@pytest.mark.parametrize(
    "change", [{"label": ""}, {"mode": "real"}, {"scopes": []}, {"scopes": ["admin"]}, {"expires": "1000000"}]
)
def test_a_keys_form_says_what_is_wrong(login: Login, alice: User, cafe: Merchant, change: dict[str, object]) -> None:
    values = {"label": "Till", "mode": "test", "scopes": ["sessions:read"], "expires": "", **change}
    assert post_form(login(alice), "/merchant/keys/new", values).status_code == 422
    assert all_of(ApiKey) == []


def test_a_key_is_replaced_and_revoked_on_the_page(login: Login, alice: User, cafe: Merchant) -> None:
    browser, (key, _secret) = login(alice), make_key(cafe)
    page = f"/merchant/keys/{key.id}/rotate"
    assert _SECRET.search(post_form(browser, page, {"hours": "1"}).get_data(as_text=True))
    assert post_form(browser, page, {"hours": "1"}).status_code == 409
    assert post_form(browser, page, {"hours": "9999"}).status_code == 422
    newest = all_of(ApiKey)[-1]
    assert post_form(browser, f"/merchant/keys/{newest.id}/revoke", page="/merchant/keys").status_code == 303
    assert all_of(ApiKey)[-1].revoked_at is not None
    assert "Revoked" in browser.get("/merchant/keys").get_data(as_text=True)


def test_a_sealed_key_is_told_to_its_owner_once(app: Flask, login: Login, alice: User, cafe: Merchant) -> None:
    pay(app, app.test_client(), make_session(cafe).public_id)
    browser, (key,) = login(alice), all_of(ApiKey)
    assert "A key waits for you" in browser.get("/merchant").get_data(as_text=True)
    page = f"/merchant/keys/{key.id}/secret"
    assert _SECRET.search(browser.get(page).get_data(as_text=True)) is None
    token = csrf_token(browser, page)
    told = browser.post(page, data={"csrf_token": token}).get_data(as_text=True)
    found = _SECRET.search(told)
    assert found is not None
    assert keys.secret_hash(found.group()) == key.secret_hash
    again = browser.post(page, data={"csrf_token": token})
    assert again.status_code == 409
    assert _SECRET.search(again.get_data(as_text=True)) is None
    assert browser.get(page).status_code == 409


def test_a_suspended_merchant_makes_no_keys_and_no_links(login: Login, alice: User, cafe: Merchant) -> None:
    browser = login(alice)
    pages = {"/merchant/keys/new": {"label": "x", "mode": "test", "scopes": ["sessions:read"], "expires": ""},
             "/merchant/sessions/new": LINK}  # fmt: skip
    with unit_of_work():
        merchants.suspend_merchant(cafe.id, reason="Complaints", by="staff@example.com", at=clock.now())
    for page, values in pages.items():
        assert post_form(browser, page, {**values, "key": form_key(browser)}, page=page).status_code == 403
    assert all_of(ApiKey) == all_of(PaymentSession) == []
    assert "suspended" in browser.get("/merchant").get_data(as_text=True)


# --- payments ---

LINK = {"amount": "49,50", "currency": "pln", "description": "Tort urodzinowy", "customer_email": "buyer@example.com"}


def form_key(browser: FlaskClient) -> str:
    found = re.search(r'name="key"[^>]*value="([^"]+)"', browser.get("/merchant/sessions/new").get_data(as_text=True))
    assert found is not None
    return found.group(1)


def test_a_payment_link_is_made_by_hand_once(app: Flask, login: Login, alice: User, cafe: Merchant) -> None:
    browser = login(alice)
    values = {**LINK, "key": form_key(browser), "mode": "test"}
    answers = [post_form(browser, "/merchant/sessions/new", values) for _ in range(2)]
    (session,) = all_of(PaymentSession)
    assert {answer.location for answer in answers} == {f"/merchant/sessions/{session.public_id}"}
    assert (session.amount_minor, session.currency, session.mode, session.merchant_id) == (4950, "PLN", "test", cafe.id)
    page = browser.get(f"/merchant/sessions/{session.public_id}").get_data(as_text=True)
    assert f"http://localhost/pay/{session.public_id}" in page
    pay(app, app.test_client(), session.public_id)
    (invoice,) = all_of(Invoice)
    page = browser.get(f"/merchant/sessions/{session.public_id}").get_data(as_text=True)
    assert invoice.number in page
    assert "Works until" in page
    paper = browser.get(f"/merchant/invoices/{session.public_id}.pdf")
    assert paper.get_data().startswith(b"%PDF")
    assert invoice.number in browser.get("/merchant/invoices").get_data(as_text=True)
    assert (
        post_form(
            browser,
            f"/merchant/sessions/{session.public_id}/revoke-link",
            page=f"/merchant/sessions/{session.public_id}",
        ).status_code
        == 303
    )
    assert "Taken back" in browser.get(f"/merchant/sessions/{session.public_id}").get_data(as_text=True)


@pytest.mark.parametrize(
    "change",
    [
        {"amount": ""}, {"amount": "0"}, {"amount": "-5"}, {"amount": "1e3"}, {"amount": "4.001"}, {"amount": "9" * 20},
        {"currency": "XXX"}, {"currency": ""}, {"description": ""}, {"customer_email": "x"},
        {"success_url": "javascript:alert(1)"}, {"key": "made up"}, {"key": ""}, {"currency": "JPY"},
    ],
)  # fmt: skip
def test_a_links_form_says_what_is_wrong(login: Login, alice: User, cafe: Merchant, change: dict[str, str]) -> None:
    browser = login(alice)
    values = {**LINK, "key": form_key(browser), "mode": "test", **change}
    assert post_form(browser, "/merchant/sessions/new", values).status_code == 422
    assert all_of(PaymentSession) == []


def test_the_switch_keeps_test_and_live_apart(login: Login, alice: User, cafe: Merchant) -> None:
    browser = login(alice)
    make_session(cafe, description="Only a test")
    make_session(cafe, mode="live", description="A real one")
    for mode, shown, hidden in (("test", "Only a test", "A real one"), ("live", "A real one", "Only a test")):
        for page in ("/merchant/sessions", "/merchant"):
            text = browser.get(f"{page}?mode={mode}").get_data(as_text=True)
            assert shown in text
            assert hidden not in text
    assert "Only a test" in browser.get("/merchant/sessions?mode=other&status=nonsense").get_data(as_text=True)
    assert "Only a test" not in browser.get("/merchant/sessions?mode=test&status=paid").get_data(as_text=True)


def test_lists_of_a_merchant_cost_the_same_for_many(
    app: Flask, login: Login, alice: User, cafe: Merchant, count_queries: Callable[[], int]
) -> None:
    browser = login(alice)
    pay(app, app.test_client(), make_session(cafe).public_id)
    costs = {}
    for address in ("/merchant", "/merchant/sessions", "/merchant/invoices", "/merchant/keys"):
        browser.get(address)
        count_queries()
        browser.get(address)
        costs[address] = count_queries()
    for _ in range(5):
        pay(app, app.test_client(), make_session(cafe).public_id)
    for _ in range(10):
        make_key(cafe)
    for address, cost in costs.items():
        count_queries()
        browser.get(address)
        assert count_queries() == cost <= 6, address


def test_another_merchants_things_do_not_exist(
    app: Flask, login: Login, bob: User, cafe: Merchant, rival: Merchant
) -> None:
    session, (key, _secret) = make_session(cafe), make_key(cafe)
    pay(app, app.test_client(), session.public_id)
    browser = login(bob)
    token = csrf_token(browser, "/merchant/sessions/new")
    for address in (
        f"/merchant/sessions/{session.public_id}", f"/merchant/invoices/{session.public_id}.pdf",
        f"/merchant/keys/{key.id}/rotate", f"/merchant/keys/{key.id}/secret",
    ):  # fmt: skip
        assert browser.get(address).status_code == 404, address
    for address in (
        f"/merchant/sessions/{session.public_id}/revoke-link", f"/merchant/keys/{key.id}/revoke",
        f"/merchant/keys/{key.id}/rotate", f"/merchant/keys/{key.id}/secret",
    ):  # fmt: skip
        assert browser.post(address, data={"csrf_token": token, "hours": "1"}).status_code == 404, address
    look_again()
    assert all_of(ApiKey)[0].revoked_at is None
    assert "Kawiarnia" not in browser.get("/merchant/sessions").get_data(as_text=True)


def test_a_merchant_sees_what_was_said_and_given_back_of_its_own_payment_only(
    app: Flask, login: Login, alice: User, cafe: Merchant
) -> None:
    """The messages by name and outcome; their bodies belong to the portal's account at the provider."""
    mine, other = make_session(cafe), make_session(cafe)
    mine_id, other_id = mine.public_id, other.public_id
    pay(app, app.test_client(), mine_id, "pay_twice")
    pay(app, app.test_client(), other_id)
    with unit_of_work():
        session = queries.get_session(cafe.id, mine_id)
        refunding.give_back(session, Money(1000, "PLN"), RefundReason.OTHER, key="k" * 20, by="tests", at=clock.now())
    work(app)
    browser = login(alice)
    page = browser.get(f"/merchant/sessions/{mine_id}").get_data(as_text=True)
    surplus = "This payment had already been paid; this is money on top of it."
    for words in ("What providers said", "its signature was right", surplus, "payment.refunded", "Money back"):
        assert words in page, words
    theirs = browser.get(f"/merchant/sessions/{other_id}").get_data(as_text=True)
    assert "payment.paid" in theirs
    assert surplus not in theirs
    assert "Money back" not in theirs
    for body in db.session.scalars(select(ProviderEvent.body)):
        assert body not in page
    browser.get("/language?locale=pl&next=/merchant")
    in_polish = browser.get(f"/merchant/sessions/{mine_id}").get_data(as_text=True)
    assert "Przyszło webhookiem, a podpis był prawidłowy" in in_polish
    assert surplus not in in_polish

"""Buying a site: from its public page to its owner's account; two who want the same one; and what comes to nothing."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from portal.accounts.hooks import verified
from portal.accounts.models import Role, User
from portal.core import clock
from portal.core.audit import AuditEvent
from portal.core.db import db, unit_of_work
from portal.core.invariants import Reach, get_invariant
from portal.core.mail import MailMessage
from portal.orders.models import LineKind, Order, OrderStatus, PaymentStatus
from portal.payments.models import Invoice, PaymentAttempt, PaymentSession
from portal.payments.services.sessions import fail_session
from portal.sites import storage
from portal.sites.errors import SiteBeingBought
from portal.sites.models import Site, SitePurchase
from portal.sites.services import keeping, ownership, selling
from tests import factories, invariants, sandbox
from tests.admin.reading import page
from tests.admin.test_refunds import address_of, give, session_address
from tests.browser_like import post_form
from tests.crowd import all_at_once
from tests.orders.shop import letters, look_again, token, twin, work
from tests.sites.support import BY, make_live_site, make_site

BUYER = {"name": "Maria Wiśniewska", "email": "maria@example.com"}
_KEY = re.compile(r'name="key" value="([^"]+)"')


@pytest.fixture
def bakery(app: Flask) -> Site:
    return make_live_site("bakery", title="The bakery")


def key_of(browser: FlaskClient, slug: str = "bakery") -> str:
    found = _KEY.search(browser.get(f"/sites/{slug}").get_data(as_text=True))
    assert found is not None
    return found.group(1)


def press(browser: FlaskClient, *, htmx: bool = False, **values: str) -> TestResponse:
    """Press "Purchase" on the site's page."""
    key = values.pop("key", None)
    form = {"key": key_of(browser) if key is None else key, "provider": "sandbox", **BUYER, **values}
    headers = {"HX-Request": "true"} if htmx else {}
    return browser.post("/sites/bakery/purchase", data={"csrf_token": token(browser), **form}, headers=headers)


def pay(app: Flask, sent: TestResponse, action: str = "pay_card") -> None:
    assert sent.status_code == 303, sent.get_data(as_text=True)
    sandbox.press(app.test_client(), sent.headers["Location"], action)
    work(app)


def only_order() -> Order:
    look_again()
    return db.session.scalars(select(Order)).one()


def site() -> Site:
    look_again()
    return db.session.scalars(select(Site).where(Site.slug == "bakery")).one()


def purchases() -> list[bool]:
    """Each purchase: whether it was released."""
    look_again()
    return [one.released_at is not None for one in db.session.scalars(select(SitePurchase).order_by(SitePurchase.id))]


def templates() -> list[str]:
    look_again()
    return list(db.session.scalars(select(MailMessage.template).order_by(MailMessage.id)))


def test_a_stranger_buys_a_site_and_finds_it_in_a_new_account(app: Flask, client: FlaskClient, bakery: Site) -> None:
    pay(app, press(client))
    order = only_order()
    assert (order.status, order.payment_status, order.total_minor) == ("fulfilled", "paid", 49_500)
    assert [(line.kind, line.description) for line in order.lines] == [(LineKind.SITE, "The bakery")]
    buyer = db.session.scalars(select(User).where(User.email == "maria@example.com")).one()
    assert (buyer.role, buyer.password_hash, site().owner_id, site().status) == (Role.PAID, None, buyer.id, "owned")
    invoice = db.session.scalars(select(Invoice)).one()
    assert (invoice.gross_minor, invoice.currency, invoice.user_id) == (49_500, "USD", buyer.id)
    assert templates() == ["site_welcome"]
    work(app, with_mail=True)
    [letter] = letters()
    assert letter["Subject"] == "Welcome to Your New Website!"
    assert [part.get_filename() for part in letter.iter_attachments()] == [f"{invoice.number}.pdf"]
    text = letter.get_body(("plain",)).get_content()  # type: ignore[union-attr]  # it has a plain part
    link = re.search(r"http://localhost(/set-up/\S+)", text)
    assert link is not None
    assert "http://sites.localhost:8001/bakery/" in text
    # The link is in the letter and not in the log.
    assert link[1] not in (db.session.scalars(select(MailMessage.text_body)).one() or "")
    browser = app.test_client()
    chosen = {"password": factories.PASSWORD, "name": "Maria"}
    assert post_form(browser, link[1], chosen).status_code == 303
    page = browser.get("/my/sites/bakery").get_data(as_text=True)
    assert "Your website is online." in page
    assert "/my/sites/bakery" in browser.get("/my/sites").get_data(as_text=True)
    assert "has found its owner" in client.get("/sites/bakery").get_data(as_text=True)
    shown = client.get(f"/orders/{order.number}/return").get_data(as_text=True)
    assert "Paid. Thank you!" in shown
    assert invariants.check(db.session) == []


def test_whoever_gives_its_money_back_is_told_that_the_site_stays(
    app: Flask, client: FlaskClient, login: Callable[[User], FlaskClient], admin: User, bakery: Site
) -> None:
    pay(app, press(client))
    owner = login(admin)
    for address in (address_of(only_order()), f"{session_address(only_order())}/refund"):
        text = page(owner, address)
        assert "The website stays with its owner." in text
        assert "on its page: The bakery" in text
        assert "The customer keeps access" not in text
    give(owner, address_of(only_order()))
    work(app)
    assert (only_order().payment_status, site().status) == ("refunded", "owned")
    assert invariants.check(db.session()) == []


def test_who_is_signed_in_gets_it_into_their_account(app: Flask, bakery: Site, alice: User) -> None:
    browser = app.test_client()
    factories.sign_in(browser, alice)
    assert 'value="alice@example.com"' in browser.get("/sites/bakery").get_data(as_text=True)
    answer = press(browser, htmx=True)
    assert answer.status_code == 204
    sandbox.press(app.test_client(), answer.headers["HX-Redirect"], "pay_card")
    work(app, with_mail=True)
    assert site().owner_id == alice.id
    [letter] = letters()
    assert "/my/sites/bakery" in letter.get_body(("plain",)).get_content()  # type: ignore[union-attr]  # it has one
    assert "set-up" not in letter.get_body(("plain",)).get_content()  # type: ignore[union-attr]  # it has one


def test_an_address_that_nobody_has_proven_waits_for_its_owner(app: Flask, client: FlaskClient, bakery: Site) -> None:
    owner = factories.make_user(email="maria@example.com", is_verified=False)
    pay(app, press(client))
    assert site().status == "preview"
    assert purchases() == [False]
    assert templates() == ["account_set_up", "order_waiting"]
    with unit_of_work():
        user = db.session.get_one(User, owner.id)
        user.email_verified_at = clock.now()
        verified(user, at=clock.now())
    assert (site().status, site().owner_id) == ("owned", owner.id)
    assert templates()[-1] == "site_welcome"


def test_the_second_buyer_is_told_before_paying(app: Flask, client: FlaskClient, bakery: Site) -> None:
    sent = press(client)
    other = app.test_client()
    late = key_of(other)
    assert "Somebody else is buying this site" in other.get("/sites/bakery").get_data(as_text=True)
    for htmx in (False, True):
        refused = press(other, email="other@example.com", htmx=htmx)
        assert refused.status_code == 409
        assert "Somebody else is buying this site" in refused.get_data(as_text=True)
    assert only_order().email == "maria@example.com"
    with pytest.raises(SiteBeingBought), unit_of_work():
        keeping.delete_site(site(), by=BY, at=clock.now())
    pay(app, sent)
    refused = press(other, email="other@example.com", key=late)
    assert refused.status_code == 409
    assert "has found its owner" in refused.get_data(as_text=True)
    assert site().status == "owned"


def test_pressed_twice_it_is_ordered_once(app: Flask, client: FlaskClient, bakery: Site) -> None:
    key = key_of(client)
    first, second = press(client, key=key), press(client, key=key)
    assert first.headers["Location"] == second.headers["Location"]
    pay(app, first)
    third = press(client, key=key)
    assert third.status_code == 303
    assert f"/orders/{only_order().number}/return" in third.headers["Location"]


@pytest.mark.parametrize("end", ["cancel", "expire"])
def test_a_purchase_that_comes_to_nothing_lets_the_next_buyer_in(
    app: Flask, client: FlaskClient, bakery: Site, end: str
) -> None:
    sent = press(client)
    if end == "cancel":
        pay(app, sent, "cancel")
    else:
        with clock.shifted(timedelta(minutes=46)):
            work(app)
    order = only_order()
    assert (order.status, order.payment_status) == (OrderStatus.CANCELLED, PaymentStatus.PENDING)
    assert purchases() == [True]
    shown = client.get(f"/orders/{order.number}/return").get_data(as_text=True)
    assert "the order was called off" in shown
    with clock.shifted(timedelta(hours=1)):
        pay(app, press(app.test_client(), email="other@example.com"))
    assert site().status == "owned"
    assert purchases() == [True, False]
    assert templates() == ["site_welcome"]


def test_money_that_comes_after_all_is_kept_for_staff(app: Flask, client: FlaskClient, bakery: Site) -> None:
    sent = press(client)
    with sandbox.carried_in_process(app):
        sandbox.press(app.test_client(), sent.headers["Location"], "pay_card")
    body = sandbox.events(app)[-1].body.encode()
    with unit_of_work():
        session = db.session.scalars(select(PaymentSession).with_for_update()).one()
        fail_session(session, by="test", at=clock.now(), reason="its time was over")
    headers = sandbox.signed(app, body)
    assert client.post("/webhooks/sandbox", data=body, headers=headers).status_code == 409
    assert (site().status, purchases()) == ("preview", [True])
    assert only_order().paid_minor == 0


def test_a_site_that_went_another_way_leaves_the_order_for_staff(
    app: Flask, client: FlaskClient, bakery: Site, bob: User
) -> None:
    sent = press(client)
    with unit_of_work():
        ownership.hand_over(site(), bob, by=BY, at=clock.now())
    pay(app, sent)
    order = only_order()
    assert (order.status, order.payment_status, site().owner_id) == ("open", "paid", bob.id)
    [breach] = get_invariant("paid_not_delivered").find(Reach(clock.now()))
    assert breach.name == order.number
    assert "order.not_handed_over" in db.session.scalars(select(AuditEvent.event)).all()


def test_of_many_buyers_at_once_one_begins_to_pay(app: Flask, bakery: Site) -> None:
    assert _race(app) == [303, 409, 409, 409]
    assert len(purchases()) == 1
    assert db.session.scalar(select(func.count(PaymentAttempt.id))) == 1


def test_without_the_lock_and_the_index_they_would_all_pay(
    app: Flask, bakery: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: what the test above sees is the guards' doing."""
    monkeypatch.setattr(selling, "_check_for_sale", lambda _site: None)
    monkeypatch.setattr(storage, "lock_site", lambda site_id: db.session.get_one(Site, site_id))
    assert sorted(_race(app)) != [303, 409, 409, 409]


def _race(app: Flask) -> list[int]:
    buyers = [app.test_client() for _ in range(4)]
    ready = [(browser, key_of(browser)) for browser in buyers]
    db.session.rollback()

    def begin(browser: FlaskClient, number: int, key: str) -> int:
        values = {"key": key, "email": f"buyer{number}@example.com"}
        return press(twin(app, browser), **values).status_code

    work_list = [
        lambda browser=browser, number=number, key=key: begin(browser, number, key)
        for number, (browser, key) in enumerate(ready)
    ]
    found = all_at_once(app, work_list)
    return sorted(one if isinstance(one, int) else 500 for one in found)


def test_what_is_typed_is_checked(client: FlaskClient, bakery: Site) -> None:
    for values in ({"email": "no address"}, {"name": " "}, {"provider": "none"}, {"email": ""}):
        refused = press(client, **values)
        assert refused.status_code == 422
        assert "Purchase for $495" in refused.get_data(as_text=True)
    assert press(client, key="").status_code == 303
    look_again()
    assert db.session.scalar(select(func.count(Order.id))) == 0
    assert client.get("/sites/bakery/purchase").status_code == 303


def test_nothing_is_sold_that_is_not_for_sale(client: FlaskClient, bakery: Site) -> None:
    token_page = "/sites/bakery"
    make_site("empty")
    for slug in ("empty", "none"):
        form = {"key": key_of(client), "provider": "sandbox", **BUYER}
        assert post_form(client, f"/sites/{slug}/purchase", form, page=token_page).status_code == 404
    assert client.post("/sites/bakery/purchase", data=BUYER).status_code == 400

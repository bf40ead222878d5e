"""A paid session brings invoice, first key and customer's link, all together or not at all; and what the link opens."""

import re
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.core import clock, mail, sealed
from portal.core.audit import AuditEvent
from portal.core.db import db, unit_of_work
from portal.core.mail import MailMessage
from portal.merchants.errors import SecretGone
from portal.merchants.models import AccessLink, ApiKey, Merchant
from portal.merchants.services import access, keys, settling
from portal.payments.models import Invoice, PaymentSession, SessionStatus
from portal.payments.services import draining
from tests import invariants, sandbox
from tests.conftest import NO_CHAINS
from tests.crowd import all_at_once
from tests.merchants.support import (
    all_of,
    choose,
    get,
    look_again,
    make_key,
    make_merchant,
    make_session,
    pay,
    send_mail,
)

POSTGRESQL = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
BUYER = {"customer_email": "buyer@example.com", "customer_name": "Bożena Buyer", "description": "Kawa"}


@pytest.fixture
def paid(app: Flask, client: FlaskClient, cafe: Merchant) -> PaymentSession:
    session = make_session(cafe, **BUYER)  # type: ignore[arg-type]  # texts, all of them
    pay(app, client, session.public_id)
    return all_of(PaymentSession)[0]  # type: ignore[no-any-return]  # the only one


def token_in_mail() -> str:
    send_mail()
    texts = [path.read_text() for path in sorted(mail.mailbox_folder().glob("*.eml"))]
    joined = "".join(texts).replace("=\n", "").replace("=3D", "=")
    found = re.search(r"/access/([A-Za-z0-9_.:=-]+)", joined)
    assert found is not None
    return found.group(1)


def test_everything_is_there_after_paying(paid: PaymentSession, cafe: Merchant) -> None:
    assert paid.status is SessionStatus.PAID
    (invoice,) = all_of(Invoice)
    assert (invoice.session_id, invoice.gross_minor, invoice.user_id) == (paid.id, 4900, None)
    assert invoice.seller["name"] == "Kawiarnia Miś"
    assert invoice.seller["issued_by"] == "Atelier Nord"
    assert invoice.buyer == {"name": "Bożena Buyer", "email": "buyer@example.com"}
    (key,) = all_of(ApiKey)
    assert key.label == f"Auto-generated from session {paid.public_id}"
    assert (key.mode, key.made_by_session_id) == ("test", paid.id)
    (link,) = all_of(AccessLink)
    assert (link.session_id, link.merchant_id) == (paid.id, cafe.id)
    assert link.expires_at - link.created_at == timedelta(days=7)
    assert [line.event for line in all_of(AuditEvent)].count("API_KEY_CREATED") == 1


def test_the_invariants_hold_and_can_be_broken(paid: PaymentSession) -> None:
    assert invariants.check(db.session()) == []
    with unit_of_work():
        db.session.delete(the_link())
    assert invariants.check(db.session()) == [f"session {paid.id} of a merchant is paid and has 0 links"]


def the_link() -> AccessLink:
    return db.session.scalars(db.select(AccessLink)).one()


def test_the_first_key_works_at_once_and_is_told_once(
    client: FlaskClient, paid: PaymentSession, cafe: Merchant
) -> None:
    (key,) = all_of(ApiKey)
    with unit_of_work():
        secret = keys.reveal_secret(cafe, key.id, by="alice@example.com", at=clock.now())
    assert get(client, secret, f"/api/v1/sessions/{paid.public_id}").status_code == 200
    with pytest.raises(SecretGone), unit_of_work():
        keys.reveal_secret(cafe, key.id, by="alice@example.com", at=clock.now())
    assert all_of(ApiKey)[0].sealed_secret is None


def test_a_secret_that_nobody_came_for_is_destroyed(paid: PaymentSession, cafe: Merchant) -> None:
    from portal.merchants import jobs

    (key,) = all_of(ApiKey)
    with clock.shifted(timedelta(days=7)):
        with pytest.raises(SecretGone), unit_of_work():
            keys.reveal_secret(cafe, key.id, by="alice@example.com", at=clock.now())
        jobs.tidy_up()
    assert all_of(ApiKey)[0].sealed_secret is None


@pytest.mark.parametrize("is_revoked", [False, True])
def test_a_merchant_that_ever_had_a_key_gets_none(
    app: Flask, client: FlaskClient, cafe: Merchant, is_revoked: bool
) -> None:
    key, _secret = make_key(cafe)
    if is_revoked:
        with unit_of_work():
            keys.revoke_key(cafe, key.id, by="alice@example.com", at=clock.now())
    pay(app, client, make_session(cafe).public_id)
    assert [one.id for one in all_of(ApiKey)] == [key.id]


def test_a_live_first_key_is_for_who_asked(app: Flask, client: FlaskClient, alice: User) -> None:
    shop = make_merchant(alice, first_key_mode="live")
    pay(app, client, make_session(shop).public_id)
    assert [(key.mode, key.prefix) for key in all_of(ApiKey)] == [("live", "sk_live_")]


@POSTGRESQL
def test_two_first_payments_at_once_make_one_key(app: Flask, cafe: Merchant) -> None:
    ids = [make_session(cafe).id for _ in range(6)]

    def settle(session_id: int) -> None:
        with unit_of_work():
            session = db.session.get_one(PaymentSession, session_id)
            settling.make_first_key(db.session.get_one(Merchant, cafe.id), session, at=clock.now())

    results = all_at_once(app, [lambda one=one: settle(one) for one in ids])  # type: ignore[misc]  # bound early
    assert results == [None] * 6
    assert len(all_of(ApiKey)) == 1


def test_a_second_telling_changes_nothing(app: Flask, client: FlaskClient, paid: PaymentSession) -> None:
    counts = [len(all_of(model)) for model in (Invoice, ApiKey, AccessLink, MailMessage)]
    sandbox.settle(app)
    assert [len(all_of(model)) for model in (Invoice, ApiKey, AccessLink, MailMessage)] == counts == [1, 1, 1, 2]


@pytest.mark.parametrize("broken", ["add_key", "create_link"])
def test_all_or_nothing(
    app: Flask, client: FlaskClient, cafe: Merchant, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Whatever fails, neither payment nor invoice nor key nor link nor mail is there; the next try brings them all."""
    session = make_session(cafe, **BUYER)  # type: ignore[arg-type]  # texts, all of them
    sent = choose(client, session.public_id)
    sandbox.press(client, sent.location, "pay_card")

    def fail(*_args: object, **_named: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(keys if broken == "add_key" else access, broken, fail)
    sandbox.settle(app)
    look_again()
    assert all_of(PaymentSession)[0].status is not SessionStatus.PAID
    assert [all_of(model) for model in (Invoice, ApiKey, AccessLink)] == [[], [], []]
    monkeypatch.undo()
    with clock.shifted(timedelta(minutes=10)):
        draining.drain_inbox()
    assert all_of(PaymentSession)[0].status is SessionStatus.PAID
    assert [len(all_of(model)) for model in (Invoice, ApiKey, AccessLink)] == [1, 1, 1]


# --- the customer's link ---


def test_the_mail_opens_the_purchase_and_its_invoice(client: FlaskClient, paid: PaymentSession) -> None:
    opened = client.get(f"/access/{token_in_mail()}")
    assert (opened.status_code, opened.location) == (303, f"/purchases/{paid.public_id}")
    assert opened.headers["Referrer-Policy"] == "no-referrer"
    page = client.get(opened.location).get_data(as_text=True)
    assert "Kawiarnia Miś" in page
    paper = client.get(f"/purchases/{paid.public_id}/invoice.pdf")
    assert (paper.status_code, paper.mimetype) == (200, "application/pdf")
    assert paper.get_data().startswith(b"%PDF")


def test_the_log_of_mails_does_not_keep_the_link(paid: PaymentSession) -> None:
    token = token_in_mail()
    assert all(token not in (message.text_body or "") for message in all_of(MailMessage))
    assert all(token not in str(vars(link)) for link in all_of(AccessLink))


def test_it_is_good_for_seven_days_and_not_a_moment_longer(app: Flask, paid: PaymentSession) -> None:
    token, (link,) = token_in_mail(), all_of(AccessLink)
    browser = app.test_client()
    left = link.expires_at - clock.now()
    with clock.shifted(left - timedelta(seconds=5)):
        assert browser.get(f"/access/{token}").status_code == 303
    with clock.shifted(left):
        for address in (f"/access/{token}", f"/purchases/{paid.public_id}", f"/purchases/{paid.public_id}/invoice.pdf"):
            answer = browser.get(address)
            assert answer.status_code == 410, address
            assert "seven days" in answer.get_data(as_text=True)


def test_a_link_that_was_taken_back_shuts_open_browsers_out(app: Flask, paid: PaymentSession, cafe: Merchant) -> None:
    token, browser = token_in_mail(), app.test_client()
    assert browser.get(browser.get(f"/access/{token}").location).status_code == 200
    for _ in range(2):
        with unit_of_work():
            access.revoke_link(cafe, paid, by="alice@example.com", at=clock.now())
    assert browser.get(f"/purchases/{paid.public_id}").status_code == 410
    assert browser.get(f"/access/{token}").status_code == 410


def test_a_link_opens_one_purchase_and_nothing_else(
    app: Flask, client: FlaskClient, cafe: Merchant, paid: PaymentSession
) -> None:
    other = make_session(cafe, customer_email="else@example.com").public_id
    pay(app, client, other)
    browser = app.test_client()
    browser.get(f"/access/{token_in_mail()}")
    seen = [
        public_id for public_id in (paid.public_id, other) if browser.get(f"/purchases/{public_id}").status_code == 200
    ]
    assert len(seen) == 1
    assert browser.get("/dashboard").status_code == 303
    stranger = app.test_client()
    for public_id in (paid.public_id, other, "0" * 36):
        assert stranger.get(f"/purchases/{public_id}").status_code == 404
        assert stranger.get(f"/purchases/{public_id}/invoice.pdf").status_code == 404


def test_links_that_nobody_signed_open_nothing(app: Flask, client: FlaskClient, paid: PaymentSession) -> None:
    token, (link,) = token_in_mail(), all_of(AccessLink)
    forged = [
        token[:-6] + ("A" if token[-6] != "A" else "B") + token[-5:],
        token + "x", "x", "%00", "a" * 900, link.reference,
        sealed.sign(link.reference, purpose="customer-access"),
        sealed.sign(f"{link.reference}:{'0' * 36}:{paid.public_id}", purpose="customer-access"),
        sealed.sign(f"unknown:{'0' * 36}:{paid.public_id}", purpose="customer-access"),
        sealed.sign(5, purpose="customer-access"),
        sealed.sign(token, purpose="order-return"),
    ]  # fmt: skip
    for one in forged:
        assert client.get(f"/access/{one}").status_code == 404, one
    assert client.get(f"/purchases/{paid.public_id}").status_code == 404


def test_a_buyer_without_an_address_gets_no_mail(app: Flask, client: FlaskClient, cafe: Merchant) -> None:
    pay(app, client, make_session(cafe).public_id)
    assert [message.template for message in all_of(MailMessage)] == ["merchant_first_key"]


def test_the_mail_about_the_key_does_not_carry_it(paid: PaymentSession, cafe: Merchant) -> None:
    send_mail()
    (key,) = all_of(ApiKey)
    secret = sealed.unseal(key.sealed_secret, purpose="api-key")
    assert all(secret not in path.read_text() for path in mail.mailbox_folder().glob("*.eml"))
    assert {message.template for message in all_of(MailMessage)} == {"merchant_receipt", "merchant_first_key"}
    assert {message.status.value for message in all_of(MailMessage)} == {"sent"}


def test_a_test_on_a_live_installation_takes_no_tax_number(app: Flask, cafe: Merchant) -> None:
    from dataclasses import replace

    from portal.payments import invoices

    live = replace(app.config["SETTINGS"], payment_mode="live", **NO_CHAINS)
    test, sale = make_session(cafe), make_session(cafe, mode="live")
    assert (invoices._series(test, live), invoices._series(sale, live)) == ("TEST", "INV")
    assert invoices._series(test, app.config["SETTINGS"]) == "INV"

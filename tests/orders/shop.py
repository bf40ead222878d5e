"""Shopping in tests as a person does it: forms with tokens, the sandbox's hosted page, the worker's second."""

import re
from email import message_from_bytes, policy
from email.message import EmailMessage

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from portal.accounts.models import User
from portal.catalogue.models import Package
from portal.core import mail, outbox
from portal.core.db import db
from portal.core.queues import QueueName
from portal.orders.models import Cart, Enrolment, Order
from portal.payments.models import PaymentSession
from portal.payments.services import draining
from tests import sandbox
from tests.browser_like import csrf_token, post_form, send_form

BUYER = {"email": "guest@example.com", "name": "Maria Wiśniewska", "country": "PL"}
_KEY = re.compile(r'name="key" value="([^"]+)"')


def add(browser: FlaskClient, package: Package, quantity: int = 1, *, htmx: bool = False) -> TestResponse:
    """Put a package into the cart from its own page."""
    return post_form(
        browser, "/cart/add", {"slug": package.slug, "quantity": str(quantity)},
        page=f"/packages/{package.slug}", htmx=htmx,
    )  # fmt: skip


def give_details(browser: FlaskClient, **changes: str) -> TestResponse:
    """Fill in the first screen of checkout."""
    return post_form(browser, "/checkout", {**BUYER, **changes})


def review_key(browser: FlaskClient) -> str:
    """The key that the second screen carries."""
    found = _KEY.search(browser.get("/checkout/review").get_data(as_text=True))
    assert found is not None, "the second screen has no key"
    return found.group(1)


def place(browser: FlaskClient, provider: str = "sandbox", **values: str) -> TestResponse:
    """Press Pay on the second screen."""
    return send_form(browser, "/checkout/review", {"key": review_key(browser), "provider": provider, **values})


def ready(browser: FlaskClient, *packages: Package, **details: str) -> FlaskClient:
    """A browser that stands before the last screen of checkout."""
    for package in packages:
        assert send_form(browser, "/cart/add", {"slug": package.slug}).status_code == 303
    assert send_form(browser, "/checkout", {**BUYER, **details}).status_code == 303
    return browser


def order(browser: FlaskClient, *packages: Package, **details: str) -> str:
    """From the shelf to the provider's page, whose address it is."""
    sent = place(ready(browser, *packages, **details))
    assert sent.status_code == 303, sent.get_data(as_text=True)
    return sent.headers["Location"]


def buy(app: Flask, browser: FlaskClient, *packages: Package, action: str = "pay_card", **details: str) -> Order:
    """From the shelf to the receipt, with everything the worker does afterwards."""
    sandbox.press(app.test_client(), order(browser, *packages, **details), action)
    work(app)
    return only_order()


def look_again() -> None:
    """Forget what was read before: SQLite shows an open transaction the database as it was when it began."""
    db.session.rollback()
    db.session.expire_all()


def work(app: Flask, *, with_mail: bool = False) -> None:
    """What the worker would do: deliver webhooks, apply them, carry out effects. Mail waits unless it is asked for,
    because setting an invoice takes a second."""
    queues = [queue for queue in QueueName if with_mail or queue is not QueueName.MAIL]
    with sandbox.carried_in_process(app):
        # A webhook makes effects, and an effect may make another one.
        while sum(outbox.drain(queue) for queue in queues) + draining.drain_inbox():
            pass
    look_again()


def only_order() -> Order:
    """The one order there is, as the database has it."""
    look_again()
    return db.session.scalars(select(Order)).one()


def orders() -> list[Order]:
    """Every order, oldest first."""
    look_again()
    return list(db.session.scalars(select(Order).order_by(Order.id)))


def sessions() -> list[PaymentSession]:
    """Every payment session, oldest first."""
    look_again()
    return list(db.session.scalars(select(PaymentSession).order_by(PaymentSession.id)))


def owned_by(email: str) -> dict[str, int]:
    """The licences of an account, by the package's slug."""
    look_again()
    rows = db.session.execute(
        select(Package.slug, Enrolment.licences)
        .join(Package, Package.id == Enrolment.package_id)
        .join(User, User.id == Enrolment.user_id)
        .where(User.email == email)
    )
    return {row.slug: row.licences for row in rows}


def in_cart() -> dict[str, int]:
    """What is in the carts, by the line's name."""
    look_again()
    return {line.name: line.quantity for cart in db.session.scalars(select(Cart)) for line in cart.lines}


def letters() -> list[EmailMessage]:
    """Every mail that was sent, oldest first."""
    files = sorted(mail.mailbox_folder().glob("*.eml"))
    return [message_from_bytes(path.read_bytes(), policy=policy.default) for path in files]


def twin(app: Flask, browser: FlaskClient) -> FlaskClient:
    """Another window of the same browser: it has the same cookies, and can be used from another thread."""
    other = app.test_client()
    with browser.session_transaction() as mine:
        values = dict(mine)
    with other.session_transaction() as theirs:
        theirs.update(values)
    return other


def page_text(response: TestResponse) -> str:
    """What a page says, with its white space evened out."""
    return re.sub(r"[ \n]+", " ", response.get_data(as_text=True))


def token(browser: FlaskClient) -> str:
    """A CSRF token of this browser: of the log-in form, or of the log-out button."""
    return csrf_token(browser, "/login" if browser.get("/login").status_code == 200 else "/")

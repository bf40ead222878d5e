"""What the tests of accounts share: delivered mail, the links in it, codes of an authenticator app."""

import dataclasses
import re
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

import pyotp
from flask import Flask, current_app
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from portal.accounts import totp
from portal.accounts.models import RecoveryCode, TokenPurpose, User
from portal.accounts.services import tokens
from portal.config import Settings
from portal.core import clock, mail, outbox, sealed
from portal.core.audit import AuditEvent
from portal.core.db import db, unit_of_work
from portal.core.queues import QueueName
from tests import factories
from tests.browser_like import post_form

_LINK = re.compile(r"https?://\S+")
GOOD_PASSWORD = "a fresh 7 walnut"


def deliver() -> list[EmailMessage]:
    """Carry out what waits in the outbox, and give every letter that was ever sent, oldest first."""
    while outbox.drain(QueueName.MAIL):
        pass
    return letters()


def letters() -> list[EmailMessage]:
    """Every letter in the mailbox, oldest first."""
    files = sorted(mail.mailbox_folder().glob("*.eml"))
    return [message_from_bytes(path.read_bytes(), policy=policy.default) for path in files]


def text_of(letter: EmailMessage) -> str:
    """The plain text of a letter."""
    body = letter.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def link_in(letter: EmailMessage) -> str:
    """The path of the first link of a letter."""
    found = _LINK.search(text_of(letter))
    assert found is not None, text_of(letter)
    return urlsplit(found.group()).path


def log_in(
    browser: FlaskClient, email: str, password: str = factories.PASSWORD, *, address: str | None = None, **values: str
) -> TestResponse:
    """Fill in the log-in form; `address` is the network address it comes from."""
    page = browser.get("/login")
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.get_data(as_text=True))
    assert token is not None
    return browser.post(
        "/login",
        data={"csrf_token": token.group(1), "email": email, "password": password, **values},
        environ_base={"REMOTE_ADDR": address} if address else {},
    )


def is_signed_in(browser: FlaskClient) -> bool:
    """Whether the server knows this browser."""
    return browser.get("/account/security").status_code == 200


def with_second_factor(user: User) -> str:
    """Switch a user's second factor on behind the scenes; gives the secret."""
    secret = totp.new_secret()
    with unit_of_work():
        user.totp_secret_sealed = sealed.seal(secret, purpose="totp")
        user.totp_confirmed_at = clock.now()
        user.totp_last_step = None
    return secret


def with_recovery_codes(user: User, *codes: str) -> None:
    """Give a user these recovery codes."""
    key = current_app.config["SECRET_KEY"]
    with unit_of_work():
        for code in codes:
            hashed = totp.recovery_hash(code, user_id=user.id, secret_key=key)
            db.session.add(RecoveryCode(user_id=user.id, code_hash=hashed))


def app_code(secret: str, *, at: datetime | None = None, steps: int = 0) -> str:
    """What an authenticator app shows, now or so many steps away."""
    at = (at or clock.now()) + timedelta(seconds=30 * steps)
    return pyotp.TOTP(secret).at(at)


def enter_code(browser: FlaskClient, code: str) -> TestResponse:
    """Fill in the second step."""
    return post_form(browser, "/login/code", {"code": code})


def all_at_once(app: Flask, count: int, work: Callable[[], Any]) -> list[Any]:
    """Do the same in so many threads at one moment, each with a context of its own."""
    barrier = threading.Barrier(count)
    results: list[Any] = []

    def run() -> None:
        with app.app_context():
            barrier.wait()
            try:
                results.append(work())
            finally:
                db.session.remove()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def audit_lines() -> list[tuple[str, str]]:
    """Every line of the audit log as (event, actor), oldest first."""
    db.session.expire_all()
    return [(line.event, line.actor) for line in db.session.scalars(select(AuditEvent).order_by(AuditEvent.id))]


def issue(user: User, purpose: TokenPurpose, *, at: datetime | None = None) -> str:
    """A mailed link's token, without the mail."""
    with unit_of_work():
        return tokens.issue_token(user, purpose, at=at or clock.now())


def fresh(user: User) -> User:
    """The user as the database has them."""
    db.session.expire_all()
    return db.session.get_one(User, user.id)


def subjects() -> list[str]:
    """The subjects of everything that was sent, oldest first."""
    return [str(letter["Subject"]) for letter in deliver()]


def without_tokens(page: str) -> str:
    """A page without what differs each time it is shown."""
    return re.sub(r'name="csrf_token" value="[^"]+"|<code>[0-9a-f]{16}</code>', "", page)


def changed(app: Flask, **changes: Any) -> Settings:
    """The settings of an application with single ones replaced."""
    return dataclasses.replace(app.config["SETTINGS"], **changes)

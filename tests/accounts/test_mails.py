"""The mails about accounts: complete in every language, and nothing secret in the log."""

from collections.abc import Callable
from email.message import EmailMessage

import pytest
from flask import Flask
from sqlalchemy import select

from portal.accounts import services
from portal.accounts.models import User
from portal.core import clock, mail
from portal.core.db import db, unit_of_work
from portal.core.languages import LANGUAGES
from portal.core.mail import MailMessage, MailStatus
from tests.accounts import support

AT = "2026-11-21T04:30:00+00:00"
PARAMETERS: dict[str, dict[str, str]] = {
    "verify_email": {},
    "reset_password": {},
    "account_set_up": {},
    "already_registered": {},
    "welcome": {},
    "password_changed": {"at": AT},
    "security_changed": {"at": AT, "change": "second_factor.turned_on"},
    "recovery_code_used": {},
}


@pytest.mark.parametrize("locale", LANGUAGES)
@pytest.mark.parametrize("template", PARAMETERS)
def test_every_mail_is_complete(app: Flask, alice: User, template: str, locale: str) -> None:
    with unit_of_work():
        mail.send(template, to="alice@example.com", locale=locale, user_id=alice.id, **PARAMETERS[template])
    letter = support.deliver()[-1]
    text, html = support.text_of(letter), html_of(letter)
    assert letter["To"] == "alice@example.com"
    assert "\n" not in str(letter["Subject"])
    assert len(str(letter["Subject"])) > 5
    assert "http://localhost/" in text
    assert "http://localhost/" in html
    assert "</html>" in html
    for leftover in ("{{", "{%", "None", "mj-", "%("):
        assert leftover not in text
        assert leftover not in html.replace("mj-column-per-100", "").replace("mj-outlook-group-fix", "")
    row = db.session.scalars(select(MailMessage)).one()
    assert row.status is MailStatus.SENT


def test_every_mail_of_accounts_is_tested_here(app: Flask) -> None:
    from portal.accounts import mails

    ours = {name for name, function in mail._contexts.items() if function.__module__ == mails.__name__}
    assert ours == set(PARAMETERS)


@pytest.mark.parametrize(
    ("change", "subject"),
    [
        ("second_factor.turned_on", "Two-step login was switched on"),
        ("second_factor.turned_off", "Two-step login was switched off"),
        ("recovery_codes.replaced", "New recovery codes were made"),
    ],
)
def test_each_change_of_the_second_factor_has_its_words(app: Flask, alice: User, change: str, subject: str) -> None:
    with unit_of_work():
        mail.send("security_changed", to=alice.email, locale="en", user_id=alice.id, change=change, at=AT)
    assert support.subjects() == [subject]


@pytest.mark.parametrize("template", ["verify_email", "reset_password", "account_set_up"])
def test_a_link_reaches_its_reader_and_not_the_log(app: Flask, alice: User, template: str) -> None:
    with unit_of_work():
        mail.send(template, to=alice.email, locale="en", user_id=alice.id)
    token = support.link_in(support.deliver()[-1]).rpartition("/")[2]
    row = db.session.scalars(select(MailMessage)).one()
    assert token not in f"{row.text_body}{row.params}{row.subject}"


def test_sending_a_mail_again_makes_a_fresh_link(app: Flask, alice: User) -> None:
    with unit_of_work():
        sent = mail.send("reset_password", to=alice.email, locale="en", user_id=alice.id)
    assert sent is not None
    first = support.link_in(support.deliver()[-1])
    with unit_of_work():
        mail.send_again(sent.id, by="staff@example.com", at=clock.now())
    second = support.link_in(support.deliver()[-1])
    assert first != second


def test_a_password_change_is_told_in_the_owners_time(
    app: Flask, alice: User, count_queries: Callable[[], int]
) -> None:
    with unit_of_work():
        services.change_password(alice, "hash", at=clock.now())
    assert "The password of your account was changed on" in support.text_of(support.deliver()[-1])


def html_of(letter: EmailMessage) -> str:
    """The HTML of a letter."""
    body = letter.get_body(("html",))
    assert body is not None
    return str(body.get_content())

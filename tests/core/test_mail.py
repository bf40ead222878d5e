"""Mail as rows: what is sent, to whom, how often, and what the log keeps of it."""

from collections.abc import Iterator
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from portal.accounts.models import User
from portal.core import clock, mail, outbox
from portal.core.db import db, unit_of_work
from portal.core.mail import Attachment, Content, MailMessage, MailStatus, Undeliverable
from portal.core.outbox import MessageStatus, OutboxMessage
from portal.core.state import InvalidTransition, history
from tests.servers import smtp

SECRET = "https://portal.example/set-up/very-secret-token"


@pytest.fixture
def filled(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The set-up mail with values of the test's own; what it was asked for."""
    asked: list[dict[str, Any]] = []

    def fill(**params: Any) -> Content:
        asked.append(params)
        values = {"name": params.get("name", "Alice"), "email": "alice@example.com"}
        return Content(values, secrets={"link": SECRET}, attachments=params.get("attachments", ()))

    monkeypatch.setitem(mail._contexts, "verify_email", fill)
    return asked


def send(**params: Any) -> MailMessage:
    options = {"to": "alice@example.com", "locale": "en", **params}
    with unit_of_work():
        message = mail.send("verify_email", **options)
    assert message is not None
    return message


def letters(app: Flask) -> list[EmailMessage]:
    """What lies in the development mailbox, oldest first."""
    files = sorted(Path(app.config["MAILBOX_PATH"]).glob("*.eml"))
    return [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]


def text_of(letter: EmailMessage) -> str:
    part = letter.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


def html_of(letter: EmailMessage) -> str:
    part = letter.get_body(("html",))
    assert part is not None
    return str(part.get_content())


def fresh(message: MailMessage) -> MailMessage:
    return db.session.get_one(MailMessage, message.id, populate_existing=True)


def drain_until_exhausted() -> None:
    """Every try there is, however far apart."""
    for attempt in range(outbox.MAX_ATTEMPTS):
        with clock.shifted(timedelta(days=attempt)):
            outbox.drain("mail")


def test_a_mail_is_sent_by_the_worker_and_logged(app: Flask, filled: list[Any]) -> None:
    message = send()
    assert letters(app) == []
    outbox.drain("mail")
    letter = letters(app)[0]
    assert (letter["To"], letter["From"]) == ("alice@example.com", "Atelier Nord <no-reply@atelier-nord.example>")
    assert letter["Auto-Submitted"] == "auto-generated"
    assert SECRET in text_of(letter)
    assert SECRET in html_of(letter)
    logged = fresh(message)
    assert logged.status is MailStatus.SENT
    assert logged.subject == letter["Subject"]
    assert logged.sent_at is not None
    assert [change.became for change in history(logged)] == ["sent"]


def test_a_mail_of_a_transaction_that_failed_is_never_sent(app: Flask, filled: list[Any]) -> None:
    with pytest.raises(ValueError), unit_of_work():
        mail.send("verify_email", to="alice@example.com", locale="en")
        raise ValueError
    outbox.drain("mail")
    assert letters(app) == []


def test_the_log_keeps_the_words_and_no_secret(app: Flask, filled: list[Any]) -> None:
    message = send()
    outbox.drain("mail")
    logged = fresh(message)
    assert logged.text_body is not None
    assert "•••" in logged.text_body
    assert logged.text_body.replace("•••", SECRET).split() == text_of(letters(app)[0]).split()
    with db.engine.connect() as connection:
        for table in (MailMessage.__table__, OutboxMessage.__table__):
            assert "very-secret-token" not in str(connection.execute(select(table)).all())


def test_with_a_key_a_mail_is_sent_once_for_ever(app: Flask, filled: list[Any]) -> None:
    send(key="order:1:paid")
    with unit_of_work():
        assert mail.send("verify_email", to="alice@example.com", locale="en", key="order:1:paid") is None
    outbox.drain("mail")
    assert len(letters(app)) == 1


def test_it_speaks_the_language_it_was_asked_for(app: Flask, alice: User) -> None:
    for locale in ("en", "pl", "es"):
        with unit_of_work():
            mail.send("welcome", to="alice@example.com", locale=locale, user_id=alice.id)
    outbox.drain("mail")
    subjects = [letter["Subject"] for letter in letters(app)]
    assert len(set(subjects)) == 3
    assert [
        f'lang="{locale}"' in html_of(letter) for locale, letter in zip(("en", "pl", "es"), letters(app), strict=True)
    ]


def test_letters_outside_ascii_arrive_as_they_are(app: Flask, filled: list[Any]) -> None:
    send(name="Zażółć Gęślą <b>Jaźń</b> & co")
    outbox.drain("mail")
    letter = letters(app)[0]
    assert "Zażółć Gęślą <b>Jaźń</b> & co" in text_of(letter)
    assert "Zażółć Gęślą &lt;b&gt;Jaźń&lt;/b&gt; &amp; co" in html_of(letter)


@pytest.mark.parametrize(
    "name", ["Eve\r\nBcc: victim@example.com", "Eve\nSubject: cheap", "Eve\x00\x0b\x85\u2028Bcc: x@y.pl"]
)
def test_nothing_that_people_type_becomes_a_header(
    app: Flask, filled: list[Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real = mail.render_template

    def with_a_name_in_the_subject(template: str, **values: Any) -> str:
        return f"Hello {values['name']}" if template.endswith("subject.txt") else real(template, **values)

    monkeypatch.setattr(mail, "render_template", with_a_name_in_the_subject)
    send(name=name)
    outbox.drain("mail")
    letter = letters(app)[0]
    assert letter["Bcc"] is None
    assert len(letter.get_all("Subject", [])) == 1
    assert str(letter["Subject"]).startswith("Hello Eve")


@pytest.mark.parametrize("to", ["a@b.pl\r\nBcc: victim@example.com", "a@b.pl, c@d.pl", "", "nobody"])
def test_an_address_that_is_none_is_never_written_to(app: Flask, filled: list[Any], to: str) -> None:
    message = send(to=to)
    drain_until_exhausted()
    assert letters(app) == []
    assert fresh(message).status is MailStatus.FAILED


def test_files_go_with_it(app: Flask, filled: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    attached = Attachment("Faktura żółta.pdf", b"%PDF-1.7 x")
    monkeypatch.setitem(
        mail._contexts,
        "verify_email",
        lambda: Content({"name": "A", "email": "a@b.pl"}, secrets={"link": SECRET}, attachments=(attached,)),
    )
    send()
    outbox.drain("mail")
    found = list(letters(app)[0].iter_attachments())
    assert [(one.get_filename(), one.get_content_type(), one.get_content()) for one in found] == [
        ("Faktura żółta.pdf", "application/pdf", b"%PDF-1.7 x")
    ]


def test_sending_again_makes_a_fresh_link_and_another_message_id(app: Flask, filled: list[Any]) -> None:
    message = send()
    outbox.drain("mail")
    with unit_of_work():
        mail.send_again(message.id, by="staff@example.com", at=clock.now())
    with pytest.raises(InvalidTransition), unit_of_work():
        mail.send_again(message.id, by="staff@example.com", at=clock.now())
    outbox.drain("mail")
    first, second = letters(app)
    assert first["Message-ID"] != second["Message-ID"]
    assert len(filled) == 2
    assert [change.actor for change in history(message)] == ["job:mail", "staff@example.com", "job:mail"]


def test_a_crash_after_sending_sends_the_same_message_id_again(app: Flask, filled: list[Any]) -> None:
    """At least once: a mail box drops the second copy by its id."""
    send()

    class Killed(BaseException):
        pass

    def die() -> None:
        raise Killed

    from portal.core import faults

    with faults.arm("mail-after-send", die), pytest.raises(Killed):
        outbox.drain("mail")
    with clock.shifted(timedelta(minutes=2)):
        outbox.drain("mail")
    first, second = letters(app)
    assert first["Message-ID"] == second["Message-ID"]


def test_a_mail_that_cannot_be_filled_ends_failed_and_can_be_sent_again(
    app: Flask, filled: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_params: Any) -> Content:
        raise LookupError("its order is gone")

    working = mail._contexts["verify_email"]
    monkeypatch.setitem(mail._contexts, "verify_email", broken)
    message = send()
    drain_until_exhausted()
    assert fresh(message).status is MailStatus.FAILED
    effect = db.session.scalars(select(OutboxMessage)).one()
    assert (effect.status, effect.last_error) == (MessageStatus.FAILED, "LookupError: its order is gone")
    monkeypatch.setitem(mail._contexts, "verify_email", working)
    with unit_of_work():
        mail.send_again(message.id, by="staff@example.com", at=clock.now())
    outbox.drain("mail")
    assert fresh(message).status is MailStatus.SENT


# --- through a mail server ---


@pytest.fixture(scope="module")
def server() -> Iterator[smtp.SmtpServer]:
    with smtp.running() as running:
        yield running


@pytest.fixture
def by_smtp(app: Flask, server: smtp.SmtpServer) -> Iterator[smtp.SmtpServer]:
    """The application sends through a mail server that takes everything."""
    server.letters.clear()
    server.accept()
    changes = {"EMAIL_BACKEND": "smtp", "SMTP_HOST": "localhost", "SMTP_PORT": server.port, "SMTP_STARTTLS": False}
    before = {name: app.config[name] for name in changes}
    app.config.update(changes)
    yield server
    app.config.update(before)
    server.accept()


def test_it_arrives_at_the_mail_server(by_smtp: smtp.SmtpServer, filled: list[Any]) -> None:
    send()
    outbox.drain("mail")
    letter = by_smtp.letters[0]
    assert letter.recipients == ["alice@example.com"]
    assert letter.sender == "no-reply@atelier-nord.example"
    assert SECRET in letter.text
    assert SECRET in letter.html


def test_a_server_that_says_later_is_asked_again(by_smtp: smtp.SmtpServer, filled: list[Any]) -> None:
    message = send()
    by_smtp.refuse(smtp.LATER)
    outbox.drain("mail")
    assert fresh(message).status is MailStatus.QUEUED
    effect = db.session.scalars(select(OutboxMessage).execution_options(populate_existing=True)).one()
    assert effect.status is MessageStatus.PENDING
    assert effect.last_error is not None
    assert "451" in effect.last_error
    by_smtp.accept()
    with clock.shifted(timedelta(seconds=30)):
        outbox.drain("mail")
    assert fresh(message).status is MailStatus.SENT
    assert len(by_smtp.letters) == 1


def test_a_server_that_says_never_is_not_asked_again(by_smtp: smtp.SmtpServer, filled: list[Any]) -> None:
    message = send()
    by_smtp.refuse(smtp.NEVER)
    before = by_smtp.attempts
    drain_until_exhausted()
    assert by_smtp.attempts == before + 1
    failed = fresh(message)
    assert failed.status is MailStatus.FAILED
    assert failed.sent_at is None
    assert failed.text_body is not None
    change = history(failed)[-1]
    assert (change.became, change.reason) == ("failed", "550 5.1.1 No such mailbox")
    by_smtp.accept()
    with unit_of_work():
        mail.send_again(message.id, by="staff@example.com", at=clock.now())
    outbox.drain("mail")
    assert fresh(message).status is MailStatus.SENT


@pytest.mark.parametrize(("code", "is_final"), [(550, True), (552, True), (554, True), (450, False), (421, False)])
def test_a_refused_recipient_is_final_when_the_server_says_so(code: int, is_final: bool) -> None:
    if is_final:
        with pytest.raises(Undeliverable, match=f"{code} no such user"):
            mail._stop_if_final(code, b"no such user")
    else:
        assert mail._stop_if_final(code, "try later") is None  # type: ignore[func-returns-value]  # no exception


def test_a_server_that_is_down_is_waited_for(by_smtp: smtp.SmtpServer, filled: list[Any]) -> None:
    message = send()
    by_smtp.stop()
    try:
        outbox.drain("mail")
        assert fresh(message).status is MailStatus.QUEUED
    finally:
        by_smtp.start()
    with clock.shifted(timedelta(seconds=30)):
        outbox.drain("mail")
    assert fresh(message).status is MailStatus.SENT


def test_one_mail_that_hangs_does_not_stop_the_others(by_smtp: smtp.SmtpServer, filled: list[Any]) -> None:
    broken, good = send(to="nobody"), send()
    outbox.drain("mail")
    assert fresh(broken).status is MailStatus.QUEUED
    assert fresh(good).status is MailStatus.SENT


def test_no_transaction_is_open_while_the_mail_server_thinks(
    app: Flask, filled: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow mail server would hold a connection of the pool, and on SQLite every writer."""
    seen: list[bool] = []
    monkeypatch.setattr(mail, "_hand_over", lambda _letter: seen.append(db.session().in_transaction()))
    send()
    outbox.drain("mail")
    assert seen == [False]


def test_an_unknown_template_is_refused_where_it_is_sent(app: Flask) -> None:
    with pytest.raises(LookupError, match="no_such"), unit_of_work():
        mail.send("no_such", to="alice@example.com", locale="en")

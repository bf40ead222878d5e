"""Mail as rows: written with the change that causes it, rendered and sent by a worker, logged, re-sendable.

What a mail says is built when it is sent, by the context function of its template; a link with a token is made
there and never stored: the log keeps the text with every secret replaced.
"""

import re
import smtplib
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

import mrml
from flask import current_app, render_template
from flask_babel import force_locale
from flask_babel import lazy_gettext as _l
from sqlalchemy import JSON, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from portal.core import clock, outbox
from portal.core.db import Base, UTCDateTime, db, status_column, stop_reading, unit_of_work
from portal.core.faults import fault
from portal.core.queues import QueueName
from portal.core.state import Transitions, transition

_HIDDEN = "•••"
_SMTP_SECONDS = 15
# Everything that XML does not allow, and what only Unicode takes for the end of a line.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]")


class MailStatus(StrEnum):
    """Where a mail stands."""

    QUEUED = "queued"
    SENT = "sent"
    FAILED = "failed"


class MailMessage(Base):
    """One mail to one person: a template, the ids it is about, and what became of it."""

    __tablename__ = "mail_messages"

    MACHINES: ClassVar[Mapping[str, Transitions[Any]]] = {
        "status": {
            MailStatus.QUEUED: frozenset({MailStatus.SENT, MailStatus.FAILED}),
            MailStatus.SENT: frozenset({MailStatus.QUEUED}),
            MailStatus.FAILED: frozenset({MailStatus.QUEUED}),
        }
    }

    id: Mapped[int] = mapped_column(primary_key=True)
    template: Mapped[str] = mapped_column(String(64))
    to: Mapped[str] = mapped_column("recipient", String(320))
    locale: Mapped[str] = mapped_column(String(8))
    params: Mapped[dict[str, Any]] = mapped_column(JSON)
    key: Mapped[str | None] = mapped_column(String(128), unique=True)
    status: Mapped[MailStatus] = mapped_column(status_column(MailStatus, "mail_status"), default=MailStatus.QUEUED)
    sending: Mapped[int] = mapped_column(default=1)
    subject: Mapped[str | None] = mapped_column(String(255))
    text_body: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    __table_args__ = (
        Index("ix_mail_messages_status", "status", "id"),
        Index("ix_mail_messages_to", "recipient", "id"),
    )


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a mail."""

    name: str
    content: bytes
    media_type: str = "application/pdf"


@dataclass(frozen=True, slots=True)
class Content:
    """What a template is filled with; `secrets` (links with tokens) reach the reader and never the log."""

    values: Mapping[str, Any]
    secrets: Mapping[str, str] = field(default_factory=dict)
    attachments: tuple[Attachment, ...] = ()


class Undeliverable(Exception):
    """The mail server's final no; its words are for staff."""


ContextFunction = Callable[..., Content]
_contexts: dict[str, ContextFunction] = {}
# Shown to staff in the mail log, by template.
_titles: dict[str, Any] = {}


def context(template: str, *, title: Any = None) -> Callable[[ContextFunction], ContextFunction]:
    """Register the function that says what a template is filled with; called when the mail is sent, outside any
    transaction, so it may open its own to issue a token."""

    def register(function: ContextFunction) -> ContextFunction:
        _contexts[template] = function
        _titles[template] = title or template
        return function

    return register


def templates() -> dict[str, Any]:
    """Every mail there is, with its title for staff."""
    return dict(_titles)


def send(template: str, *, to: str, locale: str, key: str | None = None, **params: Any) -> MailMessage | None:
    """Write a mail in the current transaction; a worker sends it after the commit.

    With a `key` it is sent once for ever: None when there is one already. `params` are ids only.
    """
    if template not in _contexts:
        raise LookupError(f"no mail template {template!r}")
    if key is not None and db.session.scalar(db.select(MailMessage.id).where(MailMessage.key == key)):
        return None
    message = MailMessage(
        template=template, to=to, locale=locale, params=params, key=key, created_at=clock.now(),
        status=MailStatus.QUEUED,
    )  # fmt: skip
    db.session.add(message)
    db.session.flush()
    outbox.publish("mail.queued", mail_id=message.id)
    return message


def send_again(mail_id: int, *, by: str, at: datetime) -> MailMessage:
    """Queue a sent or failed mail once more, with fresh links. Raises InvalidTransition while it is queued."""
    message = db.session.get_one(MailMessage, mail_id)
    transition(message, MailStatus.QUEUED, by=by, at=at)
    message.sending += 1
    outbox.publish("mail.queued", mail_id=message.id)
    return message


def _gave_up(mail_id: int) -> None:
    message = db.session.get_one(MailMessage, mail_id)
    if message.status is MailStatus.QUEUED:
        transition(message, MailStatus.FAILED, by="job:mail", at=clock.now())


@outbox.handles("mail.queued", queue=QueueName.MAIL, on_exhausted=_gave_up)
def deliver(mail_id: int) -> None:
    """Render and send one mail. A crash between sending and marking may send it twice, with the same Message-ID."""
    message = db.session.get_one(MailMessage, mail_id)
    if message.status is not MailStatus.QUEUED:
        return
    content = _contexts[message.template](**message.params)
    letter, subject, logged_text = _compose(message, content)
    stop_reading()
    became, reason = MailStatus.SENT, None
    try:
        _hand_over(letter)
    except Undeliverable as refusal:
        became, reason = MailStatus.FAILED, str(refusal)
    fault("mail-after-send")
    at = clock.now()
    with unit_of_work():
        message = db.session.get_one(MailMessage, mail_id, populate_existing=True)
        if message.status is not MailStatus.QUEUED:
            return
        message.subject = subject[:255]
        message.text_body = logged_text
        message.sent_at = at if became is MailStatus.SENT else None
        transition(message, became, by="job:mail", at=at, reason=reason)


def _compose(message: MailMessage, content: Content) -> tuple[EmailMessage, str, str]:
    settings = current_app.config
    folder = f"emails/{message.template}"
    with force_locale(message.locale):
        values = {**content.values, "locale": message.locale, "business_name": settings["BUSINESS_NAME"]}
        full = {**values, **content.secrets}
        hidden = {**values, **dict.fromkeys(content.secrets, _HIDDEN)}
        subject = " ".join(_render(f"{folder}/subject.txt", full).split())
        text = _render(f"{folder}/body.txt", full).strip() + "\n"
        html = mrml.to_html(_render(f"{folder}/body.mjml", full)).content
        logged = _render(f"{folder}/body.txt", hidden).strip() + "\n"
    letter = EmailMessage()
    letter["Subject"] = subject
    letter["From"] = Address(settings["BUSINESS_NAME"], addr_spec=settings["MAIL_FROM"])
    letter["To"] = Address(addr_spec=message.to)
    letter["Date"] = format_datetime(clock.now())
    domain = settings["MAIL_FROM"].rpartition("@")[2]
    # The same for every try of one sending, so that a mail box can drop the second copy.
    letter["Message-ID"] = f"<mail-{message.id}-{message.sending}@{domain}>"
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(text)
    letter.add_alternative(html, subtype="html")
    for attachment in content.attachments:
        maintype, _, subtype = attachment.media_type.partition("/")
        letter.add_attachment(attachment.content, maintype=maintype, subtype=subtype, filename=attachment.name)
    return letter, subject, logged


def _render(template: str, values: Mapping[str, Any]) -> str:
    """A filled template. Control characters that somebody has typed as their name would break MJML and headers."""
    return _CONTROL.sub(" ", render_template(template, **values))


def _hand_over(letter: EmailMessage) -> None:
    if current_app.config["EMAIL_BACKEND"] == "console":
        _put_in_mailbox(letter)
    else:
        _send_by_smtp(letter)


def mailbox_folder() -> Path:
    """Where development mail is kept, one file each; `/dev/mailbox` shows it."""
    return Path(current_app.config["MAILBOX_PATH"])


def _put_in_mailbox(letter: EmailMessage) -> None:
    folder = mailbox_folder()
    folder.mkdir(parents=True, exist_ok=True)
    stamp = clock.now().strftime("%Y%m%dT%H%M%S%f")
    name = f"{stamp}-{make_msgid(domain='x')[1:9].replace('.', '')}"
    draft = folder / f".{name}"
    draft.write_bytes(bytes(letter))
    draft.rename(folder / f"{name}.eml")


def _send_by_smtp(letter: EmailMessage) -> None:
    settings = current_app.config
    with smtplib.SMTP(settings["SMTP_HOST"], settings["SMTP_PORT"], timeout=_SMTP_SECONDS) as server:
        if settings["SMTP_STARTTLS"]:
            server.starttls(context=ssl.create_default_context())
        if settings["SMTP_USERNAME"]:
            server.login(settings["SMTP_USERNAME"], settings["SMTP_PASSWORD"])
        try:
            server.send_message(letter)
        except smtplib.SMTPRecipientsRefused as error:
            # One mail has one recipient.
            code, words = next(iter(error.recipients.values()))
            _stop_if_final(code, words)
            raise
        except smtplib.SMTPDataError as error:
            _stop_if_final(error.smtp_code, error.smtp_error)
            raise


def _stop_if_final(code: int, words: bytes | str) -> None:
    """A 4xx is "later" and is tried again; a 5xx about this recipient or this mail stays a no (RFC 5321, 4.2.1)."""
    if 500 <= code < 600:
        text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
        raise Undeliverable(f"{code} {text}"[:500])


STATUS_LABELS = {
    MailStatus.QUEUED: _l("Queued"),
    MailStatus.SENT: _l("Sent"),
    MailStatus.FAILED: _l("Failed"),
}

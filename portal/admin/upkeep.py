"""Invariants of the machinery itself: mails and effects that were given up."""

from collections.abc import Sequence
from datetime import datetime

from flask_babel import lazy_gettext as _l

from portal.core import mail, outbox
from portal.core.db import db
from portal.core.invariants import LIMIT, AlreadyRight, Breach, Reach, invariant
from portal.core.mail import MailMessage, MailStatus
from portal.core.outbox import MessageStatus, OutboxMessage

_LONGEST_DETAIL = 200


def _send_again(subject_id: int, /, *, by: str, at: datetime) -> None:
    message = db.session.get_one(MailMessage, subject_id, with_for_update=True, populate_existing=True)
    if message.status is not MailStatus.FAILED:
        raise AlreadyRight
    mail.send_again(message.id, by=by, at=at)


@invariant(
    "failed_mail",
    title=_l("Failed mails"),
    advice=_l("The mail server refused it, or could not be reached for a day. Read why on its page."),
    repair=_send_again,
    action=_l("Send again"),
)
def failed_mail(reach: Reach) -> Sequence[Breach]:  # noqa: ARG001  # the index holds these alone
    """Mails that were given up."""
    failed = db.session.scalars(
        db.select(MailMessage).where(MailMessage.status == MailStatus.FAILED).order_by(MailMessage.id).limit(LIMIT)
    )
    return [Breach(f"mail_messages:{one.id}", one.template, one.to, None, one.created_at) for one in failed]


def _run_again(subject_id: int, /, *, by: str, at: datetime) -> None:  # noqa: ARG001  # the caller notes who
    if not outbox.run_again(subject_id, at=at):
        raise AlreadyRight


@invariant(
    "failed_effect",
    title=_l("Failed jobs"),
    advice=_l("It was tried again and again. Read why on its page; run it once the cause is gone."),
    repair=_run_again,
    action=_l("Run again"),
)
def failed_effect(reach: Reach) -> Sequence[Breach]:  # noqa: ARG001  # the index holds these alone
    """Effects that were given up; a mail's is looked after as a mail."""
    failed = db.session.scalars(
        db.select(OutboxMessage)
        .where(OutboxMessage.status == MessageStatus.FAILED, OutboxMessage.topic != "mail.queued")
        .order_by(OutboxMessage.id)
        .limit(LIMIT)
    )
    return [
        Breach(f"outbox_messages:{one.id}", one.topic, (one.last_error or "")[:_LONGEST_DETAIL], None, one.created_at)
        for one in failed
    ]

"""Reads for the rooms of mail, jobs and the audit log."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from redis.exceptions import RedisError
from rq import Worker
from rq.worker import BaseWorker
from sqlalchemy import literal, union_all

from portal.admin.queries.matching import is_named
from portal.core import queues
from portal.core.audit import AuditEvent
from portal.core.db import db
from portal.core.errors import NotFound
from portal.core.mail import MailMessage, MailStatus
from portal.core.outbox import MessageStatus, OutboxMessage
from portal.core.paging import Page, paginate
from portal.core.queues import QueueName
from portal.payments.models import EventStatus, ProviderEvent

log = structlog.get_logger(__name__)

# A deeper queue is shown as 99+.
DEPTH_LIMIT = 100
_LATEST_TRIES = 200


def mails_page(
    *, text: str, status: MailStatus | None, template: str | None, before: str | None, after: str | None
) -> Page[MailMessage]:
    """A page of the mail log, newest first; found by the recipient."""
    statement = db.select(MailMessage)
    if status is not None:
        statement = statement.where(MailMessage.status == status)
    if template is not None:
        statement = statement.where(MailMessage.template == template)
    if text:
        statement = statement.where(is_named(MailMessage.to, text.lower()))
    return paginate(statement, MailMessage.id, before=before, after=after)


def get_mail(mail_id: int) -> MailMessage:
    """One mail. Raises NotFound."""
    message = db.session.get(MailMessage, mail_id)
    if message is None:
        raise NotFound
    return message


def mail_errors(message: MailMessage) -> list[str]:
    """Why a mail is not sent yet, or was given up: what went wrong in the latest tries of its sending."""
    if message.status is MailStatus.SENT:
        return []
    tries = db.session.scalars(
        db.select(OutboxMessage)
        .where(
            OutboxMessage.status.in_([MessageStatus.PENDING, MessageStatus.FAILED]),
            OutboxMessage.topic == "mail.queued",
            OutboxMessage.last_error.is_not(None),
        )
        .order_by(OutboxMessage.id.desc())
        .limit(_LATEST_TRIES)
    )
    return [one.last_error or "" for one in tries if one.payload.get("mail_id") == message.id]


def messages_page(
    *, status: MessageStatus | None, topic: str | None, before: str | None, after: str | None
) -> Page[OutboxMessage]:
    """A page of effects, newest first; without a status those that are not done."""
    statement = db.select(OutboxMessage)
    if status is not None:
        statement = statement.where(OutboxMessage.status == status)
    else:
        statement = statement.where(OutboxMessage.status.in_([MessageStatus.PENDING, MessageStatus.FAILED]))
    if topic is not None:
        statement = statement.where(OutboxMessage.topic == topic)
    return paginate(statement, OutboxMessage.id, before=before, after=after)


def get_message(message_id: int) -> OutboxMessage:
    """One effect. Raises NotFound."""
    message = db.session.get(OutboxMessage, message_id)
    if message is None:
        raise NotFound
    return message


@dataclass(frozen=True, slots=True)
class Depth:
    """How much waits in a queue, up to DEPTH_LIMIT, and since when the oldest of it should have been done."""

    queue: str
    count: int
    due_since: datetime | None


def queue_depths(*, at: datetime) -> list[Depth]:
    """Every queue and the webhook inbox, as the database knows them: one statement, each read to the limit."""
    branches: list[Any] = [
        db.select(literal(queue.value).label("queue"), OutboxMessage.available_at.label("available_at"))
        .where(OutboxMessage.status == MessageStatus.PENDING, OutboxMessage.queue == queue.value)
        .order_by(OutboxMessage.available_at)
        .limit(DEPTH_LIMIT)
        for queue in QueueName
        if queue is not QueueName.INBOX
    ]
    branches.append(
        db.select(literal(QueueName.INBOX.value).label("queue"), ProviderEvent.available_at.label("available_at"))
        .where(ProviderEvent.status == EventStatus.PENDING)
        .order_by(ProviderEvent.available_at)
        .limit(DEPTH_LIMIT)
    )
    waiting: dict[str, list[datetime]] = {queue.value: [] for queue in QueueName}
    for queue, available_at in db.session.execute(union_all(*(db.select(one.subquery()) for one in branches))):
        waiting[queue].append(available_at)
    return [
        Depth(queue, len(times), min(times) if times and min(times) <= at else None) for queue, times in waiting.items()
    ]


@dataclass(frozen=True, slots=True)
class WorkerLine:
    """One RQ worker as Redis knows it."""

    name: str
    state: str
    queues: tuple[str, ...]
    job: str | None
    last_heartbeat: datetime | None


def list_workers() -> list[WorkerLine] | None:
    """The workers that say they are alive; None when Redis cannot be asked."""
    try:
        return [_worker_line(worker) for worker in Worker.all(connection=queues.connection())]
    except RedisError as error:
        log.info("workers_unknown", error=type(error).__name__)
        return None


def _worker_line(worker: BaseWorker) -> WorkerLine:
    job = worker.get_current_job()
    return WorkerLine(
        name=worker.name,
        state=str(worker.get_state()),
        queues=tuple(worker.queue_names()),
        job=job.func_name if job is not None else None,
        last_heartbeat=worker.last_heartbeat,
    )


def audit_page(*, event: str, actor: str, subject: str, before: str | None, after: str | None) -> Page[AuditEvent]:
    """A page of the audit log, newest first."""
    statement = db.select(AuditEvent)
    if event:
        statement = statement.where(is_named(AuditEvent.event, event))
    if actor:
        statement = statement.where(is_named(AuditEvent.actor, actor))
    if subject:
        statement = statement.where(AuditEvent.subject == subject)
    return paginate(statement, AuditEvent.id, before=before, after=after)

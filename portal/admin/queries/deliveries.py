"""Reads for the webhook debugger: deliveries that were refused, and everything an event has brought about."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, union_all
from sqlalchemy.orm import selectinload

from portal.admin.queries.payments import EventFile, sender_names
from portal.core.audit import AuditEvent
from portal.core.db import db
from portal.core.errors import NotFound
from portal.core.mail import MailMessage
from portal.core.outbox import OutboxMessage
from portal.core.paging import PAGE_SIZE, Page, cursor, paginate
from portal.orders.models import Enrolment, EnrolmentGrant, Order, OrderLine
from portal.orders.queries import returned_line_ids
from portal.payments.models import Invoice, Payment, Standing

MAIL_TOPIC = "mail.queued"
# More than any payment unlocks.
_MOST_GRANTS = 500


@dataclass(frozen=True, slots=True)
class RefusalFilter:
    """What staff want to see of the deliveries that were refused."""

    provider: str | None = None
    at_from: datetime | None = None
    at_before: datetime | None = None


def refusals_page(wanted: RefusalFilter, *, before: str | None, after: str | None) -> Page[AuditEvent]:
    """A page of refused deliveries, newest first: lines of the audit log, because nothing else was kept of them.

    The newest of each provider by its stretch of the index, then the newest of those.
    """
    names = [wanted.provider] if wanted.provider is not None else list(sender_names())
    branches = [_refused_by(name, wanted, cursor(before), cursor(after)) for name in names]
    ids = union_all(*(db.select(branch.subquery()) for branch in branches)).subquery()
    statement = db.select(AuditEvent).where(AuditEvent.id.in_(db.select(ids.c.id)))
    return paginate(statement, AuditEvent.id, before=before, after=after)


def _refused_by(provider: str, wanted: RefusalFilter, older_than: int | None, newer_than: int | None) -> Any:
    where: list[ColumnElement[bool]] = [AuditEvent.event == f"WEBHOOK_{provider.upper()}_REFUSED"]
    if wanted.at_from is not None:
        where.append(AuditEvent.at >= wanted.at_from)
    if wanted.at_before is not None:
        where.append(AuditEvent.at < wanted.at_before)
    order: Any = AuditEvent.id.desc()
    if newer_than is not None:
        where.append(AuditEvent.id > newer_than)
        order = AuditEvent.id.asc()
    elif older_than is not None:
        where.append(AuditEvent.id < older_than)
    return db.select(AuditEvent.id).where(*where).order_by(order).limit(PAGE_SIZE + 1)


@dataclass(frozen=True, slots=True)
class Brought:
    """What an event has brought about beside its own rows, found through them. `unlocks` is how many packages the
    order's buyer should have, `returned` how many more it had before lines of it were given back."""

    invoice: Invoice | None
    order: Order | None
    unlocks: int
    returned: int
    granted: int
    mails: list[MailMessage]


def read_brought(file: EventFile) -> Brought:
    """The same number of statements however much came of an event that settled a payment."""
    counted = next((one for one in file.payments if one.standing is Standing.COUNTED), None)
    mail_ids = [one.payload.get("mail_id") for one in file.effects if one.topic == MAIL_TOPIC]
    mails = db.session.scalars(
        db.select(MailMessage).where(MailMessage.id.in_([one for one in mail_ids if one])).order_by(MailMessage.id)
    ).all()
    if counted is None:
        return Brought(None, None, 0, 0, 0, list(mails))
    invoice = db.session.scalar(db.select(Invoice).where(Invoice.session_id == counted.session_id))
    order = _order_of(file, counted)
    granted = unlocks = returned = 0
    if order is not None:
        granted = len(
            db.session.execute(
                db.select(EnrolmentGrant.order_line_id, Enrolment.package_id)
                .join(Enrolment, Enrolment.id == EnrolmentGrant.enrolment_id)
                .where(EnrolmentGrant.order_line_id.in_([line.id for line in order.lines]))
                .limit(_MOST_GRANTS)
            ).all()
        )
        gone = returned_line_ids([line.id for line in order.lines])
        unlocks = sum(len(line.unlocks) for line in order.lines if line.id not in gone)
        returned = sum(len(line.unlocks) for line in order.lines if line.id in gone)
    return Brought(invoice, order, unlocks, returned, granted, list(mails))


def _order_of(file: EventFile, payment: Payment) -> Order | None:
    if file.order is None or file.session is None or file.session.id != payment.session_id:
        return None
    order: Order | None = db.session.scalar(
        db.select(Order)
        .where(Order.id == file.order.id)
        .options(selectinload(Order.lines).selectinload(OrderLine.unlocks))
        .execution_options(populate_existing=True)
    )
    return order


def get_effect_of(event_id: int, message_id: int) -> OutboxMessage:
    """An effect of an event. Raises NotFound, also for another event's."""
    message = db.session.get(OutboxMessage, message_id, populate_existing=True)
    if message is None or message.cause != f"event:{event_id}":
        raise NotFound
    return message


def get_mail_of(event_id: int, mail_id: int) -> MailMessage:
    """A mail that an event has caused. Raises NotFound, also for another event's."""
    effects = db.session.scalars(
        db.select(OutboxMessage).where(OutboxMessage.cause == f"event:{event_id}", OutboxMessage.topic == MAIL_TOPIC)
    )
    message = db.session.get(MailMessage, mail_id)
    if message is None or mail_id not in {one.payload.get("mail_id") for one in effects}:
        raise NotFound
    return message

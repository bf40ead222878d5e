"""What must hold in the database after anything that may happen: one function, one sentence for each breach.

`check(session)` looks at every row. After quiet (faults over, queues worked off) `is_quiet=True` asks more: nothing may
wait any longer.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session, selectinload

from portal.core.audit import AuditEvent
from portal.core.db import Base
from portal.core.mail import MailMessage, MailStatus
from portal.core.money import tax_included
from portal.core.numbering import NumberSequence
from portal.core.outbox import MessageStatus, OutboxMessage
from portal.core.state import StatusChange
from portal.merchants.models import AccessLink, ApiKey
from portal.orders.models import (
    Enrolment,
    EnrolmentGrant,
    LineKind,
    LineReturn,
    Order,
    OrderLine,
    OrderStatus,
    PaymentStatus,
)
from portal.payments.models import (
    AttemptStatus,
    EventStatus,
    Invoice,
    InvoiceLine,
    Payment,
    PaymentAttempt,
    PaymentSession,
    ProviderEvent,
    SessionStatus,
    Standing,
)
from portal.payments.providers.sandbox.models import SandboxCharge
from portal.payments.refund_models import CreditNote
from tests import refund_invariants

PURPOSE = refund_invariants.PURPOSE
# What the insert into the inbox may decide by itself.
_BORN = {ProviderEvent: {EventStatus.PENDING, EventStatus.UNMATCHED, EventStatus.IGNORED}}
_RECEIPTS = ("order_confirmation", "order_welcome", "order_waiting", "sales_order_paid", "site_welcome")
_TOLD = (EventStatus.APPLIED, EventStatus.CONFLICT, EventStatus.RESOLVED)
Found = Iterator[str]


def check(
    session: Session,
    *,
    is_quiet: bool = False,
    acknowledged: Collection[tuple[str, str]] = (),
    taken: Collection[tuple[str, str]] = (),
) -> list[str]:
    """Every breach of the invariants, in words; an empty list is what a test wants.

    `acknowledged` are the events that were answered 2xx, as (provider, delivery key). `taken` is the money that
    providers say they took, as (provider, payment reference); after quiet each must be on our books, and the sandbox's
    own books are looked at in any case.
    """
    session.rollback()
    session.expire_all()
    if session.get_bind().dialect.name == "postgresql":
        # One moment for all questions, also while others write; SQLite's transactions are like that anyway.
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    rules: list[Callable[[Session], Found]] = [
        lambda one: _events_are_kept(one, acknowledged),
        _payments_count_once,
        _orders_have_their_money,
        _orders_add_up,
        _invoices_are_right,
        _numbers_have_no_gap,
        _histories_are_paths,
        _buyers_have_what_they_paid_for,
        _effects_are_there_once,
        *refund_invariants.RULES,
        _merchants_buyers_have_their_links,
    ]
    if is_quiet:
        rules += [_nothing_waits, refund_invariants.no_refund_waits, lambda one: _all_money_is_known(one, taken)]
    found = [sentence for rule in rules for sentence in rule(session)]
    session.rollback()
    return found


def is_working(session: Session) -> bool:
    """Whether work is still waiting: what `check` after quiet would begin with, at a price that can be paid twenty
    times a second while servers need the processor."""
    session.rollback()
    waiting = (
        (ProviderEvent, ProviderEvent.status.in_((EventStatus.PENDING, EventStatus.FAILED))),
        (OutboxMessage, OutboxMessage.status != MessageStatus.DONE),
        (MailMessage, MailMessage.status == MailStatus.QUEUED),
    )
    found = any(session.scalar(select(model.id).where(condition).limit(1)) is not None for model, condition in waiting)
    session.rollback()
    return found


def _all(session: Session, model: type[Any], *options: Any) -> list[Any]:
    return list(session.scalars(select(model).order_by(model.id).options(*options)))


def _repeated(values: Iterator[Any]) -> list[Any]:
    return [value for value, count in Counter(values).items() if value is not None and count > 1]


# --- 1: every event that was answered with yes is there, once ---


def _events_are_kept(session: Session, acknowledged: Collection[tuple[str, str]]) -> Found:
    stored = [tuple(row) for row in session.execute(select(ProviderEvent.provider, ProviderEvent.delivery_key))]
    for key in _repeated(iter(stored)):
        yield f"event {key} is stored more than once"
    for lost in sorted(set(acknowledged) - set(stored)):
        yield f"event {lost} was answered with yes and is not stored"


# --- 2: one payment counts, the rest is kept apart ---


def _payments_count_once(session: Session) -> Found:
    payments = _all(session, Payment, selectinload(Payment.session))
    events = {event.id: event for event in _all(session, ProviderEvent)}
    for key in _repeated(payment.business_key for payment in payments):
        yield f"payment {key} is on the books more than once"
    counted: dict[int, list[Payment]] = defaultdict(list)
    for payment in payments:
        if payment.standing is Standing.COUNTED:
            counted[payment.session_id].append(payment)
        if (payment.surplus_reason is None) is not (payment.standing is Standing.COUNTED):
            yield f"payment {payment.id} is {payment.standing} with the reason {payment.surplus_reason}"
        event = events.get(payment.event_id)
        if event is None or event.status not in _TOLD:
            yield f"payment {payment.id} comes from event {payment.event_id}, which is {event and event.status}"
    for one in _all(session, PaymentSession):
        mine = counted.get(one.id, [])
        if len(mine) != (1 if one.status is SessionStatus.PAID else 0):
            yield f"session {one.id} is {one.status} and {len(mine)} payments count for it"
        for payment in mine:
            if (payment.amount_minor, payment.currency) != (one.amount_minor, one.currency):
                yield f"session {one.id} asks for another amount than payment {payment.id} that counts for it"
        if one.is_final and one.check_at is not None:
            yield f"session {one.id} is {one.status} and still to be looked at"
        if (one.paid_at is None) is (one.status is SessionStatus.PAID):
            yield f"session {one.id} is {one.status} and was paid at {one.paid_at}"


# --- 4: an order's money is the sum of its payments ---


def _is_made(order: Order) -> bool:
    """Whether it holds what has to be made first: paying does not fulfil it."""
    return any(line.kind is LineKind.PRINT for line in order.lines)


def _orders_have_their_money(session: Session) -> Found:
    sessions = {one.id: one for one in _all(session, PaymentSession) if one.purpose == PURPOSE}
    sums: Counter[int] = Counter()
    number: Counter[int] = Counter()
    orders = {order.id: order for order in _all(session, Order)}
    for payment in _all(session, Payment):
        if payment.session_id in sessions and payment.standing is Standing.COUNTED:
            sums[sessions[payment.session_id].subject_id] += payment.amount_minor
            number[sessions[payment.session_id].subject_id] += 1
    for one in sessions.values():
        order = orders.get(one.subject_id)
        if order is None:
            yield f"session {one.id} is for the order {one.subject_id}, which does not exist"
        elif one.currency != order.currency:
            yield f"order {order.number} is in {order.currency}, its session {one.id} in {one.currency}"
    for order in orders.values():
        for name in ("total_minor", "tax_minor", "paid_minor", "refunded_minor"):
            if type(getattr(order, name)) is not int:
                yield f"order {order.number}: {name} is {getattr(order, name)!r}"
        if number[order.id] > 1 and sums[order.id] > order.total_minor:
            yield f"order {order.number} is paid by {number[order.id]} payments"
        if sums[order.id] != order.paid_minor:
            yield f"order {order.number} has {order.paid_minor} paid, its payments are {sums[order.id]}"
        expected = {PaymentStatus.PAID, PaymentStatus.REFUNDED} if order.paid_minor >= order.total_minor else None
        expected = expected or (
            {PaymentStatus.PARTIAL, PaymentStatus.REFUNDED} if order.paid_minor else {PaymentStatus.PENDING}
        )
        if order.payment_status not in expected:
            yield f"order {order.number} has {order.paid_minor} of {order.total_minor} and is {order.payment_status}"
        if (order.paid_at is None) is (order.paid_minor >= order.total_minor):
            yield f"order {order.number} is {order.payment_status} and was paid at {order.paid_at}"


# --- 5: what was ordered stays as it was ordered ---


def _orders_add_up(session: Session) -> Found:
    for key in _repeated(iter(session.scalars(select(Order.idempotency_key)).all())):
        yield f"the cart {key} became more than one order"
    for order in _all(session, Order, selectinload(Order.lines).selectinload(OrderLine.unlocks)):
        if not order.lines:
            yield f"order {order.number} has no lines"
        if sum(line.total_minor for line in order.lines) != order.total_minor:
            yield f"order {order.number}: its lines do not add up to {order.total_minor}"
        if sum(line.tax_minor for line in order.lines) != order.tax_minor:
            yield f"order {order.number}: the tax of its lines does not add up to {order.tax_minor}"
        for line in order.lines:
            if line.total_minor != line.unit_price_minor * line.quantity:
                yield f"order {order.number}: line {line.position} does not multiply"
            if line.tax_minor != tax_included(line.total_minor, line.tax_rate_basis_points):
                yield f"order {order.number}: line {line.position} has the wrong tax"
            if line.kind is LineKind.PACKAGE and not line.unlocks:
                yield f"order {order.number}: line {line.position} unlocks nothing"


def _invoices_are_right(session: Session) -> Found:
    invoices = _all(session, Invoice, selectinload(Invoice.lines), selectinload(Invoice.session))
    by_session = Counter(invoice.session_id for invoice in invoices)
    orders = {order.id: order for order in _all(session, Order, selectinload(Order.lines))}
    for one in _all(session, PaymentSession):
        wanted = 1 if one.status is SessionStatus.PAID else 0
        if by_session[one.id] != wanted:
            yield f"session {one.id} is {one.status} and has {by_session[one.id]} invoices"
    for invoice in invoices:
        sums = [
            sum(getattr(line, name) for line in invoice.lines) for name in ("net_minor", "tax_minor", "gross_minor")
        ]
        if sums != [invoice.net_minor, invoice.tax_minor, invoice.gross_minor]:
            yield f"invoice {invoice.number} does not add up"
        paid = invoice.session
        if paid is None or (invoice.gross_minor, invoice.currency) != (paid.amount_minor, paid.currency):
            yield f"invoice {invoice.number} is not about what was paid"
            continue
        order = orders.get(paid.subject_id) if paid.purpose == PURPOSE else None
        if order is None or paid.amount_minor != order.total_minor:
            continue  # A part of an order is billed by tax rate.
        if [_of_bill(line) for line in invoice.lines] != [_of_order(line) for line in order.lines]:
            yield f"invoice {invoice.number} has other lines than order {order.number}"


def _of_bill(line: InvoiceLine) -> tuple[Any, ...]:
    return line.description, line.quantity, line.unit_gross_minor, line.tax_rate_basis_points, line.gross_minor


def _of_order(line: OrderLine) -> tuple[Any, ...]:
    return line.description, line.quantity, line.unit_price_minor, line.tax_rate_basis_points, line.total_minor


def _numbers_have_no_gap(session: Session) -> Found:
    drawn = defaultdict(list)
    sales_orders = select(Order.number).where(Order.number.startswith("SO-"))
    papers = [*session.scalars(select(Invoice.number)), *session.scalars(select(CreditNote.number))]
    for number in [*papers, *session.scalars(sales_orders)]:
        series, _, value = number.rpartition("-")
        drawn[series].append(int(value))
    last = {row.series: row.value for row in session.scalars(select(NumberSequence))}
    for series in sorted({*drawn, *last}):
        if sorted(drawn[series]) != list(range(1, last.get(series, 0) + 1)):
            yield f"the numbers of {series} up to {last.get(series, 0)} are {sorted(drawn[series])}"


# --- 3: a history is a path, and says who ---


def _histories_are_paths(session: Session) -> Found:
    changes: Mapping[tuple[str, int, str], list[StatusChange]] = defaultdict(list)
    for change in _all(session, StatusChange):
        changes[change.entity, change.entity_id, change.column].append(change)
        if not change.actor:
            yield f"{change.entity} {change.entity_id} became {change.became} by nobody"
    for mapper in Base.registry.mappers:
        for column, machine in getattr(mapper.class_, "MACHINES", {}).items():
            born = _BORN.get(mapper.class_) or {inspect(mapper.class_).columns[column].default.arg}
            for row in _all(session, mapper.class_):
                path = changes.get((row.__tablename__, row.id, column), [])
                yield from _off_the_path(row, column, machine, born, path)


def _off_the_path(row: Any, column: str, machine: Any, born: set[Any], path: list[StatusChange]) -> Found:
    name = f"{row.__tablename__} {row.id} {column}"
    status = getattr(row, column)
    statuses = type(status)
    at = statuses(path[0].was) if path else status
    if at not in born:
        yield f"{name} began as {at}"
    for change in path:
        was, became = statuses(change.was), statuses(change.became)
        if was is not at:
            yield f"{name} jumps from {at} to {was}"
        if became not in machine.get(was, frozenset()):
            yield f"{name} went from {was} to {became}, which is no arrow of its table"
        at = became
    if at is not status:
        yield f"{name} is {status} and its history ends with {at}"


# --- what was paid for is unlocked, once ---


def _buyers_have_what_they_paid_for(session: Session) -> Found:
    orders = _all(session, Order, selectinload(Order.lines).selectinload(OrderLine.unlocks))
    enrolments = {one.id: one for one in _all(session, Enrolment)}
    grants = _all(session, EnrolmentGrant)
    # Lines that were given back, with their licences, and not restored.
    gone = set(session.scalars(select(LineReturn.order_line_id).where(LineReturn.restored_at.is_(None))))
    for key in _repeated((one.user_id, one.package_id) for one in enrolments.values()):
        yield f"user {key[0]} is enrolled in package {key[1]} more than once"
    given: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    licences: Counter[int] = Counter()
    for grant in grants:
        enrolment = enrolments[grant.enrolment_id]
        given[grant.order_line_id].append((enrolment.user_id, enrolment.package_id, grant.licences))
        licences[enrolment.id] += grant.licences
    for enrolment in enrolments.values():
        if enrolment.licences != licences[enrolment.id]:
            yield f"enrolment {enrolment.id} has {enrolment.licences} licences, bought were {licences[enrolment.id]}"
    for order in orders:
        has_it = order.status is OrderStatus.FULFILLED
        if has_it and (order.user_id is None or order.payment_status is PaymentStatus.PENDING):
            yield f"order {order.number} is fulfilled for user {order.user_id} and {order.payment_status}"
        for line in order.lines:
            is_back = line.id in gone
            wanted = [(order.user_id, one.package_id, line.quantity) for one in line.unlocks if has_it and not is_back]
            if sorted(given.pop(line.id, [])) != sorted(wanted):
                yield f"order {order.number}: line {line.position} does not unlock exactly what it says"
    for line_id in given:
        yield f"licences were given for the order line {line_id}, which does not exist"


# --- 6: each effect once ---


def _effects_are_there_once(session: Session) -> Found:
    mails, messages = _all(session, MailMessage), _all(session, OutboxMessage)
    for key in _repeated(mail.key for mail in mails):
        yield f"mail {key} was written more than once"
    for key in _repeated(message.key for message in messages):
        yield f"effect {key} was written more than once"
    sendings = Counter(one.payload.get("mail_id") for one in messages if one.topic == "mail.queued")
    for mail in mails:
        if sendings[mail.id] != mail.sending:
            yield f"mail {mail.id} was to be sent {mail.sending} times, there are {sendings[mail.id]} messages for it"
    receipts = Counter(mail.params.get("order_id") for mail in mails if mail.template in _RECEIPTS)
    emptied = Counter(one.payload.get("order_id") for one in messages if one.topic == "order.payment_counted")
    fulfilled = Counter(session.scalars(select(AuditEvent.subject).where(AuditEvent.event == "order.fulfilled")))
    payments = Counter(
        one.subject_id
        for one in _all(session, PaymentSession)
        if one.purpose == PURPOSE and one.status is SessionStatus.PAID
    )
    for order in _all(session, Order, selectinload(Order.lines)):
        # A payment of a cancelled order is counted, and staff must decide: nothing is handed over, no receipt is sent.
        is_paid = order.payment_status is not PaymentStatus.PENDING
        # A part of the money hands nothing over.
        is_due = order.paid_at is not None
        wanted = int(is_due and order.status is not OrderStatus.CANCELLED)
        if _is_made(order):
            # Each payment is told, also one that came when the order was being called off.
            wanted = payments[order.id]
        if receipts[order.id] != wanted:
            yield f"order {order.number} is {order.payment_status} and {receipts[order.id]} receipts were written"
        if emptied[order.id] != int(is_paid):
            yield f"order {order.number} is {order.payment_status}, its cart is emptied {emptied[order.id]} times"
        if fulfilled[f"orders:{order.id}"] != int(order.status is OrderStatus.FULFILLED):
            yield f"order {order.number} is {order.status} and was fulfilled {fulfilled[f'orders:{order.id}']} times"


# --- what a merchant's payment brings about is there once, and nothing of it without the payment ---


def _merchants_buyers_have_their_links(session: Session) -> Found:
    links = Counter(link.session_id for link in _all(session, AccessLink))
    receipts = Counter(
        one.params.get("session_id") for one in _all(session, MailMessage) if one.template == "merchant_receipt"
    )
    sold = {one.id: one for one in _all(session, PaymentSession) if one.merchant_id is not None}
    for one in sold.values():
        is_paid = one.status is SessionStatus.PAID
        if links[one.id] != int(is_paid):
            yield f"session {one.id} of a merchant is {one.status} and has {links[one.id]} links"
        if receipts[one.id] != int(is_paid and bool(one.customer_email)):
            yield f"session {one.id} of a merchant is {one.status} and has {receipts[one.id]} receipts"
    for key in _all(session, ApiKey):
        if key.made_by_session_id is not None and key.made_by_session_id not in sold:
            yield f"key {key.id} was made by session {key.made_by_session_id}, which is no merchant's"


# --- 7: after quiet nothing waits ---


def _nothing_waits(session: Session) -> Found:
    known = set(session.scalars(select(PaymentSession.public_id)))
    for event in _all(session, ProviderEvent):
        if event.status in (EventStatus.PENDING, EventStatus.FAILED):
            yield f"event {event.id} ({event.event_type}) is {event.status}: {event.last_error}"
        if event.status is EventStatus.UNMATCHED and event.session_public_id in known:
            yield f"event {event.id} is unmatched and its session exists"
    for attempt in _all(session, PaymentAttempt):
        if attempt.status in (AttemptStatus.UNKNOWN, AttemptStatus.STARTING):
            yield f"attempt {attempt.id} is still {attempt.status}"
    for message in _all(session, OutboxMessage):
        if message.status is not MessageStatus.DONE:
            yield f"effect {message.id} ({message.topic}) is {message.status}: {message.last_error}"
    for mail in _all(session, MailMessage):
        if mail.status is MailStatus.QUEUED:
            yield f"mail {mail.id} ({mail.template}) is still queued"


def _all_money_is_known(session: Session, taken: Collection[tuple[str, str]]) -> Found:
    """Each charge of a provider is on our books, counted or kept apart for staff, whatever became of its webhook."""
    ours = {(payment.provider, payment.provider_reference) for payment in _all(session, Payment)}
    theirs = {*taken, *(("sandbox", charge.reference) for charge in _all(session, SandboxCharge))}
    for provider, reference in sorted(theirs - ours):
        yield f"{provider} took the payment {reference} and we know nothing of it"

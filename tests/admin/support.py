"""Rows for the back office's tests, written as the services leave them. Each commits."""

import itertools
import json
import uuid
from datetime import datetime, timedelta
from typing import Any

from portal.accounts.models import User
from portal.catalogue.models import Package
from portal.core import clock, outbox
from portal.core.db import db, unit_of_work
from portal.core.mail import MailMessage, MailStatus
from portal.core.outbox import MessageStatus, OutboxMessage
from portal.orders.models import LineKind, Order, OrderLine, OrderStatus, PaymentStatus
from portal.payments.models import (
    AttemptStatus,
    EventStatus,
    Invoice,
    Payment,
    PaymentAttempt,
    PaymentSession,
    ProviderEvent,
    SessionStatus,
    Standing,
)
from portal.payments.refund_models import Dispute, DisputeStatus, Refund, RefundFlag, RefundOrigin
from portal.payments.services.returning import record_refund

numbers = itertools.count(1)


def make_order(
    user: User | None = None,
    *,
    number: str | None = None,
    email: str | None = None,
    name: str | None = None,
    total_minor: int = 6900,
    status: OrderStatus = OrderStatus.OPEN,
    payment_status: PaymentStatus = PaymentStatus.PENDING,
    package: Package | None = None,
    at: datetime | None = None,
) -> Order:
    """An order of one line; paid orders have their money counted."""
    at = at or clock.now()
    is_paid = payment_status is not PaymentStatus.PENDING
    order = Order(
        number=number or f"ORD-20260121-{next(numbers):04d}",
        idempotency_key=uuid.uuid4().hex,
        user_id=user.id if user else None,
        email=email or (user.email if user else "guest@example.com"),
        name=name if name is not None else (user.name if user else "Gustaw Gość"),
        billing={},
        locale="en",
        currency="PLN",
        total_minor=total_minor,
        tax_minor=total_minor * 23 // 123,
        paid_minor=total_minor if is_paid else 0,
        status=status,
        payment_status=payment_status,
        placed_at=at,
        paid_at=at if is_paid else None,
        lines=[
            OrderLine(
                position=1, kind=LineKind.PACKAGE, package_id=package.id if package else None,
                description=package.name if package else "Biuro Autopilot", unit_price_minor=total_minor, quantity=1,
                tax_rate_basis_points=2300, tax_minor=total_minor * 23 // 123, total_minor=total_minor,
            )
        ],
    )  # fmt: skip
    return _keep(order)


def make_session(
    order: Order | None = None,
    *,
    amount_minor: int = 6900,
    status: SessionStatus = SessionStatus.PENDING,
    attempt: AttemptStatus | None = AttemptStatus.OPEN,
    provider: str = "sandbox",
    at: datetime | None = None,
    **values: Any,
) -> PaymentSession:
    """A payment session, of an order or of the tests' own purpose, with one attempt unless told otherwise."""
    at = at or clock.now()
    public_id = values.pop("public_id", None) or str(uuid.uuid4())
    session = PaymentSession(
        public_id=public_id,
        purpose="order" if order else "test",
        subject_id=order.id if order else next(numbers),
        description=values.pop("description", None) or (f"{order.number}: Biuro Autopilot" if order else "A purchase"),
        amount_minor=order.total_minor if order else amount_minor,
        currency=values.pop("currency", "PLN"),
        mode="test",
        status=status,
        success_url="http://localhost/ok",
        cancel_url="http://localhost/no",
        customer_email=values.pop("customer_email", order.email if order else "buyer@example.com"),
        customer_name=order.name if order else "Bożena Buyer",
        locale="en",
        details={},
        created_at=at,
        expires_at=values.pop("expires_at", at + timedelta(hours=24)),
        **values,
    )
    if attempt is not None:
        session.attempts = [
            PaymentAttempt(
                number=1, provider=provider, status=attempt, idempotency_key=f"checkout:{public_id}:1",
                provider_reference=f"ref_{public_id[:8]}", created_at=at,
            )
        ]  # fmt: skip
    if status is SessionStatus.PAID:
        session.provider, session.provider_reference, session.paid_at = provider, f"ref_{public_id[:8]}", at
    return _keep(session)


def make_event(
    session: PaymentSession | None = None,
    *,
    status: EventStatus = EventStatus.PENDING,
    provider: str = "stripe",
    event_type: str = "checkout.session.completed",
    verdict: str | None = None,
    amount_minor: int = 4900,
    body: str | None = None,
    at: datetime | None = None,
    **values: Any,
) -> ProviderEvent:
    """An event of the inbox with one fact: that something was paid."""
    at = at or clock.now()
    public_id = session.public_id if session else values.pop("session_public_id", None)
    event = ProviderEvent(
        provider=provider,
        delivery_key=values.pop("delivery_key", None) or f"evt_{uuid.uuid4().hex[:12]}",
        event_type=event_type,
        source="webhook",
        body=body if body is not None else json.dumps({"id": "evt_1", "type": event_type}),
        normalised=values.pop(
            "normalised",
            [
                {
                    "outcome": "paid", "session_id": public_id, "attempt_reference": "cs_1",
                    "payment_reference": "pi_1", "business_key": None, "amount_minor": amount_minor,
                    "currency": "PLN", "is_test": True,
                    "occurred_at": at.isoformat(), "detail": None,
                }
            ],
        ),
        session_public_id=public_id,
        status=status,
        verdict=verdict,
        available_at=at,
        received_at=at,
        **values,
    )  # fmt: skip
    return _keep(event)


def make_payment(
    session: PaymentSession,
    event: ProviderEvent,
    *,
    standing: Standing = Standing.COUNTED,
    amount_minor: int | None = None,
    surplus_reason: str | None = None,
    at: datetime | None = None,
) -> Payment:
    """Money that came in."""
    return _keep(
        Payment(
            session_id=session.id, event_id=event.id, provider=event.provider, provider_reference="pi_1",
            business_key=uuid.uuid4().hex, amount_minor=amount_minor or session.amount_minor,
            currency=session.currency, standing=standing, surplus_reason=surplus_reason,
            received_at=at or clock.now(),
        )
    )  # fmt: skip


def make_conflict(
    amount_minor: int = 4900, *, reason: str = "second_payment", at: datetime | None = None
) -> ProviderEvent:
    """Money that does not count, as the money core leaves it; by default on top of a paid session."""
    is_second = reason == "second_payment"
    status = SessionStatus.PAID if is_second else SessionStatus.FAILED
    session = make_session(amount_minor=amount_minor, status=status, attempt=AttemptStatus.PAID, at=at)
    if is_second:
        make_invoice(session)
    event = make_event(session, status=EventStatus.CONFLICT, verdict=reason, amount_minor=amount_minor, at=at)
    make_payment(session, event, standing=Standing.SURPLUS, surplus_reason=reason, at=at)
    return event


def make_invoice(session: PaymentSession, user: User | None = None, *, subject_number: str | None = None) -> Invoice:
    """The invoice of a session."""
    at = clock.now()
    gross = session.amount_minor
    return _keep(
        Invoice(
            number=f"INV-2026-{next(numbers):05d}", session_id=session.id, user_id=user.id if user else None,
            subject_number=subject_number, seller={"name": "Atelier Nord"}, buyer={"name": session.customer_name},
            locale="en", currency=session.currency, net_minor=gross - gross * 23 // 123, tax_minor=gross * 23 // 123,
            gross_minor=gross, provider="sandbox", provider_reference="ref", issued_at=at, paid_at=at, lines=[],
        )
    )  # fmt: skip


def make_refund(payment: Payment, *, amount_minor: int = 100, flag: RefundFlag | None = None) -> Refund:
    """A refund that waits for its answer, or for a person."""
    key = uuid.uuid4().hex
    with unit_of_work():
        mine = db.session.get_one(Payment, payment.id)
        return record_refund(
            mine, amount_minor, origin=RefundOrigin.STAFF, request_key=key, by="admin@example.com", at=clock.now(),
            flag=flag,
        )  # fmt: skip


def make_dispute(payment: Payment, *, amount_minor: int = 100, due_at: datetime | None = None) -> Dispute:
    """A dispute that nobody has answered."""
    return _keep(
        Dispute(
            payment_id=payment.id, session_id=payment.session_id, provider=payment.provider,
            provider_reference=f"dp_{uuid.uuid4().hex[:8]}", status=DisputeStatus.NEEDS_RESPONSE,
            amount_minor=amount_minor, currency=payment.currency, due_at=due_at, opened_at=clock.now(),
        )
    )  # fmt: skip


def make_paid_order(user: User, *, at: datetime | None = None, **values: Any) -> Order:
    """An order that went well: session, event, payment, invoice."""
    order = make_order(user, status=OrderStatus.FULFILLED, payment_status=PaymentStatus.PAID, at=at, **values)
    session = make_session(order, status=SessionStatus.PAID, attempt=AttemptStatus.PAID, at=at)
    event = make_event(session, status=EventStatus.APPLIED, verdict="paid", amount_minor=order.total_minor, at=at)
    make_payment(session, event, at=at)
    make_invoice(session, user, subject_number=order.number)
    return order


def make_mail(
    to: str = "alice@example.com", *, template: str = "order_confirmation", status: MailStatus = MailStatus.SENT,
    subject: str | None = "Thank you", text_body: str | None = "Hello", at: datetime | None = None, **params: Any,
) -> MailMessage:  # fmt: skip
    """A mail of the log."""
    at = at or clock.now()
    is_sent = status is MailStatus.SENT
    return _keep(
        MailMessage(
            template=template, to=to, locale="en", params=params, status=status, created_at=at,
            subject=subject if is_sent else None, text_body=text_body if is_sent else None,
            sent_at=at if is_sent else None,
        )
    )  # fmt: skip


def make_message(
    *, topic: str = "payment_session.check_requested", status: MessageStatus = MessageStatus.FAILED,
    queue: str = "webhooks", last_error: str | None = "ValueError: it never works", at: datetime | None = None,
    **values: Any,
) -> OutboxMessage:  # fmt: skip
    """An effect of the outbox, given up by default."""
    at = at or clock.now()
    return _keep(
        OutboxMessage(
            topic=topic, queue=queue, payload=values.pop("payload", {"session_id": 1}), status=status,
            attempts=values.pop("attempts", outbox.MAX_ATTEMPTS), available_at=at, created_at=at,
            last_error=last_error, **values,
        )
    )  # fmt: skip


def _keep(row: Any) -> Any:
    with unit_of_work():
        db.session.add(row)
    return row

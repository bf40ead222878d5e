"""Opening and closing payment sessions."""

import uuid
from datetime import datetime, timedelta
from typing import Any

from portal.core import settings
from portal.core.db import db
from portal.core.money import Money
from portal.core.state import transition
from portal.payments import hooks
from portal.payments.errors import InvalidAmount
from portal.payments.models import AttemptStatus, PaymentSession, SessionStatus

LIFETIME = timedelta(hours=24)
# Also for a process that dies right after it recorded a try, before the provider's answer asks for a closer look.
_FIRST_LOOK = timedelta(minutes=2)


def create_session(
    *,
    purpose: str,
    subject_id: int | None,
    amount: Money,
    description: str,
    success_url: str,
    cancel_url: str,
    customer_email: str | None,
    customer_name: str | None,
    locale: str,
    at: datetime,
    details: dict[str, Any] | None = None,
    public_id: str | None = None,
    mode: str | None = None,
    merchant_id: int | None = None,
    repeat_months: int | None = None,
) -> PaymentSession:
    """Open something to be paid, in the caller's transaction. Raises InvalidAmount.

    `mode` is test or live, by default the installation's own; only providers of that mode can be paid at. With
    `repeat_months` the provider charges it again every so many months: see `recurring.py`.
    """
    if amount.amount_minor <= 0:
        raise InvalidAmount
    session = PaymentSession(
        public_id=public_id or str(uuid.uuid4()),
        purpose=purpose,
        subject_id=subject_id,
        description=description[:200],
        amount_minor=amount.amount_minor,
        currency=amount.currency,
        merchant_id=merchant_id,
        mode=mode or settings.current().payment_mode,
        status=SessionStatus.CREATED,
        success_url=success_url,
        cancel_url=cancel_url,
        customer_email=customer_email,
        customer_name=customer_name,
        locale=locale,
        details=details or {},
        created_at=at,
        expires_at=at + LIFETIME,
        check_at=at + _FIRST_LOOK,
        repeat_months=repeat_months,
    )
    db.session.add(session)
    db.session.flush()
    return session


def fail_session(session: PaymentSession, *, by: str, at: datetime, reason: str) -> None:
    """Close a session that can no longer be paid, and tell the seller. Its open attempts end with it."""
    transition(session, SessionStatus.FAILED, by=by, at=at, reason=reason)
    session.check_at = None
    for attempt in session.attempts:
        if attempt.status in (AttemptStatus.STARTING, AttemptStatus.OPEN, AttemptStatus.UNKNOWN):
            transition(attempt, AttemptStatus.FAILED, by=by, at=at, reason=reason)
    hooks.failed(session, at=at)

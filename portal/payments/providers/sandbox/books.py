"""The sandbox company's business: it opens pages, takes money, gives it back, and tells the portal by events.

Every verb locks the page first and does nothing to one that is already closed, so a double click is harmless. Callers
hold the transaction; an event and its delivery are written in it.
"""

import re
import secrets
from datetime import datetime, timedelta
from typing import Any

from flask_babel import lazy_gettext as _l
from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite

from portal.core import outbox
from portal.core.db import db, is_postgresql
from portal.core.errors import Invalid, NotFound
from portal.payments.providers.base import ProviderRejected, RefundRequest, StartRequest
from portal.payments.providers.sandbox import events
from portal.payments.providers.sandbox.models import (
    PageStatus,
    SandboxCharge,
    SandboxEvent,
    SandboxPayment,
    SandboxRefund,
)

EVENT_CREATED = "sandbox.event_created"
_REFERENCE = re.compile(r"sbx_[0-9a-f]{32}")
LATE = timedelta(seconds=20)
NEXT_TRY = timedelta(days=3)
EXPIRED = "the payment page expired"
BLIK = "blik"
CANCELLED = "the buyer cancelled"


class MethodNotOffered(Invalid):
    """A way to pay that does not exist in this currency."""

    default = _l("This way to pay is not available.")


class PageNotFound(NotFound):
    """No such hosted page."""

    default = _l("We could not find that payment page.")


def open_page(request: StartRequest, *, at: datetime) -> SandboxPayment:
    """Open a hosted page; the same key gives the same page. Raises ProviderRejected for a key used otherwise."""
    insert = postgresql.insert if is_postgresql() else sqlite.insert
    # Two tabs may start one attempt at once: the key decides, and both get the page that won.
    db.session.execute(
        insert(SandboxPayment)
        .values(
            reference=f"sbx_{secrets.token_hex(16)}",
            idempotency_key=request.idempotency_key,
            session_public_id=request.session_id,
            description=request.description[:200],
            amount_minor=request.amount.amount_minor,
            currency=request.amount.currency,
            state=PageStatus.OPEN,
            success_url=request.success_url,
            cancel_url=request.cancel_url,
            created_at=at,
            expires_at=request.expires_at,
            repeat_months=request.every_months,
        )
        .on_conflict_do_nothing(index_elements=["idempotency_key"])
    )
    page = db.session.scalars(
        select(SandboxPayment)
        .where(SandboxPayment.idempotency_key == request.idempotency_key)
        .execution_options(populate_existing=True)
    ).one()
    asked = (request.session_id, request.amount.amount_minor, request.amount.currency)
    if (page.session_public_id, page.amount_minor, page.currency) != asked:
        raise ProviderRejected(reason="idempotency_conflict")
    return page


def get_page(reference: str, *, lock: bool = False) -> SandboxPayment:
    """A hosted page as it is now. Raises PageNotFound."""
    if not _REFERENCE.fullmatch(reference):
        raise PageNotFound
    statement = select(SandboxPayment).where(SandboxPayment.reference == reference)
    if lock:
        statement = statement.with_for_update()
    page = db.session.scalars(statement.execution_options(populate_existing=True)).one_or_none()
    if page is None:
        raise PageNotFound
    return page


def pay(
    reference: str, *, method: str, at: datetime, times: int = 1, delay: timedelta | None = None, is_told: bool = True
) -> SandboxPayment:
    """Take the money `times` times and tell the portal, after a delay or not at all. A closed page stays as it is.

    Raises MethodNotOffered.
    """
    page = _open_page(reference, at)
    if method == BLIK and page.currency != "PLN":
        raise MethodNotOffered
    if page.repeat_months and (method == BLIK or times > 1):
        # BLIK asks the buyer each time, and a second charge of a subscription is a renewal.
        raise MethodNotOffered
    if page.state is not PageStatus.OPEN:
        return page
    page.state = PageStatus.PAID
    available_at = at + delay if delay else None
    if method == BLIK:
        # The buyer confirms in the bank's app, so a page paid by BLIK is pending first.
        _tell(page, events.PENDING, events.page_data(page, detail=method), at=at, is_told=is_told, when=available_at)
    for _ in range(times):
        charge = _charge(page, method, at)
        _tell(page, events.PAID, events.charge_data(page, charge), at=at, is_told=is_told, when=available_at)
    return page


def _charge(page: SandboxPayment, method: str, at: datetime) -> SandboxCharge:
    charge = SandboxCharge(
        reference=f"sbxpay_{secrets.token_hex(12)}",
        method=method,
        amount_minor=page.amount_minor,
        refunded_minor=0,
        charged_at=at,
    )
    page.charges.append(charge)
    db.session.flush()
    return charge


def renew(reference: str, *, at: datetime) -> SandboxPayment:
    """Charge a subscription once more and tell the portal. One that did not begin, or has ended, stays as it is."""
    page = _subscription(reference)
    if page.is_repeating:
        charge = _charge(page, "card", at)
        _tell(page, events.PAID, events.charge_data(page, charge), at=at)
    return page


def fail_renewal(reference: str, *, at: datetime) -> SandboxPayment:
    """Have the bank refuse the next charge of a subscription, and tell the portal when it is tried again."""
    page = _subscription(reference)
    if page.is_repeating:
        data = {**events.page_data(page, detail="card_declined"), "next_try": int((at + NEXT_TRY).timestamp())}
        _tell(page, events.RENEWAL_FAILED, data, at=at)
    return page


def end_subscription(reference: str, *, at: datetime) -> SandboxPayment:
    """Charge no more. Doing it again changes nothing."""
    page = _subscription(reference)
    if page.is_repeating:
        page.ended_at = at
        _tell(page, events.ENDED, events.page_data(page), at=at)
    return page


def page_of_subscription(reference: str) -> str:
    """The page on which a subscription began. Raises PageNotFound."""
    if not reference.startswith("sbxsub_"):
        raise PageNotFound
    return f"sbx_{reference.removeprefix('sbxsub_')}"


def _subscription(reference: str) -> SandboxPayment:
    page = get_page(reference, lock=True)
    if not page.repeat_months:
        raise PageNotFound
    return page


def decline(reference: str, *, tries: int, at: datetime) -> SandboxPayment:
    """Refuse one try; the page stays open. `tries` is how many were refused when the buyer pressed the button."""
    page = _open_page(reference, at)
    if page.state is PageStatus.OPEN and tries == count_declined(page):
        _tell(page, events.DECLINED, events.page_data(page, detail="card_declined"), at=at)
    return page


def count_declined(page: SandboxPayment) -> int:
    """How many tries were refused on a page."""
    statement = select(func.count(SandboxEvent.id)).where(
        SandboxEvent.payment_id == page.id, SandboxEvent.event_type == events.DECLINED
    )
    return db.session.scalar(statement) or 0


def cancel(reference: str, *, at: datetime) -> SandboxPayment:
    """Close the page because the buyer left. A closed page stays as it is."""
    page = _open_page(reference, at)
    if page.state is PageStatus.OPEN:
        _close(page, PageStatus.CANCELLED, at)
    return page


def expire(reference: str, *, at: datetime) -> SandboxPayment:
    """Close the page because the portal asks for it. A closed page stays as it is."""
    page = _open_page(reference, at)
    if page.state is PageStatus.OPEN:
        _close(page, PageStatus.EXPIRED, at)
    return page


def refund(request: RefundRequest, *, at: datetime) -> SandboxRefund:
    """Give money back, in whole or in part; the same key gives the same refund. Raises ProviderRejected."""
    charge = db.session.scalars(
        select(SandboxCharge)
        .where(SandboxCharge.reference == request.payment_reference)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if charge is None:
        raise ProviderRejected(reason="resource_missing")
    page = charge.payment
    made = db.session.scalar(select(SandboxRefund).where(SandboxRefund.idempotency_key == request.idempotency_key))
    left = charge.amount_minor - charge.refunded_minor
    wanted = request.amount.amount_minor if request.amount else (made.amount_minor if made else left)
    if made is not None:
        if (made.charge_id, made.amount_minor) != (charge.id, wanted):
            raise ProviderRejected(reason="idempotency_conflict")
        return made
    if request.amount and request.amount.currency != page.currency:
        raise ProviderRejected(reason="currency_mismatch")
    if not 0 < wanted <= left:
        raise ProviderRejected(reason="refund_too_large")
    given = SandboxRefund(
        charge_id=charge.id,
        reference=f"sbxref_{secrets.token_hex(12)}",
        idempotency_key=request.idempotency_key,
        amount_minor=wanted,
        reason=request.reason[:200],
        refunded_at=at,
    )
    charge.refunded_minor += wanted
    db.session.add(given)
    db.session.flush()
    _tell(page, events.REFUNDED, events.refund_data(page, charge, given), at=at)
    return given


def events_of(page: SandboxPayment) -> list[SandboxEvent]:
    """What was told about a page, oldest first."""
    return list(
        db.session.scalars(
            select(SandboxEvent)
            .where(SandboxEvent.payment_id == page.id)
            .order_by(SandboxEvent.id)
            .execution_options(populate_existing=True)
        )
    )


def undelivered(*, since: datetime, until: datetime) -> list[SandboxEvent]:
    """The events of that time that the portal has not answered with a yes, oldest first."""
    return list(
        db.session.scalars(
            select(SandboxEvent)
            .where(
                SandboxEvent.delivered_at.is_(None), SandboxEvent.created_at >= since, SandboxEvent.created_at < until
            )
            .order_by(SandboxEvent.id)
            .limit(1_000)
        )
    )


def _open_page(reference: str, at: datetime) -> SandboxPayment:
    """The page under its lock, closed first when its time is up."""
    page = get_page(reference, lock=True)
    if page.state is PageStatus.OPEN and page.expires_at <= at:
        _close(page, PageStatus.EXPIRED, at)
    return page


def _close(page: SandboxPayment, state: PageStatus, at: datetime) -> None:
    page.state = state
    detail = CANCELLED if state is PageStatus.CANCELLED else EXPIRED
    _tell(page, events.FAILED, events.page_data(page, detail=detail), at=at)


def _tell(
    page: SandboxPayment,
    event_type: str,
    data: dict[str, Any],
    *,
    at: datetime,
    is_told: bool = True,
    when: datetime | None = None,
) -> None:
    event = SandboxEvent(
        payment_id=page.id,
        webhook_id=f"evt_{secrets.token_hex(12)}",
        event_type=event_type,
        body=events.write_event(event_type, data, at=at),
        created_at=at,
    )
    db.session.add(event)
    db.session.flush()
    if is_told:
        outbox.publish(EVENT_CREATED, available_at=when, event_id=event.id)

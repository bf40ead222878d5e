"""Reads for merchants' pages, for the API and for staff. Nothing here finds another merchant's things."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import defer, joinedload, selectinload

from portal.core.db import db
from portal.core.paging import Page, paginate
from portal.core.state import StatusChange
from portal.merchants.errors import KeyNotFound, MerchantNotFound, PaymentNotFound, RequestNotFound
from portal.merchants.models import AccessLink, ApiKey, Merchant, MerchantRequest, MerchantStatus, RequestStatus
from portal.merchants.services import refunding
from portal.merchants.services.selling import PURPOSE
from portal.payments.models import Invoice, PaymentSession, ProviderEvent, SessionStatus
from portal.payments.refund_models import Refund

_MOST_WAITING = 50
_MOST_HEARD = 50
# Anything else is nobody's id, and much of it nothing that a database takes.
PUBLIC_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def find_merchant_of(user_id: int) -> Merchant | None:
    """The merchant that an account looks after."""
    return db.session.scalar(select(Merchant).where(Merchant.owner_user_id == user_id))


def get_merchant_of(user_id: int) -> Merchant:
    """The merchant that an account looks after. Raises MerchantNotFound."""
    merchant = find_merchant_of(user_id)
    if merchant is None:
        raise MerchantNotFound
    return merchant


def get_merchant(merchant_id: int) -> Merchant:
    """A merchant with its owner, for staff. Raises MerchantNotFound."""
    merchant = db.session.scalar(select(Merchant).where(Merchant.id == merchant_id).options(joinedload(Merchant.owner)))
    if merchant is None:
        raise MerchantNotFound
    return merchant


def find_public_merchant(public_id: str) -> Merchant | None:
    """A merchant by the id that others know, for its colours."""
    if not PUBLIC_ID.fullmatch(public_id):
        return None
    return db.session.scalar(select(Merchant).where(Merchant.public_id == public_id))


def merchants_page(
    *, text: str, status: MerchantStatus | None, before: str | None, after: str | None
) -> Page[Merchant]:
    """A page of merchants for staff, newest first; found by part of the name, or by the contact's address."""
    statement = select(Merchant).options(joinedload(Merchant.owner))
    if status is not None:
        statement = statement.where(Merchant.status == status)
    if "@" in text:
        statement = statement.where(Merchant.contact_email == text.lower())
    elif text:
        statement = statement.where(
            or_(
                Merchant.name.icontains(text, autoescape=True),
                Merchant.brand_name.icontains(text, autoescape=True),
                Merchant.public_id == text.lower(),
            )
        )
    return paginate(statement, Merchant.id, before=before, after=after)


def list_waiting_requests() -> list[MerchantRequest]:
    """The customers who wait for an answer, the one who has waited longest first."""
    return list(
        db.session.scalars(
            select(MerchantRequest)
            .where(MerchantRequest.status == RequestStatus.REQUESTED)
            .options(joinedload(MerchantRequest.user))
            .order_by(MerchantRequest.id)
            .limit(_MOST_WAITING)
        )
    )


def get_request(request_id: int) -> MerchantRequest:
    """A request with who made it. Raises RequestNotFound."""
    wish = db.session.scalar(
        select(MerchantRequest).where(MerchantRequest.id == request_id).options(joinedload(MerchantRequest.user))
    )
    if wish is None:
        raise RequestNotFound
    return wish


def find_latest_request(user_id: int) -> MerchantRequest | None:
    """What a customer asked last."""
    return db.session.scalars(
        select(MerchantRequest).where(MerchantRequest.user_id == user_id).order_by(MerchantRequest.id.desc()).limit(1)
    ).first()


def list_keys(merchant: Merchant, *, limit: int = 100) -> list[ApiKey]:
    """A merchant's keys, newest first, the ended ones too."""
    return list(
        db.session.scalars(
            select(ApiKey).where(ApiKey.merchant_id == merchant.id).order_by(ApiKey.id.desc()).limit(limit)
        )
    )


def get_key(merchant: Merchant, key_id: int) -> ApiKey:
    """One of a merchant's keys. Raises KeyNotFound, also for another merchant's."""
    key = db.session.scalar(select(ApiKey).where(ApiKey.id == key_id, ApiKey.merchant_id == merchant.id))
    if key is None:
        raise KeyNotFound
    return key


def sessions_of(merchant_id: int, mode: str, *, status: SessionStatus | None = None) -> Select[PaymentSession]:
    """A merchant's payment sessions of one mode, to be paged."""
    statement = select(PaymentSession).where(PaymentSession.merchant_id == merchant_id, PaymentSession.mode == mode)
    return statement if status is None else statement.where(PaymentSession.status == status)


def sessions_page(
    merchant: Merchant, mode: str, *, status: SessionStatus | None, before: str | None, after: str | None
) -> Page[PaymentSession]:
    """A page of a merchant's payment sessions, newest first."""
    return paginate(sessions_of(merchant.id, mode, status=status), PaymentSession.id, before=before, after=after)


def list_after(
    merchant_id: int, mode: str, *, status: SessionStatus | None, cursor: str | None, limit: int
) -> list[PaymentSession]:
    """Up to `limit` sessions after the one that `cursor` names, newest first. Raises PaymentNotFound for a cursor
    that is no session of this merchant and mode."""
    statement = sessions_of(merchant_id, mode, status=status)
    if cursor is not None:
        last = get_session(merchant_id, cursor, mode=mode)
        statement = statement.where(PaymentSession.id < last.id)
    return list(db.session.scalars(statement.order_by(PaymentSession.id.desc()).limit(limit)))


def get_session(merchant_id: int, public_id: str, *, mode: str | None = None) -> PaymentSession:
    """A merchant's own session, of one mode when that is given. Raises PaymentNotFound, also for a stranger's."""
    if not PUBLIC_ID.fullmatch(public_id):
        raise PaymentNotFound
    statement = select(PaymentSession).where(
        PaymentSession.public_id == public_id, PaymentSession.merchant_id == merchant_id
    )
    if mode is not None:
        statement = statement.where(PaymentSession.mode == mode)
    session: PaymentSession | None = db.session.scalar(statement)
    if session is None:
        raise PaymentNotFound
    return session


def get_payable(public_id: str) -> tuple[PaymentSession, Merchant]:
    """What a pay page shows, whoever has its address. Raises PaymentNotFound, also for what is not a merchant's."""
    if not PUBLIC_ID.fullmatch(public_id):
        raise PaymentNotFound
    row = db.session.execute(
        select(PaymentSession, Merchant)
        .join(Merchant, Merchant.id == PaymentSession.merchant_id)
        .where(PaymentSession.public_id == public_id, PaymentSession.purpose == PURPOSE)
        .options(selectinload(PaymentSession.attempts))
    ).one_or_none()
    if row is None:
        raise PaymentNotFound
    return row[0], row[1]


def webhook_sources(public_ids: Sequence[str]) -> dict[str, list[str]]:
    """Which providers have sent a webhook about each of these sessions: one statement for all of them."""
    found: dict[str, list[str]] = defaultdict(list)
    rows = db.session.execute(
        select(ProviderEvent.session_public_id, ProviderEvent.provider)
        .where(ProviderEvent.session_public_id.in_(public_ids), ProviderEvent.source == "webhook")
        .distinct()
        .order_by(ProviderEvent.provider)
    )
    for public_id, provider in rows:
        found[str(public_id)].append(provider)
    return found


@dataclass(frozen=True, slots=True)
class SessionFile:
    """Everything a merchant sees about one payment."""

    session: PaymentSession
    changes: list[StatusChange]
    invoice: Invoice | None
    link: AccessLink | None
    # What providers told about it, oldest first; and what went back of the money.
    heard: list[ProviderEvent]
    refunds: list[Refund]


def read_session_file(merchant: Merchant, public_id: str) -> SessionFile:
    """One payment with its tries and its history: the same number of statements whatever happened to it.

    Raises PaymentNotFound.
    """
    session = get_session(merchant.id, public_id)
    db.session.refresh(session, ["attempts"])
    changes = db.session.scalars(
        select(StatusChange)
        .where(StatusChange.entity == "payment_sessions", StatusChange.entity_id == session.id)
        .order_by(StatusChange.id)
    )
    return SessionFile(
        session=session,
        changes=list(changes),
        invoice=db.session.scalar(select(Invoice).where(Invoice.session_id == session.id)),
        link=db.session.scalar(select(AccessLink).where(AccessLink.session_id == session.id)),
        heard=_heard(session),
        refunds=refunding.refunds_of(session),
    )


def _heard(session: PaymentSession) -> list[ProviderEvent]:
    """The webhooks and answers about a merchant's own session; their bodies are the portal's account's, so not read."""
    statement = (
        select(ProviderEvent)
        .where(ProviderEvent.session_public_id == session.public_id)
        .options(defer(ProviderEvent.body, raiseload=True), defer(ProviderEvent.normalised, raiseload=True))
        .order_by(ProviderEvent.id)
        .limit(_MOST_HEARD)
    )
    return list(db.session.scalars(statement))


def invoices_page(merchant: Merchant, mode: str, *, before: str | None, after: str | None) -> Page[PaymentSession]:
    """A page of a merchant's paid sessions, newest first: each has its invoice, see `invoices_of`.

    Paged by the session, because that is what the merchant's index is sorted by.
    """
    return sessions_page(merchant, mode, status=SessionStatus.PAID, before=before, after=after)


def invoices_of(sessions: Sequence[PaymentSession]) -> dict[int, Invoice]:
    """The invoices of these sessions, by session."""
    rows = db.session.scalars(select(Invoice).where(Invoice.session_id.in_([session.id for session in sessions])))
    return {invoice.session_id: invoice for invoice in rows}


def find_invoice(session: PaymentSession) -> Invoice | None:
    """A session's invoice with everything that stands on it."""
    return db.session.scalar(
        select(Invoice)
        .where(Invoice.session_id == session.id)
        .options(selectinload(Invoice.lines), joinedload(Invoice.session))
    )

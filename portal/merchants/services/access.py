"""The link with which a merchant's customer sees one purchase: seven days, one purchase, and it can be taken back."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from portal.core import audit, sealed
from portal.core.db import db
from portal.merchants.errors import LinkDead, LinkOver, PaymentNotFound
from portal.merchants.models import AccessLink, Merchant
from portal.payments.models import PaymentSession

LIFETIME = timedelta(days=7)
_PURPOSE = "customer-access"
_LONGEST_TOKEN = 400


@dataclass(frozen=True, slots=True)
class Purchase:
    """What a customer's link opens."""

    link: AccessLink
    merchant: Merchant
    session: PaymentSession


def create_link(session: PaymentSession, merchant: Merchant, *, at: datetime) -> AccessLink:
    """Make the link of a paid session, in the transaction that settles it."""
    link = AccessLink(
        reference=secrets.token_urlsafe(32),
        merchant_id=merchant.id,
        session_id=session.id,
        created_at=at,
        expires_at=at + LIFETIME,
    )
    db.session.add(link)
    db.session.flush()
    return link


def token_of(purchase: Purchase) -> str:
    """What stands in the address: reference, merchant and session, signed. Made for each mail and never stored."""
    parts = (purchase.link.reference, purchase.merchant.public_id, purchase.session.public_id)
    return sealed.sign(":".join(parts), purpose=_PURPOSE)


def open_link(token: str, *, at: datetime) -> Purchase:
    """The purchase behind a link. Raises LinkDead for what we never signed, LinkOver for what has ended."""
    if len(token) > _LONGEST_TOKEN:
        raise LinkDead
    value = sealed.read_signed(token, purpose=_PURPOSE)
    parts = value.split(":") if isinstance(value, str) else []
    if len(parts) != 3:
        raise LinkDead
    purchase = get_purchase(parts[0], at=at)
    if (purchase.merchant.public_id, purchase.session.public_id) != (parts[1], parts[2]):
        raise LinkDead
    return purchase


def get_purchase(reference: str, *, at: datetime) -> Purchase:
    """The purchase of a link that was opened before, looked at anew each time: a link that was taken back is over.

    Raises LinkDead or LinkOver.
    """
    link = db.session.scalar(
        select(AccessLink).where(AccessLink.reference == reference).options(joinedload(AccessLink.merchant))
    )
    if link is None:
        raise LinkDead
    if not link.is_good_at(at):
        raise LinkOver
    return Purchase(link, link.merchant, db.session.get_one(PaymentSession, link.session_id))


def is_link_to(reference: str, public_id: str) -> bool:
    """Whether a link, ended or not, was to this purchase: its own customer may be told that it has ended."""
    found = select(AccessLink.id).join(PaymentSession, PaymentSession.id == AccessLink.session_id)
    statement = found.where(AccessLink.reference == reference, PaymentSession.public_id == public_id)
    return db.session.scalar(statement) is not None


def purchase_of(session: PaymentSession) -> Purchase | None:
    """A session's purchase with its link, whatever the link's state."""
    link = db.session.scalar(
        select(AccessLink).where(AccessLink.session_id == session.id).options(joinedload(AccessLink.merchant))
    )
    return None if link is None else Purchase(link, link.merchant, session)


def note_opened(link_id: int, *, at: datetime) -> None:
    """Write when a link was last used."""
    db.session.get_one(AccessLink, link_id).last_used_at = at


def revoke_link(merchant: Merchant, session: PaymentSession, *, by: str, at: datetime) -> None:
    """Take a customer's link back; browsers that have opened it are shut out at once. Raises PaymentNotFound."""
    link: AccessLink | None = db.session.scalar(
        select(AccessLink)
        .where(AccessLink.session_id == session.id, AccessLink.merchant_id == merchant.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if link is None:
        raise PaymentNotFound
    if link.revoked_at is None:
        link.revoked_at = at
        audit.record("access_link.revoked", actor=by, subject=f"access_links:{link.id}")

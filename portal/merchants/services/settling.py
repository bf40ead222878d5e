"""What a merchant's paid session brings about, in the transaction that settles the money: the merchant's first key,
the customer's link and the mails are there together with the payment and its invoice, or not at all.
"""

from datetime import datetime

from sqlalchemy import exists, select
from sqlalchemy.exc import IntegrityError

from portal.core import audit, mail, settings
from portal.core.db import db
from portal.merchants.models import ApiKey, Merchant
from portal.merchants.services import access, keys
from portal.payments import BillLine, BillOfSale
from portal.payments.models import PaymentSession

# Stored as it is for whoever reads it by program; pages and mails say it in their own language.
FIRST_KEY_LABEL = "Auto-generated from session {}"


def settle_session(session: PaymentSession, *, at: datetime) -> None:
    """Give the customer their link and receipt, and the merchant its first key when it never had one."""
    merchant = _merchant_of(session)
    make_first_key(merchant, session, at=at)
    access.create_link(session, merchant, at=at)
    if session.customer_email:
        mail.send(
            "merchant_receipt",
            to=session.customer_email,
            locale=session.locale,
            key=f"merchant_receipt:{session.id}",
            session_id=session.id,
        )


def make_first_key(merchant: Merchant, session: PaymentSession, *, at: datetime) -> None:
    """A key for a merchant that has never had one. A merchant that revoked its keys is not given another.

    Nobody is there to be shown the secret, so it is sealed and told once, to the owner, who has just given their
    password, on the page of keys. Two first payments at once: the unique index lets one of them make the key.
    """
    if db.session.scalar(select(exists().where(ApiKey.merchant_id == merchant.id))):
        return
    try:
        with db.session.begin_nested():
            key = keys.add_key(
                merchant,
                keys.new_secret(merchant.first_key_mode),
                label=FIRST_KEY_LABEL.format(session.public_id),
                scopes=keys.ALL_SCOPES,
                expires_at=None,
                by=audit.current_cause() or f"payment_session:{session.id}",
                at=at,
                made_by_session_id=session.id,
            )
    except IntegrityError:
        return
    mail.send(
        "merchant_first_key",
        to=merchant.owner.email,
        locale=merchant.owner.locale,
        key=f"merchant_first_key:{merchant.id}",
        key_id=key.id,
    )


def describe_session(session: PaymentSession) -> BillOfSale:
    """What the invoice says: the merchant sells, the portal issues the paper on its behalf."""
    merchant = _merchant_of(session)
    buyer = {"name": session.customer_name or "", "email": session.customer_email or ""}
    return BillOfSale(
        subject_number=None,
        user_id=None,
        buyer=buyer,
        lines=(BillLine(session.description, 1, session.amount_minor, merchant.tax_rate_basis_points),),
        seller={
            "name": merchant.name,
            "address": merchant.address,
            "tax_id": merchant.tax_id,
            "email": merchant.contact_email,
            "issued_by": settings.current().business_name,
        },
    )


def _merchant_of(session: PaymentSession) -> Merchant:
    return db.session.scalars(select(Merchant).where(Merchant.id == session.merchant_id)).one()

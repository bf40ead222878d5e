"""Who is a merchant: made by staff, or asked for by a customer and decided by staff."""

import uuid
from dataclasses import asdict, dataclass, field
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from portal.accounts.models import User
from portal.accounts.services.paid_users import find_user
from portal.core import audit, mail
from portal.core.db import db
from portal.core.state import transition
from portal.merchants.errors import AlreadyMerchant, MerchantNotFound, OwnerUnknown, RequestNotFound
from portal.merchants.models import Merchant, MerchantRequest, MerchantStatus, RequestStatus


@dataclass(frozen=True, slots=True)
class MerchantValues:
    """Everything about a merchant that may be changed, checked by the form."""

    name: str
    contact_email: str
    brand_name: str = ""
    brand_color: str = ""
    address: str = ""
    tax_id: str = ""
    tax_rate_basis_points: int = 0
    allowed_providers: list[str] = field(default_factory=list)
    return_hosts: list[str] = field(default_factory=list)
    webhook_url: str = ""
    first_key_mode: str = "test"


def create_merchant(owner_email: str, values: MerchantValues, *, by: str, at: datetime) -> Merchant:
    """Make the account of an address a merchant. Raises OwnerUnknown or AlreadyMerchant."""
    owner = find_user(owner_email)
    if owner is None:
        raise OwnerUnknown(field="owner_email")
    return _create(owner, values, by=by, at=at)


def _create(owner: User, values: MerchantValues, *, by: str, at: datetime) -> Merchant:
    merchant = Merchant(
        public_id=str(uuid.uuid4()),
        owner_user_id=owner.id,
        status=MerchantStatus.ACTIVE,
        created_at=at,
        updated_at=at,
        **asdict(values),
    )
    try:
        with db.session.begin_nested():
            db.session.add(merchant)
            db.session.flush()
    except IntegrityError:
        # The unique owner decides between two who press the button at once.
        raise AlreadyMerchant from None
    audit.record("merchant.created", actor=by, subject=f"merchants:{merchant.id}", after=asdict(values))
    return merchant


def update_merchant(merchant_id: int, values: MerchantValues, *, by: str, at: datetime) -> Merchant:
    """Change a merchant; what was sold before keeps what it said then. Raises MerchantNotFound."""
    merchant = _locked(merchant_id)
    before = {name: getattr(merchant, name) for name in asdict(values)}
    for name, value in asdict(values).items():
        setattr(merchant, name, value)
    merchant.updated_at = at
    audit.record("merchant.changed", actor=by, subject=f"merchants:{merchant.id}", before=before, after=asdict(values))
    return merchant


def suspend_merchant(merchant_id: int, *, reason: str, by: str, at: datetime) -> None:
    """Stop a merchant from selling: keys are refused and pay pages closed. Money on its way still counts."""
    merchant = _locked(merchant_id)
    transition(merchant, MerchantStatus.SUSPENDED, by=by, at=at, reason=reason)
    audit.record("merchant.suspended", actor=by, subject=f"merchants:{merchant.id}", detail=reason)


def activate_merchant(merchant_id: int, *, by: str, at: datetime) -> None:
    """Let a suspended merchant sell again."""
    merchant = _locked(merchant_id)
    transition(merchant, MerchantStatus.ACTIVE, by=by, at=at)
    audit.record("merchant.activated", actor=by, subject=f"merchants:{merchant.id}")


def request_merchant(
    user: User, *, name: str, contact_email: str, website: str, message: str, at: datetime
) -> MerchantRequest:
    """Ask to become a merchant. Raises AlreadyMerchant, also while an earlier request waits."""
    if db.session.scalar(select(Merchant.id).where(Merchant.owner_user_id == user.id)) is not None:
        raise AlreadyMerchant
    wish = MerchantRequest(
        user_id=user.id, name=name, contact_email=contact_email, website=website, message=message,
        status=RequestStatus.REQUESTED, requested_at=at,
    )  # fmt: skip
    try:
        with db.session.begin_nested():
            db.session.add(wish)
            db.session.flush()
    except IntegrityError:
        raise AlreadyMerchant from None
    audit.record("merchant.requested", actor=user.email, subject=f"merchant_requests:{wish.id}", after={"name": name})
    return wish


def approve_request(request_id: int, *, by: str, at: datetime) -> Merchant:
    """Make a merchant of whoever asked, and tell them. Raises RequestNotFound, InvalidTransition, AlreadyMerchant."""
    wish = _locked_request(request_id)
    transition(wish, RequestStatus.APPROVED, by=by, at=at, values={"decided_at": at})
    values = MerchantValues(name=wish.name, contact_email=wish.contact_email)
    merchant = _create(wish.user, values, by=by, at=at)
    _tell(wish, "merchant_approved")
    return merchant


def decline_request(request_id: int, *, answer: str, by: str, at: datetime) -> None:
    """Say no, with the reason the customer reads. Raises RequestNotFound or InvalidTransition."""
    wish = _locked_request(request_id)
    transition(wish, RequestStatus.DECLINED, by=by, at=at, reason=answer, values={"decided_at": at, "answer": answer})
    audit.record("merchant.declined", actor=by, subject=f"merchant_requests:{wish.id}", detail=answer)
    _tell(wish, "merchant_declined")


def _tell(wish: MerchantRequest, template: str) -> None:
    mail.send(
        template, to=wish.user.email, locale=wish.user.locale, key=f"merchant_request:{wish.id}", request_id=wish.id
    )


def _locked(merchant_id: int) -> Merchant:
    merchant: Merchant | None = db.session.scalar(
        select(Merchant).where(Merchant.id == merchant_id).with_for_update().execution_options(populate_existing=True)
    )
    if merchant is None:
        raise MerchantNotFound
    return merchant


def _locked_request(request_id: int) -> MerchantRequest:
    wish: MerchantRequest | None = db.session.scalar(
        select(MerchantRequest)
        .where(MerchantRequest.id == request_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if wish is None:
        raise RequestNotFound
    return wish

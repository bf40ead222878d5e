"""What a user says about themselves: name, telephone, language, addresses, password."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import select

from portal.accounts.models import Address, AddressKind, TokenPurpose, User
from portal.accounts.services import sessions, tokens
from portal.accounts.services.locking import lock_user
from portal.core import audit, mail
from portal.core.db import db


@dataclass(frozen=True, slots=True)
class AddressDetails:
    """An address as it was typed and checked."""

    name: str
    company: str
    tax_id: str
    line1: str
    line2: str
    city: str
    state: str
    postal_code: str
    country: str


def change_profile(user: User, *, name: str, phone: str, locale: str) -> None:
    """Keep the user's name, telephone number and language."""
    before = {"name": user.name, "phone": user.phone, "locale": user.locale}
    user.name, user.phone, user.locale = name, phone, locale
    after = {"name": name, "phone": phone, "locale": locale}
    if after != before:
        audit.record("profile.changed", actor=user.email, subject=f"users:{user.id}", before=before, after=after)


def list_addresses(user: User) -> dict[AddressKind, Address]:
    """The user's addresses, at most one of each kind."""
    return {row.kind: row for row in db.session.scalars(select(Address).where(Address.user_id == user.id))}


def save_address(user: User, kind: AddressKind, details: AddressDetails) -> Address:
    """Keep the user's address of this kind, in place of an earlier one."""
    # The race: two tabs saving the first address at once. The row of the user is held, so the second finds the first.
    lock_user(user)
    address = list_addresses(user).get(kind)
    before = _values(address)
    if address is None:
        address = Address(user_id=user.id, kind=kind, **asdict(details))
        db.session.add(address)
    else:
        for name, value in asdict(details).items():
            setattr(address, name, value)
    db.session.flush()
    audit.record(
        "address.changed",
        actor=user.email,
        subject=f"users:{user.id}",
        before=before,
        after=_values(address),
        detail=kind,
    )
    return address


def remove_address(user: User, kind: AddressKind) -> None:
    """Forget the user's address of this kind; forgotten already is fine."""
    address = list_addresses(user).get(kind)
    if address is None:
        return
    audit.record("address.removed", actor=user.email, subject=f"users:{user.id}", before=_values(address), detail=kind)
    db.session.delete(address)


def change_password(user: User, password_hash: str, *, at: datetime) -> None:
    """Change the password of somebody who knows the old one; every other browser is signed out."""
    user = lock_user(user)
    user.password_hash = password_hash
    sessions.drop_sessions(user, keep=sessions.current_id(user))
    # Whoever is signed in to an unproven account may be a stranger: they cannot kill the address owner's link.
    tokens.end_tokens(user, at=at, but=None if user.is_verified else TokenPurpose.SET_UP_ACCOUNT)
    audit.record("password.changed", actor=user.email, subject=f"users:{user.id}")
    mail.send("password_changed", to=user.email, locale=user.locale, user_id=user.id, at=at.isoformat())


def _values(address: Address | None) -> Mapping[str, str] | None:
    if address is None:
        return None
    return {name: getattr(address, name) for name in AddressDetails.__dataclass_fields__}

"""Accounts that a purchase makes: nobody chose a password yet, the mailed set-up link does."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from portal.accounts.email_addresses import lookup_form, normalise_email
from portal.accounts.models import Role, User
from portal.accounts.services.link_mails import send_link
from portal.core import audit
from portal.core.db import db, is_postgresql
from portal.core.languages import LANGUAGES

_LONGEST_NAME = 120


def find_user(email: str) -> User | None:
    """The account of an address, however it was typed; None when there is none."""
    return db.session.scalar(select(User).where(User.email == lookup_form(email)))


def create_paid_user(email: str, name: str, locale: str, at: datetime) -> User:
    """The account of a buyer who had none, without a password and unverified. Sends nothing by itself.

    When the address has got an account in the meantime, that one. Raises Invalid for what is no address.
    """
    address = normalise_email(email)
    user_id = insert_user(address, name=name, role=Role.PAID, locale=locale, password_hash=None, at=at)
    if user_id is None:
        return db.session.scalars(select(User).where(User.email == address)).one()
    user = db.session.get_one(User, user_id)
    audit.record("account.created", actor=address, subject=f"users:{user.id}", after={"role": user.role})
    return user


def send_set_up_link(user: User, at: datetime) -> bool:
    """Mail the link with which the owner of the address chooses a password, whoever has registered it.

    False, and no mail, for an account that is proven or closed (it has its password), and when one was sent just now.
    """
    if user.is_verified or not user.is_active:
        return False
    return send_link("account_set_up", user, at=at)


def insert_user(
    email: str, *, name: str, role: Role, locale: str, password_hash: str | None, at: datetime
) -> int | None:
    """Insert an account; None when the address has one. One statement, so two at the same moment make one."""
    insert = postgresql.insert if is_postgresql() else sqlite.insert
    return db.session.scalar(
        insert(User)
        .values(
            email=email,
            name=name.strip()[:_LONGEST_NAME],
            phone="",
            locale=locale if locale in LANGUAGES else "en",
            role=role,
            password_hash=password_hash,
            is_active=True,
            created_at=at,
        )
        .on_conflict_do_nothing(index_elements=["email"])
        .returning(User.id)
    )

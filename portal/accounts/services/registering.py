"""Registering, and asking for a link. What the answer is does not depend on whether the address is known.

The request writes the same rows for a known and an unknown address; which mail goes out, and whether one does, is
decided later by the outbox's handlers. So neither the words nor the time of an answer tell.
"""

from datetime import datetime

from portal.accounts.models import Role, User
from portal.accounts.services.link_mails import send_link
from portal.accounts.services.paid_users import find_user, insert_user
from portal.core import audit, outbox, sealed

_PURPOSE = "typed-address"
REGISTERED = "account.registered"
LINK_REQUESTED = "account.link_requested"


def register(*, email: str, name: str, password_hash: str, locale: str, at: datetime) -> None:
    """Open an account, unverified; for an address that has one, nothing but a mail to its owner.

    `email` is normalised. The account of a known address is not touched: neither its name nor its password.
    """
    user_id = insert_user(email, name=name, role=Role.CUSTOMER, locale=locale, password_hash=password_hash, at=at)
    audit.record(
        "account.registered" if user_id else "account.registered_again",
        actor="anonymous",
        subject=f"users:{user_id}" if user_id else None,
    )
    outbox.publish(REGISTERED, address=_sealed(email), is_new=user_id is not None)


def request_verification(email: str) -> None:
    """Ask for another verification mail; nobody learns whether there is anything to verify."""
    outbox.publish(LINK_REQUESTED, address=_sealed(email), purpose="verify_email")


def request_password_reset(email: str) -> None:
    """Ask for a link to choose a new password; nobody learns whether there is an account."""
    outbox.publish(LINK_REQUESTED, address=_sealed(email), purpose="reset_password")


def answer_registration(address: str, *, is_new: bool, at: datetime) -> None:
    """Send the mail that a registration calls for."""
    user = _user_of(address)
    if user is None:
        return
    if is_new:
        send_link("verify_email", user, at=at)
    else:
        send_link("already_registered", user, at=at)


def answer_link_request(address: str, purpose: str, *, at: datetime) -> None:
    """Send the link that was asked for, to the account's owner, if there is one who can use it."""
    user = _user_of(address)
    if user is None:
        return
    if purpose == "verify_email":
        if not user.is_verified:
            # Without a password there is nothing to confirm with: the set-up link proves the address as well.
            send_link("verify_email" if user.password_hash else "account_set_up", user, at=at)
        return
    send_link("reset_password" if user.password_hash else "account_set_up", user, at=at)


def _user_of(address: str) -> User | None:
    user = find_user(sealed.unseal(address, purpose=_PURPOSE))
    return user if user is not None and user.is_active else None


def _sealed(email: str) -> str:
    # Addresses typed by strangers are not collected in the clear.
    return sealed.seal(email, purpose=_PURPOSE)

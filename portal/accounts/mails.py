"""What the mails about accounts are filled with. Called when a mail is sent: links are made there and then."""

from datetime import datetime

from flask_babel import lazy_gettext as _l

from portal.accounts.models import TokenPurpose, User
from portal.accounts.services import tokens
from portal.core import clock, mail
from portal.core.addresses import address_of
from portal.core.db import db, unit_of_work
from portal.core.mail import Content


def _link(user_id: int, purpose: TokenPurpose, endpoint: str) -> Content:
    with unit_of_work():
        user = db.session.get_one(User, user_id, populate_existing=True)
        token = tokens.issue_token(user, purpose, at=clock.now())
    return Content(
        values={"name": user.name, "email": user.email},
        secrets={"link": address_of(endpoint, token=token)},
    )


def set_up_address(user_id: int) -> str | None:
    """A fresh link for choosing a password, for another domain's mail; None for an account that needs none."""
    user = db.session.get_one(User, user_id, populate_existing=True)
    if user.is_verified or not user.is_active:
        return None
    return _link(user_id, TokenPurpose.SET_UP_ACCOUNT, "accounts.set_up").secrets["link"]


@mail.context("account_set_up", title=_l("Account set-up link"))
def account_set_up(user_id: int) -> Content:
    """For a buyer without an account: choose a password within an hour."""
    return _link(user_id, TokenPurpose.SET_UP_ACCOUNT, "accounts.set_up")


@mail.context("verify_email", title=_l("Confirm your e-mail address"))
def verify_email(user_id: int) -> Content:
    """For who has registered: prove the address within a day."""
    return _link(user_id, TokenPurpose.VERIFY_EMAIL, "accounts.verify")


@mail.context("reset_password", title=_l("Password reset link"))
def reset_password(user_id: int) -> Content:
    """For who has forgotten: choose a new password within an hour."""
    return _link(user_id, TokenPurpose.RESET_PASSWORD, "accounts.reset_password")


@mail.context("already_registered", title=_l("You already have an account"))
def already_registered(user_id: int) -> Content:
    """For who registered an address a second time; whoever else tried learns nothing."""
    return _about(user_id, log_in=address_of("accounts.log_in"), forgot=address_of("accounts.forgot_password"))


@mail.context("welcome", title=_l("Welcome"))
def welcome(user_id: int) -> Content:
    """After the address is proven."""
    return _about(user_id, log_in=address_of("accounts.log_in"))


@mail.context("password_changed", title=_l("Your password was changed"))
def password_changed(user_id: int, at: str) -> Content:
    """A warning for the owner, in case it was somebody else."""
    return _about(user_id, at=datetime.fromisoformat(at), forgot=address_of("accounts.forgot_password"))


@mail.context("security_changed", title=_l("Your second factor was changed"))
def security_changed(user_id: int, change: str, at: str) -> Content:
    """The second factor was switched on or off, or its recovery codes were replaced."""
    return _about(
        user_id,
        change=change,
        at=datetime.fromisoformat(at),
        security=address_of("accounts.security"),
        forgot=address_of("accounts.forgot_password"),
    )


@mail.context("recovery_code_used", title=_l("A recovery code was used"))
def recovery_code_used(user_id: int) -> Content:
    """Somebody signed in without the app: the owner should know, and count what is left."""
    return _about(user_id, security=address_of("accounts.security"), forgot=address_of("accounts.forgot_password"))


def _about(user_id: int, **values: object) -> Content:
    user = db.session.get_one(User, user_id)
    return Content(values={"name": user.name, "email": user.email, **values})

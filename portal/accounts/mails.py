"""What the mails about accounts are filled with. Called when a mail is sent: links are made there and then."""

from datetime import datetime

from flask import current_app
from flask_babel import lazy_gettext as _l

from portal.accounts.models import TokenPurpose, User
from portal.accounts.services import tokens
from portal.core import clock, mail
from portal.core.db import db, unit_of_work
from portal.core.mail import Content


def _address(endpoint: str, **values: str) -> str:
    """A page's full address on the configured host: never on the one a request's Host header named."""
    path = current_app.url_map.bind("portal").build(endpoint, values)
    return f"{current_app.config['PORTAL_URL'].rstrip('/')}{path}"


def _link(user_id: int, purpose: TokenPurpose, endpoint: str) -> Content:
    with unit_of_work():
        user = db.session.get_one(User, user_id, populate_existing=True)
        token = tokens.issue_token(user, purpose, at=clock.now())
    return Content(
        values={"name": user.name, "email": user.email},
        secrets={"link": _address(endpoint, token=token)},
    )


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
    return _about(user_id, log_in=_address("accounts.log_in"), forgot=_address("accounts.forgot_password"))


@mail.context("welcome", title=_l("Welcome"))
def welcome(user_id: int) -> Content:
    """After the address is proven."""
    return _about(user_id, log_in=_address("accounts.log_in"))


@mail.context("password_changed", title=_l("Your password was changed"))
def password_changed(user_id: int, at: str) -> Content:
    """A warning for the owner, in case it was somebody else."""
    return _about(user_id, at=datetime.fromisoformat(at), forgot=_address("accounts.forgot_password"))


@mail.context("security_changed", title=_l("Your second factor was changed"))
def security_changed(user_id: int, change: str, at: str) -> Content:
    """The second factor was switched on or off, or its recovery codes were replaced."""
    return _about(
        user_id,
        change=change,
        at=datetime.fromisoformat(at),
        security=_address("accounts.security"),
        forgot=_address("accounts.forgot_password"),
    )


@mail.context("recovery_code_used", title=_l("A recovery code was used"))
def recovery_code_used(user_id: int) -> Content:
    """Somebody signed in without the app: the owner should know, and count what is left."""
    return _about(user_id, security=_address("accounts.security"), forgot=_address("accounts.forgot_password"))


def _about(user_id: int, **values: object) -> Content:
    user = db.session.get_one(User, user_id)
    return Content(values={"name": user.name, "email": user.email, **values})

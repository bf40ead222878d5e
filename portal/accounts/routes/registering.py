"""Registering, and proving the address."""

from flask import Response, flash, redirect, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import get_locale
from flask_babel import gettext as _
from flask_login import current_user

from portal.accounts import browser, hashing, services
from portal.accounts.errors import LinkDead, WrongPassword
from portal.accounts.forms import ConfirmForm, EmailForm, PasswordForm, RegisterForm
from portal.accounts.models import TokenPurpose, User
from portal.accounts.routes.blueprint import (
    LINK_LIMIT,
    MAIL_LIMIT,
    bp,
    dead_link_page,
    landing_page,
    look_at_password,
    me,
    refused,
    untraceable,
)
from portal.accounts.routes.signing_in import go_on
from portal.accounts.services.signing_in import Refused
from portal.core import clock, htmx
from portal.core.access import public
from portal.core.db import unit_of_work
from portal.core.errors import PortalError
from portal.extensions import limiter

# The address a visitor typed, to show it on the next page; it says nothing about whether it is known.
_TYPED = "typed_email"


@bp.get("/register")
@public
def register() -> ResponseReturnValue:
    """The form for a new account."""
    if current_user.is_authenticated:
        return redirect(landing_page(me()))
    return htmx.render("accounts/register.html", form=RegisterForm())


@bp.post("/register")
@public
@limiter.limit(MAIL_LIMIT)
def submit_register() -> ResponseReturnValue:
    """Open the account; the same page and the same work whether the address is known or not."""
    form = RegisterForm()
    if not form.validate():
        return htmx.render("accounts/register.html", form=form, status=422)
    password_hash = hashing.hash_password(form.password.data)
    with unit_of_work():
        services.register(
            email=form.email.data,
            name=form.name.data,
            password_hash=password_hash,
            locale=str(get_locale()),
            at=clock.now(),
        )
    session[_TYPED] = form.email.data
    return redirect(url_for("accounts.verify_pending"), 303)


@bp.get("/verify")
@public
def verify_pending() -> ResponseReturnValue:
    """What to do next after registering, and whenever a page needs a proven address."""
    if current_user.is_authenticated and current_user.is_verified:
        return redirect(landing_page(me()))
    return _pending_page(EmailForm(data={"email": session.get(_TYPED)}))


@bp.get("/verify/resend")
@public
def verify_resend() -> ResponseReturnValue:
    """The address of the form alone leads to the page it stands on."""
    return redirect(url_for("accounts.verify_pending"))


@bp.post("/verify/resend")
@public
@limiter.limit(MAIL_LIMIT)
def submit_verify_resend() -> ResponseReturnValue:
    """Send the verification mail again, if there is an account that waits for one; the answer does not say."""
    if current_user.is_authenticated:
        email = me().email
    else:
        form = EmailForm()
        if not form.validate():
            return _pending_page(form, status=422)
        email = session[_TYPED] = form.email.data
    with unit_of_work():
        services.request_verification(email)
    flash(_("If that address waits to be confirmed, a new mail is on its way."), "success")
    return redirect(url_for("accounts.verify_pending"), 303)


@bp.get("/verify/<token>")
@public
def verify(token: str) -> ResponseReturnValue:
    """The page behind the mailed link. Looking does not confirm anything: mail scanners look."""
    try:
        owner = services.link_owner(token, TokenPurpose.VERIFY_EMAIL, at=clock.now())
    except LinkDead:
        return _dead()
    return _verify_page(token, owner, PasswordForm())


@bp.post("/verify/<token>")
@public
@limiter.limit(LINK_LIMIT)
def submit_verify(token: str) -> ResponseReturnValue:
    """Confirm the address: with one click where its account is signed in, else with its password."""
    try:
        owner = services.link_owner(token, TokenPurpose.VERIFY_EMAIL, at=clock.now())
        if _is_signed_in_as(owner):
            return _confirm(token)
        return _confirm_with_password(token, owner)
    except LinkDead:
        return _dead()


def _confirm(token: str) -> ResponseReturnValue:
    if not ConfirmForm().validate():
        return redirect(url_for("accounts.verify", token=token), 303)
    with unit_of_work():
        services.verify_address(token, at=clock.now())
    flash(_("Thank you. Your address is confirmed."), "success")
    return redirect(landing_page(me()), 303)


def _confirm_with_password(token: str, owner: User) -> ResponseReturnValue:
    form, origin = PasswordForm(), browser.origin()
    if not form.validate():
        return _verify_page(token, owner, form, status=422)
    with unit_of_work():
        attempt = services.begin_confirmation(owner, origin=origin, at=clock.now())
    if attempt.refusal is not None:
        return _verify_page(token, owner, form, attempt.refusal)
    checked = look_at_password(attempt, form.password.data)
    with unit_of_work():
        result = services.verify_and_sign_in(token, attempt, checked, origin=origin, at=clock.now())
    if isinstance(result, Refused):
        return _verify_page(token, owner, form, WrongPassword(_("That is not the password of this account.")))
    session.pop(_TYPED, None)
    return go_on(result, target=None, message=_("Thank you. Your address is confirmed."))


def _is_signed_in_as(owner: User) -> bool:
    return bool(current_user.is_authenticated) and me().id == owner.id


def _pending_page(form: EmailForm, *, status: int = 200) -> Response:
    return htmx.render("accounts/verify_pending.html", form=form, typed=session.get(_TYPED), status=status)


def _verify_page(
    token: str, owner: User, form: PasswordForm, error: PortalError | None = None, *, status: int = 200
) -> Response:
    page = htmx.render(
        "accounts/verify.html",
        token=token,
        owner=owner,
        form=form,
        error=error,
        is_signed_in=_is_signed_in_as(owner),
        status=status,
    )
    return untraceable(refused(page, error))


def _dead() -> Response:
    return dead_link_page(again=url_for("accounts.verify_pending"), again_label=_("Send a new link"))

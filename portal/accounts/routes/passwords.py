"""Forgotten passwords, set-up links, and changing a password one knows."""

from flask import Response, flash, redirect, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.accounts import browser, hashing, services
from portal.accounts.errors import LinkDead
from portal.accounts.forms import ChangePasswordForm, EmailForm, NewPasswordForm, SetUpForm, add_error
from portal.accounts.models import TokenPurpose, User
from portal.accounts.routes.blueprint import LINK_LIMIT, MAIL_LIMIT, bp, dead_link_page, me, refused, untraceable
from portal.accounts.routes.signing_in import go_on, password_refusal
from portal.core import clock, htmx
from portal.core.access import logged_in, public
from portal.core.db import unit_of_work
from portal.core.errors import PortalError
from portal.extensions import limiter

_TYPED = "typed_email"


@bp.get("/password/forgot")
@public
def forgot_password() -> ResponseReturnValue:
    """Ask for the address to send a link to."""
    return htmx.render("accounts/forgot_password.html", form=EmailForm())


@bp.post("/password/forgot")
@public
@limiter.limit(MAIL_LIMIT)
def submit_forgot_password() -> ResponseReturnValue:
    """Send a link, if there is an account; the answer does not say."""
    form = EmailForm()
    if not form.validate():
        return htmx.render("accounts/forgot_password.html", form=form, status=422)
    with unit_of_work():
        services.request_password_reset(form.email.data)
    session[_TYPED] = form.email.data
    return redirect(url_for("accounts.forgot_password_sent"), 303)


@bp.get("/password/sent")
@public
def forgot_password_sent() -> ResponseReturnValue:
    """What to do next, after asking for a link."""
    return htmx.render("accounts/forgot_password_sent.html", typed=session.get(_TYPED))


@bp.get("/password/reset/<token>")
@public
def reset_password(token: str) -> ResponseReturnValue:
    """The page behind the mailed link. Looking does not use the link up: mail scanners look."""
    try:
        owner = services.link_owner(token, TokenPurpose.RESET_PASSWORD, at=clock.now())
    except LinkDead:
        return _dead_reset()
    return _reset_page(token, owner, NewPasswordForm())


@bp.post("/password/reset/<token>")
@public
@limiter.limit(LINK_LIMIT)
def submit_reset_password(token: str) -> ResponseReturnValue:
    """Set the new password, end every session, and sign in here."""
    try:
        owner = services.link_owner(token, TokenPurpose.RESET_PASSWORD, at=clock.now())
        form = NewPasswordForm()
        form.password.email = owner.email
        if not form.validate():
            return _reset_page(token, owner, form, status=422)
        password_hash = hashing.hash_password(form.password.data)
        with unit_of_work():
            result = services.reset_password(token, password_hash, origin=browser.origin(), at=clock.now())
    except LinkDead:
        return _dead_reset()
    return go_on(result, target=None, message=_("Your password is changed. All other browsers are logged out."))


@bp.get("/set-up/<token>")
@public
def set_up(token: str) -> ResponseReturnValue:
    """The page behind the link that a buyer without an account gets."""
    try:
        owner = services.link_owner(token, TokenPurpose.SET_UP_ACCOUNT, at=clock.now())
    except LinkDead:
        return _dead_set_up()
    return _set_up_page(token, owner, SetUpForm(data={"name": owner.name}))


@bp.post("/set-up/<token>")
@public
@limiter.limit(LINK_LIMIT)
def submit_set_up(token: str) -> ResponseReturnValue:
    """Make the account its buyer's, and sign in."""
    try:
        owner = services.link_owner(token, TokenPurpose.SET_UP_ACCOUNT, at=clock.now())
        form = SetUpForm()
        form.password.email = owner.email
        if not form.validate():
            return _set_up_page(token, owner, form, status=422)
        password_hash = hashing.hash_password(form.password.data)
        with unit_of_work():
            result = services.set_up_account(
                token,
                name=form.name.data,
                password_hash=password_hash,
                origin=browser.origin(),
                at=clock.now(),
            )
    except LinkDead:
        return _dead_set_up()
    return go_on(result, target=None, message=_("Your account is ready."))


@bp.get("/account/password")
@logged_in
def change_password() -> ResponseReturnValue:
    """The form to change a password one knows."""
    return _change_page(ChangePasswordForm())


@bp.post("/account/password")
@logged_in
def submit_change_password() -> ResponseReturnValue:
    """Change the password; every other browser is logged out, and this one gets a new session token."""
    form, user = ChangePasswordForm(), me()
    form.password.email = user.email
    if not form.validate():
        return _change_page(form, status=422)
    refusal = password_refusal(form.current.data)
    if refusal is not None:
        add_error(form.current, refusal)
        return _change_page(form, refusal)
    password_hash = hashing.hash_password(form.password.data)
    at = clock.now()
    with unit_of_work():
        services.change_password(user, password_hash, at=at)
        token = services.renew_session(user, at=at)
    browser.renew(user, token)
    flash(_("Your password is changed. All other browsers are logged out."), "success")
    return htmx.after_post(url_for("accounts.security"))


def _reset_page(token: str, owner: User, form: NewPasswordForm, *, status: int = 200) -> Response:
    return untraceable(htmx.render("accounts/reset_password.html", token=token, owner=owner, form=form, status=status))


def _set_up_page(token: str, owner: User, form: SetUpForm, *, status: int = 200) -> Response:
    return untraceable(htmx.render("accounts/set_up.html", token=token, owner=owner, form=form, status=status))


def _change_page(form: ChangePasswordForm, error: PortalError | None = None, *, status: int = 200) -> Response:
    page = htmx.render(
        "accounts/change_password.html", fragment="accounts/_change_password.html", form=form, status=status
    )
    return refused(page, error)


def _dead_reset() -> Response:
    return dead_link_page(again=url_for("accounts.forgot_password"), again_label=_("Ask for a new link"))


def _dead_set_up() -> Response:
    return dead_link_page(again=url_for("accounts.forgot_password"), again_label=_("Ask for a new link"))

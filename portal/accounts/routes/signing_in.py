"""Log in, the second step, log out, and giving the password again before something sensitive."""

from datetime import timedelta
from typing import Any

from flask import Response, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_login import current_user

from portal.accounts import browser, hashing, services
from portal.accounts.errors import (
    SecondStepExpired,
    WrongPassword,
)
from portal.accounts.forms import CodeForm, LogInForm, PasswordForm
from portal.accounts.models import User
from portal.accounts.routes.blueprint import bp, landing_page, look_at_password, me, refused
from portal.accounts.services.signing_in import NeedsCode, Refused, SignedIn
from portal.core import clock, htmx
from portal.core.access import logged_in, public
from portal.core.db import unit_of_work
from portal.core.errors import PortalError
from portal.core.redirects import safe_path

SECOND_STEP = "second_step"
SECOND_STEP_WITHIN = timedelta(minutes=10)


@bp.get("/login")
@public
def log_in() -> ResponseReturnValue:
    """The log-in page, for customers and staff alike."""
    form = LogInForm(data={"next": request.args.get("next")})
    if current_user.is_authenticated:
        return redirect(safe_path(form.next.data) or landing_page(me()))
    return _log_in_page(form)


@bp.post("/login")
@public
def submit_log_in() -> ResponseReturnValue:
    """Check address and password; a session, or the second step."""
    # In a flood most are refused here, before anything is done for them.
    with hashing.place():
        return _look_at_log_in()


def _look_at_log_in() -> ResponseReturnValue:
    form = LogInForm()
    if not form.validate():
        return _log_in_page(form, status=422)
    origin, remember = browser.origin(), bool(form.remember.data)
    with unit_of_work():
        attempt = services.begin_sign_in(form.email.data, origin=origin, at=clock.now())
    if attempt.refusal is not None:
        return _log_in_page(form, attempt.refusal)
    checked = look_at_password(attempt, form.password.data)
    with unit_of_work():
        result = services.finish_sign_in(attempt, checked, origin=origin, is_remembered=remember, at=clock.now())
    if isinstance(result, Refused):
        return _log_in_page(form, result.error)
    return go_on(result, target=form.next.data, is_remembered=remember)


def go_on(
    result: SignedIn | NeedsCode, *, target: str | None, is_remembered: bool = False, message: str | None = None
) -> ResponseReturnValue:
    """After the password: into the account, or to the second step; `message` is shown on the page that follows."""
    if isinstance(result, NeedsCode):
        ask_for_code(result.user, target=target, is_remembered=is_remembered)
        following = url_for("accounts.second_step")
    else:
        _end_session_before()
        browser.begin(result.user, result.login_session, result.token)
        following = safe_path(target) or landing_page(result.user)
    if message is not None:
        # After the cookie was emptied, or it would be gone with the rest.
        flash(message, "success")
    return redirect(following, 303)


def _end_session_before() -> None:
    """This browser may have been somebody's, or an earlier tab's: no session stays behind that nobody can see."""
    if current_user.is_authenticated:
        with unit_of_work():
            services.sign_out(me())


def ask_for_code(user: User, *, target: str | None, is_remembered: bool) -> None:
    """Remember in the cookie who has given their password and not yet their code."""
    values = {
        "user_id": user.id,
        "proof": services.pending_proof(user),
        "remember": is_remembered,
        "next": safe_path(target),
    }
    browser.put_sealed(SECOND_STEP, values, at=clock.now())


@bp.get("/login/code")
@public
def second_step() -> ResponseReturnValue:
    """The page that asks for the code of the app."""
    if _pending() is None:
        return redirect(url_for("accounts.log_in"))
    return _code_page(CodeForm())


@bp.post("/login/code")
@public
def submit_second_step() -> ResponseReturnValue:
    """Check the code and sign in."""
    form, pending = CodeForm(), _pending()
    if pending is None:
        return _begin_again()
    if not form.validate():
        return _code_page(form, status=422)
    try:
        with unit_of_work():
            user = services.pending_user(pending["user_id"], pending["proof"])
            result = services.try_code(
                user, form.code.data, origin=browser.origin(), is_remembered=pending["remember"], at=clock.now()
            )
    except SecondStepExpired:
        browser.drop(SECOND_STEP)
        return _begin_again()
    if isinstance(result, Refused):
        return _code_page(form, result.error)
    return go_on(result, target=pending["next"])


@bp.post("/logout")
@public
def log_out() -> ResponseReturnValue:
    """End this browser's session; logged out already is fine too."""
    if current_user.is_authenticated:
        with unit_of_work():
            services.sign_out(me())
    browser.end()
    flash(_("You are logged out."), "success")
    return htmx.leave(url_for("accounts.log_in"))


@bp.get("/confirm-password")
@logged_in
def confirm_password() -> ResponseReturnValue:
    """Ask for the password again before something sensitive."""
    return _confirm_page(PasswordForm(data={"next": request.args.get("next")}))


@bp.post("/confirm-password")
@logged_in
def submit_confirm_password() -> ResponseReturnValue:
    """Note that the user has shown who they are, under a new session token."""
    form = PasswordForm()
    if not form.validate():
        return _confirm_page(form, status=422)
    refusal = password_refusal(form.password.data)
    if refusal is not None:
        return _confirm_page(form, refusal)
    user = me()
    with unit_of_work():
        token = services.renew_session(user, at=clock.now())
    browser.renew(user, token)
    return redirect(safe_path(form.next.data) or url_for("accounts.security"), 303)


def password_refusal(password: str) -> PortalError | None:
    """Why the signed-in user's password does not count, if it does not; wrong ones are counted. Raises TooBusy."""
    with unit_of_work():
        attempt = services.begin_confirmation(me(), origin=browser.origin(), at=clock.now())
    if attempt.refusal is not None:
        return attempt.refusal
    checked = look_at_password(attempt, password)
    with unit_of_work():
        if services.confirmed_user(attempt, checked) is None:
            return WrongPassword(field="password")
        services.forget_attempt(attempt)
    return None


def _pending() -> dict[str, Any] | None:
    return browser.get_sealed(SECOND_STEP, younger_than=SECOND_STEP_WITHIN, at=clock.now())


def _begin_again() -> ResponseReturnValue:
    flash(str(SecondStepExpired()), "warning")
    return redirect(url_for("accounts.log_in"), 303)


def _log_in_page(form: LogInForm, error: PortalError | None = None, *, status: int = 200) -> Response:
    page = htmx.render("accounts/log_in.html", form=form, error=error, status=status)
    return refused(page, error)


def _code_page(form: CodeForm, error: PortalError | None = None, *, status: int = 200) -> Response:
    page = htmx.render("accounts/second_step.html", form=form, error=error, status=status)
    return refused(page, error)


def _confirm_page(form: PasswordForm, error: PortalError | None = None, *, status: int = 200) -> Response:
    page = htmx.render("accounts/confirm_password.html", form=form, error=error, status=status)
    return refused(page, error)

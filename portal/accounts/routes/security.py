"""Sessions, sign-in history and the second factor."""

from datetime import timedelta

from flask import Response, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.accounts import browser, queries, services, totp
from portal.accounts.errors import WrongCode
from portal.accounts.forms import CodeForm, add_error
from portal.accounts.routes.blueprint import bp, me
from portal.core import clock, htmx, settings
from portal.core.access import logged_in, recently_authenticated, verified
from portal.core.db import unit_of_work

_SET_UP = "totp_set_up"
_SET_UP_WITHIN = timedelta(minutes=30)


@bp.get("/account/security")
@logged_in
def security() -> ResponseReturnValue:
    """Who is signed in where, what was tried, and how the account is protected."""
    user = me()
    return htmx.render(
        "accounts/security.html",
        sessions=queries.list_sessions(user, at=clock.now()),
        history=queries.sign_in_history(user, before=request.args.get("before"), after=request.args.get("after")),
        codes_left=services.recovery_codes_left(user) if user.has_second_factor else 0,
    )


@bp.post("/account/security/sessions/<int:session_id>/end")
@logged_in
def end_session(session_id: int) -> ResponseReturnValue:
    """Sign one browser out."""
    user = me()
    with unit_of_work():
        services.end_session(user, session_id)
    if user.login_session is not None and user.login_session.id == session_id:
        return _signed_out()
    flash(_("That browser is logged out."), "success")
    return _sessions()


@bp.post("/account/security/sessions/end-others")
@logged_in
def end_other_sessions() -> ResponseReturnValue:
    """Sign every other browser out."""
    user = me()
    with unit_of_work():
        services.end_other_sessions(user)
    flash(_("All other browsers are logged out."), "success")
    return _sessions()


@bp.post("/account/security/sessions/end-all")
@logged_in
def end_all_sessions() -> ResponseReturnValue:
    """Sign out everywhere, here too."""
    with unit_of_work():
        services.end_all_sessions(me())
    return _signed_out()


@bp.get("/account/security/totp")
@verified
@recently_authenticated
def set_up_totp() -> ResponseReturnValue:
    """The QR code for the authenticator app; the secret waits sealed in the cookie until the first code is right."""
    user = me()
    if user.has_second_factor:
        return redirect(url_for("accounts.security"))
    secret = _waiting_secret()
    if secret is None:
        secret = totp.new_secret()
        browser.put_sealed(_SET_UP, {"secret": secret, "user_id": user.id}, at=clock.now())
    return _totp_page(secret, CodeForm())


@bp.post("/account/security/totp")
@verified
@recently_authenticated
def submit_totp() -> ResponseReturnValue:
    """Switch the second factor on with a first code, and show the recovery codes once."""
    user, form, secret = me(), CodeForm(), _waiting_secret()
    if user.has_second_factor or secret is None:
        return redirect(url_for("accounts.set_up_totp"), 303)
    if not form.validate():
        return _totp_page(secret, form, status=422)
    at = clock.now()
    try:
        with unit_of_work():
            codes = services.turn_on(user, secret, form.code.data, at=at)
            token = services.renew_session(user, at=at)
    except WrongCode as error:
        add_error(form.code, error)
        return _totp_page(secret, form, status=422)
    browser.drop(_SET_UP)
    browser.renew(user, token)
    return _codes_page(codes, is_new=True)


@bp.post("/account/security/totp/off")
@verified
@recently_authenticated
def turn_off_totp() -> ResponseReturnValue:
    """Switch the second factor off."""
    user, at = me(), clock.now()
    with unit_of_work():
        services.turn_off(user, by=user, at=at)
        token = services.renew_session(user, at=at)
    browser.renew(user, token)
    flash(_("Two-step login is off."), "success")
    return htmx.leave(url_for("accounts.security"))


@bp.post("/account/security/recovery-codes")
@verified
@recently_authenticated
def make_recovery_codes() -> ResponseReturnValue:
    """Ten new recovery codes, shown once; the old ones stop working."""
    with unit_of_work():
        codes = services.make_recovery_codes(me(), at=clock.now())
    return _codes_page(codes, is_new=False)


def _waiting_secret() -> str | None:
    kept = browser.get_sealed(_SET_UP, younger_than=_SET_UP_WITHIN, at=clock.now())
    # Bound to its user: what one began to set up is never offered to the next at the same browser.
    return str(kept["secret"]) if kept is not None and kept["user_id"] == me().id else None


def _totp_page(secret: str, form: CodeForm, *, status: int = 200) -> Response:
    address = totp.provisioning_address(secret, account=me().email, issuer=settings.current().business_name)
    return htmx.render(
        "accounts/totp.html", form=form, qr=totp.qr_data_uri(address), key=totp.spaced(secret), status=status
    )


def _codes_page(codes: list[str], *, is_new: bool) -> Response:
    return htmx.render("accounts/recovery_codes.html", codes=codes, is_new=is_new)


def _sessions() -> ResponseReturnValue:
    return htmx.after_post(
        url_for("accounts.security"),
        fragment="accounts/_sessions.html",
        sessions=queries.list_sessions(me(), at=clock.now()),
    )


def _signed_out() -> ResponseReturnValue:
    browser.end()
    flash(_("You are logged out."), "success")
    return htmx.leave(url_for("accounts.log_in"))

"""Customers and staff: the list, one account with everything on it, and what may be done to it."""

from functools import partial

from flask import request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from portal.accounts.models import Role, User
from portal.accounts.queries import device_of
from portal.accounts.services import administering
from portal.admin import filters, services
from portal.admin.blueprint import ROW_ID, act, actor, bp
from portal.admin.forms import ReasonForm, RoleForm
from portal.admin.queries import orders as queries
from portal.core import clock, htmx
from portal.core.access import admin, recently_authenticated, staff

_PAGE = f"/customers/<{ROW_ID}:user_id>"


@bp.get("/customers")
@staff
def customers() -> ResponseReturnValue:
    """All accounts, newest first."""
    wanted = queries.CustomerFilter(
        text=filters.text(),
        role=filters.choice("role", Role),
        state=filters.one_of("state", queries.CUSTOMER_STATES),
    )
    page = queries.customers_page(wanted, before=request.args.get("before"), after=request.args.get("after"))
    return htmx.render(
        "admin/customers.html", fragment="admin/_customers.html", page=page, roles=Role, states=_states()
    )


def _states() -> list[tuple[str, str]]:
    return [("active", _("Active")), ("closed", _("Closed")), ("unverified", _("Address not proven"))]


@bp.get(_PAGE)
@staff
def customer(user_id: int) -> ResponseReturnValue:
    """One account."""
    return _show(user_id)


def _show(
    user_id: int, refusal: str | None = None, status: int = 200, *, reason_form: ReasonForm | None = None
) -> ResponseReturnValue:
    user = queries.get_user(user_id)
    return htmx.render(
        "admin/customer.html",
        device_of=device_of,
        status=status,
        file=queries.read_customer_file(user),
        user=user,
        may_change=_may_change(user),
        refusal=refusal,
        reason_form=reason_form or ReasonForm(formdata=None),
    )


def _may_change(user: User) -> bool:
    """Whether the asker may close the account or sign it out; the services decide, this only hides the buttons."""
    return user.id != actor().id and (not user.is_staff or actor().is_admin)


@bp.post(f"{_PAGE}/deactivate")
@staff
def deactivate_customer(user_id: int) -> ResponseReturnValue:
    """Close an account, with a reason."""
    form = ReasonForm()
    if not form.validate_on_submit():
        return _show(user_id, status=422, reason_form=form)
    reason = form.reason.data
    return act(
        lambda: administering.deactivate_user(user_id, by=actor(), reason=reason, at=clock.now()),
        show=partial(_show, user_id),
        url=url_for("admin.customer", user_id=user_id),
        done=_l("The account is closed and signed out everywhere."),
    )


@bp.post(f"{_PAGE}/reactivate")
@staff
def reactivate_customer(user_id: int) -> ResponseReturnValue:
    """Open a closed account again, with a reason."""
    form = ReasonForm()
    if not form.validate_on_submit():
        return _show(user_id, status=422, reason_form=form)
    reason = form.reason.data
    return act(
        lambda: administering.reactivate_user(user_id, by=actor(), reason=reason),
        show=partial(_show, user_id),
        url=url_for("admin.customer", user_id=user_id),
        done=_l("The account is open again."),
    )


@bp.post(f"{_PAGE}/sign-out")
@staff
def sign_customer_out(user_id: int) -> ResponseReturnValue:
    """End every session of an account."""
    return act(
        lambda: administering.sign_out_user(user_id, by=actor()),
        show=partial(_show, user_id),
        url=url_for("admin.customer", user_id=user_id),
        done=_l("Signed out everywhere."),
    )


@bp.post(f"{_PAGE}/second-factor")
@staff
def reset_customer_second_factor(user_id: int) -> ResponseReturnValue:
    """Switch the second factor off for somebody who lost phone and recovery codes."""
    return act(
        lambda: administering.reset_second_factor(user_id, by=actor(), at=clock.now()),
        show=partial(_show, user_id),
        url=url_for("admin.customer", user_id=user_id),
        done=_l("The second factor is off. They were told by mail."),
    )


@bp.post(f"{_PAGE}/link")
@staff
def send_customer_link(user_id: int) -> ResponseReturnValue:
    """Send the link with which the owner of the address takes over the account."""
    email = queries.get_user(user_id).email
    return act(
        lambda: services.send_set_up_link(email, by=actor().email, at=clock.now()),
        show=partial(_show, user_id),
        url=url_for("admin.customer", user_id=user_id),
        done=_l("The link is on its way to %(email)s.", email=email),
    )


@bp.get(f"{_PAGE}/role")
@admin
@recently_authenticated
def customer_role(user_id: int) -> ResponseReturnValue:
    """The form for changing a role; asking for it proves the password again, so that the change itself can follow."""
    user = queries.get_user(user_id)
    form = RoleForm(formdata=None, role=user.role.value)
    return htmx.render("admin/customer_role.html", user=user, form=form, refusal=None)


@bp.post(f"{_PAGE}/role")
@admin
@recently_authenticated
def change_customer_role(user_id: int) -> ResponseReturnValue:
    """Make somebody a customer, staff or administrator."""
    user = queries.get_user(user_id)
    form = RoleForm()
    if not form.validate_on_submit():
        return htmx.render("admin/customer_role.html", status=422, user=user, form=form, refusal=None)
    role = Role(form.role.data)
    return act(
        lambda: administering.set_role(user_id, role, by=actor()),
        show=partial(_show, user_id),
        url=url_for("admin.customer", user_id=user_id),
        done=_l("The role was changed."),
    )

"""Merchants: the list, the form, requests that wait for an answer, suspending."""

from functools import partial

from flask import flash, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from portal.admin import filters
from portal.admin.blueprint import ROW_ID, act, actor, bp
from portal.admin.forms import ReasonForm
from portal.admin.merchant_form import MerchantForm, form_values
from portal.core import clock, htmx
from portal.core.access import staff
from portal.core.db import unit_of_work
from portal.core.errors import Conflict
from portal.merchants import queries
from portal.merchants.errors import OwnerUnknown
from portal.merchants.models import MerchantStatus
from portal.merchants.outbound import queries as webhooks
from portal.merchants.services import merchants as services

_PAGE = f"/merchants/<{ROW_ID}:merchant_id>"
_REQUEST = f"/merchants/requests/<{ROW_ID}:request_id>"


@bp.get("/merchants", endpoint="merchants")
@staff
def merchant_list() -> ResponseReturnValue:
    """All merchants, newest first, and above them who has asked to become one."""
    page = queries.merchants_page(
        text=filters.text(),
        status=filters.choice("status", MerchantStatus),
        before=request.args.get("before"),
        after=request.args.get("after"),
    )
    return htmx.render(
        "admin/merchants.html",
        fragment="admin/_merchants.html",
        page=page,
        statuses=MerchantStatus,
        requests=[] if htmx.wants_fragment() else queries.list_waiting_requests(),
    )


@bp.get("/merchants/new")
@staff
def new_merchant() -> ResponseReturnValue:
    """An empty form."""
    return _show_form(MerchantForm(formdata=None, tax_rate="0", first_key_mode="test"), None)


@bp.post("/merchants/new")
@staff
def create_merchant() -> ResponseReturnValue:
    """Make an account a merchant."""
    form = MerchantForm()
    if not form.validate():
        return _show_form(form, None, status=422)
    try:
        with unit_of_work():
            merchant = services.create_merchant(
                form.owner_email.data or "", form.values(), by=actor().email, at=clock.now()
            )
    except OwnerUnknown as error:
        form.owner_email.errors = [str(error)]
        return _show_form(form, None, status=error.status)
    except Conflict as conflict:
        return _show_form(form, None, refusal=str(conflict), status=conflict.status)
    flash(_("The merchant was made."), "success")
    return htmx.after_post(url_for("admin.merchant", merchant_id=merchant.id))


@bp.get(_PAGE)
@staff
def merchant(merchant_id: int) -> ResponseReturnValue:
    """One merchant."""
    return _show(merchant_id)


@bp.post(_PAGE)
@staff
def edit_merchant(merchant_id: int) -> ResponseReturnValue:
    """Change a merchant. The owner stays who it is."""
    queries.get_merchant(merchant_id)
    form = MerchantForm()
    if not form.validate():
        return _show_form(form, merchant_id, status=422)
    with unit_of_work():
        services.update_merchant(merchant_id, form.values(), by=actor().email, at=clock.now())
    flash(_("Saved."), "success")
    return htmx.after_post(url_for("admin.merchant", merchant_id=merchant_id))


@bp.post(f"{_PAGE}/suspend")
@staff
def suspend_merchant(merchant_id: int) -> ResponseReturnValue:
    """Stop a merchant from selling, with a reason."""
    form = ReasonForm()
    queries.get_merchant(merchant_id)
    if not form.validate_on_submit():
        return _show(merchant_id, status=422, reason_form=form)
    reason = form.reason.data or ""
    return act(
        lambda: services.suspend_merchant(merchant_id, reason=reason, by=actor().email, at=clock.now()),
        show=partial(_show, merchant_id),
        url=url_for("admin.merchant", merchant_id=merchant_id),
        done=_l("The merchant is suspended. Its keys are refused and its pay pages closed."),
    )


@bp.post(f"{_PAGE}/activate")
@staff
def activate_merchant(merchant_id: int) -> ResponseReturnValue:
    """Let a suspended merchant sell again."""
    return act(
        lambda: services.activate_merchant(merchant_id, by=actor().email, at=clock.now()),
        show=partial(_show, merchant_id),
        url=url_for("admin.merchant", merchant_id=merchant_id),
        done=_l("The merchant sells again."),
    )


@bp.get(_REQUEST)
@staff
def merchant_request(request_id: int) -> ResponseReturnValue:
    """One request to become a merchant."""
    return _show_request(request_id)


@bp.post(f"{_REQUEST}/approve")
@staff
def approve_merchant(request_id: int) -> ResponseReturnValue:
    """Make a merchant of whoever asked."""
    return act(
        lambda: services.approve_request(request_id, by=actor().email, at=clock.now()),
        show=partial(_show_request, request_id),
        url=url_for("admin.merchants"),
        done=_l("The merchant was made, and told by mail."),
    )


@bp.post(f"{_REQUEST}/decline")
@staff
def decline_merchant(request_id: int) -> ResponseReturnValue:
    """Say no, with the reason that the customer reads."""
    form = ReasonForm()
    queries.get_request(request_id)
    if not form.validate_on_submit():
        return _show_request(request_id, status=422, reason_form=form)
    answer = form.reason.data or ""
    return act(
        lambda: services.decline_request(request_id, answer=answer, by=actor().email, at=clock.now()),
        show=partial(_show_request, request_id),
        url=url_for("admin.merchants"),
        done=_l("Declined. They were told by mail."),
    )


def _show_request(
    request_id: int, refusal: str | None = None, status: int = 200, *, reason_form: ReasonForm | None = None
) -> ResponseReturnValue:
    return htmx.render(
        "admin/merchant_request.html",
        status=status,
        wish=queries.get_request(request_id),
        refusal=refusal,
        reason_form=reason_form or ReasonForm(formdata=None),
    )


def _show(
    merchant_id: int, refusal: str | None = None, status: int = 200, *, reason_form: ReasonForm | None = None
) -> ResponseReturnValue:
    found = queries.get_merchant(merchant_id)
    form = MerchantForm(formdata=None, data=form_values(found))
    return _show_form(form, merchant_id, refusal=refusal, status=status, reason_form=reason_form)


def _show_form(
    form: MerchantForm,
    merchant_id: int | None,
    *,
    refusal: str | None = None,
    status: int = 200,
    reason_form: ReasonForm | None = None,
) -> ResponseReturnValue:
    found = queries.get_merchant(merchant_id) if merchant_id is not None else None
    keys = queries.list_keys(found) if found is not None else []
    return htmx.render(
        "admin/merchant.html",
        status=status,
        form=form,
        merchant=found,
        keys=keys,
        webhooks=webhooks.for_staff(found) if found is not None else None,
        at=clock.now(),
        refusal=refusal,
        reason_form=reason_form or ReasonForm(formdata=None),
    )

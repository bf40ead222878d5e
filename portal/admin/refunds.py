"""Money that goes back: the list, one refund, and the form for giving money back of a payment or an order."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial

from flask import flash, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_babel import ngettext

from portal.admin import filters
from portal.admin.blueprint import ROW_ID, act, actor, bp
from portal.admin.orders import get_order
from portal.admin.payments import get_session
from portal.admin.queries import orders as order_queries
from portal.admin.queries import payments as payment_queries
from portal.admin.queries import refunds as queries
from portal.admin.refund_forms import GIVEN, DecideRefundForm, RefundForm
from portal.core import clock, htmx, settings
from portal.core.access import admin, recently_authenticated, staff
from portal.core.db import db, unit_of_work
from portal.core.errors import Conflict, Invalid
from portal.orders.models import LineKind, Order
from portal.orders.queries import order_paid_by
from portal.payments.models import PaymentSession
from portal.payments.refund_models import Refund, RefundOrigin, RefundReason, RefundStatus
from portal.payments.services import refund_desk, refunding
from portal.sites.models import Site
from portal.sites.services import selling

_PAGE = f"/refunds/<{ROW_ID}:refund_id>"
_LONGEST_ID = 18


@bp.get("/refunds")
@staff
def refunds() -> ResponseReturnValue:
    """All refunds, newest first."""
    providers = payment_queries.provider_names()
    wanted = queries.RefundFilter(
        text=filters.text(),
        status=filters.choice("status", RefundStatus),
        origin=filters.choice("origin", RefundOrigin),
        provider=filters.one_of("provider", providers),
        is_flagged=request.args.get("look") == "1",
    )
    page = queries.refunds_page(wanted, before=request.args.get("before"), after=request.args.get("after"))
    return htmx.render(
        "admin/refunds.html",
        fragment="admin/_refunds.html",
        page=page,
        statuses=RefundStatus,
        origins=RefundOrigin,
        providers=providers,
    )


@bp.get(_PAGE)
@staff
def refund(refund_id: int) -> ResponseReturnValue:
    """One refund."""
    return _show(refund_id)


def _show(refund_id: int, refusal: str | None = None, status: int = 200) -> ResponseReturnValue:
    file = queries.read_refund(refund_id)
    one = file.refund
    return htmx.render(
        "admin/refund.html",
        fragment="admin/_refund.html",
        status=status,
        file=file,
        refund=one,
        can_ask=refunding.is_askable(one, at=clock.now()),
        can_decide=refund_desk.is_for_a_person(one),
        can_see=one.flag is not None and not one.is_open,
        refusal=refusal,
    )


@bp.post(f"{_PAGE}/ask")
@admin
@recently_authenticated
def ask_about_refund(refund_id: int) -> ResponseReturnValue:
    """Have the provider asked about a refund again."""
    queries.read_refund(refund_id)
    return act(
        lambda: refunding.ask_again(refund_id, by=actor().email, at=clock.now()),
        show=partial(_show, refund_id),
        url=url_for("admin.refund", refund_id=refund_id),
        done=_l("The provider is being asked. The answer appears here in a moment."),
    )


@bp.post(f"{_PAGE}/seen")
@staff
def see_refund(refund_id: int) -> ResponseReturnValue:
    """Take a refund off the work list."""
    queries.read_refund(refund_id)
    return act(
        lambda: refund_desk.note_seen(refund_id, by=actor().email),
        show=partial(_show, refund_id),
        url=url_for("admin.refund", refund_id=refund_id),
        done=_l("Noted. The refund is off the work list."),
    )


@bp.get(f"{_PAGE}/decide")
@admin
@recently_authenticated
def decide_refund(refund_id: int) -> ResponseReturnValue:
    """The form for a refund that a person gives, or that the provider does not answer about."""
    return _decide_page(refund_id, DecideRefundForm(formdata=None, given_on=_today()))


@bp.post(f"{_PAGE}/decide")
@admin
@recently_authenticated
def submit_decide_refund(refund_id: int) -> ResponseReturnValue:
    """Record that the money was given by hand, or that it was not given."""
    queries.read_refund(refund_id)
    form = DecideRefundForm()
    form.today = _today()
    if not form.validate_on_submit():
        return _decide_page(refund_id, form, 422)
    by, at, note = actor().email, clock.now(), (form.note.data or "").strip()
    work: Callable[[], Refund]
    if form.outcome.data == GIVEN:
        reference, given_on = form.reference.data.strip(), form.given_on.data
        work = partial(
            refund_desk.note_given, refund_id, reference=reference, given_on=given_on, note=note, by=by, at=at
        )
    else:
        work = partial(refund_desk.note_not_given, refund_id, note=note, by=by, at=at)
    return act(
        work,
        show=partial(_show, refund_id),
        url=url_for("admin.refund", refund_id=refund_id),
        done=_l("Noted. The books say so now."),
    )


def _decide_page(refund_id: int, form: DecideRefundForm, status: int = 200) -> ResponseReturnValue:
    file = queries.read_refund(refund_id)
    return htmx.render("admin/refund_decide.html", status=status, refund=file.refund, form=form)


def _today() -> date:
    return clock.now().astimezone(settings.business_zone()).date()


@dataclass(frozen=True, slots=True)
class _Scope:
    """Whose money is given back: some payment sessions, where the form is, and where to go afterwards. `order` is what
    they paid for, if it was one."""

    title: str
    sessions: list[PaymentSession]
    action: str
    back: str
    order: Order | None
    payment_id: int | None = None

    @property
    def has_packages(self) -> bool:
        """Whether there is access that goes with the money, or stays."""
        return self.order is not None and any(line.kind is LineKind.PACKAGE for line in self.order.lines)

    @property
    def site(self) -> Site | None:
        """The website that was sold, whose owner keeps it whatever becomes of the money."""
        site = selling.site_of_order(self.order) if self.order is not None else None
        return site if site is not None and site.owner_id is not None else None


def _of_payment(public_id: str) -> _Scope:
    session = get_session(public_id)
    text = request.values.get("payment", "")
    payment_id = int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_ID else None
    return _Scope(
        title=session.description,
        sessions=[session],
        action=url_for("admin.submit_refund_payment", public_id=public_id),
        back=url_for("admin.payment", public_id=public_id),
        order=order_paid_by(session),
        payment_id=payment_id,
    )


def _of_order(number: str) -> _Scope:
    order = get_order(number)
    return _Scope(
        title=order.number,
        sessions=order_queries.read_order_file(order).sessions,
        action=url_for("admin.submit_refund_order", number=number),
        back=url_for("admin.order", number=number),
        order=order,
    )


@bp.get("/payments/<public_id>/refund")
@admin
@recently_authenticated
def refund_payment(public_id: str) -> ResponseReturnValue:
    """The form for giving back money of one payment; `?payment=` names one of several that came."""
    return _form_page(_of_payment(public_id))


@bp.post("/payments/<public_id>/refund")
@admin
@recently_authenticated
def submit_refund_payment(public_id: str) -> ResponseReturnValue:
    """Give back money of one payment."""
    return _submit(_of_payment(public_id))


@bp.get("/orders/<number>/refund")
@admin
@recently_authenticated
def refund_order(number: str) -> ResponseReturnValue:
    """The form for giving back money of an order, whatever payments it came with."""
    return _form_page(_of_order(number))


@bp.post("/orders/<number>/refund")
@admin
@recently_authenticated
def submit_refund_order(number: str) -> ResponseReturnValue:
    """Give back money of an order."""
    return _submit(_of_order(number))


def _form_page(scope: _Scope, form: RefundForm | None = None, status: int = 200) -> ResponseReturnValue:
    giveable = queries.read_giveable(scope.sessions, scope.payment_id)
    return htmx.render(
        "admin/refund_form.html",
        fragment="admin/_refund_form.html",
        status=status,
        scope=scope,
        giveable=giveable,
        form=form or RefundForm(giveable, formdata=None),
    )


def _submit(scope: _Scope) -> ResponseReturnValue:
    form = RefundForm(queries.read_giveable(scope.sessions, scope.payment_id))
    if not form.validate_on_submit():
        # Sent a second time when nothing was left any more: the first time counts.
        known = _known(scope, form)
        return _leave(scope, known) if known else _form_page(scope, form, 422)
    wish = refunding.Wish(
        session_ids=tuple(session.id for session in scope.sessions),
        key=form.key.data,
        reason=RefundReason(form.reason.data),
        note=(form.note.data or "").strip(),
        amount=form.wanted_amount(),
        line_ids=form.wanted_lines(),
        payment_id=scope.payment_id,
        keeps_access=form.keeps_access.data,
    )
    try:
        with unit_of_work():
            made = refunding.request_refund(wish, by=actor().email, at=clock.now())
    except (Conflict, Invalid) as error:
        db.session.expire_all()
        form.blame(error)
        return _form_page(scope, form, error.status)
    return _leave(scope, made)


def _known(scope: _Scope, form: RefundForm) -> list[Refund]:
    return refunding.refunds_of_request(form.key.data or "", [session.id for session in scope.sessions])


def _leave(scope: _Scope, made: list[Refund]) -> ResponseReturnValue:
    count = len(made)
    if any(one.flag is not None for one in made):
        flash(_("Recorded. This provider cannot give money back by itself: do it there, then note it here."), "warning")
    else:
        one = _("The money is on its way back.")
        many = ngettext(
            "The money is on its way back, in %(num)s refund.",
            "The money is on its way back, in %(num)s refunds.",
            count,
        )
        flash(one if count == 1 else many, "success")
    db.session.expire_all()
    url = url_for("admin.refund", refund_id=made[0].id) if count == 1 else scope.back
    return htmx.after_post(url)

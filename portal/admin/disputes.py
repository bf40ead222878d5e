"""Disputes: the list, one with its deadline, what staff answered, and how it ended."""

from functools import partial

from flask import request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _l

from portal.admin import filters
from portal.admin.blueprint import ROW_ID, act, actor, bp
from portal.admin.queries import payments as payment_queries
from portal.admin.queries import refunds as queries
from portal.admin.refund_forms import DecideDisputeForm, EvidenceForm
from portal.core import clock, htmx
from portal.core.access import admin, recently_authenticated, staff
from portal.payments.refund_models import DisputeStatus
from portal.payments.services import disputing

_PAGE = f"/disputes/<{ROW_ID}:dispute_id>"


@bp.get("/disputes")
@staff
def disputes() -> ResponseReturnValue:
    """All disputes, newest first."""
    providers = payment_queries.provider_names()
    wanted = queries.DisputeFilter(
        text=filters.text(),
        status=filters.choice("status", DisputeStatus),
        provider=filters.one_of("provider", providers),
        is_open=request.args.get("open") == "1",
    )
    page = queries.disputes_page(wanted, before=request.args.get("before"), after=request.args.get("after"))
    return htmx.render(
        "admin/disputes.html",
        fragment="admin/_disputes.html",
        page=page,
        statuses=DisputeStatus,
        providers=providers,
    )


@bp.get(_PAGE)
@staff
def dispute(dispute_id: int) -> ResponseReturnValue:
    """One dispute."""
    return _show(dispute_id)


def _show(
    dispute_id: int, refusal: str | None = None, status: int = 200, *, form: EvidenceForm | None = None
) -> ResponseReturnValue:
    file = queries.read_dispute(dispute_id)
    one = file.dispute
    is_answered = one.status is DisputeStatus.UNDER_REVIEW
    return htmx.render(
        "admin/dispute.html",
        fragment="admin/_dispute.html",
        status=status,
        file=file,
        dispute=one,
        form=form or EvidenceForm(formdata=None, evidence=one.evidence, is_answered=is_answered),
        refusal=refusal,
    )


@bp.post(f"{_PAGE}/evidence")
@staff
def write_evidence(dispute_id: int) -> ResponseReturnValue:
    """Keep what was answered at the provider."""
    queries.read_dispute(dispute_id)
    form = EvidenceForm()
    if not form.validate_on_submit():
        return _show(dispute_id, status=422, form=form)
    evidence, is_answered = (form.evidence.data or "").strip(), form.is_answered.data
    return act(
        lambda: disputing.write_evidence(
            dispute_id, evidence=evidence, is_answered=is_answered, by=actor().email, at=clock.now()
        ),
        show=partial(_show, dispute_id),
        url=url_for("admin.dispute", dispute_id=dispute_id),
        done=_l("Saved."),
    )


@bp.get(f"{_PAGE}/decide")
@admin
@recently_authenticated
def decide_dispute(dispute_id: int) -> ResponseReturnValue:
    """The form for a dispute whose end the provider does not tell."""
    return _decide_page(dispute_id, DecideDisputeForm(formdata=None))


@bp.post(f"{_PAGE}/decide")
@admin
@recently_authenticated
def submit_decide_dispute(dispute_id: int) -> ResponseReturnValue:
    """Record how a dispute ended."""
    queries.read_dispute(dispute_id)
    form = DecideDisputeForm()
    if not form.validate_on_submit():
        return _decide_page(dispute_id, form, 422)
    end = DisputeStatus(form.outcome.data)
    return act(
        lambda: disputing.close_by_hand(dispute_id, end, by=actor().email, at=clock.now()),
        show=partial(_show, dispute_id),
        url=url_for("admin.dispute", dispute_id=dispute_id),
        done=_l("The dispute is closed."),
    )


def _decide_page(dispute_id: int, form: DecideDisputeForm, status: int = 200) -> ResponseReturnValue:
    file = queries.read_dispute(dispute_id)
    return htmx.render("admin/dispute_decide.html", status=status, dispute=file.dispute, form=form)

"""Payment sessions: the list, and one with its attempts, its money and what the providers said."""

import re
from collections.abc import Sequence
from functools import partial

from flask import request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _l

from portal.admin import exporting, filters, services
from portal.admin.blueprint import act, actor, bp
from portal.admin.forms import ByHandForm
from portal.admin.queries import payments as queries
from portal.core import clock, htmx
from portal.core.access import admin, recently_authenticated, staff
from portal.core.db import unit_of_work
from portal.payments.errors import SessionNotFound
from portal.payments.extension import current_registry
from portal.payments.models import PaymentSession, SessionStatus
from portal.payments.providers.base import Outcome
from portal.payments.queries import truth_of
from portal.payments.services.by_hand import decidable, decide_by_hand

_PUBLIC_ID = re.compile(r"[0-9A-Za-z-]{1,36}")


@bp.get("/payments")
@staff
def payments() -> ResponseReturnValue:
    """All payment sessions, newest first."""
    page = queries.sessions_page(_wanted(), before=request.args.get("before"), after=request.args.get("after"))
    return htmx.render(
        "admin/payments.html",
        fragment="admin/_payments.html",
        page=page,
        statuses=SessionStatus,
        providers=queries.provider_names(),
    )


def _wanted() -> queries.SessionFilter:
    return queries.SessionFilter(
        text=filters.text(),
        status=filters.choice("status", SessionStatus),
        provider=filters.one_of("provider", queries.provider_names()),
        created_from=filters.begins(filters.day("from")),
        created_before=filters.ends(filters.day("to")),
    )


@bp.get("/payments.csv")
@staff
def payments_csv() -> ResponseReturnValue:
    """The payment sessions of the list's filter as a file."""
    wanted = _wanted()
    with unit_of_work():
        services.note_export("payments", by=actor().email, filters=request.args.to_dict())
    rows = exporting.all_rows(queries.sessions_where(wanted), PaymentSession.id)
    return exporting.csv_answer("payments", _CSV_HEADER, rows, _csv_cells)


_CSV_HEADER = (
    "id", "created_at", "purpose", "description", "customer_email", "customer_name", "status", "mode", "currency",
    "amount", "provider", "provider_reference", "paid_at",
)  # fmt: skip


def _csv_cells(session: PaymentSession) -> Sequence[object]:
    return (
        session.public_id, session.created_at, session.purpose, session.description, session.customer_email,
        session.customer_name, session.status, session.mode, session.currency,
        exporting.amount_cell(session.amount_minor, session.currency), session.provider, session.provider_reference,
        session.paid_at,
    )  # fmt: skip


@bp.get("/payments/<public_id>")
@staff
def payment(public_id: str) -> ResponseReturnValue:
    """One payment session."""
    return _show(public_id)


def _show(public_id: str, refusal: str | None = None, status: int = 200) -> ResponseReturnValue:
    session = get_session(public_id)
    return htmx.render(
        "admin/payment.html",
        fragment="admin/_payment.html",
        status=status,
        file=queries.read_session_file(session),
        session=session,
        truth=truth_of(session, at=clock.now()),
        is_by_hand=decidable(session) is not None,
        refusal=refusal,
    )


def get_session(public_id: str) -> PaymentSession:
    """The payment session of that id. Raises SessionNotFound."""
    session = queries.find_session(public_id) if _PUBLIC_ID.fullmatch(public_id) else None
    if session is None:
        raise SessionNotFound
    return session


@bp.post("/payments/<public_id>/ask")
@staff
def ask_provider(public_id: str) -> ResponseReturnValue:
    """Have the providers asked how this payment stands."""
    session = get_session(public_id)
    return act(
        lambda: services.ask_provider(session, by=actor().email, at=clock.now()),
        show=partial(_show, public_id),
        url=url_for("admin.payment", public_id=public_id),
        done=_l("The provider is being asked. The answer appears here in a moment."),
    )


@bp.get("/payments/<public_id>/by-hand")
@admin
@recently_authenticated
def payment_by_hand(public_id: str) -> ResponseReturnValue:
    """The form for saying how a payment ended; asking for it proves the password again, so that it can be sent."""
    return _show_by_hand(get_session(public_id), ByHandForm(formdata=None))


def _show_by_hand(session: PaymentSession, form: ByHandForm, status: int = 200) -> ResponseReturnValue:
    found = decidable(session)
    provider = current_registry().get(found[0].provider).title if found is not None else None
    return htmx.render("admin/payment_by_hand.html", status=status, session=session, form=form, provider=provider)


@bp.post("/payments/<public_id>/by-hand")
@admin
@recently_authenticated
def decide_payment(public_id: str) -> ResponseReturnValue:
    """Say how a payment ended at a provider that cannot be asked."""
    session = get_session(public_id)
    form = ByHandForm()
    if not form.validate_on_submit():
        return _show_by_hand(session, form, 422)
    return act(
        lambda: decide_by_hand(
            session.id,
            Outcome(form.outcome.data),
            by=actor().email,
            reason=form.reason.data,
            transaction=form.transaction.data or None,
            at=clock.now(),
        ),
        show=partial(_show, public_id),
        url=url_for("admin.payment", public_id=public_id),
        done=_l("Noted. Everything that follows from it is under way."),
    )

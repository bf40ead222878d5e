"""The webhook inbox: what the providers told us, what we made of it, and what a person can do about it."""

from functools import partial

from flask import request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _l

from portal.admin import filters, services
from portal.admin.blueprint import ROW_ID, act, actor, bp
from portal.admin.forms import ResolveForm
from portal.admin.queries import payments as queries
from portal.core import clock, htmx
from portal.core.access import staff
from portal.payments.models import EVENT_TRANSITIONS, EventStatus

_PAGE = f"/webhooks/<{ROW_ID}:event_id>"


@bp.get("/webhooks")
@staff
def webhooks() -> ResponseReturnValue:
    """The inbox, newest first."""
    wanted = queries.EventFilter(
        text=filters.text(),
        provider=filters.one_of("provider", queries.provider_names()),
        status=filters.choice("status", EventStatus),
        event_type=filters.text("type"),
    )
    page = queries.events_page(wanted, before=request.args.get("before"), after=request.args.get("after"))
    return htmx.render(
        "admin/webhooks.html",
        fragment="admin/_webhooks.html",
        page=page,
        statuses=EventStatus,
        providers=queries.provider_names(),
    )


@bp.get(_PAGE)
@staff
def webhook(event_id: int) -> ResponseReturnValue:
    """One event with its payload, its verdict and everything it brought about."""
    return _show(event_id)


def _show(
    event_id: int, refusal: str | None = None, status: int = 200, *, form: ResolveForm | None = None
) -> ResponseReturnValue:
    event = queries.get_event(event_id)
    nexts = EVENT_TRANSITIONS.get(event.status, frozenset())
    return htmx.render(
        "admin/webhook.html",
        fragment="admin/_webhook.html",
        status=status,
        file=queries.read_event_file(event),
        event=event,
        can_run_again=EventStatus.PENDING in nexts,
        can_be_resolved=EventStatus.RESOLVED in nexts,
        form=form or ResolveForm(formdata=None),
        refusal=refusal,
    )


@bp.post(f"{_PAGE}/run-again")
@staff
def run_webhook_again(event_id: int) -> ResponseReturnValue:
    """Put a parked or unmatched event back into the queue."""
    queries.get_event(event_id)
    return act(
        lambda: services.run_event_again(event_id, by=actor().email, at=clock.now()),
        show=partial(_show, event_id),
        url=url_for("admin.webhook", event_id=event_id),
        done=_l("The event is in the queue again."),
    )


@bp.post(f"{_PAGE}/resolve")
@staff
def resolve_webhook(event_id: int) -> ResponseReturnValue:
    """Note how a person dealt with a conflict or an unmatched event."""
    queries.get_event(event_id)
    form = ResolveForm()
    if not form.validate_on_submit():
        return _show(event_id, status=422, form=form)
    note = form.note.data.strip()
    return act(
        lambda: services.resolve_event(event_id, by=actor().email, at=clock.now(), note=note),
        show=partial(_show, event_id),
        url=url_for("admin.webhook", event_id=event_id),
        done=_l("Noted. The event is off the work list."),
    )

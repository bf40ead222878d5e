"""The webhook inbox: what the providers told us, what we refused, what we made of it, and what a person can do.

Everything that goes over the wire is one screen: `show` chooses what came in, or what was refused; what we send to
others joins as one more of `_SHOWS`, with a list of its own in the same place.
"""

from functools import partial
from typing import Any

from flask import request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import LazyString
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from portal.admin import filters, services
from portal.admin.blueprint import ROW_ID, act, actor, bp
from portal.admin.curl import curl_command
from portal.admin.forms import ResolveForm
from portal.admin.ledger import read_ledger
from portal.admin.queries import deliveries
from portal.admin.queries import payments as queries
from portal.admin.rehearsing import Rehearsal
from portal.admin.wording import actor_words
from portal.core import clock, htmx
from portal.core.access import staff
from portal.core.state import StatusChange
from portal.core.status_labels import status_label
from portal.payments.models import EVENT_TRANSITIONS, EventStatus
from portal.payments.services import replaying
from portal.payments.wording import way_words

PAGE = f"/webhooks/<{ROW_ID}:event_id>"
RECEIVED, REFUSED = "received", "refused"
_SHOWS: dict[str, LazyString] = {RECEIVED: _l("Received"), REFUSED: _l("Refused")}
_SOURCES = ("webhook", "poll")
_BAD_ENDS = (EventStatus.FAILED, EventStatus.CONFLICT)


@bp.get("/webhooks")
@staff
def webhooks() -> ResponseReturnValue:
    """The inbox, newest first; `?show=refused` what never got into it."""
    show = filters.one_of("show", tuple(_SHOWS)) or RECEIVED
    return htmx.render(
        "admin/webhooks.html",
        fragment="admin/_webhooks.html",
        show=show,
        shows=_SHOWS,
        page=_refused() if show == REFUSED else _received(),
        statuses=EventStatus,
        sources=_SOURCES,
        providers=queries.sender_names(),
    )


def _received() -> object:
    wanted = queries.EventFilter(
        text=filters.text(),
        provider=filters.one_of("provider", queries.sender_names()),
        status=filters.choice("status", EventStatus),
        event_type=filters.text("type"),
        source=filters.one_of("source", _SOURCES),
        received_from=filters.begins(filters.day("from")),
        received_before=filters.ends(filters.day("to")),
    )
    return queries.events_page(wanted, before=request.args.get("before"), after=request.args.get("after"))


def _refused() -> object:
    wanted = deliveries.RefusalFilter(
        provider=filters.one_of("provider", queries.sender_names()),
        at_from=filters.begins(filters.day("from")),
        at_before=filters.ends(filters.day("to")),
    )
    return deliveries.refusals_page(wanted, before=request.args.get("before"), after=request.args.get("after"))


@bp.get(PAGE)
@staff
def webhook(event_id: int) -> ResponseReturnValue:
    """One event with its payload, its verdict and everything it brought about."""
    return show_event(event_id)


def show_event(
    event_id: int,
    refusal: str | None = None,
    status: int = 200,
    *,
    form: ResolveForm | None = None,
    rehearsal: Rehearsal | None = None,
) -> ResponseReturnValue:
    """The event as it stands, with why an action was refused or what a rehearsal came to."""
    event = queries.get_event(event_id)
    file = queries.read_event_file(event)
    nexts = EVENT_TRANSITIONS.get(event.status, frozenset())
    return htmx.render(
        "admin/webhook.html",
        fragment="admin/_webhook.html",
        status=status,
        file=file,
        event=event,
        ledger=read_ledger(file),
        steps=_steps(file),
        reading=replaying.read_again(event),
        curl=curl_command(event, at=clock.now()),
        can_run_again=EventStatus.PENDING in nexts,
        can_be_resolved=EventStatus.RESOLVED in nexts,
        rehearsal=rehearsal,
        form=form or ResolveForm(formdata=None),
        refusal=refusal,
    )


def _steps(file: queries.EventFile) -> list[dict[str, Any]]:
    """The event's life for the timeline, oldest first: how it came, and each change with who made it."""
    event = file.event
    steps: list[dict[str, Any]] = [
        {"label": way_words(event.source), "state": "done", "at": event.received_at, "note": event.provider},
        *map(_step, file.history),
    ]
    if event.status is EventStatus.PENDING:
        label = _("Next try") if event.attempts else _("Waits for a worker")
        steps.append({"label": label, "state": "current", "at": event.available_at, "note": None})
    return steps


def _step(change: StatusChange) -> dict[str, Any]:
    return {
        "label": status_label(change.became, "event"),
        "state": "failed" if change.became in _BAD_ENDS else "done",
        "at": change.at,
        "note": " · ".join(part for part in (actor_words(change.actor), change.reason) if part),
    }


@bp.post(f"{PAGE}/run-again")
@staff
def run_webhook_again(event_id: int) -> ResponseReturnValue:
    """Put a parked or unmatched event back into the queue."""
    queries.get_event(event_id)
    return act(
        lambda: services.run_event_again(event_id, by=actor().email, at=clock.now()),
        show=partial(show_event, event_id),
        url=url_for("admin.webhook", event_id=event_id),
        done=_l("The event is in the queue again."),
    )


@bp.post(f"{PAGE}/resolve")
@staff
def resolve_webhook(event_id: int) -> ResponseReturnValue:
    """Note how a person dealt with a conflict or an unmatched event."""
    queries.get_event(event_id)
    form = ResolveForm()
    if not form.validate_on_submit():
        return show_event(event_id, status=422, form=form)
    note = form.note.data.strip()
    return act(
        lambda: services.resolve_event(event_id, by=actor().email, at=clock.now(), note=note),
        show=partial(show_event, event_id),
        url=url_for("admin.webhook", event_id=event_id),
        done=_l("Noted. The event is off the work list."),
    )

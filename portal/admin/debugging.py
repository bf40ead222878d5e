"""The webhook debugger: an event tried out and then applied, one effect of it done again, a delivery pasted by hand."""

from functools import partial

from flask import url_for
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _l

from portal.admin import services
from portal.admin.blueprint import ROW_ID, act, actor, bp
from portal.admin.forms import PastedForm
from portal.admin.queries import deliveries
from portal.admin.queries import payments as queries
from portal.admin.rehearsing import Rehearsal, shown
from portal.admin.webhooks import PAGE, show_event
from portal.core import clock, htmx
from portal.core.access import staff
from portal.extensions import limiter
from portal.payments.extension import sender_of
from portal.payments.models import ProviderEvent
from portal.payments.services import replaying
from portal.payments.services.inspecting import Inspection, inspect

_LIMIT = "30 per minute;300 per hour"


@bp.post(f"{PAGE}/rehearse")
@staff
@limiter.limit(_LIMIT)
def rehearse_webhook(event_id: int) -> ResponseReturnValue:
    """What would happen if the event were applied now. Nothing does: see portal/core/rehearsal.py."""
    event = queries.get_event(event_id)
    may_apply = replaying.may_apply(event)
    rehearsed = replaying.rehearse_event(event_id, by=actor().email, at=clock.now())
    return show_event(event_id, rehearsal=shown(rehearsed, may_apply=may_apply))


@bp.post(f"{PAGE}/apply")
@staff
def apply_webhook(event_id: int) -> ResponseReturnValue:
    """Apply an event now, as today's code reads it."""
    queries.get_event(event_id)
    return act(
        lambda: services.apply_event_again(event_id, by=actor().email, at=clock.now()),
        show=partial(show_event, event_id),
        url=url_for("admin.webhook", event_id=event_id),
        done=_l("The event was applied. Its effects are in the ledger below."),
    )


@bp.post(f"{PAGE}/effects/<{ROW_ID}:message_id>/run-again")
@staff
def run_event_effect_again(event_id: int, message_id: int) -> ResponseReturnValue:
    """Give one effect of an event, which was given up, fresh tries."""
    queries.get_event(event_id)
    deliveries.get_effect_of(event_id, message_id)
    return act(
        lambda: services.run_effect_again(message_id, by=actor().email, at=clock.now()),
        show=partial(show_event, event_id),
        url=url_for("admin.webhook", event_id=event_id),
        done=_l("It is in the queue again."),
    )


@bp.post(f"{PAGE}/mails/<{ROW_ID}:mail_id>/again")
@staff
def send_event_mail_again(event_id: int, mail_id: int) -> ResponseReturnValue:
    """Send a mail that an event has caused once more."""
    queries.get_event(event_id)
    deliveries.get_mail_of(event_id, mail_id)
    return act(
        lambda: services.send_mail_again(mail_id, by=actor().email, at=clock.now()),
        show=partial(show_event, event_id),
        url=url_for("admin.webhook", event_id=event_id),
        done=_l("The mail is on its way again."),
    )


@bp.get("/webhooks/check")
@staff
def check_delivery() -> ResponseReturnValue:
    """A form to paste a delivery into."""
    form = PastedForm()
    return _show_check(form)


@bp.post("/webhooks/check")
@staff
@limiter.limit(_LIMIT)
def submit_check_delivery() -> ResponseReturnValue:
    """Say of a pasted delivery whether it would be believed, what it says and what it would do. Stores nothing."""
    form = PastedForm()
    if not form.validate_on_submit():
        return _show_check(form, status=422)
    provider = sender_of(form.provider.data)
    at = clock.now()
    inspection = inspect(provider, form.read_headers(), form.body.data or "", at=at)
    parsed, rehearsal, known = inspection.parsed, None, None
    if parsed is not None:
        known = replaying.find_delivery(provider.name, parsed.delivery_key)
        rehearsed = replaying.rehearse_delivery(provider.name, parsed, inspection.body, at=at)
        rehearsal = shown(rehearsed, may_apply=False)
    return _show_check(form, inspection=inspection, rehearsal=rehearsal, known=known)


def _show_check(
    form: PastedForm,
    status: int = 200,
    *,
    inspection: Inspection | None = None,
    rehearsal: Rehearsal | None = None,
    known: ProviderEvent | None = None,
) -> ResponseReturnValue:
    form.make_printable()
    return htmx.render(
        "admin/webhook_check.html",
        fragment="admin/_webhook_check.html",
        status=status,
        form=form,
        inspection=inspection,
        rehearsal=rehearsal,
        known=known,
    )

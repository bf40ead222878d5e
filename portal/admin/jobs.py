"""Background work: what waits, what was given up, who works on it, and what runs by the clock."""

from functools import partial

from flask import request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _l

from portal.admin import filters, services
from portal.admin.blueprint import ROW_ID, act, actor, bp
from portal.admin.queries import system as queries
from portal.core import clock, htmx, outbox, periodic
from portal.core.access import staff
from portal.core.outbox import MessageStatus

_PAGE = f"/jobs/<{ROW_ID}:message_id>"


@bp.get("/jobs")
@staff
def jobs() -> ResponseReturnValue:
    """The queues, the workers, the timetable, and the effects that are not done."""
    topics = sorted(outbox.subscriptions())
    page = queries.messages_page(
        status=filters.choice("status", MessageStatus),
        topic=filters.one_of("topic", tuple(topics)),
        before=request.args.get("before"),
        after=request.args.get("after"),
    )
    whole_page = not htmx.wants_fragment()
    return htmx.render(
        "admin/jobs.html",
        fragment="admin/_jobs.html",
        page=page,
        topics=topics,
        statuses=MessageStatus,
        depths=queries.queue_depths(at=clock.now()) if whole_page else [],
        depth_limit=queries.DEPTH_LIMIT,
        workers=queries.list_workers() if whole_page else None,
        timetable=periodic.jobs(),
    )


@bp.get(_PAGE)
@staff
def job(message_id: int) -> ResponseReturnValue:
    """One effect."""
    return _show(message_id)


def _show(message_id: int, refusal: str | None = None, status: int = 200) -> ResponseReturnValue:
    message = queries.get_message(message_id)
    return htmx.render(
        "admin/job.html",
        fragment="admin/_job.html",
        status=status,
        message=message,
        can_run_again=message.status is MessageStatus.FAILED,
        most_attempts=outbox.MAX_ATTEMPTS,
        refusal=refusal,
    )


@bp.post(f"{_PAGE}/run-again")
@staff
def run_job_again(message_id: int) -> ResponseReturnValue:
    """Give an effect that was given up fresh tries."""
    queries.get_message(message_id)
    return act(
        lambda: services.run_effect_again(message_id, by=actor().email, at=clock.now()),
        show=partial(_show, message_id),
        url=url_for("admin.job", message_id=message_id),
        done=_l("It is in the queue again."),
    )

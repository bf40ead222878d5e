"""The nightly check of the invariants: looks far back, writes down what it found, and tells staff of what is new."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from flask_babel import lazy_gettext as _l
from sqlalchemy.dialects import postgresql, sqlite

from portal.admin.queries import invariants as queries
from portal.core import clock, mail, periodic, queues
from portal.core.addresses import address_of
from portal.core.db import db, is_postgresql, unit_of_work
from portal.core.invariants import Breach, InvariantRun, Reach, get_invariant, invariants, news, subjects_of
from portal.core.mail import Content
from portal.payments import check_log

log = structlog.get_logger(__name__)

# How far the nightly look goes back, in rows of each table.
FAR = 50_000
_JOB = "portal.admin.nightly.check_invariants"


def register() -> None:
    """Put the check on the list."""
    periodic.every(timedelta(days=1), _JOB)


def look(*, at: datetime, only: str | None = None, rows: int | None = None) -> Mapping[str, Sequence[Breach]]:
    """The breaches of every rule, or of one, by its name."""
    reach = Reach(at) if rows is None else Reach(at, rows)
    return {rule.name: rule.find(reach) for rule in invariants() if only is None or rule.name == only}


@queues.job
def check_invariants() -> None:
    """Look once a day. A second run on the same day finds the first one's row and does nothing."""
    at = clock.now()
    found = {name: subjects_of(breaches) for name, breaches in look(at=at, rows=FAR).items() if breaches}
    before = queries.last_run()
    fresh = news(found, before.found if before is not None else {})
    with unit_of_work():
        run_id = _keep(found, fresh, at)
        check_log.forget_old(at=at)
        if run_id is None or not fresh:
            return
        log.warning("invariants_broken", new={name: len(subjects) for name, subjects in fresh.items()})
        for person in queries.staff_to_tell():
            mail.send(
                "invariants_broken", to=person.email, locale=person.locale,
                key=f"invariants:{run_id}:{person.id}", run_id=run_id,
            )  # fmt: skip


def _keep(found: dict[str, list[str]], fresh: dict[str, list[str]], at: datetime) -> int | None:
    insert = postgresql.insert if is_postgresql() else sqlite.insert
    run_id: int | None = db.session.scalar(
        insert(InvariantRun)
        .values(day=at.date().isoformat(), at=at, found=found, new=fresh)
        .on_conflict_do_nothing(index_elements=["day"])
        .returning(InvariantRun.id)
    )
    return run_id


@mail.context("invariants_broken", title=_l("Something in the books is wrong"))
def invariants_broken(run_id: int) -> Content:
    """For staff, the morning after: which rules are newly broken, and how often."""
    run = queries.get_run(run_id)
    known = {rule.name for rule in invariants()}
    return Content(
        values={
            "rules": [
                (get_invariant(name).title if name in known else name, len(subjects))
                for name, subjects in run.new.items()
            ],
            "count": run.new_count,
            "board": address_of("admin.invariant_board"),
        }
    )

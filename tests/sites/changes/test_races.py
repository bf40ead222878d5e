"""Clicks at the same moment, with a control twin that shows the bug with the guards off."""

import itertools
import time
from functools import partial
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import attributes

from portal.accounts.models import User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.faults import InjectedFault, arm
from portal.core.state import StatusChange
from portal.sites import storage
from portal.sites.changes.models import ChangeRequest, ChangeStatus
from portal.sites.changes.queries import get_change_by_id
from portal.sites.changes.services import asking, deciding, drafting
from portal.sites.models import Deployment, Site, SiteVersion
from tests.crowd import all_at_once
from tests.sites.changes.support import CARDS, HOURS, carry_out, draft_of, home, ids, make_active_site, ready, reload
from tests.sites.support import BY, served

CROWD = 6


def accept(change_id: int, chosen: list[str], number: int) -> ChangeRequest:
    return deciding.accept_pieces(get_change_by_id(change_id), chosen, draft_number=number, by=BY, at=clock.now())


def count(what: Any) -> int:
    db.session.rollback()
    return db.session.scalar(db.select(db.func.count()).select_from(what)) or 0


def accepted() -> int:
    db.session.rollback()
    found = db.select(StatusChange).where(StatusChange.entity == "site_changes", StatusChange.became == "accepted")
    return len(db.session.scalars(found).all())


def test_approvals_at_once_make_one_version(app: Flask, alice: User) -> None:
    """Each chose something else; one of them decides."""
    site = make_active_site(alice)
    change = ready(site, alice)
    pieces, number = ids(change), draft_of(change)
    choices = [[pieces[0]], [pieces[1]], pieces] * (CROWD // 3)
    before = count(Deployment)
    answers = all_at_once(app, [partial(accept, change.id, chosen, number) for chosen in choices])
    assert accepted() == 1, answers
    assert (count(SiteVersion), count(Deployment)) == (2, before + 1)
    # Who came after the decision is told how it stands; who was on the way at the same time is refused.
    refused = [one for one in answers if isinstance(one, Exception)]
    assert all(type(one).__name__ in ("InvalidTransition", "DraftMoved", "BusySite") for one in refused), refused
    carry_out()
    assert served(site.slug) in (home(HOURS), home(CARDS), home(HOURS, CARDS))
    assert reload(change).status is ChangeStatus.LIVE


def test_approval_and_refusal_at_once_leave_one_of_them(app: Flask, alice: User) -> None:
    site = make_active_site(alice)
    change = ready(site, alice)
    pieces, number = ids(change), draft_of(change)

    def decline() -> None:
        with unit_of_work():
            deciding.decline(change.id, by=BY, at=clock.now())

    all_at_once(app, [partial(accept, change.id, pieces, number), decline] * 2)
    carry_out()
    is_live = reload(change).status is ChangeStatus.LIVE
    assert is_live or reload(change).status is ChangeStatus.DECLINED
    assert served(site.slug) == (home(HOURS, CARDS) if is_live else home())
    assert count(SiteVersion) == (2 if is_live else 1)


def test_two_changes_approved_at_once_both_stay(app: Flask, alice: User) -> None:
    """Neither takes the other's text away: who comes second goes on top of the first."""
    site = make_active_site(alice)
    both = [ready(site, alice, {"index.html": home(words)}, text=words[1]) for words in (HOURS, CARDS)]
    work = [partial(accept, one.id, ids(one), draft_of(one)) for one in both]
    answers = all_at_once(app, work)
    assert [one for one in answers if isinstance(one, Exception)] == []
    carry_out()
    assert served(site.slug) == home(HOURS, CARDS)
    assert [reload(one).status for one in both] == [ChangeStatus.LIVE] * 2


def test_undone_at_once_is_undone_once(app: Flask, alice: User) -> None:
    site = make_active_site(alice)
    change = ready(site, alice)
    accept(change.id, ids(change), draft_of(change))
    carry_out()

    def undo() -> None:
        deciding.undo_change(get_change_by_id(change.id), by=BY, at=clock.now())

    all_at_once(app, [undo] * 4)
    assert count(SiteVersion) == 3
    carry_out()
    assert served(site.slug) == home()


def test_the_same_wish_at_once_is_one_request(app: Flask, alice: User) -> None:
    site = make_active_site(alice)

    def ask() -> int:
        return asking.ask_for_change(db.session.get_one(Site, site.id), alice, text="Nine", at=clock.now()).number

    assert all_at_once(app, [ask] * CROWD) == [1] * CROWD
    assert count(ChangeRequest) == 1


def test_dying_before_the_commit_leaves_the_draft_to_decide(app: Flask, alice: User) -> None:
    """Stored bytes without a version are nothing; the next click does it all."""
    site = make_active_site(alice)
    change = ready(site, alice)
    pieces, number = ids(change), draft_of(change)
    for point in ("change-stored", "change-before-commit"):
        with arm(point, "raise"), pytest.raises(InjectedFault):
            accept(change.id, pieces, number)
        assert reload(change).status is ChangeStatus.PREVIEW_READY
        assert count(SiteVersion) == 1
    accept(change.id, pieces, number)
    carry_out()
    assert served(site.slug) == home(HOURS, CARDS)


def _careless_lock(change_id: int) -> tuple[ChangeRequest, Site]:
    """The request as it was seen first, and time for all the others to look too."""
    change = db.session.get_one(ChangeRequest, change_id)
    time.sleep(1)
    return change, change.site


def _careless_transition(row: ChangeRequest, to: ChangeStatus, *, values: dict[str, Any], **said: Any) -> None:
    """Written whatever the row says by now: no compare-and-set."""
    db.session.execute(
        text("UPDATE site_changes SET status = :to, version_number = :version WHERE id = :id"),
        {"to": to.value, "version": values["version_number"], "id": row.id},
    )
    db.session.add(
        StatusChange(entity="site_changes", entity_id=row.id, column="status", was=row.status.value, became=to.value,
                     actor=said["by"], at=said["at"])
    )  # fmt: skip
    attributes.set_committed_value(row, "status", to)


# SQLite lets one writer in at a time and cannot show this bug; its guard, BEGIN IMMEDIATE, has its own control.
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_control_without_the_guards_two_approvals_both_decide(
    app: Flask, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = ready(make_active_site(alice), alice)
    pieces, number = ids(change), draft_of(change)
    numbers = itertools.count(10)

    def no_lock(site_id: int) -> Site:
        site = db.session.get_one(Site, site_id, populate_existing=True)
        attributes.set_committed_value(site, "last_version_number", next(numbers))
        return site

    monkeypatch.setattr(storage, "lock_site", no_lock)
    monkeypatch.setattr(drafting, "lock", _careless_lock)
    monkeypatch.setattr(drafting, "drop_draft", lambda _change: None)
    monkeypatch.setattr(deciding, "transition", _careless_transition)
    all_at_once(app, [partial(accept, change.id, [piece], number) for piece in pieces])
    db.session.rollback()
    assert accepted() == 2
    assert count(SiteVersion) == 3

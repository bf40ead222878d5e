"""An owner takes all or some of a draft, asks for another, declines, and takes back what was taken."""

import itertools

import pytest
from flask import Flask

from portal.accounts.models import User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.mail import MailMessage
from portal.core.state import InvalidTransition, history
from portal.sites import storage
from portal.sites.changes.errors import (
    ChangesClosed,
    DraftMoved,
    NoPieces,
    PieceOutdated,
    PiecesNeeded,
    UndoTooLate,
)
from portal.sites.changes.models import CHANGE_TRANSITIONS, ChangeDraft, ChangeRequest, ChangeStatus
from portal.sites.changes.services import deciding
from portal.sites.models import SiteVersion, VersionOrigin
from portal.sites.services import ownership, uploading
from tests.sites.changes.support import (
    CARDS,
    HOURS,
    ask,
    carry_out,
    draft,
    draft_of,
    home,
    ids,
    make_active_site,
    ready,
    reload,
    show,
)
from tests.sites.support import BY, live_version, root, served


def accept(change: ChangeRequest, *pieces: str) -> ChangeRequest:
    chosen, number = list(pieces) or ids(change), draft_of(change)
    return deciding.accept_pieces(reload(change), chosen, draft_number=number, by="alice@example.com", at=clock.now())


def mails() -> list[str]:
    db.session.rollback()
    return [one.template for one in db.session.scalars(db.select(MailMessage).order_by(MailMessage.id))]


def status(change: ChangeRequest) -> ChangeStatus:
    found: ChangeStatus = reload(change).status
    return found


def test_a_change_goes_from_request_to_live(app: Flask, alice: User) -> None:
    site = make_active_site(alice)
    change = ask(site, alice)
    made = draft(change, {"index.html": home(HOURS, CARDS)})
    assert mails() == []
    assert status(change) is ChangeStatus.DRAFTING
    show(change)
    assert mails() == ["change_ready"]
    carry_out()
    preview = root(app) / ".previews" / site.slug / made.preview_name / "index.html"
    assert preview.read_bytes() == home(HOURS, CARDS)
    assert served(site.slug) == home()
    accept(change)
    assert status(change) is ChangeStatus.ACCEPTED
    assert served(site.slug) == home()
    carry_out()
    assert served(site.slug) == home(HOURS, CARDS)
    assert status(change) is ChangeStatus.LIVE
    assert mails() == ["change_ready", "change_live"]
    version = live_version(site)
    assert (version.origin, version.note, version.author) == (VersionOrigin.CHANGE, change.text, "alice@example.com")
    found = reload(change)
    assert (found.version_number, found.accepted_count, found.piece_count) == (version.number, 2, 2)
    assert [one.became for one in history(found)] == ["drafting", "preview_ready", "accepted", "live"]
    # A draft that is decided about is gone, and so is what was to be looked at.
    assert db.session.scalars(db.select(ChangeDraft)).all() == []
    assert not preview.exists()


def test_some_pieces_are_taken_and_the_others_are_not(app: Flask, alice: User) -> None:
    site = make_active_site(alice)
    for wanted in itertools.product([True, False], repeat=2):
        before = served(site.slug)
        change = ready(site, alice, {"index.html": home(HOURS, CARDS)}, text=f"Try {wanted}")
        picked = [one for one, is_wanted in zip(ids(change), wanted, strict=True) if is_wanted]
        if not picked:
            with pytest.raises(NoPieces):
                deciding.accept_pieces(reload(change), [], draft_number=draft_of(change), by=BY, at=clock.now())
            assert status(change) is ChangeStatus.PREVIEW_READY
            continue
        accept(change, *picked)
        carry_out()
        taken = [one for one, is_wanted in zip((HOURS, CARDS), wanted, strict=True) if is_wanted]
        assert served(site.slug) == home(*taken)
        assert reload(change).accepted_count == len(picked)
        deciding.undo_change(reload(change), by=BY, at=clock.now())
        carry_out()
        assert served(site.slug) == before


def test_accepting_twice_changes_nothing(app: Flask, alice: User) -> None:
    change = ready(make_active_site(alice), alice)
    number, pieces = draft_of(change), ids(change)
    accept(change)
    before = db.session.scalar(db.select(db.func.count()).select_from(SiteVersion))
    again = deciding.accept_pieces(reload(change), pieces, draft_number=number, by=BY, at=clock.now())
    assert again.status is ChangeStatus.ACCEPTED
    assert db.session.scalar(db.select(db.func.count()).select_from(SiteVersion)) == before


def test_what_was_not_looked_at_is_not_accepted(app: Flask, alice: User) -> None:
    """Another draft, or a piece of another one: both came after the page was made."""
    change = ready(make_active_site(alice), alice)
    pieces, old = ids(change), draft_of(change)
    with unit_of_work():
        deciding.ask_for_another(change.id, "Later", draft_number=old, by=BY, at=clock.now())
    draft(change, {"index.html": home(("Open from 8", "Open from 10"))})
    show(change)
    for chosen, number in ((pieces, old), (ids(change), old), (pieces, draft_of(change))):
        with pytest.raises((DraftMoved, NoPieces)):
            deciding.accept_pieces(reload(change), chosen, draft_number=number, by=BY, at=clock.now())
    assert status(change) is ChangeStatus.PREVIEW_READY


def test_two_changes_of_one_page_both_go_online(app: Flask, alice: User) -> None:
    site = make_active_site(alice)
    first = ready(site, alice, {"index.html": home(HOURS)}, text="Hours")
    second = ready(site, alice, {"index.html": home(CARDS)}, text="Cards")
    accept(first)
    # Nothing is deployed yet: the second goes on top of what is on its way.
    accept(second)
    carry_out()
    assert served(site.slug) == home(HOURS, CARDS)
    assert [status(one) for one in (first, second)] == [ChangeStatus.LIVE] * 2
    deciding.undo_change(reload(first), by=BY, at=clock.now())
    carry_out()
    assert served(site.slug) == home(CARDS)
    assert reload(first).undone_by_number == live_version(site).number


def test_a_piece_whose_place_has_changed_is_refused_and_the_rest_is_not(app: Flask, alice: User) -> None:
    site = make_active_site(alice)
    change = ready(site, alice)
    uploading.save_text(
        reload(site), live_version(site), "index.html", home(("Open from 8", "Closed")).decode(), note="", by=BY,
        at=clock.now(),
    )  # fmt: skip
    with pytest.raises(PieceOutdated):
        accept(change)
    assert status(change) is ChangeStatus.PREVIEW_READY
    accept(change, ids(change)[1])
    carry_out()
    assert served(site.slug) == home(("Open from 8", "Closed"), CARDS)


def test_a_choice_that_leaves_a_dead_link_is_refused(app: Flask, alice: User) -> None:
    site = make_active_site(alice)
    page = home(("Ring twice", '<a href="new.html">New</a>'))
    change = ready(site, alice, {"index.html": page, "new.html": b"<!doctype html><title>New</title><p>x"})
    link, added = ids(change)
    with pytest.raises(PiecesNeeded, match=r"new\.html"):
        accept(change, link)
    assert status(change) is ChangeStatus.PREVIEW_READY
    accept(change, link, added)
    carry_out()
    assert served(site.slug) == page


def test_without_a_subscription_nothing_is_asked_or_accepted_and_undo_still_works(app: Flask, alice: User) -> None:
    site = make_active_site(alice)
    live, waiting = ready(site, alice, {"index.html": home(CARDS)}, text="Cards"), ready(site, alice, text="Hours")
    accept(live)
    carry_out()
    with unit_of_work():
        ownership.deactivate(reload(site), at=clock.now())
    versions = reload(site).last_version_number
    with pytest.raises(ChangesClosed):
        ask(site, alice, "More")
    with pytest.raises(ChangesClosed):
        accept(waiting, ids(waiting)[0])
    with pytest.raises(ChangesClosed), unit_of_work():
        deciding.ask_for_another(waiting.id, "", draft_number=draft_of(waiting), by=BY, at=clock.now())
    assert reload(site).last_version_number == versions
    with unit_of_work():
        deciding.decline(waiting.id, by=BY, at=clock.now())
    deciding.undo_change(reload(live), by=BY, at=clock.now())
    carry_out()
    assert served(site.slug) == home()


def test_undo_after_others_changed_the_same_place_says_so(app: Flask, alice: User) -> None:
    site = make_active_site(alice)
    first = ready(site, alice, {"index.html": home(HOURS)}, text="Nine")
    accept(first)
    carry_out()
    second = ready(site, alice, {"index.html": home(("Open from 8", "Open from 10"))}, text="Ten")
    accept(second)
    carry_out()
    with pytest.raises(UndoTooLate):
        deciding.undo_change(reload(first), by=BY, at=clock.now())
    for _twice in range(2):
        deciding.undo_change(reload(second), by=BY, at=clock.now())
    carry_out()
    assert served(site.slug) == home(HOURS)
    deciding.undo_change(reload(first), by=BY, at=clock.now())
    carry_out()
    assert served(site.slug) == home()


def put(change: ChangeRequest, where: ChangeStatus) -> None:
    """Set the scene by hand: any state, reachable or not."""
    with db.engine.begin() as connection:
        connection.execute(
            db.text("UPDATE site_changes SET status = :to, version_number = 1 WHERE id = :id"),
            {"to": where.value, "id": change.id},
        )


def test_every_action_in_every_state(app: Flask, alice: User) -> None:
    """What the table has no arrow for is refused and changes nothing; doing again what was done is no error."""
    change = ready(make_active_site(alice), alice)
    number, pieces, at = draft_of(change), ids(change), clock.now()

    def accept_it() -> None:
        deciding.accept_pieces(reload(change), pieces, draft_number=number, by=BY, at=at)

    def decline_it() -> None:
        with unit_of_work():
            deciding.decline(change.id, by=BY, at=at)

    def draft_it_anew() -> None:
        with unit_of_work():
            deciding.ask_for_another(change.id, "", draft_number=number, by=BY, at=at)

    actions = {
        ChangeStatus.ACCEPTED: accept_it, ChangeStatus.DECLINED: decline_it, ChangeStatus.DRAFTING: draft_it_anew,
    }  # fmt: skip
    done = {
        (ChangeStatus.LIVE, ChangeStatus.ACCEPTED),
        *((one, one) for one in actions if one != ChangeStatus.DRAFTING),
    }
    refused = 0
    for where, (to, action) in itertools.product(ChangeStatus, actions.items()):
        # What was only received goes to be drafted too, but it is not its owner who sends it there.
        if to in CHANGE_TRANSITIONS.get(where, frozenset()) and where is not ChangeStatus.RECEIVED:
            continue
        if (where, to) == (ChangeStatus.RECEIVED, ChangeStatus.DECLINED):
            continue
        put(change, where)
        before = reload(change).updated_at
        if (where, to) in done:
            action()
        else:
            with pytest.raises(InvalidTransition):
                action()
            refused += 1
        assert (reload(change).status, reload(change).updated_at) == (where, before), (where, to)
    assert refused == 10


def test_bytes_of_an_open_draft_outlive_the_clean_up(app: Flask, alice: User) -> None:
    site = make_active_site(alice)
    change = ready(site, alice)
    later = clock.now() + storage.UNTOUCHED * 3
    with unit_of_work():
        assert storage.forget_unused(site.id, at=later) == []
    with unit_of_work():
        deciding.decline(change.id, by=BY, at=clock.now())
    with unit_of_work():
        assert len(storage.forget_unused(site.id, at=later)) == 1

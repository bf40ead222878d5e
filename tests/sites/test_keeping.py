"""Sites are created, described, sold once, deleted with an undo period, and let go of in the end."""

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select

from portal.accounts.models import User
from portal.core import clock, files, outbox
from portal.core.db import db, unit_of_work
from portal.core.state import InvalidTransition
from portal.sites import jobs, layout, queries
from portal.sites.errors import InvalidSite, SiteDeleted, SiteInUse, SlugTaken, UndoOver
from portal.sites.models import SITE_TRANSITIONS, Deployment, Site, SiteBlob, SiteStatus, SiteVersion
from portal.sites.services import keeping, ownership
from portal.sites.services.importing import describe
from portal.sites.services.keeping import SiteValues
from tests.crowd import all_at_once
from tests.sites.support import BY, FILES, fresh, make_live_site, make_site, page, served


def test_a_new_site_has_the_usual_prices(app: Flask) -> None:
    site = make_site("bakery")
    assert (site.purchase_price_minor, site.monthly_price_minor, site.currency) == (49_500, 9_500, "USD")
    assert site.status is SiteStatus.PREVIEW


def test_an_address_is_given_once(app: Flask) -> None:
    make_site("bakery")
    with pytest.raises(SlugTaken), unit_of_work():
        keeping.create_site("bakery", SiteValues("Other"), by=BY, at=clock.now())


@pytest.mark.parametrize(
    ("field", "value"),
    [("title", " "), ("title", "x" * 121), ("title", "a\0b"), ("purchase_price_minor", 0), ("currency", "XXY"),
     ("monthly_price_minor", -1), ("monthly_price_minor", 10**10), ("notes", "x" * 5001)],
)  # fmt: skip
def test_what_cannot_be_kept_is_named(app: Flask, field: str, value: object) -> None:
    values = SiteValues(**{"title": "Fine", field: value})  # type: ignore[arg-type]  # one field of each kind is wrong
    with pytest.raises(InvalidSite) as caught, unit_of_work():
        keeping.create_site("bakery", values, by=BY, at=clock.now())
    assert caught.value.field == field


def test_deleting_takes_it_off_the_web_and_undo_brings_it_back(app: Flask) -> None:
    site = make_live_site("bakery")
    with unit_of_work():
        keeping.delete_site(site, by=BY, at=clock.now())
        keeping.delete_site(site, by=BY, at=clock.now())
    outbox.drain("deploy")
    assert served("bakery") is None
    with pytest.raises(SiteDeleted), unit_of_work():
        keeping.update_site(site, SiteValues("New"), by=BY, at=clock.now())
    with unit_of_work():
        keeping.undelete_site(site, by=BY, at=clock.now())
    outbox.drain("deploy")
    assert served("bakery") == FILES["index.html"]
    with pytest.raises(UndoOver), unit_of_work():
        keeping.undelete_site(site, by=BY, at=clock.now())


def test_a_site_brought_back_before_it_was_taken_down_stays_up(app: Flask) -> None:
    site = make_live_site("bakery")
    with unit_of_work():
        keeping.delete_site(site, by=BY, at=clock.now())
        keeping.undelete_site(site, by=BY, at=clock.now())
    outbox.drain("deploy")
    assert served("bakery") == FILES["index.html"]


def test_after_thirty_days_everything_is_gone_and_the_address_is_free(app: Flask) -> None:
    site = make_live_site("bakery")
    names = list(db.session.scalars(select(SiteBlob.name)))
    deleted_at = clock.now() - timedelta(days=30, seconds=1)
    with unit_of_work():
        keeping.delete_site(site, by=BY, at=deleted_at)
    with pytest.raises(UndoOver), unit_of_work():
        keeping.undelete_site(site, by=BY, at=clock.now())
    jobs.tidy_up()
    outbox.drain("deploy")
    gone = fresh(site)
    assert gone.slug == f"gone-{site.id}"
    assert gone.purged_at is not None
    for table in (SiteVersion, SiteBlob, Deployment):
        assert db.session.scalar(select(func.count()).select_from(table)) == 0
    for name in names:
        with pytest.raises(FileNotFoundError):
            files.get(name)
    assert not layout.place_of("bakery").folder.exists()
    assert not layout.place_of("bakery").previews.exists()
    again = make_live_site("bakery", page("new"))
    outbox.drain("deploy")
    assert served("bakery") == page("new")["index.html"]
    assert again.id != site.id


def test_until_then_it_is_kept(app: Flask) -> None:
    site = make_live_site("bakery")
    with unit_of_work():
        keeping.delete_site(site, by=BY, at=clock.now() - timedelta(days=29))
    jobs.tidy_up()
    assert fresh(site).can_be_undeleted(clock.now())
    assert db.session.scalar(select(func.count()).select_from(SiteVersion)) == 1


def test_a_site_somebody_pays_for_is_not_deleted(app: Flask, alice: User) -> None:
    site = make_live_site("bakery", owner=alice)
    with unit_of_work():
        ownership.activate(site, at=clock.now())
    with pytest.raises(SiteInUse), unit_of_work():
        keeping.delete_site(site, by=BY, at=clock.now())


def test_a_site_is_handed_over_once(app: Flask, alice: User, bob: User) -> None:
    site = make_site("bakery")
    for _ in range(2):
        with unit_of_work():
            assert ownership.hand_over(site, alice, at=clock.now()).owner_id == alice.id
    with pytest.raises(InvalidTransition), unit_of_work():
        ownership.hand_over(site, bob, at=clock.now())


def test_of_two_buyers_at_once_one_gets_it(app: Flask, alice: User, bob: User) -> None:
    site = make_site("bakery")

    def give(user: User) -> int | None:
        with unit_of_work():
            return ownership.hand_over(site, user, at=clock.now()).owner_id

    results = all_at_once(app, [lambda: give(alice), lambda: give(bob)])
    owner = fresh(site).owner_id
    assert sum(one == owner for one in results) == 1
    assert sum(isinstance(one, InvalidTransition) for one in results) == 1


@pytest.mark.parametrize("status", list(SiteStatus))
@pytest.mark.parametrize("to", list(SiteStatus))
def test_every_step_of_ownership_is_in_the_table(app: Flask, alice: User, status: SiteStatus, to: SiteStatus) -> None:
    site = make_site(owner=None if status is SiteStatus.PREVIEW else alice)
    if status is SiteStatus.ACTIVE:
        with unit_of_work():
            ownership.activate(site, at=clock.now())
    moves = {SiteStatus.ACTIVE: ownership.activate, SiteStatus.OWNED: ownership.deactivate}
    if to is SiteStatus.PREVIEW:
        assert to not in SITE_TRANSITIONS.get(status, frozenset())
    elif status is SiteStatus.PREVIEW:
        with pytest.raises(InvalidTransition), unit_of_work():
            moves[to](site, at=clock.now())
    else:
        with unit_of_work():
            assert moves[to](site, at=clock.now()).status is to


def test_a_page_says_what_it_is_called() -> None:
    files = {"index.html": b'<title>A &amp; B\n</title><meta name="description" content="Nice &quot;things&quot;">'}
    values = describe("a-b", files)
    assert (values.title, values.summary) == ("A & B", 'Nice "things"')
    assert describe("la-pros", {"index.html": b"<p>"}).title == "La pros"


def test_sites_for_sale_are_listed_newest_first(app: Flask) -> None:
    make_live_site("first-one")
    make_live_site("second-one")
    make_site("unfinished")
    assert [site.slug for site in queries.list_for_sale()] == ["second-one", "first-one"]
    assert isinstance(queries.list_for_sale()[0], Site)

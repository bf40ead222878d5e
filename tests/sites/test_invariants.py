"""What must be true of sites: broken on purpose, seen on the board, mended by its click, and seen to hold again."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from portal.accounts.models import User
from portal.admin import services
from portal.core import clock, outbox
from portal.core.db import db, unit_of_work
from portal.core.invariants import AlreadyRight, Reach, get_invariant
from portal.sites import jobs, layout, releases
from portal.sites.hosts import Host
from portal.sites.models import Deployment, DeploymentStatus, SiteStatus
from portal.sites.services import inspecting, mending, ownership
from tests import factories
from tests.admin.reading import words
from tests.browser_like import post_form
from tests.sites.support import FILES, deploy, fresh, make_live_site, make_site, make_version, page, request
from tests.sites.test_buying import only_order, pay, press
from tests.subscriptions import support as subscriptions

LATER = timedelta(minutes=11)


def found(name: str, *, after: timedelta = timedelta(0)) -> list[str]:
    db.session.rollback()
    return [breach.subject for breach in get_invariant(name).find(Reach(clock.now() + after))]


def repair(name: str, subject_id: int, *, after: timedelta = timedelta(0)) -> None:
    """Press the button; pressed again it changes nothing."""
    at = clock.now() + after
    with unit_of_work():
        services.repair(get_invariant(name), subject_id, by="staff@example.com", at=at)
    with pytest.raises(AlreadyRight), unit_of_work():
        services.repair(get_invariant(name), subject_id, by="staff@example.com", at=at)


def sql(statement: str, **values: Any) -> None:
    """Break something as no code of ours would."""
    with unit_of_work():
        db.session.execute(text(statement), values)


def deployments() -> int:
    db.session.rollback()
    return int(db.session.scalar(db.select(db.func.count()).select_from(Deployment)) or 0)


def test_a_version_that_does_not_arrive_is_seen_and_deployed_again(app: Flask) -> None:
    site = make_live_site("bakery")
    name, subject = "site_not_as_wanted", f"sites:{site.id}"
    assert found(name, after=LATER) == []
    waiting = request(site, make_version(site, page("two")))
    assert (found(name), found(name, after=LATER)) == ([], [subject])
    repair(name, site.id, after=LATER)
    outbox.drain("deploy")
    assert fresh(waiting).status is DeploymentStatus.SUPERSEDED
    assert found(name, after=2 * LATER) == []
    assert (layout.place_of("bakery").current / "index.html").read_bytes() == page("two")["index.html"]
    # One that failed and one that went back are no better than one that waits, until the next one arrives.
    for status in ("failed", "rolled_back", "superseded"):
        sql("UPDATE deployments SET status = :status WHERE id = (SELECT max(id) FROM deployments)", status=status)
        assert found(name, after=2 * LATER) == [subject]
    deploy(site, make_version(site, page("three")))
    assert found(name, after=LATER) == []


def test_a_host_that_was_never_told_of_a_site_is_seen(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_live_site("bakery")
    make_site("without-content")
    monkeypatch.setattr(mending, "each_host", lambda: [Host(""), Host("west")])
    assert found("site_not_as_wanted", after=LATER) == [f"sites:{site.id}"]


@pytest.mark.parametrize("damage", ["changed", "missing", "more", "link"])
def test_a_release_that_is_not_whole_is_seen_at_night_and_written_anew(app: Flask, damage: str) -> None:
    site, other = make_live_site("bakery"), make_live_site("florist")
    name, place = "release_damaged", layout.place_of("bakery")
    look_at_night()
    assert found(name) == []
    match damage:
        case "changed":
            (place.current / "css/site.css").chmod(0o644)
            (place.current / "css/site.css").write_bytes(b"h1 { color: green }")
        case "missing":
            (place.current / "about/index.html").unlink()
        case "more":
            (place.current / "more.html").write_bytes(b"hello")
        case "link":
            releases.take_down(place)
    # Nobody sees it before somebody looks: what a disk holds is no question for a page.
    assert found(name) == []
    look_at_night()
    assert found(name) == [f"sites:{site.id}"]
    repair(name, site.id)
    assert deployments() == 3
    outbox.drain("deploy")
    assert found(name) == []
    look_at_night()
    assert found(name) == []
    assert {path: (place.current / path).read_bytes() for path in FILES} == FILES
    assert not (place.current / "more.html").exists()
    assert found("site_not_as_wanted", after=LATER) == []
    assert fresh(other).current_version_id is not None


def look_at_night() -> None:
    """What happens on the next night, twice as every job may."""
    with unit_of_work():
        db.session.execute(db.delete(outbox.OutboxMessage))
    jobs.inspect_releases()
    jobs.inspect_releases()
    db.session.rollback()
    live = db.select(db.func.count()).select_from(Deployment).where(Deployment.status == DeploymentStatus.LIVE)
    assert outbox.drain("deploy") == db.session.scalar(live)


def test_a_night_looks_at_so_many_first_at_those_that_waited_longest(app: Flask) -> None:
    sites = [make_live_site(f"site-{number}") for number in range(3)]
    seen = []
    for night in range(3):
        with unit_of_work():
            assert inspecting.call_up(at=clock.now() + timedelta(days=night), limit=1) == 1
        outbox.drain("deploy")
        db.session.rollback()
        newest = db.select(Deployment.site_id).where(Deployment.inspected_at.is_not(None))
        seen.append(set(db.session.scalars(newest)))
    assert [len(one) for one in seen] == [1, 2, 3]
    assert seen[-1] == {site.id for site in sites}


def test_what_is_served_no_longer_is_not_looked_at(app: Flask) -> None:
    site = make_live_site("bakery")
    first = db.session.scalars(db.select(Deployment)).one().id
    deploy(site, make_version(site, page("two")))
    inspecting.inspect(first)
    inspecting.inspect(999_999)
    assert fresh(db.session.get_one(Deployment, first)).inspected_at is None


def test_a_site_that_was_paid_and_belongs_to_nobody_is_handed_over(app: Flask, client: FlaskClient) -> None:
    site = make_live_site("bakery", title="The bakery")
    pay(app, press(client))
    order, name = only_order(), "site_paid_without_owner"
    owner = fresh(site).owner_id
    assert (order.user_id, found(name)) == (owner, [])
    sql("UPDATE sites SET status = 'preview', owner_id = NULL")
    assert found(name) == [f"orders:{order.id}"]
    repair(name, order.id)
    assert (fresh(site).owner_id, fresh(site).status, found(name)) == (owner, SiteStatus.OWNED, [])


def test_a_site_follows_its_subscription(app: Flask, alice: User) -> None:
    site, name = subscriptions.own_site(alice), "site_against_subscription"
    assert found(name) == []
    # Open, and nobody pays.
    with unit_of_work():
        ownership.activate(site, at=clock.now())
    assert found(name) == [f"sites:{site.id}"]
    repair(name, site.id)
    assert (fresh(site).status, found(name)) == (SiteStatus.OWNED, [])
    # Paid, and closed.
    subscriptions.activate(app, alice)
    assert (fresh(site).status, found(name)) == (SiteStatus.ACTIVE, [])
    with unit_of_work():
        ownership.deactivate(site, at=clock.now())
    assert found(name) == [f"sites:{site.id}"]
    repair(name, site.id)
    assert (fresh(site).status, found(name)) == (SiteStatus.ACTIVE, [])


def test_the_board_leads_to_the_site_and_deploys_it_again(app: Flask, staff: User) -> None:
    site = make_live_site("bakery", title="The bakery")
    sql("UPDATE deployments SET status = 'failed', created_at = :at", at=_raw(clock.now() - LATER))
    browser = app.test_client()
    factories.sign_in(browser, staff)
    answer = browser.get("/admin/invariants")
    assert "Websites that do not show what they should" in words(answer)
    assert f'href="/admin/sites/{site.id}"' in answer.get_data(as_text=True)
    address = f"/admin/invariants/site_not_as_wanted/{site.id}/repair"
    assert post_form(browser, address, page="/admin/invariants").status_code == 303
    outbox.drain("deploy")
    assert found("site_not_as_wanted", after=LATER) == []
    assert post_form(browser, address, page="/admin/webhooks/check").status_code == 409


def _raw(at: Any) -> Any:
    """An instant as raw SQL wants it on both databases."""
    return at if db.engine.dialect.name == "postgresql" else at.strftime("%Y-%m-%d %H:%M:%S.%f")

"""A version that is asked for becomes what is served: whole, once, and the last one wanted."""

import json
import os
import threading
from contextlib import nullcontext

import pytest
from flask import Flask
from sqlalchemy import select

from portal.core import clock, files, outbox
from portal.core.audit import AuditEvent
from portal.core.db import db, unit_of_work
from portal.core.faults import arm
from portal.core.outbox import MessageStatus, OutboxMessage
from portal.sites import layout, releases
from portal.sites.content import checking
from portal.sites.errors import SiteDeleted
from portal.sites.models import Deployment, DeploymentStatus, SiteBlob
from portal.sites.services import deploying, keeping
from tests.crowd import all_at_once
from tests.sites.support import (
    BY,
    FILES,
    deploy,
    fresh,
    live_version,
    make_live_site,
    make_site,
    make_version,
    page,
    request,
    root,
    served,
    steps,
)


def test_a_deployed_version_is_served_whole(app: Flask) -> None:
    site = make_site("bakery")
    version = make_version(site)
    deployment = deploy(site, version)
    assert deployment.status is DeploymentStatus.LIVE
    assert deployment.release == f"1-{deployment.id}"
    assert {path: served("bakery", path) for path in FILES} == FILES
    assert fresh(site).current_version_id == version.id
    assert str(layout.place_of("bakery").current.readlink()) == f"releases/{deployment.release}"
    marker = json.loads((layout.place_of("bakery").current / layout.MARKER).read_text())
    assert (marker["site"], marker["version"], marker["release"]) == ("bakery", 1, deployment.release)
    assert steps(deployment) == ["started", "written", "switched", "not_visited", "live"]


def test_files_can_be_read_by_the_web_server_whatever_the_mask(app: Flask) -> None:
    before = os.umask(0o077)
    try:
        make_live_site("bakery")
    finally:
        os.umask(before)
    release = layout.place_of("bakery").current.resolve()
    modes = {path.stat().st_mode & 0o777 for path in [release, *release.rglob("*")]}
    assert modes == {0o755, 0o644}
    assert all(one.stat().st_mode & 0o055 == 0o055 for one in (release.parent, release.parent.parent, root(app)))


def test_the_same_file_has_the_same_time_in_every_release(app: Flask) -> None:
    """nginx makes the ETag of time and size: equal content keeps its tag, other content of the same length does not."""
    site = make_live_site("bakery", {**page("one"), "same.css": b"a {}"})
    place = layout.place_of("bakery")
    first = {name: (place.current / name).stat().st_mtime for name in ("index.html", "same.css")}
    deploy(site, make_version(site, {**page("two"), "same.css": b"a {}"}))
    second = {name: (place.current / name).stat().st_mtime for name in ("index.html", "same.css")}
    assert first["same.css"] == second["same.css"]
    assert first["index.html"] != second["index.html"]


def test_the_version_before_is_one_click_away(app: Flask) -> None:
    site = make_live_site("bakery", page("one"))
    first = db.session.get_one(Deployment, 1)
    deploy(site, make_version(site, page("two")))
    back = deploy(site, first.version)
    assert served("bakery") == page("one")["index.html"]
    # The folder is still there, whole: nothing had to be written.
    assert back.release == fresh(first).release
    assert "found" in steps(back)
    statuses = [one.status for one in db.session.scalars(select(Deployment).order_by(Deployment.id))]
    assert statuses == [DeploymentStatus.SUPERSEDED, DeploymentStatus.SUPERSEDED, DeploymentStatus.LIVE]


def test_a_release_that_was_damaged_is_written_anew(app: Flask) -> None:
    site = make_live_site("bakery", page("one"))
    version = live_version(site)
    deploy(site, make_version(site, page("two")))
    release = layout.place_of("bakery").releases / "1-1"
    (release / "index.html").write_text("defaced")
    again = deploy(site, version)
    assert again.status is DeploymentStatus.LIVE
    assert again.release == f"1-{again.id}"
    assert served("bakery") == page("one")["index.html"]


@pytest.mark.parametrize("damage", ["changed", "missing", "added", "linked"])
def test_a_damaged_folder_is_recognised(app: Flask, damage: str) -> None:
    site = make_live_site("bakery")
    entries = checking.read_manifest(live_version(site).manifest)
    folder = layout.place_of("bakery").current.resolve()
    assert releases.is_whole(folder, entries)
    css = folder / "css" / "site.css"
    match damage:
        case "changed":
            css.write_bytes(b"h1 { color: black }")
        case "missing":
            css.unlink()
        case "added":
            (folder / "evil.html").write_text("x")
        case _:
            css.rename(folder.parent / "elsewhere")
            css.symlink_to(folder.parent / "elsewhere")
    assert not releases.is_whole(folder, entries)


def test_of_two_that_wait_only_the_last_is_deployed(app: Flask) -> None:
    site = make_site("bakery")
    first = request(site, make_version(site, page("one")))
    second = request(site, make_version(site, page("two")))
    assert fresh(first).status is DeploymentStatus.SUPERSEDED
    outbox.drain("deploy")
    assert served("bakery") == page("two")["index.html"]
    assert fresh(second).status is DeploymentStatus.LIVE
    assert steps(first) == []


def test_the_last_wanted_wins_in_whatever_order_they_run(app: Flask) -> None:
    """The first one was begun, lost its worker, and is taken up again when the second is through."""
    site = make_site("bakery")
    first = request(site, make_version(site, page("one")))
    with unit_of_work():
        deploying._begin(first.id, at=clock.now())
    second = request(site, make_version(site, page("two")))
    deploying.carry_out(second.id)
    deploying.carry_out(first.id)
    assert served("bakery") == page("two")["index.html"]
    assert fresh(first).status is DeploymentStatus.SUPERSEDED
    assert fresh(second).status is DeploymentStatus.LIVE


def test_two_at_once_end_with_the_last_one_wanted(app: Flask) -> None:
    site = make_live_site("bakery", page("zero"))
    first = request(site, make_version(site, page("one")))
    with unit_of_work():
        deploying._begin(first.id, at=clock.now())
    second = request(site, make_version(site, page("two")))
    results = all_at_once(app, [lambda: deploying.carry_out(first.id), lambda: deploying.carry_out(second.id)] * 3)
    assert results == [None] * 6
    assert served("bakery") == page("two")["index.html"]
    live = db.session.scalars(select(Deployment).where(Deployment.status == DeploymentStatus.LIVE)).all()
    assert [one.id for one in live] == [second.id]


def test_without_the_lock_the_older_one_can_win(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: what the lock closes. The first looks, finds no newer one, and switches after the second has."""
    site = make_live_site("bakery", page("zero"))
    first = request(site, make_version(site, page("one")))
    monkeypatch.setattr(layout, "locked", lambda *_given, **_named: nullcontext())
    looked, switched = threading.Event(), threading.Event()

    def linger() -> None:
        if threading.current_thread() is slow:
            looked.set()
            switched.wait(20)

    def run_first() -> None:
        with app.app_context():
            deploying.carry_out(first.id)
            db.session.remove()

    slow = threading.Thread(target=run_first)
    with arm("deploy-before-switch", linger):
        slow.start()
        looked.wait(20)
        second = request(site, make_version(site, page("two")))
        deploying.carry_out(second.id)
        switched.set()
        slow.join()
    assert served("bakery") == page("one")["index.html"]


def test_carrying_out_twice_changes_nothing(app: Flask) -> None:
    site = make_site("bakery")
    deployment = deploy(site, make_version(site))
    before = steps(deployment)
    deploying.carry_out(deployment.id)
    assert steps(deployment) == before
    deploying.carry_out(deployment.id + 100)


def test_while_somebody_is_at_it_the_others_try_later(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploying, "_LOCK_SECONDS", 0)
    site = make_site("bakery")
    deployment = request(site, make_version(site))
    with layout.locked(root(app), "bakery", seconds=1):
        outbox.drain("deploy")
        assert fresh(deployment).status is DeploymentStatus.QUEUED
    waiting = db.session.scalars(select(OutboxMessage).where(OutboxMessage.topic == deploying.REQUESTED)).one()
    assert waiting.status is MessageStatus.PENDING
    assert "Busy" in (waiting.last_error or "")


def test_a_storage_that_has_lost_a_file_fails_the_deployment_and_changes_nothing(app: Flask) -> None:
    site = make_live_site("bakery", page("one"))
    version = make_version(site, page("two"))
    blob = db.session.scalars(select(SiteBlob).where(SiteBlob.sha256 == version.paths["index.html"])).one()
    files.delete(blob.name)
    deployment = deploy(site, version)
    assert deployment.status is DeploymentStatus.FAILED
    assert steps(deployment)[-1] == "content_missing"
    assert served("bakery") == page("one")["index.html"]
    assert live_version(site).number == 1


def test_bytes_that_rotted_in_the_storage_are_never_served(app: Flask) -> None:
    site = make_live_site("bakery", page("one"))
    version = make_version(site, page("two"))
    blob = db.session.scalars(select(SiteBlob).where(SiteBlob.sha256 == version.paths["index.html"])).one()
    files.delete(blob.name)
    files.put(blob.name, b"rotten")
    deployment = deploy(site, version)
    assert deployment.status is DeploymentStatus.FAILED
    assert "index.html" in (deployment.error or "")
    assert served("bakery") == page("one")["index.html"]
    assert releases.names(layout.place_of("bakery")) == ["1-1"]


@pytest.mark.parametrize(
    "point",
    ["deploy-file-written", "deploy-before-rename", "deploy-after-rename", "deploy-before-switch",
     "deploy-between-links", "deploy-after-switch", "deploy-before-done"],
)  # fmt: skip
def test_a_full_disk_at_any_point_leaves_one_whole_release(app: Flask, point: str) -> None:
    site = make_live_site("bakery", page("one"))
    version = make_version(site, {**page("two"), "a.css": b"a {}"})

    def is_full() -> None:
        raise OSError(28, "No space left on device")

    deployment = request(site, version)
    with arm(point, is_full):
        outbox.drain("deploy")
    place = layout.place_of("bakery")
    one_or_other = {page("one")["index.html"], page("two")["index.html"]}
    assert served("bakery") in one_or_other
    assert not list(place.releases.glob(".*"))
    let_leases_end()
    outbox.drain("deploy")
    if fresh(deployment).status is DeploymentStatus.FAILED:
        assert served("bakery") == page("one")["index.html"]
        assert "No space left" in (fresh(deployment).error or "")
    else:
        assert fresh(deployment).status is DeploymentStatus.LIVE
        assert served("bakery") == page("two")["index.html"]


def let_leases_end() -> None:
    """Do what time does."""
    with unit_of_work():
        for message in db.session.scalars(select(OutboxMessage).where(OutboxMessage.status == MessageStatus.PENDING)):
            message.available_at = clock.now()


def test_when_every_try_failed_people_are_told(app: Flask) -> None:
    site = make_site("bakery")
    deployment = request(site, make_version(site))
    with arm("deploy-claimed", "raise"):
        for _ in range(outbox.MAX_ATTEMPTS):
            let_leases_end()
            outbox.drain("deploy")
    assert fresh(deployment).status is DeploymentStatus.FAILED
    assert "again and again" in (fresh(deployment).error or "")


def test_old_releases_go_and_the_newest_stay(app: Flask) -> None:
    site = make_site("bakery")
    for number in range(6):
        deploy(site, make_version(site, page(str(number))))
    found = releases.names(layout.place_of("bakery"))
    assert sorted(found) == ["4-4", "5-5", "6-6"]


def test_a_deleted_site_is_not_deployed(app: Flask) -> None:
    site = make_site("bakery")
    version = make_version(site)
    deployment = request(site, version)
    with unit_of_work():
        keeping.delete_site(site, by=BY, at=clock.now())
    outbox.drain("deploy")
    assert fresh(deployment).status is DeploymentStatus.SUPERSEDED
    assert served("bakery") is None
    with pytest.raises(SiteDeleted):
        request(site, version)


def test_deployments_are_in_the_audit_log(app: Flask) -> None:
    site = make_site("bakery")
    deploy(site, make_version(site))
    of_site = select(AuditEvent.event).where(AuditEvent.subject == f"sites:{site.id}").order_by(AuditEvent.id)
    events = db.session.scalars(of_site).all()
    assert list(events) == ["site.created", "site_version.created", "deployment.requested", "deployment.live"]


@pytest.mark.parametrize("slug", ["..", ".", "", "a/b", "-a", "A", "a" * 41, "a\n", "ü", ".locks"])
def test_no_other_word_than_a_slug_gets_into_a_path(app: Flask, slug: str) -> None:
    with pytest.raises(ValueError, match="not a slug"):
        layout.place_of(slug)

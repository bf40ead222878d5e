"""Versions: numbered, immutable, the same bytes stored once, and only those kept that are needed."""

from datetime import timedelta
from functools import partial

import pytest
from flask import Flask
from sqlalchemy import select

from portal.core import clock, files, outbox
from portal.core.db import db, unit_of_work
from portal.core.faults import arm
from portal.core.outbox import OutboxMessage
from portal.sites import jobs, layout, queries, releases, storage
from portal.sites.content.checking import read_manifest
from portal.sites.errors import ContentRefused, FileNotInVersion, NothingChanged, SiteDeleted, VersionMoved
from portal.sites.models import SiteBlob, SiteVersion, VersionOrigin
from portal.sites.services import keeping, retention, versions
from tests.crowd import all_at_once
from tests.sites.support import BY, FILES, deploy, fresh, make_live_site, make_site, make_version, page, request


def blobs() -> dict[str, str]:
    """Storage names by hash."""
    db.session.rollback()
    return {blob.sha256: blob.name for blob in db.session.scalars(select(SiteBlob))}


def numbers(site: object) -> list[int]:
    db.session.rollback()
    return [one.number for one in db.session.scalars(select(SiteVersion).order_by(SiteVersion.number))]


def test_a_version_says_what_it_is_made_of(app: Flask) -> None:
    site = make_site()
    version = make_version(site, note=" First draft ", origin=VersionOrigin.UPLOAD)
    assert (version.number, version.note, version.author, version.origin) == (1, "First draft", BY, "upload")
    assert version.file_count == 3
    assert version.size_bytes == sum(map(len, FILES.values()))
    assert [entry["path"] for entry in version.manifest] == sorted(FILES)
    assert {path: queries.read_file(version, path) for path in FILES} == FILES
    with pytest.raises(FileNotInVersion):
        queries.read_file(version, "none.html")


def test_the_same_bytes_are_stored_once(app: Flask) -> None:
    site = make_site()
    make_version(site, {**FILES, "copy/index.html": FILES["index.html"]})
    before = blobs()
    assert len(before) == 3
    make_version(site, {**FILES, "more.html": b"<p>more</p>"})
    assert {sha256: name for sha256, name in blobs().items() if sha256 in before} == before
    assert len(blobs()) == 4


def test_two_sites_share_no_bytes(app: Flask) -> None:
    """A site can be given away or deleted as a whole."""
    first, second = make_version(make_site()), make_version(make_site())
    assert first.paths == second.paths
    assert not set(storage.names_of(first).values()) & set(storage.names_of(second).values())


def test_one_file_is_changed_on_top_of_a_version(app: Flask) -> None:
    site = make_site()
    first = make_version(site)
    second = make_version(
        site, {"css/site.css": b"h1 { color: black }", "new.txt": b"new"}, based_on=first, removed=["about/index.html"]
    )
    assert sorted(second.paths) == ["css/site.css", "index.html", "new.txt"]
    assert second.based_on_id == first.id


def test_removing_what_is_not_there_is_refused(app: Flask) -> None:
    site = make_site()
    first = make_version(site)
    with pytest.raises(FileNotInVersion):
        make_version(site, {}, based_on=first, removed=["none.html"])
    with pytest.raises(ContentRefused, match=r"index\.html"):
        make_version(site, {}, based_on=first, removed=["index.html"])


def test_the_same_content_makes_no_new_version(app: Flask) -> None:
    site = make_site()
    make_version(site)
    with pytest.raises(NothingChanged):
        make_version(site)
    assert numbers(site) == [1]


def test_an_edit_of_an_old_version_is_told_so(app: Flask) -> None:
    site = make_site()
    first = make_version(site)
    make_version(site, {"a.txt": b"a"}, based_on=first)
    with pytest.raises(VersionMoved):
        make_version(site, {"b.txt": b"b"}, based_on=first)
    assert numbers(site) == [1, 2]


def test_a_deleted_site_takes_no_version(app: Flask) -> None:
    site = make_site()
    with unit_of_work():
        keeping.delete_site(site, by=BY, at=clock.now())
    with pytest.raises(SiteDeleted):
        make_version(site)


def test_many_who_save_at_once_get_numbers_without_gaps(app: Flask) -> None:
    site = make_site()
    results = all_at_once(app, [partial(make_version, site, page(str(number))) for number in range(6)])
    assert sorted(one.number for one in results) == [1, 2, 3, 4, 5, 6]


def test_of_many_who_edit_one_version_at_once_one_saves(app: Flask) -> None:
    site = make_site()
    first = make_version(site)
    results = all_at_once(
        app, [partial(make_version, site, {"a.txt": b"%d" % number}, based_on=first) for number in range(5)]
    )
    assert sorted(type(one).__name__ for one in results) == ["SiteVersion"] + ["VersionMoved"] * 4


def test_a_version_that_failed_leaves_nothing_but_bytes(app: Flask) -> None:
    site = make_site()
    with arm("version-before-commit", "raise"), pytest.raises(RuntimeError):
        make_version(site)
    assert numbers(site) == []
    assert len(blobs()) == 3
    assert make_version(site).number == 1


def test_every_version_can_be_looked_at_under_an_address_of_its_own(app: Flask) -> None:
    site = make_site("bakery")
    first, second = make_version(site, page("one")), make_version(site, page("two"))
    outbox.drain("deploy")
    place = layout.place_of("bakery")
    assert (place.previews / first.preview_name / "index.html").read_bytes() == page("one")["index.html"]
    assert (place.previews / second.preview_name / "index.html").read_bytes() == page("two")["index.html"]
    assert not place.current.exists()
    assert layout.preview_url("bakery", first.preview_name).endswith(f"/_versions/bakery/1-{first.preview_key}/")
    assert len(first.preview_key) >= 24


def test_a_preview_that_was_damaged_is_written_anew(app: Flask) -> None:
    site = make_site("bakery")
    version = make_version(site)
    outbox.drain("deploy")
    folder = layout.place_of("bakery").previews / version.preview_name
    (folder / "index.html").unlink()
    with unit_of_work():
        outbox.publish("site_version.created", version_id=version.id, host="")
    outbox.drain("deploy")
    assert releases.is_whole(folder, read_manifest(version.manifest))


def test_old_versions_go_with_their_bytes_and_live_ones_stay(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_live_site("bakery", page("0"))
    for number in range(1, 5):
        make_version(site, page(str(number)))
    outbox.drain("deploy")
    monkeypatch.setattr(retention, "_kept", lambda: 2)
    old_bytes = blobs()
    with unit_of_work():
        for blob in db.session.scalars(select(SiteBlob)):
            blob.touched_at = clock.now() - timedelta(days=2)
    jobs.tidy_up()
    outbox.drain("deploy")
    # The first is served, the last two are the newest.
    assert numbers(site) == [1, 4, 5]
    gone = set(old_bytes.values()) - set(blobs().values())
    assert len(gone) == 2
    for name in gone:
        with pytest.raises(FileNotFoundError):
            files.get(name)
    for number in (1, 4, 5):
        assert queries.read_file(queries.get_version(fresh(site), number), "index.html")
    left = {path.name.partition("-")[0] for path in layout.place_of("bakery").previews.iterdir()}
    assert left == {"1", "4", "5"}
    assert make_version(site, page("next")).number == 6


def test_bytes_that_were_just_stored_are_not_taken_from_whoever_makes_a_version(app: Flask) -> None:
    site = make_site()
    draft = versions.store(site, FILES, at=clock.now())
    jobs.tidy_up()
    with unit_of_work():
        version = versions.add_version(draft, note="", author=BY, origin=VersionOrigin.UPLOAD, at=clock.now())
    assert {path: queries.read_file(version, path) for path in FILES} == FILES


def test_bytes_that_come_back_while_the_old_ones_are_being_deleted_stay(app: Flask) -> None:
    """The row goes in a transaction, the bytes after it; whoever stores the same in between has their own."""
    site = make_site()
    versions.store(site, FILES, at=clock.now() - timedelta(days=2))
    with unit_of_work():
        doomed = storage.forget_unused(site.id, at=clock.now())
    assert len(doomed) == 3
    version = make_version(site)
    for name in doomed:
        files.delete(name)
    assert {path: queries.read_file(version, path) for path in FILES} == FILES


def test_what_a_deployment_waits_for_is_kept(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_site()
    first = make_version(site, page("1"))
    make_version(site, page("2"))
    request(site, first)
    monkeypatch.setattr(retention, "_kept", lambda: 1)
    jobs.tidy_up()
    assert numbers(site) == [1, 2]
    outbox.drain("deploy")
    deploy(site, queries.get_version(site, 2))
    jobs.tidy_up()
    assert numbers(site) == [2]


def test_each_version_tells_every_host_once(app: Flask) -> None:
    make_version(make_site())
    rows = db.session.scalars(select(OutboxMessage).where(OutboxMessage.topic == versions.PREPARE)).all()
    assert [(row.queue, row.payload["host"]) for row in rows] == [("deploy", "")]

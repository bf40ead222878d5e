"""Sites in the back office: upload, edit, deploy, restore, delete and undo; and what is refused there."""

import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from portal.accounts.models import User
from portal.core import files, outbox
from portal.core.audit import AuditEvent
from portal.core.db import db
from portal.sites import queries
from portal.sites.models import Deployment, DeploymentStatus, Site, SiteBlob, SiteVersion
from tests.browser_like import csrf_token, post_form
from tests.sites.support import (
    FILES,
    deploy,
    fresh,
    make_live_site,
    make_site,
    make_version,
    page,
    request,
    served,
    zipped,
)

NEW = {
    "title": "The bakery", "slug": "bakery", "purchase_price": "495.00", "monthly_price": "95", "currency": "USD",
    "tax_rate": "8.5",
}  # fmt: skip


@pytest.fixture(autouse=True)
def empty_folders(app: Flask) -> Iterator[None]:
    yield
    shutil.rmtree(Path(app.config["SITES_ROOT"]), ignore_errors=True)


@pytest.fixture
def browser(login: Callable[[User], FlaskClient], staff: User) -> FlaskClient:
    return login(staff)


def upload(browser: FlaskClient, address: str, values: dict[str, Any], *, page: str) -> TestResponse:
    return browser.post(
        address, data={"csrf_token": csrf_token(browser, page), **values}, content_type="multipart/form-data"
    )


def as_zip(files: dict[str, bytes]) -> tuple[io.BytesIO, str]:
    return zipped(files), "site.zip"


def only_site() -> Site:
    db.session.rollback()
    return db.session.scalars(select(Site)).one()


def test_a_zip_becomes_a_site_that_is_served(browser: FlaskClient) -> None:
    answer = upload(browser, "/admin/sites/new", {**NEW, "archive": as_zip(FILES)}, page="/admin/sites/new")
    assert answer.status_code == 303
    outbox.drain("deploy")
    assert served("bakery") == FILES["index.html"]
    site = only_site()
    assert answer.location == f"/admin/sites/{site.id}"
    assert (site.purchase_price_minor, site.monthly_price_minor, site.tax_rate_basis_points) == (49_500, 9_500, 850)
    shown = browser.get(answer.location).get_data(as_text=True)
    assert "Version 1" in shown
    assert "Live" in shown


def test_a_folder_becomes_a_site_too(browser: FlaskClient) -> None:
    """As browsers send one: each file under its path, the folder's name first."""
    sent = [(io.BytesIO(content), f"My bakery/{path}") for path, content in FILES.items()]
    answer = upload(browser, "/admin/sites/new", {**NEW, "files": sent}, page="/admin/sites/new")
    assert answer.status_code == 303
    outbox.drain("deploy")
    assert {path: served("bakery", path) for path in FILES} == FILES


@pytest.mark.parametrize(
    ("files", "about"),
    [({"../x.html": b"x", "index.html": b"x"}, "leads out of"), ({"a.html": b"x"}, "no index.html"),
     ({"index.html": b"x", "x.php": b"x"}, "x.php: files of this kind")],
)  # fmt: skip
def test_content_that_is_refused_makes_nothing(browser: FlaskClient, files: dict[str, bytes], about: str) -> None:
    answer = upload(browser, "/admin/sites/new", {**NEW, "archive": as_zip(files)}, page="/admin/sites/new")
    assert answer.status_code == 422
    assert about in answer.get_data(as_text=True)
    assert 'value="The bakery"' in answer.get_data(as_text=True)
    assert db.session.scalars(select(Site)).all() == []


@pytest.mark.parametrize(
    ("changes", "about"),
    [({"slug": "con"}, "reserved"), ({"slug": "a/b"}, "small letters"), ({"title": ""}, "required"),
     ({"purchase_price": "-1"}, "amount"), ({"currency": "usd"}, "Three capital letters"),
     ({"tax_rate": "100.01"}, "between 0 and 100"), ({"tax_rate": "a lot"}, "a percentage"),
     ({"tax_rate": ""}, "required")],
)  # fmt: skip
def test_a_field_that_is_wrong_is_named(browser: FlaskClient, changes: dict[str, str], about: str) -> None:
    values = {**NEW, **changes, "archive": as_zip(FILES)}
    answer = upload(browser, "/admin/sites/new", values, page="/admin/sites/new")
    assert answer.status_code == 422
    assert about in answer.get_data(as_text=True)


def test_an_upload_above_an_ordinary_form_is_taken_from_staff_only(
    browser: FlaskClient, login: Callable[[User], FlaskClient], mallory: User
) -> None:
    body = zipped({**FILES, "noise.txt": os.urandom(3_100_000)}).getvalue()
    assert len(body) > 3_000_000
    values = {**NEW, "archive": (io.BytesIO(body), "site.zip")}
    assert upload(browser, "/admin/sites/new", values, page="/admin/sites/new").status_code == 303
    values = {**NEW, "archive": (io.BytesIO(body), "site.zip")}
    stranger = login(mallory)
    answer = stranger.post("/admin/sites/new", data={**values, "csrf_token": csrf_token(stranger, "/account")})
    assert answer.status_code in (400, 403, 413)
    assert len(db.session.scalars(select(Site)).all()) == 1


def test_new_content_is_the_next_version(browser: FlaskClient) -> None:
    site = make_live_site("bakery")
    url = f"/admin/sites/{site.id}"
    answer = upload(browser, f"{url}/upload", {"archive": as_zip(page("two")), "note": "Sundays"}, page=url)
    assert answer.status_code == 303
    outbox.drain("deploy")
    assert served("bakery") == page("two")["index.html"]
    again = upload(browser, f"{url}/upload", {"archive": as_zip(page("two"))}, page=url)
    assert again.status_code == 409
    assert "Nothing changed" in again.get_data(as_text=True)
    bad = upload(browser, f"{url}/upload", {"archive": (io.BytesIO(b"no zip"), "x.zip")}, page=url)
    assert bad.status_code == 422
    assert "not a zip file" in bad.get_data(as_text=True)
    assert "no files" in upload(browser, f"{url}/upload", {}, page=url).get_data(as_text=True)


def test_one_file_is_changed_and_deployed(browser: FlaskClient) -> None:
    site = make_live_site("bakery")
    address = f"/admin/sites/{site.id}/versions/1/file"
    shown = browser.get(f"{address}?path=css/site.css").get_data(as_text=True)
    assert "h1 { color: brown }" in shown
    values = {"path": "css/site.css", "text": "h1 {\r\n color: black }", "note": "Darker"}
    assert post_form(browser, address, values).status_code == 303
    outbox.drain("deploy")
    assert served("bakery", "css/site.css") == b"h1 {\n color: black }"
    assert served("bakery") == FILES["index.html"]
    diff = browser.get(f"/admin/sites/{site.id}/versions/2").get_data(as_text=True)
    assert "+h1 {" in diff
    assert "-h1 { color: brown }" in diff


def test_whoever_was_slower_is_told_and_keeps_what_they_typed(browser: FlaskClient) -> None:
    site = make_live_site("bakery")
    make_version(site, page("somebody else's"))
    values = {"path": "css/site.css", "text": "h1 { color: typed }"}
    answer = post_form(browser, f"/admin/sites/{site.id}/versions/1/file", values)
    assert answer.status_code == 409
    assert "color: typed" in answer.get_data(as_text=True)
    assert len(db.session.scalars(select(SiteVersion)).all()) == 2


@pytest.mark.parametrize(
    ("path", "text", "status"),
    [("../x.html", "x", 422), (".env", "x", 422), ("x.png", "x", 422), ("new.html", "<p>new", 303), ("", "x", 422)],
)
def test_a_new_file_has_to_have_a_good_name(browser: FlaskClient, path: str, text: str, status: int) -> None:
    site = make_live_site("bakery")
    answer = post_form(browser, f"/admin/sites/{site.id}/versions/1/file", {"path": path, "text": text})
    assert answer.status_code == status


def test_a_file_is_taken_out(browser: FlaskClient) -> None:
    site = make_live_site("bakery")
    address = f"/admin/sites/{site.id}/versions/1/file"
    assert post_form(browser, address, {"path": "css/site.css", "text": "", "remove": "1"}).status_code == 303
    outbox.drain("deploy")
    assert served("bakery", "css/site.css") is None
    gone = post_form(
        browser, f"/admin/sites/{site.id}/versions/2/file", {"path": "index.html", "text": "", "remove": "1"}
    )
    assert gone.status_code == 422
    assert "no index.html" in gone.get_data(as_text=True)


def test_what_is_no_text_is_not_shown_in_a_form(browser: FlaskClient) -> None:
    site = make_live_site("bakery", {**FILES, "a.png": b"\x89PNG", "bad.txt": b"\xff\xfe"})
    for path in ("a.png", "bad.txt", "none.html", "../x"):
        assert browser.get(f"/admin/sites/{site.id}/versions/1/file", query_string={"path": path}).status_code == 404


@pytest.mark.parametrize("htmx", [False, True])
def test_an_old_version_is_restored_in_one_click(browser: FlaskClient, htmx: bool) -> None:
    site = make_live_site("bakery", page("one"))
    deploy(site, make_version(site, page("two")))
    url = f"/admin/sites/{site.id}"
    answer = post_form(browser, f"{url}/versions/1/deploy", page=url, htmx=htmx)
    assert answer.status_code == (200 if htmx else 303)
    outbox.drain("deploy")
    assert served("bakery") == page("one")["index.html"]
    # Restored is deployed again, not copied.
    assert len(db.session.scalars(select(SiteVersion)).all()) == 2
    assert post_form(browser, f"{url}/versions/99/deploy", page=url).status_code == 404


def test_the_log_is_read_while_it_grows(browser: FlaskClient) -> None:
    site = make_site("bakery")
    deployment = request(site, make_version(site))
    address = f"/admin/sites/{site.id}/deployments/{deployment.id}"
    waiting = browser.get(address).get_data(as_text=True)
    assert 'hx-trigger="load delay:1s"' in waiting
    assert "It waits for the worker" in waiting
    assert 'hx-trigger="load delay:2s"' in browser.get(f"/admin/sites/{site.id}").get_data(as_text=True)
    outbox.drain("deploy")
    done = browser.get(address, headers={"HX-Request": "true"}).get_data(as_text=True)
    assert "hx-trigger" not in done
    assert "Done: the version is live." in done
    other = make_site("other")
    assert browser.get(f"/admin/sites/{other.id}/deployments/{deployment.id}").status_code == 404


def test_a_failed_deployment_says_why_and_can_be_tried_again(browser: FlaskClient) -> None:
    site = make_live_site("bakery", page("one"))
    version = make_version(site, page("two"))
    name = db.session.scalars(select(SiteBlob.name).where(SiteBlob.sha256 == version.paths["index.html"])).one()
    files.delete(name)
    deployment = deploy(site, version)
    shown = browser.get(f"/admin/sites/{site.id}/deployments/{deployment.id}").get_data(as_text=True)
    assert "missing from the storage" in shown
    assert "Deploy this version again" in shown
    files.put(name, page("two")["index.html"])
    url = f"/admin/sites/{site.id}"
    assert post_form(browser, f"{url}/versions/2/deploy", page=url).status_code == 303
    outbox.drain("deploy")
    assert served("bakery") == page("two")["index.html"]


def test_what_is_said_about_a_site_is_changed(browser: FlaskClient) -> None:
    site = make_live_site("bakery")
    values = {**NEW, "title": "Bakery & sons", "purchase_price": "500", "slug": "other"}
    assert post_form(browser, f"/admin/sites/{site.id}", values).status_code == 303
    changed = fresh(site)
    assert (changed.title, changed.purchase_price_minor, changed.slug) == ("Bakery & sons", 50_000, "bakery")
    wrong = post_form(browser, f"/admin/sites/{site.id}", {**values, "monthly_price": "free"})
    assert wrong.status_code == 422


def test_a_site_is_deleted_and_brought_back(browser: FlaskClient, staff: User) -> None:
    site = make_live_site("bakery")
    url = f"/admin/sites/{site.id}"
    assert post_form(browser, f"{url}/delete", page=url).status_code == 303
    outbox.drain("deploy")
    assert served("bakery") is None
    assert "Bring it back" in browser.get(url).get_data(as_text=True)
    assert "bakery" not in browser.get("/admin/sites").get_data(as_text=True)
    assert "bakery" in browser.get("/admin/sites?state=deleted").get_data(as_text=True)
    for action, values in (("versions/1/deploy", {}), ("", NEW)):
        assert post_form(browser, f"{url}/{action}".rstrip("/"), values, page=url).status_code == 409
    assert post_form(browser, f"{url}/undelete", page=url).status_code == 303
    outbox.drain("deploy")
    assert served("bakery") == FILES["index.html"]
    assert post_form(browser, f"{url}/undelete", page=url).status_code == 409
    events = db.session.scalars(select(AuditEvent.event).where(AuditEvent.actor == staff.email)).all()
    assert {"site.deleted", "site.undeleted", "deployment.requested"} <= set(events)


def test_the_list_is_found_and_filtered_at_a_constant_price(
    browser: FlaskClient, count_queries: Callable[[], int], alice: User
) -> None:
    make_live_site("bakery", title="The bakery", owner=alice)
    browser.get("/admin/sites")
    count_queries()
    shown = browser.get("/admin/sites").get_data(as_text=True)
    one = count_queries()
    assert alice.email in shown
    for number in range(8):
        deploy(site := make_site(f"site-{number}", title="Another"), make_version(site, page(str(number))))
    count_queries()
    browser.get("/admin/sites")
    assert count_queries() == one
    assert "bakery" in browser.get("/admin/sites?q=bak").get_data(as_text=True)
    assert "site-3" not in browser.get("/admin/sites?q=bak").get_data(as_text=True)
    assert "site-3" not in browser.get("/admin/sites?status=owned").get_data(as_text=True)
    assert "Nothing fits" in browser.get("/admin/sites?q=none").get_data(as_text=True)


def test_names_of_files_are_shown_as_text(browser: FlaskClient) -> None:
    site = make_live_site("bakery", {**FILES, "a,b=(1)!.txt": b"<script>alert(1)</script>"})
    shown = browser.get(f"/admin/sites/{site.id}/versions/1/file?path=a,b=(1)!.txt").get_data(as_text=True)
    assert "&lt;script&gt;alert(1)" in shown


def test_a_site_of_nobody_is_not_found(browser: FlaskClient) -> None:
    site = make_live_site("bakery")
    for path in ("999", f"{site.id}/versions/9", f"{site.id}/versions/1/file?path=x.html", f"{site.id}/deployments/99"):
        assert browser.get(f"/admin/sites/{path}").status_code == 404
    assert queries.get_site_by_id(site.id).id == site.id
    live = db.session.scalars(select(Deployment).where(Deployment.status == DeploymentStatus.LIVE)).all()
    assert len(live) == 1

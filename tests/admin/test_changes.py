"""Change requests in the back office: the queue, drafting in the file editor, showing, refusing, deploying again."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.admin.queries.work_list import WorkKind, read_work_list
from portal.core import clock
from portal.core.db import db
from portal.core.mail import MailMessage
from portal.sites.changes.models import ChangeRequest, ChangeStatus, Drafter
from portal.sites.changes.services import deciding
from portal.sites.models import Deployment
from tests.browser_like import post_form
from tests.sites.changes.support import (
    HOURS,
    ask,
    carry_out,
    draft_of,
    home,
    ids,
    make_active_site,
    picture,
    ready,
    reload,
)
from tests.sites.conftest import empty_folders  # noqa: F401  # each test has a folder of sites of its own
from tests.sites.support import served


@pytest.fixture
def browser(login: Callable[[User], FlaskClient], staff: User) -> FlaskClient:
    return login(staff)


def address(change: ChangeRequest) -> str:
    return f"/admin/changes/{change.id}"


def save(browser: FlaskClient, change: ChangeRequest, path: str, text: str, **more: str) -> int:
    """Through the form, with the draft's number that stands in it."""
    draft = reload(change).draft
    values = {"path": path, "text": text, "draft": str(draft.number) if draft else "", **more}
    return post_form(browser, f"{address(change)}/file", values, page=f"{address(change)}/file").status_code


def mails() -> list[str]:
    db.session.rollback()
    return [one.template for one in db.session.scalars(db.select(MailMessage).order_by(MailMessage.id))]


def test_staff_draft_in_the_editor_and_show_it(app: Flask, browser: FlaskClient, alice: User) -> None:
    site = make_active_site(alice)
    change = ask(site, alice, "Nine, <b>please</b>", picture=picture())
    shown = browser.get("/admin/changes").get_data(as_text=True)
    assert "Nine, &lt;b&gt;please" in shown
    page = browser.get(address(change)).get_data(as_text=True)
    assert "Open in the editor" in page
    assert "Show it to the owner" not in page
    assert browser.get(f"{address(change)}/picture").mimetype == "image/jpeg"
    assert "Open from 8" in browser.get(f"{address(change)}/file?path=index.html").get_data(as_text=True)
    assert browser.get(f"{address(change)}/file?path=none.html").status_code == 404
    # As a form sends it, with two characters at each end of a line.
    assert save(browser, change, "index.html", home(HOURS).decode().replace("\n", "\r\n")) == 303
    assert save(browser, change, "news.html", "<!doctype html><title>News</title><h1>News</h1>") == 303
    found = reload(change)
    assert (found.status, found.drafter, len(found.draft.pieces)) == (ChangeStatus.DRAFTING, Drafter.STAFF, 2)
    assert served(site.slug) == home()
    page = browser.get(address(change)).get_data(as_text=True)
    assert "Open from 9" in page
    assert "news.html" in page
    assert post_form(browser, f"{address(change)}/show", {"draft": "9"}, page=address(change)).status_code == 409
    for is_htmx in (False, True):
        number = str(draft_of(change))
        done = post_form(
            browser, f"{address(change)}/show", {"draft": number}, page="/admin/catalogue/new", htmx=is_htmx
        )
        assert done.status_code == (200 if is_htmx else 303)
    assert mails() == ["change_ready"]
    # What the owner looks at stays what it is.
    assert save(browser, change, "index.html", "other") == 409
    deciding.accept_pieces(reload(change), ids(change), draft_number=draft_of(change), by=alice.email, at=clock.now())
    carry_out()
    assert served(site.slug, "news.html") is not None


def test_the_owners_picture_comes_with_the_page_that_names_it(app: Flask, browser: FlaskClient, alice: User) -> None:
    change = ask(make_active_site(alice), alice, "Show us", picture=picture())
    where = reload(change).picture_path
    assert where in browser.get(address(change)).get_data(as_text=True)
    assert save(browser, change, "news.html", "<!doctype html><title>News</title><h1>News</h1>") == 303
    assert where not in reload(change).draft.paths
    page = f'<!doctype html><html lang="en"><title>Us</title><h1>Us</h1><img src="{where}" alt="Us">'
    assert save(browser, change, "us.html", page) == 303
    draft = reload(change).draft
    assert {where, "news.html", "us.html"} <= set(draft.paths)
    assert [finding["kind"] for finding in draft.findings if finding["kind"] == "dead_link"] == []


def test_what_cannot_be_a_draft_is_refused(app: Flask, browser: FlaskClient, alice: User) -> None:
    change = ask(make_active_site(alice), alice)
    for path, text in (("../x.html", "x"), (".env", "x"), ("x.exe", "x"), ("index.html", ""), ("INDEX.html", "x")):
        assert save(browser, change, path, text) == 422, path
    assert save(browser, change, "index.html", home().decode()) == 409
    assert save(browser, change, "none.html", "", remove="1") == 422
    assert reload(change).draft is None
    assert save(browser, change, "s.css", "", remove="1") == 303
    # Two colleagues at once: the second has not seen what the first has saved.
    assert save(browser, change, "index.html", home(HOURS).decode(), draft="") == 409
    assert post_form(browser, f"{address(change)}/start-over", page=address(change)).status_code == 303
    assert reload(change).draft is None


def test_staff_decline_with_a_reason(app: Flask, browser: FlaskClient, alice: User) -> None:
    change = ask(make_active_site(alice), alice)
    assert post_form(browser, f"{address(change)}/decline", {"answer": ""}, page=address(change)).status_code == 422
    answer = {"answer": "That needs a shop."}
    assert post_form(browser, f"{address(change)}/decline", answer, page=address(change)).status_code == 303
    assert mails() == ["change_declined"]
    assert (reload(change).status, reload(change).answer) == (ChangeStatus.DECLINED, "That needs a shop.")
    assert "That needs a shop." in browser.get(address(change)).get_data(as_text=True)


def test_without_an_editor_service_nothing_is_handed_to_it(app: Flask, browser: FlaskClient, alice: User) -> None:
    change = ask(make_active_site(alice), alice)
    assert "Let the editor service draft it" not in browser.get(address(change)).get_data(as_text=True)
    assert post_form(browser, f"{address(change)}/editor", page=address(change)).status_code == 409


def test_an_accepted_change_that_is_not_online_is_deployed_again(app: Flask, browser: FlaskClient, alice: User) -> None:
    site = make_active_site(alice)
    change = ready(site, alice, {"index.html": home(HOURS)})
    assert post_form(browser, f"{address(change)}/deploy", page="/admin/catalogue/new").status_code == 409
    deciding.accept_pieces(reload(change), ids(change), draft_number=draft_of(change), by=alice.email, at=clock.now())
    with pytest.MonkeyPatch.context() as broken:
        # A disk that is full, while the release is written.
        broken.setattr("portal.sites.releases.build", _full)
        carry_out()
    assert db.session.scalars(db.select(Deployment.status).order_by(Deployment.id.desc())).first() == "failed"
    assert served(site.slug) == home()
    later = clock.now() + timedelta(hours=1)
    (item,) = read_work_list(at=later, kind=WorkKind.CHANGE).page.rows
    assert (item.id, item.detail) == (change.id, "not_online")
    assert post_form(browser, f"{address(change)}/deploy", page=address(change)).status_code == 303
    carry_out()
    assert served(site.slug) == home(HOURS)
    assert reload(change).status is ChangeStatus.LIVE


def _full(*_arguments: object, **_named: object) -> None:
    raise OSError(28, "No space left on device")


def test_the_work_list_names_what_waits_for_staff(app: Flask, browser: FlaskClient, alice: User) -> None:
    site = make_active_site(alice, title="Alice's bakery")
    waiting = ask(site, alice, "First")
    ready(site, alice, text="Second")
    page = browser.get("/admin?kind=change").get_data(as_text=True)
    assert "Alice&#39;s bakery" in page
    assert "waits for a draft" in page
    assert page.count(f'href="/admin/changes/{waiting.id}"') >= 1
    assert len(read_work_list(at=clock.now(), kind=WorkKind.CHANGE).page.rows) == 1


def test_the_queue_takes_the_same_queries_for_one_and_for_many(
    app: Flask, browser: FlaskClient, alice: User, bob: User, count_queries: Callable[[], int]
) -> None:
    counts = []
    for owner in (alice, bob):
        site = make_active_site(owner)
        for number in range(1 if owner is alice else 4):
            ask(site, owner, f"Wish {number}")
        browser.get("/admin/changes")
        count_queries()
        assert browser.get("/admin/changes?q=" + owner.email).status_code == 200
        counts.append(count_queries())
    assert counts[0] == counts[1]
    assert browser.get("/admin/changes?status=live").status_code == 200


def test_customers_do_not_get_in(app: Flask, alice: User, login: Callable[[User], FlaskClient]) -> None:
    change = ask(make_active_site(alice), alice)
    for page in ("/admin/changes", address(change), f"{address(change)}/file", f"{address(change)}/picture"):
        assert login(alice).get(page).status_code == 403
        assert "/login" in app.test_client().get(page).location

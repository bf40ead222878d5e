"""The owner's pages: asking, looking, deciding and going back, plain and by htmx; strangers find nothing."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.accounts.models import User
from portal.core import clock, files
from portal.core.db import db, unit_of_work
from portal.core.pictures import MOST_BYTES
from portal.sites.changes.models import ChangeRequest, ChangeStatus
from portal.sites.changes.services import deciding
from portal.sites.models import SiteVersion
from portal.sites.services import ownership
from tests import factories
from tests.browser_like import csrf_token, post_form
from tests.sites.changes.support import (
    CARDS,
    HOURS,
    carry_out,
    draft_of,
    home,
    ids,
    make_active_site,
    picture,
    ready,
    reload,
)
from tests.sites.support import BY, live_version, make_live_site, served

Login = Callable[[User], FlaskClient]
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def send(browser: FlaskClient, address: str, values: dict[str, Any]) -> TestResponse:
    data = {"csrf_token": csrf_token(browser, address), **values}
    return browser.post(address, data=data, content_type="multipart/form-data")


def requests() -> list[ChangeRequest]:
    db.session.rollback()
    return list(db.session.scalars(db.select(ChangeRequest).order_by(ChangeRequest.id)))


def test_an_owner_asks_with_a_picture(app: Flask, alice: User, login: Login) -> None:
    site, browser = make_active_site(alice), login(alice)
    address = f"/my/sites/{site.slug}/changes"
    assert "Nothing asked for yet" in browser.get(address).get_data(as_text=True)
    values = {"text": "Put this on top\r\nplease", "page": "about.html"}
    answer = send(browser, address, {**values, "picture": (io.BytesIO(picture("PNG")), "holiday.png")})
    assert (answer.status_code, answer.location) == (303, f"{address}/1")
    (change,) = requests()
    assert (change.text, change.page, change.status) == ("Put this on top\nplease", "about.html", "received")
    page = browser.get(answer.location).get_data(as_text=True)
    assert "Put this on top" in page
    assert "within a working day" in page
    assert "<dt>Page</dt><dd>about.html</dd>" in page
    sent = browser.get(f"{address}/1/picture")
    assert sent.mimetype == "image/jpeg"
    assert sent.data.startswith(b"\xff\xd8\xff")
    # A second press of the button, without the picture: it is the same request, and no picture is left lying about.
    assert send(browser, address, values).location == f"{address}/1"
    assert "Change 1" in browser.get(address).get_data(as_text=True)
    assert len(requests()) == 1


def test_hostile_pictures_and_empty_words_are_refused(app: Flask, alice: User, login: Login) -> None:
    site, browser = make_active_site(alice), login(alice)
    address = f"/my/sites/{site.slug}/changes"
    hostile = {
        "drawing.svg": SVG, "page.jpg": b"<html><script>alert(1)</script>", "cut.png": picture()[:40],
        "pixels.png": picture("PNG", (9_000, 6_000)), "heavy.jpg": picture("JPEG") + b"\0" * MOST_BYTES,
    }  # fmt: skip
    before = list(files.names_before("changes", clock.now()))
    for name, content in hostile.items():
        answer = send(browser, address, {"text": "Use it", "picture": (io.BytesIO(content), name)})
        assert answer.status_code == 422, name
        assert "picture" in answer.get_data(as_text=True)
    for values in ({"text": " "}, {"text": "x" * 4_001}, {"text": "x", "page": "../../etc/passwd"}, {"text": "\x07"}):
        assert send(browser, address, values).status_code == 422
    assert (
        send(
            browser, address, {"text": "x", "picture": (io.BytesIO(b"0" * (MOST_BYTES + 600_000)), "a.jpg")}
        ).status_code
        == 413
    )
    assert requests() == []
    assert list(files.names_before("changes", clock.now())) == before


def test_five_open_requests_are_enough(app: Flask, alice: User, login: Login) -> None:
    site, browser = make_active_site(alice), login(alice)
    address = f"/my/sites/{site.slug}/changes"
    for number in range(5):
        assert send(browser, address, {"text": f"Wish {number}"}).status_code == 303
    answer = send(browser, address, {"text": "Wish 6"})
    assert answer.status_code == 409
    assert "still open" in answer.get_data(as_text=True)
    with unit_of_work():
        deciding.decline(requests()[0].id, by=BY, at=clock.now())
    assert send(browser, address, {"text": "Wish 6"}).location == f"{address}/6"


def test_a_site_without_a_subscription_has_no_form(app: Flask, alice: User, login: Login) -> None:
    site, browser = make_live_site(owner=alice), login(alice)
    address = f"/my/sites/{site.slug}/changes"
    page = browser.get(address).get_data(as_text=True)
    assert "part of the monthly subscription" in page
    assert f'action="{address}"' not in page
    token = csrf_token(browser, "/account")
    answer = browser.post(address, data={"csrf_token": token, "text": "Hello"})
    assert answer.status_code == 409
    assert requests() == []


@pytest.mark.parametrize("is_htmx", [False, True], ids=["plain", "htmx"])
def test_an_owner_looks_and_takes_one_piece(app: Flask, alice: User, login: Login, is_htmx: bool) -> None:
    site, browser = make_active_site(alice), login(alice)
    change = ready(site, alice)
    address = f"/my/sites/{site.slug}/changes/{change.number}"
    # As long as no host has it, a frame would show that there is nothing.
    page = browser.get(address).get_data(as_text=True)
    assert "The preview is being made." in page
    assert f'hx-get="{address}" hx-select="#looks"' in page
    assert "<iframe" not in page
    carry_out()
    answer = browser.get(address)
    page = answer.get_data(as_text=True)
    assert "The preview is being made." not in page
    assert "Open from 9" in page
    # No page was named, and none is shown.
    assert "<dt>Page</dt>" not in page
    assert page.count('name="piece"') == 2
    # Old and new, side by side, on the sites' own origin and in a sandbox that gives them none.
    draft = reload(change).draft
    for name in (draft.base.preview_name, draft.preview_name):
        assert f'<iframe src="http://sites.localhost:8001/_versions/{site.slug}/{name}/index.html"' in page
    assert page.count('sandbox="allow-scripts') == 2
    assert "allow-same-origin" not in page
    assert "frame-src http://sites.localhost:8001" in answer.headers["Content-Security-Policy"]
    none = post_form(browser, f"{address}/accept", {"draft_number": str(draft_of(change))}, page=address, htmx=is_htmx)
    assert none.status_code == 409
    assert "Choose at least one piece" in none.get_data(as_text=True)
    chosen = {"piece": ids(change)[1], "draft_number": str(draft_of(change))}
    stale = post_form(browser, f"{address}/accept", {**chosen, "draft_number": "7"}, page=address, htmx=is_htmx)
    assert stale.status_code == 409
    done = post_form(browser, f"{address}/accept", chosen, page=address, htmx=is_htmx)
    assert done.status_code == (204 if is_htmx else 303)
    assert done.headers["HX-Redirect" if is_htmx else "Location"].endswith(address)
    moving = browser.get(address, headers={"HX-Request": "true"} if is_htmx else {}).get_data(as_text=True)
    assert 'hx-trigger="load delay:3s"' in moving
    carry_out()
    assert served(site.slug) == home(CARDS)
    page = browser.get(address).get_data(as_text=True)
    assert "Your change is online." in page
    assert "1 of 2 pieces taken" in page
    assert "hx-trigger" not in page.partition('id="change"')[2].partition("</main>")[0]
    assert post_form(browser, f"{address}/undo", page=address, htmx=is_htmx).status_code in (204, 303)
    carry_out()
    assert served(site.slug) == home()
    assert "took this change back" in browser.get(address).get_data(as_text=True)


def test_an_owner_asks_for_another_draft_or_closes_the_request(app: Flask, alice: User, login: Login) -> None:
    site, browser = make_active_site(alice), login(alice)
    change = ready(site, alice)
    address = f"/my/sites/{site.slug}/changes/{change.number}"
    wish = {"wish": "Bolder, please", "draft_number": str(draft_of(change))}
    assert post_form(browser, f"{address}/again", wish, page=address).status_code == 303
    assert (reload(change).status, reload(change).wish) == (ChangeStatus.DRAFTING, "Bolder, please")
    assert "Bolder, please" in browser.get(address).get_data(as_text=True)
    again = post_form(browser, f"{address}/again", wish, page=address)
    assert again.status_code == 409
    for _twice in range(2):
        closed = post_form(browser, f"{address}/decline", page=address if _twice == 0 else "/account")
        assert closed.status_code == 303
    assert reload(change).status is ChangeStatus.DECLINED
    assert "was declined" in browser.get(address).get_data(as_text=True)


def test_strangers_and_visitors_find_nothing(app: Flask, alice: User, mallory: User, login: Login) -> None:
    site = make_active_site(alice)
    change = ready(site, alice, picture=picture())
    here = f"/my/sites/{site.slug}/changes"
    one = f"{here}/{change.number}"
    versions = f"/my/sites/{site.slug}/versions"
    pages = [here, one, f"{one}/picture", versions, f"{versions}/1", f"{versions}/1?with=served"]
    posts = {
        here: {"text": "Mine now"}, f"{one}/accept": {"piece": ids(change), "draft_number": "1"}, f"{one}/decline": {},
        f"{one}/again": {"draft_number": "1"}, f"{one}/undo": {}, f"/my/sites/{site.slug}/versions/1/restore": {},
    }  # fmt: skip
    thief, nobody = login(mallory), app.test_client()
    unproven = login(factories.make_user(email="new@example.com", is_verified=False))
    token = csrf_token(thief, "/account")
    for page in pages:
        assert thief.get(page).status_code == 404
        assert "/login" in nobody.get(page).location
        assert "/verify" in unproven.get(page).location
    for address, values in posts.items():
        assert thief.post(address, data={"csrf_token": token, **values}).status_code == 404
        assert thief.post(address, data=values).status_code == 400
    assert reload(change).status is ChangeStatus.PREVIEW_READY
    assert len(requests()) == 1
    # A site that was given to somebody else takes its requests along.
    assert login(alice).get(f"{here}/99").status_code == 404


def test_hostile_words_are_only_words(app: Flask, alice: User, login: Login) -> None:
    site, browser = make_active_site(alice), login(alice)
    words = "<script>alert(1)</script> {{ 7*7 }}"
    evil = home(("Ring twice", "<img src=x onerror=alert(2)></pre><script>alert(3)</script>"))
    change = ready(site, alice, {"index.html": evil}, text=words)
    page = browser.get(f"/my/sites/{site.slug}/changes/{change.number}").get_data(as_text=True)
    assert "&lt;script&gt;alert(1)" in page
    assert "{{ 7*7 }}" in page
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "a script comes in" in page


def test_an_owner_goes_back_to_a_version(app: Flask, alice: User, login: Login) -> None:
    site, browser = make_active_site(alice), login(alice)
    for words in (HOURS, CARDS):
        change = ready(site, alice, {"index.html": home(words)}, text=words[1])
        deciding.accept_pieces(reload(change), ids(change), draft_number=draft_of(change), by=BY, at=clock.now())
        carry_out()
    address = f"/my/sites/{site.slug}/versions"
    page = browser.get(address).get_data(as_text=True)
    assert all(f"Version {number}" in page for number in (1, 2, 3))
    assert page.count("/_versions/") == 3
    for _twice in range(2):
        assert post_form(browser, f"{address}/1/restore", page=address).location == address
        assert "On its way" in browser.get(address).get_data(as_text=True)
    carry_out()
    assert served(site.slug) == home()
    version = live_version(site)
    assert (version.number, version.origin, version.note, version.author) == (
        4,
        "restore",
        "Version 1 restored",
        alice.email,
    )
    assert post_form(browser, f"{address}/99/restore", page=address).status_code == 404
    # Also without a subscription: an owner is never locked into a version.
    with unit_of_work():
        ownership.deactivate(reload(site), at=clock.now())
    assert post_form(browser, f"{address}/3/restore", page=address, htmx=True).status_code == 204
    carry_out()
    assert served(site.slug) == home(HOURS, CARDS) or served(site.slug) == home(CARDS)
    assert db.session.scalar(db.select(db.func.count()).select_from(SiteVersion)) == 5


def test_the_lists_take_the_same_queries_whatever_they_show(
    app: Flask, alice: User, login: Login, count_queries: Callable[[], int]
) -> None:
    site, browser = make_active_site(alice), login(alice)
    counts: dict[str, list[int]] = {}
    for number in range(2):
        for more in range(1 + number * 3):
            ready(site, alice, text=f"Wish {number} {more}")
        for address in ("changes", "versions"):
            browser.get(f"/my/sites/{site.slug}/{address}")
            count_queries()
            browser.get(f"/my/sites/{site.slug}/{address}")
            counts.setdefault(address, []).append(count_queries())
    assert all(first == second for first, second in counts.values()), counts

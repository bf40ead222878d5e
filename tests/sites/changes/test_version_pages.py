"""A site's versions for its owner: who made each, why, and what is different, plain and by htmx."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.core import clock
from portal.core.db import unit_of_work
from portal.sites.changes.models import ChangeRequest, Drafter
from portal.sites.changes.services import deciding
from portal.sites.models import Site, VersionOrigin
from portal.sites.services import restoring
from tests.browser_like import post_form
from tests.sites.changes.support import (
    CARDS,
    HOURS,
    carry_out,
    draft_of,
    home,
    ids,
    make_active_site,
    ready,
    reload,
)
from tests.sites.support import BY, deploy, make_version

Login = Callable[[User], FlaskClient]


def accept(change: ChangeRequest, owner: User) -> None:
    deciding.accept_pieces(reload(change), ids(change), draft_number=draft_of(change), by=owner.email, at=clock.now())
    carry_out()


def with_a_history(owner: User) -> Site:
    """Brought by staff, changed by staff and by the editor service as its owner asked, and taken back by the owner."""
    site = make_active_site(owner)
    accept(ready(site, owner, {"index.html": home(HOURS)}, text="Open from 9 please"), owner)
    by_editor = ready(site, owner, {"index.html": home(HOURS, CARDS)}, text="We take cards")
    with unit_of_work():
        reload(by_editor).drafter = Drafter.EDITOR
    accept(by_editor, owner)
    with unit_of_work():
        restoring.restore_version(reload(site), 1, by=owner.email, at=clock.now())
    carry_out()
    deploy(reload(site), make_version(reload(site), {"index.html": home(("Bread", "Cake"))}, note="A new first page"))
    return reload(site)


def rows(page: str) -> list[str]:
    """The rows of the list, newest version first."""
    return page.partition("<tbody")[2].partition("</tbody>")[0].split("<tr")[1:]


def test_the_list_says_who_made_each_version_and_why(app: Flask, alice: User, login: Login) -> None:
    site, browser = with_a_history(alice), login(alice)
    page = browser.get(f"/my/sites/{site.slug}/versions").get_data(as_text=True)
    expected = [
        ("Version 5", "A new first page", "Our team", "1 file"),
        ("Version 4", "Version 1 restored", "You", "3 files"),
        ("Version 3", "We take cards", "Editor service", "Change 2"),
        ("Version 2", "Open from 9 please", "Our team", "Change 1"),
        ("Version 1", "Uploaded", "Our team", "3 files"),
    ]
    found = rows(page)
    assert len(found) == len(expected)
    for row, words in zip(found, expected, strict=True):
        assert all(word in row for word in words), words
    assert "Served" in found[0]
    assert f'href="/my/sites/{site.slug}/changes/2"' in found[2]


@pytest.mark.parametrize("origin", list(VersionOrigin))
def test_no_address_of_staff_is_told(app: Flask, alice: User, login: Login, origin: VersionOrigin) -> None:
    site, browser = make_active_site(alice), login(alice)
    make_version(site, {"index.html": home(HOURS)}, origin=origin, author=BY)
    for path in ("", "/1", "/2", "/2?with=served"):
        page = browser.get(f"/my/sites/{site.slug}/versions{path}")
        assert page.status_code == 200
        assert BY not in page.get_data(as_text=True)


def test_a_version_shows_its_files_and_what_changed(app: Flask, alice: User, login: Login) -> None:
    site, browser = with_a_history(alice), login(alice)
    page = browser.get(f"/my/sites/{site.slug}/versions/3").get_data(as_text=True)
    for words in ("Editor service", "We take cards", "What changed since version 2", "-&lt;p&gt;Cash only&lt;/p&gt;"):
        assert words in page
    assert "Open from 8" not in page
    assert all(path in page for path in ("index.html", "about.html", "s.css"))
    # Against what visitors see by now: a new first page and nothing else.
    served = browser.get(f"/my/sites/{site.slug}/versions/3?with=served").get_data(as_text=True)
    for words in ("What is different from version 5", "-&lt;h1&gt;Cake", "+&lt;h1&gt;Bread", "new file"):
        assert words in served
    first = browser.get(f"/my/sites/{site.slug}/versions/1").get_data(as_text=True)
    assert "What is in it" in first
    # What is served differs from itself in nothing, so it is not offered.
    newest = browser.get(f"/my/sites/{site.slug}/versions/5").get_data(as_text=True)
    assert "with=served" not in newest
    assert "/restore" not in newest
    assert browser.get(f"/my/sites/{site.slug}/versions/99").status_code == 404


def test_the_comparison_is_a_link_and_a_fragment(app: Flask, alice: User, login: Login) -> None:
    site, browser = with_a_history(alice), login(alice)
    address = f"/my/sites/{site.slug}/versions/2"
    page = browser.get(address).get_data(as_text=True)
    assert f'href="{address}?with=served"' in page
    assert f'hx-get="{address}?with=served"' in page
    part = browser.get(f"{address}?with=served", headers={"HX-Request": "true"}).get_data(as_text=True)
    assert part.lstrip().startswith('<div class="stack" id="differences"')
    assert "What is different from version 5" in part
    assert "<html" not in part
    assert post_form(browser, f"{address}/restore", page=address).status_code == 303


def test_hostile_content_is_only_words(app: Flask, alice: User, login: Login) -> None:
    site, browser = make_active_site(alice), login(alice)
    make_version(site, {"index.html": home(("Ring twice", "</pre><script>alert(1)</script>"))}, note="<b>{{ 7*7 }}")
    page = browser.get(f"/my/sites/{site.slug}/versions/2").get_data(as_text=True)
    assert "<script>alert" not in page
    assert "&lt;/pre&gt;&lt;script&gt;alert(1)" in page
    assert "&lt;b&gt;{{ 7*7 }}" in page


def test_a_version_takes_the_same_queries_whatever_is_in_it(
    app: Flask, alice: User, login: Login, count_queries: Callable[[], int]
) -> None:
    site, browser = make_active_site(alice), login(alice)
    counts = []
    for count in (1, 40):
        made = make_version(
            reload(site), {"index.html": home(HOURS), **{f"p{one}.html": b"<p>%d" % count for one in range(count)}}
        )
        address = f"/my/sites/{site.slug}/versions/{made.number}"
        browser.get(address)
        count_queries()
        assert browser.get(address).status_code == 200
        counts.append(count_queries())
    assert counts[0] == counts[1]

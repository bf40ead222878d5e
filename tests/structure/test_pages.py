"""The check that the test client makes of every answer can fail, in each of its parts."""

import random

import pytest
from flask import Flask, Response
from werkzeug.test import TestResponse

from portal import create_app
from tests import pages
from tests.conftest import settings_for
from tests.page_shape import shape

GOOD = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Orders</title></head><body>
<header><a id="top" href="/">Home</a></header>
<main><h1>Orders</h1><form method="post" action="/x"><input type="hidden" name="csrf_token" value="t">
<label for="a">Name</label><input id="a" name="a"><button>Save</button></form></main>
<footer><form action="/y" method="get"><input name="q" title="Search"></form></footer></body></html>"""


def test_a_good_page_passes() -> None:
    assert pages.html_problems(GOOD) == ()


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("<!doctype html>", "<!doctype html><p></b>", "unexpected-end-tag"),
        ("<h1>Orders</h1>", "<h1>Orders</h1><div>", "end-tag"),
        ("<h1>Orders</h1>", "<p>Orders</p>", "0 <h1>"),
        ("<h1>Orders</h1>", "<h1>Orders</h1><h1>Again</h1>", "2 <h1>"),
        ("<title>Orders</title>", "<title> · </title>", "no title"),
        (' lang="en"', "", "no language"),
        ("<main>", "<div>", "end-tag"),
        ('<label for="a">', '<label for="b">', "points at 'b'"),
        ('<label for="a">Name</label>', "", "the field 'a' has no label"),
        ("<button>Save", '<label>Other <input name="c"></label><input name="b"><button>Save', "'b' has no label"),
        ("<footer>", '<footer><p id="a">', "id 'a' is used 2 times"),
        ("<footer>", '<footer><p aria-describedby="b">', "points at 'b'"),
        ("<footer>", "<footer><h1>Again</h1>", "2 <h1>"),
        ('<label for="a">', '<label for="a" id="a">', "id 'a' is used 2 times"),
        (' action="/x"', "", "a form without an action"),
        (' method="post"', "", "has no method"),
        ('name="csrf_token"', 'name="other"', "has no CSRF token"),
        ('method="post"', 'method="get"', "CSRF token into the address"),
        ("<button>Save</button>", '<input name="b" title="b">', "no button to send it"),
        ("<button>Save</button>", '<input name="b" title="b"><button type="button">x</button>', "no button to send it"),
        ("<button>Save</button>", "<button><svg></svg></button>", "a <button> without words"),
        ("<h1>Orders</h1>", '<h1>Orders</h1><a href="/x"></a>', "a <a> without words"),
        ("<h1>Orders</h1>", '<h1>Orders</h1><img src="/x">', "a picture without alt"),
        ("<h1>Orders</h1>", '<h1 style="color: red">Orders</h1>', 'an inline style="color: red"'),
        ("<h1>Orders</h1>", '<h1 onclick="x">Orders</h1>', "an inline onclick"),
        ("<h1>Orders</h1>", '<h1 hx-on:click="x">Orders</h1>', "an inline hx-on:click"),
        ("<h1>Orders</h1>", "<h1>Orders</h1><script>x</script>", "an inline <script>"),
        ("<h1>Orders</h1>", "<h1>Orders</h1><style>x</style>", "an inline <style>"),
        ('action="/x"', 'action="javascript:x"', "an inline action"),
    ],
)
def test_a_bad_page_is_noticed(old: str, new: str, complaint: str) -> None:
    assert complaint in "\n".join(pages.html_problems(GOOD.replace(old, new)))


PIECES = (
    "<", ">", "</p>", "<p>", "<b>", "</b>", "<tr>", "</form>", "<form>",
    "&", "&amp;", "&nope;", "&#39;", '"', "'", " ", "x", "<main>", ' aria-current="page"', "<label>", "</label>",
    "\x00", "\x7f", "·", "<!--", "-->", "</main>", "<a>", "<i></i>", "=", "javascript:", ' id="a"', ' for="a b"', "/>",
    "<h1>", "<textarea>", "<title>", "<svg>", "<input>", "<button> </button>", ' value=""', ' title=" "', ' alt="·"',
)  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_a_page_is_as_good_or_bad_as_its_shape(seed: int) -> None:
    chance, bad = random.Random(seed), 0
    for _ in range(150):
        page = GOOD.replace("Orders", "Orders of Zoë, 3 × “new” &amp; old", 1)
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(page))
            page = page[:place] + chance.choice(PIECES) + page[place + chance.choice((0, 0, 1, 4)) :]
        problems = pages._problems_of(page)
        assert pages.html_problems(page) == problems, page
        bad += bool(problems)
    assert 50 < bad < 150


def test_pages_that_differ_in_words_alone_have_one_shape() -> None:
    other = (
        GOOD.replace("Orders", "Invoices of 2026")
        .replace('="a">N', '="b-7">N')
        .replace('id="a"', 'id="b-7"')
        .replace("/x", "/orders/ORD-20260121-A3F9")
    )
    assert shape(other) == shape(GOOD)
    assert shape(GOOD.replace('for="a"', 'for="b"')) != shape(GOOD)


def test_a_fragment_needs_no_heading_but_valid_html() -> None:
    assert pages.html_problems('<section id="a"><p>Text</p></section>') == ()
    assert "end-tag" in "\n".join(pages.html_problems('<section id="a"><p>Text</section></p>'))
    assert "used 2 times" in "\n".join(pages.html_problems('<p id="a"></p><p id="a"></p>'))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """An application that nobody connects to a database."""
    return create_app(settings_for("sqlite://", "redis://127.0.0.1:9/0", tmp_path_factory.mktemp("pages")))


def test_dead_links_are_noticed(site: Flask) -> None:
    page = (
        '<a href="/healthz">x</a><a href="/healthy">x</a><form method="post" action="/healthz"></form>'
        '<a href="https://example.com/x">x</a><a href="#main">x</a><a href="?page=2">x</a><b hx-get="/nowhere"></b>'
    )
    assert pages.address_problems(page, site) == [
        "GET /healthy leads nowhere",
        "/healthz does not take POST",
        "GET /nowhere leads nowhere",
    ]


def answer(site: Flask, response: Response) -> TestResponse:
    """An answer as a test would see it, without the portal's own hooks."""
    bare = Flask("bare")
    bare.add_url_rule("/", "show", lambda: response)
    return bare.test_client().get("/")


def test_missing_headers_are_noticed(site: Flask) -> None:
    found = pages.header_problems(answer(site, Response("x")))
    assert found[:5] == [f"no {name}" for name in pages._NEEDED_HEADERS]
    assert found[-1] == "no Vary: HX-Request"
    loose = Response("x", headers={"Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'"})
    assert "a weak policy: default-src 'none'; script-src 'unsafe-inline'" in pages.header_problems(answer(site, loose))
    careless = Response("x", headers={"Set-Cookie": "a=b; Path=/"})
    assert "a cookie without HttpOnly: a=b; Path=/" in pages.header_problems(answer(site, careless))


def test_every_test_client_checks_what_it_fetches(site: Flask) -> None:
    assert type(site.test_client()) is pages.CheckedClient
    site.test_client().get("/healthz")
    with pytest.raises(AssertionError, match="leads nowhere"):
        _with_dead_link(site).get("/healthz")


def _with_dead_link(site: Flask) -> pages.CheckedClient:
    before = site.view_functions["health.healthz"]

    def view() -> str:
        site.view_functions["health.healthz"] = before
        return '<a href="/gone">x</a>'

    view.access = before.access  # type: ignore[attr-defined]  # what the decorators of core.access set
    site.view_functions["health.healthz"] = view
    return site.test_client()  # type: ignore[return-value]  # the test before this line has just shown it

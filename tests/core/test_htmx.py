"""One route, two answers: a page for whoever asks plainly, its fragment for htmx."""

import pytest
from flask import Flask

from portal import create_app
from portal.core import htmx
from tests.conftest import settings_for


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """An application that nobody connects to a database."""
    return create_app(settings_for("sqlite://", "redis://127.0.0.1:9/0", tmp_path_factory.mktemp("htmx")))


HTMX = {"HX-Request": "true"}
WHOLE_PAGES = [
    {},
    {"HX-Request": "false"},
    {"HX-Request": "1"},
    {**HTMX, "HX-Boosted": "true"},
    {**HTMX, "HX-History-Restore-Request": "true"},
    {**HTMX, "HX-Request-Type": "full"},
]


@pytest.mark.parametrize("headers", WHOLE_PAGES)
def test_a_page_is_whole_unless_htmx_wants_a_part(site: Flask, headers: dict[str, str]) -> None:
    with site.test_request_context("/", headers=headers):
        assert not htmx.wants_fragment()


@pytest.mark.parametrize("headers", [HTMX, {**HTMX, "HX-Target": "results"}, {**HTMX, "HX-Request-Type": "partial"}])
def test_htmx_gets_the_part(site: Flask, headers: dict[str, str]) -> None:
    with site.test_request_context("/", headers=headers):
        assert htmx.wants_fragment()


@pytest.fixture
def two_templates(site: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    from jinja2 import DictLoader

    loader = DictLoader({"page.html": "page {{ is_fragment }} {{ a }}", "_part.html": "part {{ is_fragment }} {{ a }}"})
    monkeypatch.setattr(site, "jinja_loader", loader)
    monkeypatch.setattr(site.jinja_env, "loader", loader)
    site.jinja_env.cache.clear()  # type: ignore[union-attr]  # there is one


@pytest.mark.usefixtures("two_templates")
def test_both_are_made_of_the_same_values(site: Flask) -> None:
    with site.test_request_context("/"):
        answer = htmx.render("page.html", fragment="_part.html", status=422, a=1)
        assert (answer.status_code, answer.get_data(as_text=True)) == (422, "page False 1")
    with site.test_request_context("/", headers=HTMX):
        answer = htmx.render("page.html", fragment="_part.html", status=422, a=1)
        assert (answer.status_code, answer.get_data(as_text=True)) == (422, "part True 1")
        assert htmx.render("page.html", a=1).get_data(as_text=True) == "page False 1"


@pytest.mark.usefixtures("two_templates")
@pytest.mark.parametrize("letter", ["\x00", "\x0b", "\x7f", "\x85", "\ud800", "\ufffe"])
def test_what_no_page_may_contain_is_shown_where_it_stands(site: Flask, letter: str) -> None:
    """A form that is shown again repeats what was typed."""
    with site.test_request_context("/"):
        assert htmx.render("page.html", a=f"<a{letter}b>\t").get_data(as_text=True) == "page False &lt;a\ufffdb&gt;\t"


@pytest.mark.usefixtures("two_templates")
def test_after_a_post_a_plain_form_is_sent_on_and_htmx_gets_the_part(site: Flask) -> None:
    with site.test_request_context("/", method="POST"):
        answer = htmx.after_post("/orders/1", fragment="_part.html", a=1)
        assert (answer.status_code, answer.location) == (303, "/orders/1")
    with site.test_request_context("/", method="POST", headers=HTMX):
        answer = htmx.after_post("/orders/1", fragment="_part.html", trigger="saved", a=1)
        assert (answer.status_code, answer.get_data(as_text=True)) == (200, "part True 1")
        assert answer.headers["HX-Trigger"] == "saved"
        answer = htmx.after_post("/orders/1")
        assert (answer.status_code, answer.headers["HX-Redirect"]) == (204, "/orders/1")


def test_leaving_works_both_ways(site: Flask) -> None:
    with site.test_request_context("/"):
        answer = htmx.leave("https://pay.example.com/1")
        assert (answer.status_code, answer.location) == (303, "https://pay.example.com/1")
    with site.test_request_context("/", headers=HTMX):
        answer = htmx.leave("https://pay.example.com/1")
        assert (answer.status_code, answer.headers["HX-Redirect"]) == (204, "https://pay.example.com/1")

"""The component gallery: every macro renders, to valid HTML that the strict CSP lets through."""

import re
from collections import Counter
from pathlib import Path

import html5lib
import mrml
import pytest
from flask import Flask, render_template

from portal import create_app
from portal.devtools.ui import PAGES
from tests.conftest import settings_for

pytestmark = pytest.mark.xdist_group("gallery")

ROOT = Path(__file__).resolve().parent.parent.parent
STATUSES = (400, 401, 403, 404, 405, 409, 413, 422, 429, 500, 503)
# Each would be refused by the CSP, or run as code.
FORBIDDEN = re.compile(r"""<style|\sstyle=|<script(?![^>]*\ssrc=)|\son[a-z]+=|hx-on|javascript:|"js:""", re.IGNORECASE)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    folder = tmp_path_factory.mktemp("gallery")
    return create_app(settings_for("sqlite://", "redis://127.0.0.1:9/0", folder))


def check_html(page: str) -> None:
    """Raise on HTML that is not valid, ids used twice, and labels that point at nothing."""
    parser = html5lib.HTMLParser(strict=True, tree=html5lib.treebuilders.getTreeBuilder("etree"))
    tree = parser.parse(page)
    ids = Counter(element.get("id") for element in tree.iter() if element.get("id"))
    assert not [name for name, count in ids.items() if count > 1]
    pointers = [
        target
        for element in tree.iter()
        for attribute in ("for", "aria-describedby", "aria-labelledby", "popovertarget")
        for target in (element.get(attribute) or "").split()
    ]
    assert not [target for target in pointers if target not in ids]
    assert not FORBIDDEN.findall(page)


@pytest.mark.parametrize("query", ["", "?errors=1&flash=1"])
@pytest.mark.parametrize("page", PAGES)
def test_every_component_renders_as_valid_html(gallery: Flask, page: str, query: str) -> None:
    response = gallery.test_client().get(f"/dev/ui/{page}{query}")
    assert response.status_code == 200
    check_html(response.text)


@pytest.mark.parametrize("language", ["pl", "es"])
def test_the_gallery_renders_in_every_language(gallery: Flask, language: str) -> None:
    response = gallery.test_client().get("/dev/ui/", headers={"Accept-Language": language})
    assert f'<html lang="{language}">' in response.text


@pytest.mark.parametrize("status", STATUSES)
def test_every_error_has_a_page_with_its_number_and_advice(gallery: Flask, status: int) -> None:
    response = gallery.test_client().get(f"/dev/ui/errors/{status}")
    assert response.status_code == status
    check_html(response.text)
    assert "4f0c2d9e77aa11b3" in response.text


def test_htmx_gets_the_error_without_a_page_around_it(gallery: Flask) -> None:
    response = gallery.test_client().get("/dev/ui/errors/409", headers={"HX-Request": "true"})
    assert response.status_code == 409
    assert "<html" not in response.text
    assert 'role="alert"' in response.text


def test_a_row_opens_as_a_page_and_as_a_fragment(gallery: Flask) -> None:
    page = gallery.test_client().get("/dev/ui/panel/90")
    check_html(page.text)
    assert "<h1" in page.text
    fragment = gallery.test_client().get("/dev/ui/panel/90", headers={"HX-Request": "true"})
    assert fragment.text.lstrip().startswith('<article class="panel" id="order-')


def test_htmx_is_configured_to_run_no_code_and_to_show_refusals(gallery: Flask) -> None:
    page = gallery.test_client().get("/dev/ui/").text
    for setting in (
        '"allowEval":false',
        '"includeIndicatorStyles":false',
        '"allowScriptTags":false',
        '"selfRequestsOnly":true',
    ):
        assert setting in page
    assert '"(403|404|409|422|429|503)","swap":true' in page


def test_no_page_names_a_colour_outside_the_tokens() -> None:
    """Light and dark stay complete only when every colour is a variable."""
    for sheet in ("portal.css", "controls.css", "layouts.css"):
        for number, line in enumerate((ROOT / "static/css" / sheet).read_text().splitlines(), 1):
            if "light-dark(" in line or line.lstrip().startswith(("--", ".brand-mark", ".cover-")):
                continue
            colours = re.findall(r"#[0-9a-f]{3,8}\b", line, re.IGNORECASE)
            assert set(colours) <= {"#fff", "#000"}, f"{sheet}:{number}"


def test_a_mail_is_complete_escaped_and_asks_no_other_server(gallery: Flask) -> None:
    with gallery.test_request_context():
        source = render_template("dev/mail.mjml")
        output = mrml.to_html(source)
    assert not output.warnings
    assert "Chatbot &lt;RAG&gt; &amp; co" in output.content
    assert not re.findall(r"""(?:src|<link[^>]*href)=["']https?://""", output.content)
    assert "prefers-color-scheme: dark" in output.content


def test_production_has_no_gallery(tmp_path: Path) -> None:
    settings = settings_for(
        "sqlite://", "redis://127.0.0.1:9/0", tmp_path, portal_env="production", sandbox_enabled=False
    )
    assert "dev_ui.show" not in create_app(settings).view_functions

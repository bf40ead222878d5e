"""What every page must be, whoever fetches it: checked by the test client itself, for each answer of each test."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from html import unescape
from typing import Any
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element

import html5lib
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import MapAdapter, RequestRedirect
from werkzeug.test import TestResponse

from tests.browser_like import is_read_elsewhere
from tests.page_shape import parts, shape

_TOKEN = re.compile(r'(name="csrf_token"[^>]*value=")[^"]+')
_POINTERS = ("for", "aria-describedby", "aria-labelledby", "aria-controls", "popovertarget")
_UNLABELLED = {"hidden", "submit", "button", "reset", "image"}
# Words for people, which no browser follows: a customer may be called anything.
_TEXTS = {"value", "title", "placeholder", "aria-label", "alt", "content"}
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_VALUE = r"""(?:\s*=\s*("[^"]*"|'[^']*'|[^\s"'=<>`]+))?"""
_ATTRIBUTE = re.compile(rf"""\s+([^\s"'<>/=]+){_VALUE}""")
_TAG = re.compile(rf"""<([a-z][a-z0-9-]*)((?:\s+[^\s"'<>/=]+{_VALUE.replace('("', '(?:"')})+)""")
_ADDRESSES = {"href": "GET", "hx-get": "GET", "hx-post": "POST", "formaction": "POST"}
# A mail or another document of somebody else's is shown as it is, under a policy that lets nothing run.
_FOREIGN = re.compile(r"^default-src 'none'; (?:img-src [^;]*; )?style-src 'unsafe-inline'")
_NEEDED_HEADERS = (
    "Content-Security-Policy",
    "X-Content-Type-Options",
    "Referrer-Policy",
    "X-Request-ID",
    "Cache-Control",
)


class CheckedClient(FlaskClient):
    """A browser that fails the test as soon as an answer of the portal is not what every answer must be."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        """Fetch, then check. Raises AssertionError with everything that is wrong."""
        response = super().open(*args, **kwargs)
        if self.application.import_name == "portal":
            found = header_problems(response)
            # No page's HTML depends on the database, so one of the two is enough for reading all of it.
            if not is_read_elsewhere(self.application):
                found += body_problems(response, self.application)
            request = response.request
            assert not found, f"{request.method} {request.path} ({response.status_code}):\n  " + "\n  ".join(found)
        return response


def header_problems(response: TestResponse) -> list[str]:
    """What is missing from the headers of any answer."""
    headers = response.headers
    found = [f"no {name}" for name in _NEEDED_HEADERS if name not in headers]
    policy = headers.get("Content-Security-Policy", "")
    if "default-src 'none'" not in policy or re.search(r"script-src[^;]*(unsafe|\*|https?:|data:)", policy):
        found.append(f"a weak policy: {policy}")
    if not response.request.path.startswith(("/static/", "/webhooks/", "/api/")) and "HX-Request" not in response.vary:
        found.append("no Vary: HX-Request")
    for cookie in headers.getlist("Set-Cookie"):
        found += [f"a cookie without {part}: {cookie}" for part in ("HttpOnly", "SameSite=") if part not in cookie]
    return found


def body_problems(response: TestResponse, app: Flask) -> list[str]:
    """What is wrong with the HTML of an answer, if it is HTML."""
    if response.mimetype != "text/html" or 300 <= response.status_code < 400 or response.request.method == "HEAD":
        return []
    if _FOREIGN.match(response.headers.get("Content-Security-Policy", "")):
        return []
    text = _TOKEN.sub(r"\1token", response.get_data(as_text=True))
    return [*html_problems(text), *address_problems(text, app)]


def html_problems(text: str) -> tuple[str, ...]:
    """What is wrong with a page, or with a fragment of one."""
    # Nearly always nothing, and then shapes are enough to know it; a complaint names the page's own words and lines.
    return _problems_of(text) if any(_is_bad(shape(part)) for part in parts(text)) else ()


@lru_cache(maxsize=8192)
def _is_bad(outline: str) -> bool:
    return bool(_problems_of(outline))


def _problems_of(text: str) -> tuple[str, ...]:
    is_page = text.lstrip()[:9].lower() == "<!doctype"
    parser = html5lib.HTMLParser(tree=html5lib.treebuilders.getTreeBuilder("etree"), namespaceHTMLElements=False)
    tree = parser.parse(text) if is_page else parser.parseFragment(text)
    elements = [element for element in tree.iter() if isinstance(element.tag, str)]
    return (
        *(f"line {place[0]}: {code} {details}" for place, code, details in parser.errors),
        *_id_problems(elements),
        *_inline_problems(elements),
        *(problem for form in elements if form.tag == "form" for problem in _form_problems(form)),
        *_name_problems(tree, elements),
        *(_page_problems(elements) if is_page else ()),
    )


def address_problems(text: str, app: Flask) -> list[str]:
    """Links and forms that lead to no route of the application, or to one that takes another method."""
    urls = app.url_map.bind("localhost")
    known: dict[tuple[str, str], list[str]] = app.extensions.setdefault("checked_addresses", {})
    found = []
    for address, method in dict.fromkeys(_addresses(text)):
        if (address, method) not in known:
            known[address, method] = list(_dead(urls, address, method))
        found += known[address, method]
    return found


def _id_problems(elements: list[Element]) -> Iterator[str]:
    ids = Counter(element.get("id") for element in elements if element.get("id"))
    yield from (f"id {name!r} is used {count} times" for name, count in ids.items() if count > 1)
    for element in elements:
        for attribute in _POINTERS:
            for target in (element.get(attribute) or "").split():
                if target not in ids:
                    yield f"<{element.tag} {attribute}> points at {target!r}, which is not there"


def _inline_problems(elements: list[Element]) -> Iterator[str]:
    for element in elements:
        if element.tag == "style" or (element.tag == "script" and not element.get("src")):
            yield f"an inline <{element.tag}>"
        for name, value in element.attrib.items():
            is_text = name in _TEXTS or name.startswith("data-")
            is_run = not is_text and re.match(r"\s*(javascript|js):", value)
            if name == "style" or re.match(r"on[a-z]+$|hx-on", name) or is_run:
                yield f'an inline {name}="{value}" on <{element.tag}>'


def _form_problems(form: Element) -> Iterator[str]:
    action, method = form.get("action"), (form.get("method") or "").lower()
    if not action:
        yield "a form without an action"
    if method not in ("get", "post"):
        yield f"the form to {action} has no method"
    has_token = any(field.get("name") == "csrf_token" for field in form.iter("input"))
    if method == "post" and not has_token:
        yield f"the form to {action} has no CSRF token"
    if method == "get" and has_token:
        yield f"the form to {action} would put its CSRF token into the address"
    fields = [field for field in form.iter("input") if field.get("type") not in _UNLABELLED]
    # A browser sends a form of one field when Enter is pressed (HTML, "implicit submission").
    if len(fields) != 1 and not any(_submits(element) for element in form.iter()):
        yield f"the form to {action} has no button to send it without script"


def _submits(element: Element) -> bool:
    if element.tag == "button":
        return element.get("type", "submit") == "submit"
    return element.tag == "input" and element.get("type") in ("submit", "image")


def _name_problems(tree: Element, elements: list[Element]) -> Iterator[str]:
    """Fields, buttons, links and pictures that a screen reader could not name."""
    labelled = {label.get("for") for label in elements if label.tag == "label" and label.get("for")}
    wrapped = {field for label in elements if label.tag == "label" for field in label.iter()}
    for element in elements:
        is_named = bool(element.get("aria-label") or element.get("aria-labelledby") or element.get("title"))
        is_field = element.tag in ("input", "select", "textarea") and element.get("type") not in _UNLABELLED
        # For password managers: nobody else can see it or come to it.
        is_hidden = element.get("aria-hidden") == "true" and element.get("tabindex") == "-1"
        if is_field and not is_named and not is_hidden and element.get("id") not in labelled and element not in wrapped:
            yield f"the field {element.get('name')!r} has no label"
        if element.tag in ("button", "a", "summary") and not is_named and not _spoken(element):
            yield f"a <{element.tag}> without words: {element.attrib}"
        if element.tag == "img" and element.get("alt") is None:
            yield f"a picture without alt: {element.get('src')}"


def _spoken(element: Element) -> str:
    pictures = [picture.get("alt") or "" for picture in element.iter("img")]
    labels = [child.get("aria-label") or "" for child in element.iter()]
    return "".join([*element.itertext(), *pictures, *labels]).strip()


def _page_problems(elements: list[Element]) -> Iterator[str]:
    headings = [element for element in elements if element.tag == "h1"]
    if len(headings) != 1:
        yield f"{len(headings)} <h1>"
    titles = [element for element in elements if element.tag == "title"]
    if not titles or not "".join(titles[0].itertext()).strip(" ·"):
        yield "no title"
    if not next((element.get("lang") for element in elements if element.tag == "html"), None):
        yield "no language"
    if sum(element.tag == "main" for element in elements) != 1:
        yield "not exactly one <main>"


def _addresses(text: str) -> Iterator[tuple[str, str]]:
    """Each address of a page that `html_problems` has found valid, with the method it is asked with."""
    for tag, written in _TAG.findall(_COMMENT.sub("", text)):
        if not any(name in written for name in ("action", *_ADDRESSES)) and tag != "form":
            continue
        values = {name: unescape(value.strip("\"'")) for name, value in _ATTRIBUTE.findall(written)}
        if tag == "form":
            yield values.get("action", ""), values.get("method", "get").upper()
        yield from ((values[name], method) for name, method in _ADDRESSES.items() if values.get(name))


def _dead(urls: MapAdapter, address: str, method: str) -> Iterator[str]:
    parts = urlsplit(address)
    if parts.scheme or parts.netloc or not parts.path.startswith("/"):
        return
    try:
        urls.match(parts.path, method=method)
    except NotFound:
        yield f"{method} {address} leads nowhere"
    except MethodNotAllowed:
        yield f"{address} does not take {method}"
    except RequestRedirect as redirect:
        yield f"{address} is only redirected to {redirect.new_url}"

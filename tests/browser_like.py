"""Using the test client as a browser does: forms carry the CSRF token of the page they stand on."""

import re
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from itsdangerous import URLSafeTimedSerializer
from werkzeug.test import TestResponse

# Of Flask-WTF's.
_SALT = "wtf-csrf-token"
_TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


def csrf_token(browser: FlaskClient, page: str) -> str:
    """The token of the first form on a page. Raises AssertionError when the page has none."""
    response = browser.get(page)
    found = _TOKEN.search(response.get_data(as_text=True))
    assert found is not None, f"no form on {page} ({response.status_code})"
    return found.group(1)


def is_read_elsewhere(app: Flask) -> bool:
    """Whether the same test runs on another database as well, where its pages are read with all care."""
    return bool(app.config.get("PAGES_ARE_READ_ELSEWHERE"))


def token_of(browser: FlaskClient) -> str:
    """The token of every form of this visit, as Flask-WTF would put it there."""
    with browser.session_transaction() as cookie:
        secret = cookie.setdefault("csrf_token", "f" * 40)
    return str(URLSafeTimedSerializer(str(browser.application.secret_key), salt=_SALT).dumps(secret))


def send_form(
    browser: FlaskClient, address: str, values: dict[str, Any] | None = None, *, htmx: bool = False
) -> TestResponse:
    """Post a form that its visitor has open already: no page is loaded. For what must have happened before a test can
    begin; what a test is about is done with `post_form`."""
    return _post(browser, address, token_of(browser), values, htmx=htmx)


def post_form(
    browser: FlaskClient,
    address: str,
    values: dict[str, Any] | None = None,
    *,
    page: str | None = None,
    htmx: bool = False,
) -> TestResponse:
    """Post a form the way a person does: load `page` (by default the address itself), then submit with its token.

    What the page looks like does not depend on the database, so it is loaded on one of them only.
    """
    if is_read_elsewhere(browser.application):
        return send_form(browser, address, values, htmx=htmx)
    return _post(browser, address, csrf_token(browser, page or address), values, htmx=htmx)


def _post(browser: FlaskClient, address: str, token: str, values: dict[str, Any] | None, *, htmx: bool) -> TestResponse:
    headers = {"HX-Request": "true"} if htmx else {}
    return browser.post(address, data={"csrf_token": token, **(values or {})}, headers=headers)

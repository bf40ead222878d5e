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


def is_second_database(app: Flask) -> bool:
    """Whether the tests of this application run on SQLite as well, where its pages are read with all care."""
    return bool(app.config["SQLALCHEMY_DATABASE_URI"].startswith("postgresql"))


def _known_token(browser: FlaskClient) -> str | None:
    """The token of every form of this visit, made of what the session cookie holds; None before the first form."""
    app = browser.application
    cookie = browser.get_cookie(app.config["SESSION_COOKIE_NAME"])
    signer = app.session_interface.get_signing_serializer(app)
    if cookie is None or signer is None:
        return None
    secret = signer.loads(cookie.decoded_value).get("csrf_token")
    return None if secret is None else str(URLSafeTimedSerializer(app.secret_key, salt=_SALT).dumps(secret))


def post_form(
    browser: FlaskClient,
    address: str,
    values: dict[str, Any] | None = None,
    *,
    page: str | None = None,
    htmx: bool = False,
) -> TestResponse:
    """Post a form the way a person does: load `page` (by default the address itself), then submit with its token.

    What the page looks like does not depend on the database. So on the second one it is not loaded again by a visitor
    whose token is known, as of somebody who had it open already.
    """
    known = _known_token(browser) if is_second_database(browser.application) else None
    token = known or csrf_token(browser, page or address)
    headers = {"HX-Request": "true"} if htmx else {}
    return browser.post(address, data={"csrf_token": token, **(values or {})}, headers=headers)

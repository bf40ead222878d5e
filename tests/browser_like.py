"""Using the test client as a browser does: forms carry the CSRF token of the page they stand on."""

import re
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

_TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


def csrf_token(browser: FlaskClient, page: str) -> str:
    """The token of the first form on a page. Raises AssertionError when the page has none."""
    response = browser.get(page)
    found = _TOKEN.search(response.get_data(as_text=True))
    assert found is not None, f"no form on {page} ({response.status_code})"
    return found.group(1)


def post_form(
    browser: FlaskClient,
    address: str,
    values: dict[str, Any] | None = None,
    *,
    page: str | None = None,
    htmx: bool = False,
) -> TestResponse:
    """Post a form the way a person does: load `page` (by default the address itself), then submit with its token."""
    token = csrf_token(browser, page or address)
    headers = {"HX-Request": "true"} if htmx else {}
    return browser.post(address, data={"csrf_token": token, **(values or {})}, headers=headers)

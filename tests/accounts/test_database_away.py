"""With the database away, a signed-in user gets an answer and the page says what is going on."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError

from portal.accounts.models import User
from portal.accounts.services import sessions
from tests.accounts import support

Login = Callable[[User], FlaskClient]


@pytest.mark.parametrize("page", ["/account", "/login", "/account/security"])
def test_the_page_says_so(login: Login, alice: User, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = login(alice)
    asked: list[str] = []

    def away(token: str, **_: object) -> None:
        asked.append(token)
        raise OperationalError("SELECT", {}, Exception("the server is gone"))

    with monkeypatch.context() as patch:
        patch.setattr(sessions, "find_session", away)
        response = browser.get(page)
    assert response.status_code == 503
    assert "Nothing was lost" in response.get_data(as_text=True)
    assert int(response.headers["Retry-After"]) >= 1
    # Asked once: each further question could wait for a time-out of its own.
    assert len(asked) == 1
    assert support.is_signed_in(browser)

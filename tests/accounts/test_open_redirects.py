"""No form of accounts sends anyone to another site (reliability I7)."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from portal.accounts.models import User
from tests import factories
from tests.accounts import support
from tests.browser_like import post_form
from tests.core.test_redirects import LEAVING

EVIL = [target for target in LEAVING if target]


@pytest.mark.parametrize("target", EVIL)
def test_log_in(client: FlaskClient, alice: User, target: str) -> None:
    response = support.log_in(client, "alice@example.com", next=target)
    assert response.status_code == 303
    assert stays(response.location)


@pytest.mark.parametrize(
    "target", ["//evil.example", "/\\evil.example", "https://evil.example", "/%0d%0aSet-Cookie:a=b"]
)
def test_arriving_signed_in(login: Callable[[User], FlaskClient], alice: User, target: str) -> None:
    response = login(alice).get(f"/login?next={target}")
    assert response.status_code == 302
    assert stays(response.location)
    assert "Set-Cookie" not in response.location


@pytest.mark.parametrize("target", ["//evil.example", "/\\evil.example", "https://evil.example", "/\t/evil.example"])
def test_second_step(client: FlaskClient, alice: User, target: str) -> None:
    secret = support.with_second_factor(alice)
    support.log_in(client, "alice@example.com", next=target)
    assert stays(support.enter_code(client, support.app_code(secret)).location)


@pytest.mark.parametrize("target", EVIL)
def test_confirm_password(login: Callable[[User], FlaskClient], alice: User, target: str) -> None:
    response = post_form(login(alice), "/confirm-password", {"password": factories.PASSWORD, "next": target})
    assert response.status_code == 303
    assert stays(response.location)


def stays(location: str) -> bool:
    """Whether a browser that follows this header stays where it is."""
    return location.startswith("/") and not location.startswith(("//", "/\\")) and "evil" not in location

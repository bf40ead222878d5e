"""Browsers of those who look after printed parts."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from portal.accounts.models import User


@pytest.fixture
def hers(login: Callable[[User], FlaskClient], alice: User) -> FlaskClient:
    """Alice's browser."""
    return login(alice)


@pytest.fixture
def office(login: Callable[[User], FlaskClient], staff: User) -> FlaskClient:
    """A member of staff who has logged in."""
    return login(staff)


@pytest.fixture
def owner(login: Callable[[User], FlaskClient], admin: User) -> FlaskClient:
    """The administrator, logged in a moment ago."""
    return login(admin)

"""A café that sells through the portal, and another merchant who is a stranger to it."""

import pytest

from portal.accounts.models import User
from portal.merchants.models import Merchant
from tests.merchants.support import make_key, make_merchant


@pytest.fixture
def cafe(alice: User) -> Merchant:
    """Alice's merchant."""
    return make_merchant(alice)


@pytest.fixture
def rival(bob: User) -> Merchant:
    """Bob's merchant."""
    return make_merchant(bob, name="Rival Tea", contact_email="tea@example.com")


@pytest.fixture
def secret(cafe: Merchant) -> str:
    """A test key of alice's merchant that may do everything."""
    return make_key(cafe)[1]

"""Measuring needs neither an application nor a database; the few tests that do ask for one."""

import pytest


@pytest.fixture(autouse=True)
def empty_store() -> None:
    """In place of the one that empties the application's store."""

"""A café that listens to its webhooks on this machine, which the tests' setting allows."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask import Flask

from portal.core import clock
from portal.core.db import unit_of_work
from portal.merchants.models import Merchant
from portal.merchants.outbound import endpoints
from tests.fakes.receiver import Receiver


@pytest.fixture
def loopback(app: Flask) -> Iterator[None]:
    """Webhooks in test mode may reach this machine."""
    before = app.config["SETTINGS"]
    app.config["SETTINGS"] = replace(before, webhooks_to_loopback=True)
    yield
    app.config["SETTINGS"] = before


@pytest.fixture
def shop(loopback: None) -> Iterator[Receiver]:
    """The café's program."""
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def hook_secret(cafe: Merchant, shop: Receiver) -> str:
    """The café listens; this is what signs."""
    with unit_of_work():
        _endpoint, secret = endpoints.set_url(cafe, mode="test", url=shop.url, by="alice", at=clock.now())
    assert secret is not None
    return secret

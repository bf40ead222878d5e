"""A carrier on a socket, and an order whose parts are on the table."""

from collections.abc import Iterator

import pytest
from flask import Flask

from portal.accounts.models import User
from portal.production.models import SalesOrder
from portal.production.shipping import extension
from portal.production.shipping.carriers.base import Address
from portal.production.shipping.services import packing
from tests.fakes.easypost import FakeEasyPost
from tests.production.shipping import support


@pytest.fixture
def fake(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEasyPost]:
    """The application ships by a fake EasyPost."""
    origin = Address.of({"company": "Atelier Nord", **support.ORIGIN})
    monkeypatch.setattr(packing, "ship_from", lambda: origin)
    monkeypatch.setattr(extension, "ship_from", lambda: origin)
    with FakeEasyPost() as company, support.carrier_of(app, company):
        yield company


@pytest.fixture
def checked(alice: User) -> SalesOrder:
    """Alice's order, paid and at the quality check."""
    return support.make_sales_order(alice)

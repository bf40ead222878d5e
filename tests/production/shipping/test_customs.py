"""Papers for parcels across a customs border: shown to staff, sent to the carrier, and never for a parcel in the EU."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.core import clock
from portal.core.audit import AuditEvent
from portal.core.db import db
from portal.core.money import Money
from portal.production.models import SalesOrder
from portal.production.shipping.carriers.base import Address, CarrierRefused, Customs, CustomsItem, Parcel
from portal.production.shipping.customs import needs_customs, papers_for
from portal.production.shipping.extension import get_carrier
from portal.production.shipping.services import packing
from tests.fakes.easypost import FakeEasyPost
from tests.production.shipping import support
from tests.production.shipping.support import ADDRESS, BOX, ORIGIN, STAFF

Login = Callable[[User], FlaskClient]
HERE = Address.of({"name": "Jan Kowal", **ORIGIN})
LONDON = {**ADDRESS, "line1": "1 Long Lane", "city": "London", "zip": "EC1A 9HF", "country": "GB"}
# Three brackets of PLA for 100.00 and one box of PETG for 23.00, as a quote keeps them.
FROZEN: dict[str, Any] = {
    "pricing": {"lines": [{"grams": 40, "quantity": 3}, {"grams": 200, "quantity": 1}]},
    "items": [
        {"material": "pla", "quantity": 3, "total_minor": 10_000},
        {"material": "petg", "quantity": 1, "total_minor": 2_300},
    ],
}


def to(country: str, code: str = "") -> Address:
    return Address.of({**ADDRESS, "country": country, "zip": code})


@pytest.fixture
def abroad(alice: User) -> SalesOrder:
    """Alice's order at the quality check, for London."""
    return support.make_sales_order(alice, shipping_address=LONDON, frozen=FROZEN)


@pytest.mark.parametrize(
    ("country", "code", "is_border"),
    [
        ("PL", "31-001", False), ("DE", "10115", False), ("MC", "98000", False), ("FI", "00100", False),
        ("GB", "EC1A 9HF", True), ("GB", "BT1 5GS", False), ("US", "10001", True), ("CH", "8001", True),
        ("NO", "0150", True), ("ES", "28001", False), ("ES", "35001", True), ("ES", "51001", True),
        ("DE", "78266", True), ("IT", "23041", True), ("FI", "22100", True), ("RE", "97400", True),
    ],
)  # fmt: skip
def test_where_a_border_is(country: str, code: str, is_border: bool) -> None:
    assert needs_customs(HERE, to(country, code)) is is_border
    assert needs_customs(to(country, code), HERE) is is_border


def test_inside_one_country_there_is_none_and_without_an_origin_nothing_is_known() -> None:
    assert not needs_customs(to("US", "10001"), to("US", "94105"))
    assert not needs_customs(Address.of({}), to("US", "10001"))


def test_values_and_weights_add_up(app: Flask, abroad: SalesOrder) -> None:
    papers = papers_for(abroad, BOX, HERE)
    assert papers == Customs(
        (
            CustomsItem("3D-printed part, PLA", 3, Money(10_000, "PLN"), 120, "3926.90", "PL"),
            CustomsItem("3D-printed part, PETG", 1, Money(2_300, "PLN"), 200, "3926.90", "PL"),
        ),
        signer="Jan Kowal",
    )
    assert app.config["CUSTOMS_TARIFF_NUMBER"] == "3926.90"


@pytest.mark.parametrize("frozen", [FROZEN, {}, {"items": [{"material": "pla"}], "pricing": {"lines": [{}]}}])
def test_nothing_is_worth_or_weighs_nothing(app: Flask, alice: User, frozen: dict[str, Any]) -> None:
    """Less than was computed on the scales, or nothing known at all: what is declared still adds up."""
    order = support.make_sales_order(alice, shipping_address=LONDON, frozen=frozen)
    papers = papers_for(order, replace(BOX, grams=100), HERE)
    assert papers is not None
    assert sum(item.value.amount_minor for item in papers.items) == order.order.total_minor
    assert sum(item.grams for item in papers.items) == 100
    assert all(item.value.amount_minor > 0 and item.grams > 0 for item in papers.items)


def test_the_carrier_is_told_what_is_inside(fake: FakeEasyPost, abroad: SalesOrder) -> None:
    shipment = support.priced(abroad)
    assert shipment.rates
    sent = fake.world.get_shipment(shipment.provider_reference or "")["customs_info"]
    assert (sent["contents_type"], sent["restriction_type"], sent["non_delivery_option"]) == (
        "merchandise", "none", "return",
    )  # fmt: skip
    assert sent["customs_items"][0] == {
        "description": "3D-printed part, PLA", "quantity": 3, "value": 100.0, "currency": "PLN", "weight": 4.232,
        "hs_tariff_number": "3926.90", "origin_country": "PL",
    }  # fmt: skip
    # The fixture's sender is a company: nobody signs.
    assert "customs_signer" not in sent
    [noted] = db.session.scalars(db.select(AuditEvent).where(AuditEvent.event == "shipment.packed"))
    assert (noted.after or {})["customs"]["items"][1]["grams"] == 200


def test_a_person_who_sends_signs(fake: FakeEasyPost, abroad: SalesOrder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "ship_from", lambda: HERE)
    sent = fake.world.get_shipment(support.priced(abroad).provider_reference or "")["customs_info"]
    assert (sent["customs_certify"], sent["customs_signer"]) == (True, "Jan Kowal")


def test_inside_the_union_nothing_is_declared(fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.priced(checked)
    assert fake.world.get_shipment(shipment.provider_reference or "")["customs_info"] is None
    [noted] = db.session.scalars(db.select(AuditEvent).where(AuditEvent.event == "shipment.packed"))
    assert "customs" not in (noted.after or {})


def test_without_papers_or_with_wrong_ones_nobody_takes_it(fake: FakeEasyPost, abroad: SalesOrder) -> None:
    carrier, there = get_carrier(), Address.of(LONDON)
    offer = carrier.offer(BOX, HERE, there, reference="r1", customs=None)
    assert (offer.rates, offer.remarks) == ((), ("USPS: customs_info: is required for this destination.",))
    papers = papers_for(abroad, BOX, HERE)
    assert papers is not None
    for wrong in ({"tariff_number": ""}, {"origin_country": ""}, {"grams": 0}, {"value": Money(0, "PLN")}):
        items = (replace(papers.items[0], **wrong),)
        with pytest.raises(CarrierRefused):
            carrier.offer(BOX, HERE, there, reference="r2", customs=replace(papers, items=items))


def test_staff_see_the_papers_before_they_ask(
    fake: FakeEasyPost,
    login: Login,
    staff: User,
    abroad: SalesOrder,
    checked: SalesOrder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("portal.admin.shipping.ship_from", lambda: HERE)
    browser = login(staff)
    text = browser.get(f"/admin/production/{abroad.order.number}/shipping").get_data(as_text=True)
    for words in ("crosses a customs border", "3D-printed part, PETG", "3926.90", "120 g"):
        assert words in text, words
    assert "Nobody signs it" not in text
    packing.ask_for_rates(abroad.id, Parcel(900, 300, 200, 150), by=STAFF, at=clock.now())
    text = browser.get(f"/admin/production/{abroad.order.number}/shipping").get_data(as_text=True)
    assert text.index("crosses a customs border") < text.index("Prices of this parcel")
    inside = browser.get(f"/admin/production/{checked.order.number}/shipping").get_data(as_text=True)
    assert "customs border" not in inside

"""The fake EasyPost, held against the official library: its objects, its signature, and its refusals."""

import json

import easypost
import pytest
from easypost import util
from easypost.errors import InvalidRequestError, SignatureVerificationError, UnauthorizedError
from easypost.models import Event, Rate, Shipment, Tracker

from tests.fakes.easypost import API_KEY, WEBHOOK_SECRET, FakeEasyPost, delivery

ADDRESS = {"name": "A", "street1": "ul. Prosta 1", "city": "Warszawa", "zip": "00-850", "country": "PL"}
# As the library's own recordings of the API show them.
SHIPMENT_KEYS = {
    "id", "object", "mode", "created_at", "updated_at", "reference", "status", "tracking_code", "options", "messages",
    "from_address", "to_address", "parcel", "postage_label", "rates", "refund_status", "selected_rate", "tracker",
    "forms", "fees", "customs_info", "insurance", "order_id", "scan_form", "batch_id", "usps_zone", "is_return",
}  # fmt: skip
EVENT_KEYS = {
    "id", "object", "mode", "description", "created_at", "updated_at", "previous_attributes", "pending_urls",
    "completed_urls", "status", "user_id", "result",
}  # fmt: skip
TRACKER_KEYS = {
    "id", "object", "mode", "tracking_code", "status", "status_detail", "created_at", "updated_at", "signed_by",
    "weight", "est_delivery_date", "shipment_id", "carrier", "tracking_details", "carrier_detail", "public_url",
}  # fmt: skip


def bought(fake: FakeEasyPost) -> Shipment:
    client = easypost.EasyPostClient(API_KEY, api_base=fake.api_base)
    shipment = client.shipment.create(from_address=ADDRESS, to_address=ADDRESS, parcel={"weight": 10.0})
    return client.shipment.buy(shipment.id, rate=shipment.lowest_rate())


def test_the_library_reads_its_objects() -> None:
    with FakeEasyPost() as fake:
        shipment = bought(fake)
        assert isinstance(shipment, Shipment)
        assert isinstance(shipment.selected_rate, Rate)
        assert isinstance(shipment.tracker, Tracker)
        assert set(shipment.to_dict()) >= SHIPMENT_KEYS
        assert set(shipment.tracker.to_dict()) >= TRACKER_KEYS


def test_the_library_believes_its_webhooks_and_no_others() -> None:
    with FakeEasyPost() as fake:
        event = fake.world.scan(bought(fake).tracker.id, "in_transit")
        assert set(event) == EVENT_KEYS
        body = json.dumps(event).encode()
        headers = delivery.headers(WEBHOOK_SECRET, body, path="/webhooks/easypost")
        assert util.validate_webhook(body, headers, WEBHOOK_SECRET) == event
        assert isinstance(util.receive_event(body.decode()), Event)
        with pytest.raises(SignatureVerificationError):
            util.validate_webhook(body + b" ", headers, WEBHOOK_SECRET)


def test_the_library_understands_its_refusals() -> None:
    with FakeEasyPost() as fake:
        client = easypost.EasyPostClient(API_KEY, api_base=fake.api_base)
        with pytest.raises(InvalidRequestError) as refusal:
            client.shipment.create()
        assert (refusal.value.code, refusal.value.errors[0]["field"]) == ("PARAMETER.REQUIRED", "shipment")
        shipment = bought(fake)
        with pytest.raises(InvalidRequestError) as refusal:
            client.shipment.buy(shipment.id, rate=shipment.rates[0])
        assert refusal.value.code == "SHIPMENT.POSTAGE.EXISTS"
        with pytest.raises(UnauthorizedError):
            easypost.EasyPostClient("EZTKother", api_base=fake.api_base).shipment.retrieve(shipment.id)

"""The adapter against the company's wire format: prices, labels, refunds, trackers, and everything that goes wrong."""

import pytest

from portal.core.money import Money
from portal.production.shipping.carriers.base import (
    Address,
    CarrierRefused,
    CarrierUnavailable,
    Parcel,
    ParcelState,
    RefundAnswer,
)
from portal.production.shipping.carriers.easypost import EasyPostCarrier
from tests.fakes.easypost import API_KEY, WEBHOOK_SECRET, FakeEasyPost
from tests.production.shipping.support import ADDRESS, BOX, ORIGIN

HERE, THERE = Address.of({"name": "Atelier Nord", **ORIGIN}), Address.of(ADDRESS)


@pytest.fixture
def company():
    with FakeEasyPost() as fake:
        yield fake


@pytest.fixture
def carrier(company: FakeEasyPost) -> EasyPostCarrier:
    return EasyPostCarrier(
        api_key=API_KEY, webhook_secrets=(WEBHOOK_SECRET,), api_base=company.api_base, timeout=(1.0, 0.4)
    )


def offer_of(carrier: EasyPostCarrier, parcel: Parcel = BOX, to: Address = THERE):
    return carrier.offer(parcel, HERE, to, reference="our-name", customs=None)


def test_prices_come_cheapest_first_and_exact(carrier: EasyPostCarrier) -> None:
    offer = offer_of(carrier)
    assert offer.reference.startswith("shp_")
    first = offer.rates[0]
    # 800 g are 28.3 ounces: one pound more than the first.
    assert (first.carrier, first.service, first.cost, first.days) == ("USPS", "GroundAdvantage", Money(703, "USD"), 3)
    assert [rate.cost.amount_minor for rate in offer.rates] == sorted(rate.cost.amount_minor for rate in offer.rates)


def test_the_company_is_told_ounces_and_inches_rounded_up(carrier: EasyPostCarrier, company: FakeEasyPost) -> None:
    offer_of(carrier, Parcel(grams=1, length_mm=254, width_mm=255, height_mm=1))
    sent = company.requests[-1].body["shipment"]
    assert sent["parcel"] == {"weight": 0.1, "length": 10.0, "width": 10.1, "height": 0.1}
    assert sent["reference"] == "our-name"
    assert sent["to_address"]["street2"] == "m. 3"
    assert "company" not in sent["to_address"]
    assert sent["options"] == {"label_format": "PDF"}


def test_a_place_nobody_goes_to_has_no_prices_and_says_why(carrier: EasyPostCarrier) -> None:
    offer = offer_of(carrier, to=Address.of({**ADDRESS, "country": "AQ"}))
    assert offer.rates == ()
    assert offer.remarks == ("USPS: No service to this destination.",)


def test_an_incomplete_address_is_refused_in_words(carrier: EasyPostCarrier) -> None:
    with pytest.raises(CarrierRefused) as refusal:
        offer_of(carrier, to=Address.of({**ADDRESS, "zip": ""}))
    assert "address" in str(refusal.value)


def test_buying_gives_a_number_a_tracker_and_a_paper(carrier: EasyPostCarrier) -> None:
    offer = offer_of(carrier)
    label = carrier.buy(offer.reference, offer.rates[1].reference)
    assert (label.carrier, label.cost) == (offer.rates[1].carrier, offer.rates[1].cost)
    assert label.tracking_number.startswith("9400")
    assert label.tracker_reference is not None
    assert label.tracker_reference.startswith("trk_")
    assert carrier.fetch_label(label.url).startswith(b"%PDF-1.4")
    assert carrier.find_label(offer.reference) == label


def test_an_offer_is_bought_once_however_often_it_is_asked_for(carrier: EasyPostCarrier, company: FakeEasyPost) -> None:
    offer = offer_of(carrier)
    labels = [carrier.buy(offer.reference, rate.reference) for rate in offer.rates[:3]]
    assert labels == [labels[0]] * 3
    assert company.world.bought == [offer.reference]


def test_nothing_bought_is_no_label(carrier: EasyPostCarrier) -> None:
    assert carrier.find_label(offer_of(carrier).reference) is None


@pytest.mark.parametrize("kind", ["500", "502", "garbage", "dropped", "half", "silent", "slow"])
def test_silence_and_nonsense_are_unknown(carrier: EasyPostCarrier, company: FakeEasyPost, kind: str) -> None:
    offer = offer_of(carrier)
    company.set_trouble(kind, on="/buy", seconds=0.6)
    with pytest.raises(CarrierUnavailable) as trouble:
        carrier.buy(offer.reference, offer.rates[0].reference)
    assert not trouble.value.is_answered
    assert company.calls("/buy") == 1


def test_too_many_requests_is_an_answer_and_nothing_was_bought(carrier: EasyPostCarrier, company: FakeEasyPost) -> None:
    offer = offer_of(carrier)
    company.set_trouble("429", on="/buy")
    with pytest.raises(CarrierUnavailable) as trouble:
        carrier.buy(offer.reference, offer.rates[0].reference)
    assert trouble.value.is_answered
    assert company.world.bought == []


def test_nobody_listening_is_unavailable() -> None:
    nowhere = EasyPostCarrier(api_key=API_KEY, webhook_secrets=("x",), api_base="http://127.0.0.1:9/v2", timeout=(1, 1))
    with pytest.raises(CarrierUnavailable):
        offer_of(nowhere)


def test_a_wrong_key_is_a_refusal_that_names_the_account(company: FakeEasyPost) -> None:
    other = EasyPostCarrier(api_key="EZTKother", webhook_secrets=("x",), api_base=company.api_base)
    with pytest.raises(CarrierRefused) as refusal:
        offer_of(other)
    assert refusal.value.reason == "not_configured"


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data", "http://127.0.0.1:6379/", "file:///etc/passwd",
        "https://easypost.com.evil.example/x.pdf", "https://evil.example/easypost.com", "https://[::1]/x",
        "http://easypost.com/x.pdf", "https://user@files.easypost.com/x.pdf", "https://noteasypost.com/x.pdf",
        "https://easypost-files.s3.evil.example/x.pdf", "//files.easypost.com/x.pdf", "https://[broken",
    ],
)  # fmt: skip
def test_no_label_is_fetched_from_anywhere_else(carrier: EasyPostCarrier, url: str) -> None:
    with pytest.raises(CarrierRefused) as refusal:
        carrier.fetch_label(url)
    assert refusal.value.reason == "label_address"


def test_the_companys_own_stores_are_known(carrier: EasyPostCarrier) -> None:
    for url in (
        "https://easypost-files.s3.us-west-2.amazonaws.com/files/postage_label/x.pdf",
        "https://easypost-files.s3-us-west-2.amazonaws.com/x.pdf",
        "https://files.easypost.com/x.pdf",
    ):
        assert carrier._is_theirs(url)


def test_a_label_that_is_no_pdf_or_not_there_is_unavailable(carrier: EasyPostCarrier, company: FakeEasyPost) -> None:
    company.world.labels["pl_x"] = b"<html>"
    for name in ("pl_x", "pl_missing"):
        with pytest.raises(CarrierUnavailable):
            carrier.fetch_label(f"{company.world.url}/files/postage_label/{name}.pdf")


def test_a_label_without_end_is_not_read_to_the_end(carrier: EasyPostCarrier, company: FakeEasyPost) -> None:
    company.world.labels["pl_x"] = b"%PDF-1.4" + b" " * (6 * 1024 * 1024)
    with pytest.raises(CarrierUnavailable) as trouble:
        carrier.fetch_label(f"{company.world.url}/files/postage_label/pl_x.pdf")
    assert trouble.value.detail == "label: too large"


def test_a_refund_is_submitted_then_refunded(carrier: EasyPostCarrier, company: FakeEasyPost) -> None:
    offer = offer_of(carrier)
    carrier.buy(offer.reference, offer.rates[0].reference)
    assert carrier.find_refund(offer.reference) is None
    assert carrier.refund(offer.reference) is RefundAnswer.SUBMITTED
    assert carrier.refund(offer.reference) is RefundAnswer.SUBMITTED
    company.world.settle_refund(offer.reference)
    assert carrier.find_refund(offer.reference) is RefundAnswer.REFUNDED


def test_a_refund_of_nothing_is_refused(carrier: EasyPostCarrier) -> None:
    with pytest.raises(CarrierRefused):
        carrier.refund(offer_of(carrier).reference)


def test_a_tracker_tells_every_scan_once(carrier: EasyPostCarrier, company: FakeEasyPost) -> None:
    offer = offer_of(carrier)
    reference = carrier.buy(offer.reference, offer.rates[0].reference).tracker_reference or ""
    company.world.scan(reference, "pre_transit")
    company.world.scan(reference, "in_transit", city="ŁÓDŹ")
    track, body = carrier.track(reference)
    assert [scan.state for scan in track.scans] == [ParcelState.ANNOUNCED, ParcelState.MOVING]
    assert track.scans[1].place == "ŁÓDŹ, PL"
    assert track.state is ParcelState.MOVING
    assert track.is_test
    assert carrier.read_track(body) == track
    assert len({scan.key for scan in track.scans}) == 2


def test_blank_secrets_and_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="secret"):
        EasyPostCarrier(api_key=API_KEY, webhook_secrets=())
    with pytest.raises(ValueError, match="key"):
        EasyPostCarrier(api_key=" ", webhook_secrets=("x",))

"""The page for paying on a chain: complete without script, true at every moment, and nobody else's business."""

import base64
import re
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import segno
from flask import Flask
from flask.testing import FlaskClient

from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.outbox import OutboxMessage
from portal.core.state import transition
from portal.payments.models import SessionStatus
from portal.payments.providers.registry import Registry
from portal.payments.services.sessions import fail_session
from tests.fakes.chain import FakeNode
from tests.payments.chain_street import Street, deposit_of, open_street, work
from tests.payments.conftest import Sold
from tests.payments.providers.chain_support import install


@pytest.fixture
def street(app: Flask) -> Iterator[Street]:
    yield from open_street(app)


def page(client: FlaskClient, reference: str, query: str = "", *, htmx: bool = False) -> str:
    answer = client.get(f"/pay/chain/{reference}{query}", headers={"HX-Request": "true"} if htmx else {})
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.get_data(as_text=True)


def test_everything_that_is_needed_to_pay_is_there(street: Street, client: FlaskClient) -> None:
    _session, reference = street.started()
    text = page(client, reference)
    address = deposit_of(reference).address
    assert address in text
    assert "49.00" in text
    assert "USDX" in text
    assert "Local chain" in text
    assert street.token.address.lower() in text
    assert "Until" in text
    assert 'name="robots" content="noindex"' in text
    assert "http://localhost/cancel" in text
    assert street.node.url not in text


def test_the_qr_code_holds_the_address_and_nothing_else(street: Street, client: FlaskClient) -> None:
    _session, reference = street.started()
    found = re.search(r'src="(data:image/svg\+xml[^"]+)"', page(client, reference))
    assert found is not None
    expected = segno.make(deposit_of(reference).address, error="m")
    drawn = expected.svg_data_uri(scale=5, border=2, dark="#111113", light="#ffffff")
    assert found[1].replace("&#39;", "'").replace("&amp;", "&") == drawn


def test_the_last_two_hours_are_counted_down(street: Street, client: FlaskClient) -> None:
    _session, reference = street.started()
    left = deposit_of(reference).expires_at - clock.now()
    for minutes, words in ((119, "119 minutes left"), (1, "1 minute left"), (0, "0 minutes left")):
        with clock.shifted(left - timedelta(minutes=minutes, seconds=30)):
            assert words in page(client, reference)


@pytest.mark.parametrize("reference", ["unknown", "x" * 64, "..", base64.b64encode(b"?").decode()])
def test_an_address_that_was_not_given_out_is_not_found(street: Street, client: FlaskClient, reference: str) -> None:
    street.started()
    assert client.get(f"/pay/chain/{reference}").status_code == 404


def test_a_page_of_a_provider_that_is_off_is_not_found(street: Street, client: FlaskClient, app: Flask) -> None:
    _session, reference = street.started()
    assert client.get(f"/pay/chain/{reference}").status_code == 200
    app.extensions["payment_registry"] = Registry(app.config["SETTINGS"])
    assert client.get(f"/pay/chain/{reference}").status_code == 404


def test_the_page_follows_the_payment(street: Street, client: FlaskClient, sold: Sold) -> None:
    session, reference = street.started()
    address = deposit_of(reference).address
    assert "Waiting for your payment of 49.00 USDX" in page(client, reference)
    street.wallet.send(reference, "20.00", blocks=0)
    street.look(session)
    text = page(client, reference)
    assert "20.00 of 49.00 USDX have come" in text
    assert "29.00" in text
    assert "1 of 3 confirmations" in text
    assert address in text
    street.wallet.send(reference, "29.00", blocks=0)
    street.look(session)
    text = page(client, reference)
    assert "We see your payment" in text
    assert address not in text
    street.chain.mine(3)
    street.look(session)
    text = page(client, reference)
    assert "Paid" in text
    assert 'href="http://localhost/ok"' in text
    assert address not in text
    assert "hx-get" not in text.partition('id="chain-status"')[2].partition(">")[0]


def test_a_final_payment_that_is_not_applied_yet_says_so(street: Street, client: FlaskClient) -> None:
    _session, reference = street.started()
    street.wallet.send(reference)
    street.app.extensions["payment_registry"].get("web3").fetch(reference)
    text = page(client, reference)
    assert "The payment has arrived" in text
    assert deposit_of(reference).address not in text


def test_a_page_whose_time_is_over_asks_for_nothing_more(street: Street, client: FlaskClient) -> None:
    _session, reference = street.started()
    with clock.shifted(timedelta(hours=25)):
        text = page(client, reference)
    assert "The time to pay is over" in text
    assert deposit_of(reference).address not in text


def test_a_session_that_ended_elsewhere_takes_nothing_here(street: Street, client: FlaskClient, sold: Sold) -> None:
    session, reference = street.started()
    with unit_of_work():
        fail_session(db.session.merge(session), by="test", at=clock.now(), reason="cancelled")
    assert deposit_of(reference).address not in page(client, reference)
    other, second = street.started()
    with unit_of_work():
        transition(db.session.merge(other), SessionStatus.PAID, by="test", at=clock.now())
    text = page(client, second)
    assert "Paid" in text
    assert deposit_of(second).address not in text


def test_the_fragment_is_the_status_and_asks_again(street: Street, client: FlaskClient) -> None:
    session, reference = street.started()
    text = page(client, reference, "?polls=3", htmx=True)
    assert "<html" not in text
    assert 'id="chain-status"' in text
    assert "polls=4" in text
    # What the buyer may be copying is left alone while nothing has changed.
    assert "chain-address" not in text
    street.wallet.send(reference)
    street.look(session)
    text = page(client, reference, htmx=True)
    assert 'hx-swap-oob="true"' in text
    assert deposit_of(reference).address not in text


def test_a_page_left_open_stops_asking(street: Street, client: FlaskClient) -> None:
    _session, reference = street.started()
    status = page(client, reference, "?polls=400").partition('id="chain-status"')[2]
    assert "hx-get" not in status.partition(">")[0]
    assert "Look again" in status


def test_each_look_has_a_worker_look_but_not_with_every_reload(street: Street, client: FlaskClient, sold: Sold) -> None:
    session, reference = street.started()
    street.wallet.send(reference)
    for _ in range(5):
        page(client, reference)
    checks = db.session.scalars(
        db.select(OutboxMessage.key).where(OutboxMessage.topic == "payment_session.check_requested")
    ).all()
    assert 1 <= len(checks) <= 2
    work()
    assert "Paid" in page(client, reference)
    assert db.session.merge(session).status is SessionStatus.PAID


def test_the_page_asks_no_node(street: Street, client: FlaskClient) -> None:
    _session, reference = street.started()
    street.node.calls.clear()
    page(client, reference)
    assert street.node.calls == []


def test_the_buyer_picks_a_network(street: Street, client: FlaskClient, sold: Sold) -> None:
    with FakeNode(street.chain) as node:
        second = street.chain.deploy(decimals=18)
        install(
            street.app,
            street.node.network(street.token),
            node.network(second, name="second", title="Second street", symbol="DAIX"),
        )
        session, reference = street.started()
        first = page(client, reference)
        assert first.count("chip") >= 2
        assert "Send USDX on Local chain only" in first
        text = page(client, reference, "?network=second")
        assert "Send DAIX on Second street only" in text
        assert "Send USDX on Local chain only" in page(client, reference, "?network=unknown")
        second.transfer(deposit_of(reference).address, 10**18)
        street.chain.mine(3)
        street.look(session)
        assert "1.00 of 49.00 DAIX have come" in page(client, reference)


def test_the_page_takes_the_same_number_of_queries_whatever_came(
    street: Street, client: FlaskClient, count_queries: Callable[[], int]
) -> None:
    session, reference = street.started()
    page(client, reference)
    count_queries()
    page(client, reference, "?polls=1")
    before = count_queries()
    for _ in range(5):
        street.wallet.send(reference, "1.00")
    street.look(session)
    page(client, reference)
    count_queries()
    page(client, reference, "?polls=2")
    assert count_queries() == before
    assert before <= 10

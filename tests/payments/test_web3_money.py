"""Tokens through the money core: what the chain says counts, once; everything else waits or is kept for staff."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.core import clock
from portal.core.db import db
from portal.core.errors import PortalError
from portal.payments.models import (
    AttemptStatus,
    EventStatus,
    Payment,
    PaymentAttempt,
    ProviderEvent,
    SessionStatus,
)
from portal.payments.providers.base import NormalisedEvent, Outcome, ParsedWebhook, ProviderRejected
from portal.payments.providers.web3.models import ChainDeposit, ChainTransfer
from portal.payments.services import checking
from portal.payments.services.accepting import store_event
from portal.payments.services.starting import start_attempt
from tests.fakes.chain import Chain, FakeNode
from tests.payments import signed
from tests.payments.chain_street import HOOK, Street, deposit_of, hint, money, open_street, status_of, work
from tests.payments.conftest import Sold
from tests.payments.providers.chain_support import TX_ID, claim, install, sign
from tests.payments.providers.harness import request

COUNTED = [(4900, "counted", None)]


@pytest.fixture
def street(app: Flask) -> Iterator[Street]:
    yield from open_street(app)


# -- what counts -----------------------------------------------------------------------------------------------------


def test_a_transfer_nobody_hinted_at_is_found(street: Street, sold: Sold) -> None:
    session, reference = street.started()
    tx_hash = street.wallet.send(reference)
    street.look(session)
    assert (status_of(session), money(), sold.settled) == (SessionStatus.PAID, COUNTED, [session.id])
    payment = db.session.scalars(db.select(Payment)).one()
    assert payment.provider_reference == f"local:{tx_hash}"
    assert payment.business_key == f"web3:31337:{tx_hash}:0"
    assert payment.session.provider_reference == f"local:{tx_hash}"


def test_a_hint_has_the_chain_looked_at_at_once(street: Street, client: FlaskClient, sold: Sold) -> None:
    session, reference = street.started()
    tx_hash = street.wallet.send(reference)
    assert hint(client, session, tx_hash) == (200, "accepted")
    assert sold.settled == []
    work()
    assert (status_of(session), money()) == (SessionStatus.PAID, COUNTED)
    assert hint(client, session, tx_hash)[1] == "duplicate"
    work()
    assert money() == COUNTED


def test_a_body_that_claims_success_is_never_believed(street: Street, client: FlaskClient, sold: Sold) -> None:
    session, _reference = street.started()
    assert hint(client, session, TX_ID) == (200, "accepted")
    work()
    assert (status_of(session), money(), sold.settled) == (SessionStatus.PENDING, [], [])


def test_unconfirmed_then_confirmed(street: Street, sold: Sold) -> None:
    session, reference = street.started()
    street.wallet.send(reference, blocks=0)
    street.look(session)
    assert (status_of(session), money()) == (SessionStatus.PENDING, [])
    street.chain.mine(2)
    street.look(session)
    assert (status_of(session), money()) == (SessionStatus.PAID, COUNTED)


def test_two_transfers_add_up_to_one_payment(street: Street, sold: Sold) -> None:
    session, reference = street.started()
    street.wallet.send(reference, "20.00")
    street.look(session)
    assert (status_of(session), money()) == (SessionStatus.PENDING, [])
    assert "less than the price came" in facts_told()
    second = street.wallet.send(reference, "29.00")
    street.look(session)
    assert (status_of(session), money()) == (SessionStatus.PAID, COUNTED)
    assert db.session.scalars(db.select(Payment.provider_reference)).one() == f"local:{second}"
    street.look(session)
    assert money() == COUNTED


def facts_told() -> list[str | None]:
    events = db.session.scalars(db.select(ProviderEvent).order_by(ProviderEvent.id))
    return [fact["detail"] for event in events for fact in event.normalised]


def test_too_much_is_paid_and_the_rest_is_kept_for_staff(street: Street, sold: Sold) -> None:
    session, reference = street.started()
    street.wallet.send(reference, "50.00")
    street.look(session)
    assert status_of(session) is SessionStatus.PAID
    assert money() == [*COUNTED, (100, "surplus", "wrong_amount")]
    assert conflicts() == 1


def conflicts() -> int:
    statement = db.select(db.func.count(ProviderEvent.id)).where(ProviderEvent.status == EventStatus.CONFLICT)
    return db.session.scalar(statement) or 0


def test_a_second_transfer_after_paying_is_found_and_kept_for_staff(street: Street, sold: Sold) -> None:
    session, reference = street.started()
    street.wallet.send(reference)
    street.look(session)
    street.wallet.send(reference)
    with clock.shifted(timedelta(hours=2)):
        checking.recover_events(at=clock.now())
        work()
    assert money() == [*COUNTED, (4900, "surplus", "second_payment")]
    assert sold.settled == [session.id]
    before = len(facts_told())
    with clock.shifted(timedelta(hours=4)):
        checking.recover_events(at=clock.now())
    assert len(facts_told()) == before


def test_short_at_the_end_has_failed_and_the_money_is_kept_for_staff(street: Street, sold: Sold) -> None:
    session, reference = street.started()
    street.wallet.send(reference, "48.99")
    street.look(session)
    assert status_of(session) is SessionStatus.PENDING
    end = timedelta(hours=25)
    street.let_time_pass(end)
    with clock.shifted(end):
        street.look(session)
    assert (status_of(session), money()) == (SessionStatus.FAILED, [(4899, "surplus", "wrong_amount")])
    assert (sold.settled, sold.failed, conflicts()) == ([], [session.id], 1)


def test_late_money_is_found_and_kept_for_staff(street: Street, sold: Sold) -> None:
    session, reference = street.started()
    end = timedelta(hours=25)
    street.let_time_pass(end)
    with clock.shifted(end):
        street.look(session)
        assert status_of(session) is SessionStatus.FAILED
        street.wallet.send(reference)
        with clock.shifted(timedelta(hours=2)):
            checking.recover_events(at=clock.now())
            work()
    assert (status_of(session), money()) == (SessionStatus.FAILED, [(4900, "surplus", "after_failure")])


def test_money_after_the_pages_time_does_not_complete_the_price(street: Street, sold: Sold) -> None:
    session, reference = street.started()
    street.wallet.send(reference, "40.00")
    end = timedelta(hours=25)
    street.let_time_pass(end)
    street.wallet.send(reference, "9.00")
    with clock.shifted(end):
        street.look(session)
    assert status_of(session) is SessionStatus.FAILED
    assert money() == [(4000, "surplus", "wrong_amount"), (900, "surplus", "wrong_amount")]


def test_a_transfer_stamped_before_its_deposit_is_not_the_price_but_is_not_dropped(street: Street, sold: Sold) -> None:
    with clock.shifted(timedelta(hours=1)):
        session, reference = street.started()
        street.wallet.send(reference)
        street.look(session)
    assert (status_of(session), money()) == (SessionStatus.PENDING, [])
    end = timedelta(hours=26)
    street.let_time_pass(end)
    with clock.shifted(end):
        street.look(session)
    assert (status_of(session), money()) == (SessionStatus.FAILED, [(4900, "surplus", "after_failure")])


def test_a_session_does_not_fail_while_the_price_is_on_its_way(street: Street, sold: Sold) -> None:
    session, reference = street.started()
    street.wallet.send(reference, blocks=0)
    with clock.shifted(timedelta(hours=25)):
        street.look(session)
        assert status_of(session) is SessionStatus.PENDING
        street.chain.mine(3)
        street.look(session)
    assert (status_of(session), money()) == (SessionStatus.PAID, COUNTED)


def test_ending_a_session_closes_the_page_and_later_money_is_kept_apart(street: Street, sold: Sold) -> None:
    session, reference = street.started()
    street.let_time_pass(timedelta(seconds=5))
    provider = street.app.extensions["payment_registry"].get("web3")
    provider.expire(reference)
    assert deposit_of(reference).closed_at is not None
    street.wallet.send(reference)
    street.look(session)
    assert (status_of(session), money()) == (SessionStatus.FAILED, [(4900, "surplus", "after_failure")])


def test_a_price_on_its_way_cannot_be_closed(street: Street) -> None:
    _session, reference = street.started()
    street.wallet.send(reference, blocks=0)
    with pytest.raises(ProviderRejected) as refusal:
        street.app.extensions["payment_registry"].get("web3").expire(reference)
    assert refusal.value.reason == "already_completed"
    assert deposit_of(reference).closed_at is None


# -- what does not count ---------------------------------------------------------------------------------------------


def test_reverted_and_look_alike_transfers_leave_everything_as_it_is(
    street: Street, client: FlaskClient, sold: Sold
) -> None:
    session, reference = street.started()
    address = deposit_of(reference).address
    hashes = [
        street.token.transfer(address, 49_000_000, sender=street.chain.other),
        street.chain.deploy().transfer(address, 49_000_000),
        street.chain.send_coins(address, 49_000_000),
    ]
    street.chain.mine(3)
    for tx_hash in hashes:
        hint(client, session, tx_hash)
    work()
    assert (status_of(session), money()) == (SessionStatus.PENDING, [])


def test_a_strangers_transfer_cannot_be_claimed(street: Street, client: FlaskClient, sold: Sold) -> None:
    mine, reference = street.started()
    theirs, _other = street.started()
    tx_hash = street.wallet.send(reference)
    hint(client, theirs, tx_hash)
    work()
    assert (status_of(theirs), status_of(mine)) == (SessionStatus.PENDING, SessionStatus.PENDING)
    hint(client, mine, tx_hash)
    work()
    assert (status_of(theirs), status_of(mine)) == (SessionStatus.PENDING, SessionStatus.PAID)
    assert deposit_of(reference).address != deposit_of(_other).address


def test_one_transfer_counts_once_whoever_tells_of_it(street: Street, sold: Sold) -> None:
    mine, reference = street.started()
    theirs, _other = street.started()
    street.wallet.send(reference)
    street.look(mine)
    key = db.session.scalars(db.select(Payment.business_key)).one()
    fact = NormalisedEvent(
        Outcome.PAID, session_id=theirs.public_id, business_key=key, amount_minor=4900, currency="PLN", is_test=True
    )
    store_event("web3", ParsedWebhook("again", "told", (fact,)), "{}", source="poll", at=clock.now())
    work()
    assert (status_of(theirs), money()) == (SessionStatus.PENDING, COUNTED)
    assert db.session.scalars(db.select(ProviderEvent.verdict).where(ProviderEvent.delivery_key == "again")).one() == (
        "this payment was counted before"
    )


def test_a_reorganised_transfer_is_forgotten_until_it_comes_again(street: Street, sold: Sold) -> None:
    session, reference = street.started()
    before = street.chain.snapshot()
    street.wallet.send(reference, blocks=1)
    street.look(session)
    assert db.session.scalars(db.select(ChainTransfer.is_final)).all() == [False]
    street.chain.reorganise(before, blocks=5)
    street.look(session)
    assert db.session.scalars(db.select(ChainTransfer)).all() == []
    assert (status_of(session), money()) == (SessionStatus.PENDING, [])
    street.wallet.send(reference)
    street.look(session)
    assert (status_of(session), money()) == (SessionStatus.PAID, COUNTED)


@pytest.mark.parametrize(
    "trouble",
    [{"eth_chainId": "0x1"}, {"eth_getLogs": None}, {"eth_blockNumber": "0x0"}, "refused", "garbage", "status"],
)
def test_a_node_in_trouble_fails_nothing(street: Street, sold: Sold, trouble: Any) -> None:
    session, reference = street.started()
    street.wallet.send(reference)
    if isinstance(trouble, dict):
        street.node.lies = trouble
    else:
        street.node.faults.add(trouble, times=500)
    with clock.shifted(timedelta(hours=25)):
        street.look(session)
    assert (status_of(session), money()) == (SessionStatus.PENDING, [])
    street.node.lies = {}
    street.node.faults.clear()
    street.look(session)
    assert (status_of(session), money()) == (SessionStatus.PAID, COUNTED)


# -- messages --------------------------------------------------------------------------------------------------------


def test_an_unknown_network_is_stored_and_changes_nothing(street: Street, client: FlaskClient) -> None:
    session, _reference = street.started()
    assert hint(client, session, TX_ID, network="http://169.254.169.254/") == (200, "ignored")
    work()
    assert db.session.scalars(db.select(ProviderEvent.status)).all() == [EventStatus.IGNORED]


def test_an_unknown_session_waits(street: Street, client: FlaskClient) -> None:
    assert hint(client, "0c7f0e5f-8f0e-4a55-9a9c-0f6f2a3f1b11", TX_ID) == (404, "unmatched")


@pytest.mark.parametrize(
    "tx_id", ["", "0x", "ab" * 32, "0x" + "ab" * 31, "0x" + "ab" * 33, "0x" + "zz" * 32, f"0x{'ab' * 32}\n"]
)
def test_what_is_no_transaction_is_refused(street: Street, client: FlaskClient, tx_id: str) -> None:
    session, _reference = street.started()
    assert hint(client, session, tx_id)[0] == 400


@pytest.mark.parametrize("left_out", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_an_unsigned_claim_is_refused(street: Street, client: FlaskClient, left_out: str) -> None:
    body = claim()
    headers = {name: value for name, value in sign(body).items() if name != left_out}
    assert client.post(HOOK, data=body, headers=headers).status_code == 400
    assert db.session.scalars(db.select(ProviderEvent)).all() == []


# -- starting --------------------------------------------------------------------------------------------------------


def test_money_on_any_offered_network_counts(street: Street, sold: Sold) -> None:
    other = Chain(chain_id=31_338)
    token = other.deploy(decimals=18)
    with FakeNode(other) as second:
        networks = (street.node.network(street.token), second.network(token, name="second", confirmations=1))
        install(street.app, *networks)
        session, reference = street.started()
        assert [watch.network for watch in deposit_of(reference).watches] == ["local", "second"]
        token.transfer(deposit_of(reference).address, 49 * 10**18)
        street.look(session)
        assert (status_of(session), money()) == (SessionStatus.PAID, COUNTED)
        assert db.session.scalars(db.select(Payment.provider_reference)).one().startswith("second:0x")


def test_a_network_whose_node_is_away_is_not_offered(street: Street) -> None:
    with FakeNode(street.chain) as away:
        networks = (away.network(street.token, name="away"), street.node.network(None))
        install(street.app, *networks)
    _session, reference = street.started()
    assert [watch.network for watch in deposit_of(reference).watches] == ["local"]


def test_without_any_node_nothing_is_opened_and_asking_again_opens_it(street: Street) -> None:
    session = signed.make_session()
    street.node.faults.add("refused", times=500)
    with pytest.raises(PortalError) as trouble:
        start_attempt(session.id, "web3", at=clock.now())
    assert trouble.value.status == 503
    assert db.session.scalars(db.select(PaymentAttempt.status)).all() == [AttemptStatus.UNKNOWN]
    assert db.session.scalars(db.select(ChainDeposit)).all() == []
    street.node.faults.clear()
    assert "/pay/chain/" in start_attempt(session.id, "web3", at=clock.now())
    assert len(db.session.scalars(db.select(ChainDeposit)).all()) == 1


def test_a_currency_that_no_token_is_worth_is_refused(street: Street) -> None:
    session = signed.make_session(currency="EUR")
    with pytest.raises(ProviderRejected) as refusal:
        start_attempt(session.id, "web3", at=clock.now())
    assert refusal.value.reason == "currency_not_supported"


@pytest.mark.parametrize("is_one_key", [True, False])
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_many_at_once_get_addresses_that_nobody_else_has(street: Street, is_one_key: bool) -> None:
    provider = street.app.extensions["payment_registry"].get("web3")
    barrier = threading.Barrier(8)
    found: list[str] = []

    def start(number: int) -> None:
        with street.app.app_context():
            barrier.wait(10)
            wanted = request() if is_one_key else request(attempt=number, idempotency_key=f"key:{number}")
            found.append(provider.start(wanted).reference)
            db.session.remove()

    threads = [threading.Thread(target=start, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    rows = db.session.scalars(db.select(ChainDeposit)).all()
    assert len(found) == 8
    assert len(rows) == len(set(found)) == (1 if is_one_key else 8)
    assert len({row.address for row in rows}) == len({row.address_index for row in rows}) == len(rows)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_many_looks_at_once_count_once(street: Street, sold: Sold) -> None:
    session, reference = street.started()
    street.wallet.send(reference, "25.00")
    street.wallet.send(reference, "25.00")
    barrier = threading.Barrier(6)

    def look() -> None:
        with street.app.app_context():
            barrier.wait(10)
            checking.check_session(session.id)
            db.session.remove()

    threads = [threading.Thread(target=look) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    work()
    assert status_of(session) is SessionStatus.PAID
    assert money() == [*COUNTED, (100, "surplus", "wrong_amount")]
    assert db.session.scalar(db.select(db.func.count(ChainTransfer.id))) == 2

"""Looking at a real chain: what counts, what waits, and what is not believed whoever says it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from portal.payments.providers.web3.addresses import deposit_address, read_xpub
from portal.payments.providers.web3.looking import BLOCKS_AT_ONCE, Look, Observer, Where, observers_of
from portal.payments.providers.web3.networks import read_networks
from portal.payments.providers.web3.rpc import NodeSilent
from tests.fakes.chain import Chain, FakeNode, Token
from tests.fakes.chain.node import as_log
from tests.payments.providers.chain_support import XPUB

ADDRESS = deposit_address(read_xpub(XPUB), 7)
PRICE = 49_000_000


@dataclass
class Street:
    """A chain with a token, a node, and somebody who looks at one address."""

    chain: Chain
    node: FakeNode
    token: Token
    observer: Observer
    where: Where

    def look(self) -> Look:
        return self.observer.look(self.where)

    def seen(self) -> list[tuple[int, bool]]:
        return [(one.units, one.is_final) for one in self.look().transfers]


def street_on(chain: Chain, *nodes: FakeNode, token: Token | None, **changes: Any) -> Street:
    entry = nodes[0].network(token, rpc_urls=[node.url for node in nodes], **changes)
    observer = observers_of(read_networks(json.dumps([entry]), is_test=True), timeout=(0.5, 0.5))["local"]
    where = Where(ADDRESS, observer.newest_block())
    return Street(chain, nodes[0], token or Token(chain, "0x" + "0" * 40, 18), observer, where)


@pytest.fixture
def chain() -> Chain:
    return Chain()


@pytest.fixture
def node(chain: Chain) -> Iterator[FakeNode]:
    with FakeNode(chain) as running:
        yield running


@pytest.fixture
def street(chain: Chain, node: FakeNode) -> Street:
    return street_on(chain, node, token=chain.deploy())


def test_a_transfer_counts_once_it_is_deep_enough(street: Street) -> None:
    assert street.look().transfers == ()
    tx_hash = street.token.transfer(ADDRESS, PRICE)
    for depth, is_final in ((1, False), (2, False), (3, True), (4, True)):
        (seen,) = street.look().transfers
        assert (seen.tx_hash, seen.units, seen.depth, seen.is_final) == (tx_hash, PRICE, depth, is_final)
        street.chain.mine()


def test_what_is_not_final_is_looked_for_again_and_what_is_final_is_not(street: Street) -> None:
    street.token.transfer(ADDRESS, PRICE)
    first = street.look()
    assert first.scanned_block == street.where.scanned_block
    street.chain.mine(2)
    assert street.look().scanned_block == street.where.scanned_block + 1


@pytest.mark.parametrize("tag", ["safe", "finalized"])
def test_the_chains_own_word_for_final_is_believed(chain: Chain, node: FakeNode, tag: str) -> None:
    street = street_on(chain, node, token=chain.deploy(), confirmations=tag)
    street.token.transfer(ADDRESS, PRICE)
    node.lag = 1
    assert street.seen() == [(PRICE, False)]
    node.lag = 0
    assert street.seen() == [(PRICE, True)]


def test_a_reverted_transfer_is_none(street: Street) -> None:
    street.token.transfer(ADDRESS, PRICE, sender=street.chain.other)
    street.chain.mine(3)
    assert street.look().transfers == ()


def test_a_look_alike_token_is_worth_nothing(street: Street) -> None:
    street.chain.deploy().transfer(ADDRESS, PRICE)
    street.chain.mine(3)
    assert street.look().transfers == ()


def test_a_look_alike_stays_one_when_the_node_ignores_the_question(street: Street) -> None:
    street.chain.deploy().transfer(ADDRESS, PRICE)
    street.token.transfer(street.chain.other, PRICE)
    street.chain.mine(3)

    def everything(_truth: object) -> list[Any]:
        tester = street.chain.tester
        blocks = [tester.get_block_by_number(number) for number in range(street.chain.head() + 1)]
        receipts = [tester.get_transaction_receipt(one) for block in blocks for one in block["transactions"]]
        return [as_log(log) for receipt in receipts for log in receipt["logs"]]

    street.node.lies["eth_getLogs"] = everything
    assert street.look().transfers == ()


def test_the_coin_is_not_the_token(street: Street) -> None:
    street.chain.send_coins(ADDRESS, PRICE)
    street.chain.mine(3)
    assert street.look().transfers == ()


def test_nothing_moved_is_no_transfer(street: Street) -> None:
    street.token.transfer(ADDRESS, 0)
    assert street.look().transfers == ()


def test_two_transfers_in_one_transaction_are_two(street: Street) -> None:
    street.token.split(ADDRESS, 20, 22)
    street.chain.mine(3)
    assert street.seen() == [(20, True), (22, True)]
    assert len({one.log_index for one in street.look().transfers}) == 2


def test_a_reorganised_transfer_is_gone_and_may_come_back_elsewhere(street: Street) -> None:
    before = street.chain.snapshot()
    street.token.transfer(ADDRESS, PRICE)
    (seen,) = street.look().transfers
    street.chain.reorganise(before, blocks=2)
    assert street.look().transfers == ()
    street.token.transfer(ADDRESS, PRICE)
    street.chain.mine(3)
    (found,) = street.look().transfers
    assert (found.block_number, found.is_final) == (seen.block_number + 2, True)
    assert found.block_hash != seen.block_hash


def test_a_receipt_of_a_block_that_is_not_on_the_chain_waits(street: Street) -> None:
    street.token.transfer(ADDRESS, PRICE)
    street.chain.mine(3)
    block = street.chain.tester.get_block_by_number(street.where.scanned_block + 1)["hash"]
    street.node.lies["eth_getBlockByNumber"] = lambda truth: (
        {**truth, "hash": "0x" + "ee" * 32} if truth["hash"] == block else truth
    )
    found = street.look()
    assert found.transfers == ()
    assert found.scanned_block == street.where.scanned_block


def change_logs(**fields: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda truth: [{**log, **fields} for log in truth]


@pytest.mark.parametrize(
    ("method", "lie"),
    [
        ("eth_getTransactionReceipt", None),
        ("eth_getTransactionReceipt", lambda truth: {**truth, "status": "0x0"}),
        ("eth_getTransactionReceipt", lambda truth: {**truth, "logs": []}),
        (
            "eth_getTransactionReceipt",
            lambda truth: {**truth, "logs": change_logs(data="0x" + "00" * 32)(truth["logs"])},
        ),
        ("eth_getTransactionReceipt", lambda truth: {**truth, "blockHash": "0x" + "ee" * 32}),
        ("eth_getTransactionReceipt", lambda truth: {**truth, "blockNumber": "0x1"}),
        ("eth_getLogs", change_logs(data="0x" + "ff" * 32)),
        ("eth_getLogs", change_logs(logIndex="0x9")),
        ("eth_getLogs", change_logs(blockHash="0x" + "ee" * 32)),
        ("eth_getLogs", change_logs(removed=True)),
        ("eth_getLogs", lambda truth: [{**log, "topics": [*log["topics"], log["topics"][1]]} for log in truth]),
        ("eth_getLogs", change_logs(data="0x")),
        ("eth_getLogs", []),
    ],
)
def test_a_node_that_contradicts_itself_is_not_believed(street: Street, method: str, lie: Any) -> None:
    street.token.transfer(ADDRESS, PRICE)
    street.chain.mine(3)
    street.node.lies[method] = lie
    assert street.look().transfers == ()


@pytest.mark.parametrize(
    ("method", "lie"),
    [
        ("eth_chainId", "0x1"),
        ("eth_chainId", 31337),
        ("eth_chainId", None),
        ("eth_blockNumber", "latest"),
        ("eth_blockNumber", "-0x1"),
        ("eth_blockNumber", "0x0"),
        ("eth_blockNumber", "0x" + "f" * 80),
        ("eth_getLogs", None),
        ("eth_getLogs", {}),
        ("eth_getLogs", ["log"]),
        ("eth_getLogs", change_logs(blockNumber="0x999999")),
        ("eth_getLogs", change_logs(transactionHash="0x1")),
        ("eth_getTransactionReceipt", {}),
        ("eth_getTransactionReceipt", []),
        ("eth_getTransactionReceipt", lambda truth: {**truth, "transactionHash": "0x" + "aa" * 32}),
        ("eth_getTransactionReceipt", lambda truth: {**truth, "status": None}),
        ("eth_getBlockByNumber", None),
        ("eth_getBlockByNumber", lambda truth: {**truth, "timestamp": "0x" + "f" * 30}),
    ],
)
def test_an_odd_answer_decides_nothing(street: Street, method: str, lie: Any) -> None:
    street.token.transfer(ADDRESS, PRICE)
    street.chain.mine(3)
    street.node.lies[method] = lie
    with pytest.raises(NodeSilent):
        street.look()


@pytest.mark.parametrize("kind", ["refused", "hang", "half", "garbage", "status"])
@pytest.mark.parametrize(
    "method", ["eth_chainId", "eth_blockNumber", "eth_getLogs", "eth_getTransactionReceipt", "eth_getBlockByNumber"]
)
def test_a_node_that_is_away_decides_nothing(street: Street, kind: str, method: str) -> None:
    street.token.transfer(ADDRESS, PRICE)
    street.chain.mine(3)
    street.node.faults.add(kind, times=5, path=method)
    with pytest.raises(NodeSilent):
        street.look()
    street.node.faults.clear()
    assert street.seen() == [(PRICE, True)]


def test_the_nodes_address_and_its_key_are_not_in_what_is_logged(street: Street) -> None:
    street.node.faults.add("refused", times=5)
    with pytest.raises(NodeSilent) as trouble:
        street.look()
    assert "key" not in str(trouble.value)


def test_a_second_node_must_agree(chain: Chain, node: FakeNode) -> None:
    with FakeNode(chain) as second:
        street = street_on(chain, node, second, token=chain.deploy())
        street.token.transfer(ADDRESS, PRICE)
        chain.mine(3)
        for method, lie in (
            ("eth_getTransactionReceipt", None),
            ("eth_getTransactionReceipt", lambda truth: {**truth, "blockHash": "0x" + "ee" * 32}),
            ("eth_blockNumber", hex(street.where.scanned_block + 1)),
        ):
            second.lies = {method: lie}
            assert street.seen() == [(PRICE, False)]
        second.lies = {"eth_chainId": "0x1"}
        with pytest.raises(NodeSilent):
            street.look()
        second.lies = {}
        second.faults.add("refused", times=50)
        with pytest.raises(NodeSilent):
            street.look()
        second.faults.clear()
        assert street.seen() == [(PRICE, True)]


def test_long_stretches_are_asked_for_in_ranges(street: Street) -> None:
    street.node.lies["eth_blockNumber"] = hex(street.where.scanned_block + 2 * BLOCKS_AT_ONCE + 1)
    newest = street.chain.tester.get_block_by_number("latest")
    street.node.lies["eth_getBlockByNumber"] = {
        "number": street.node.lies["eth_blockNumber"],
        "hash": newest["hash"],
        "timestamp": hex(newest["timestamp"]),
        "transactions": [],
    }
    found = street.look()
    ranges = [params[0] for method, params in street.node.calls if method == "eth_getLogs"]
    sizes = [int(one["toBlock"], 16) - int(one["fromBlock"], 16) + 1 for one in ranges]
    assert sizes == [BLOCKS_AT_ONCE, BLOCKS_AT_ONCE, 1]
    assert found.is_complete


# -- the chain's own coin --------------------------------------------------------------------------------------------


@pytest.fixture
def coins(chain: Chain, node: FakeNode) -> Street:
    return street_on(chain, node, token=None)


def test_coins_are_found_in_the_blocks(coins: Street) -> None:
    assert coins.look().transfers == ()
    tx_hash = coins.chain.send_coins(ADDRESS, 10**18)
    coins.chain.send_coins(coins.chain.other, 5)
    (seen,) = coins.look().transfers
    assert (seen.tx_hash, seen.units, seen.is_final) == (tx_hash, 10**18, False)
    coins.chain.mine(3)
    assert coins.seen() == [(10**18, True)]


def test_an_empty_address_costs_one_question_and_no_block(coins: Street) -> None:
    coins.chain.mine(20)
    coins.node.calls.clear()
    found = coins.look()
    assert found.scanned_block == coins.chain.head() - 2
    assert not any(method == "eth_getBlockByNumber" and params[1] for method, params in coins.node.calls)


def test_coins_that_a_reverted_transaction_would_have_sent_are_none(coins: Street) -> None:
    coins.chain.send_coins(ADDRESS, 10**18)
    coins.chain.mine(3)
    coins.node.lies["eth_getTransactionReceipt"] = lambda truth: {**truth, "status": "0x0"}
    assert coins.look().transfers == ()

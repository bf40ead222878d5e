"""JSON-RPC to a node of a chain: few questions, strict answers, and silence whenever anything is odd.

See https://ethereum.org/developers/docs/apis/json-rpc/.
"""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from portal.payments.providers.calling import CONNECT_SECONDS, READ_SECONDS, Caller, NoAnswer

TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
_QUANTITY = re.compile(r"0x[0-9a-f]{1,64}")
_HASH = re.compile(r"0x[0-9a-f]{64}")
_WORD = re.compile(r"0x[0-9a-f]{64}")


class NodeSilent(Exception):
    """The node did not answer, or answered something that cannot be relied on. It decides nothing."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block of the chain as the node sees it now; `transactions` only when they were asked for."""

    number: int
    hash: str
    mined_at: datetime
    transactions: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class TransferLog:
    """A token's own statement that it moved, with its place in the chain."""

    contract: str
    recipient: str
    units: int
    tx_hash: str
    log_index: int
    block_number: int
    block_hash: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a mined transaction."""

    tx_hash: str
    block_number: int
    block_hash: str
    is_success: bool
    transfers: tuple[TransferLog, ...]


class Node:
    """One node, asked over HTTP. Safe to share between threads."""

    def __init__(
        self, url: str, chain_id: int, *, timeout: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS)
    ) -> None:
        self._url = url
        self._chain_id = chain_id
        self._caller = Caller("", timeout=timeout)
        self._ids = itertools.count(1)

    def check_chain(self) -> None:
        """Make sure that it is the chain it should be. Raises NodeSilent."""
        found = _quantity(self._call("eth_chainId"))
        if found != self._chain_id:
            raise NodeSilent(f"it is chain {found}, not {self._chain_id}")

    def head(self) -> int:
        """The number of the newest block. Raises NodeSilent."""
        return _quantity(self._call("eth_blockNumber"))

    def block(self, number: int | str, *, with_transactions: bool = False) -> Block | None:
        """A block by its number, or by a tag such as `finalized`; None when there is none. Raises NodeSilent."""
        wanted = hex(number) if isinstance(number, int) else number
        value = self._call("eth_getBlockByNumber", wanted, with_transactions)
        if value is None:
            return None
        block = _mapping(value)
        transactions = block.get("transactions") if with_transactions else []
        if not isinstance(transactions, list):
            raise NodeSilent("a block without a list of transactions")
        found = Block(
            number=_quantity(block.get("number")),
            hash=_hash(block.get("hash")),
            mined_at=_time(block.get("timestamp")),
            transactions=tuple(_mapping(one) for one in transactions),
        )
        if isinstance(number, int) and found.number != number:
            raise NodeSilent("another block than the one asked for")
        return found

    def balance(self, address: str) -> int:
        """The chain's own coins at an address, as of the newest block. Raises NodeSilent."""
        return _quantity(self._call("eth_getBalance", address, "latest"))

    def transfers_to(self, address: str, contract: str, first: int, last: int) -> list[TransferLog]:
        """What a token says it moved to an address in a range of blocks. Raises NodeSilent."""
        recipient = "0x" + address[2:].lower().rjust(64, "0")
        filters = {
            "fromBlock": hex(first),
            "toBlock": hex(last),
            "address": contract,
            "topics": [TRANSFER, None, recipient],
        }
        value = self._call("eth_getLogs", filters)
        if not isinstance(value, list):
            raise NodeSilent("logs that are no list")
        found = [_transfer(_mapping(one)) for one in value]
        # A node that ignores the filter, or a contract that copies another's event, does not get far.
        wanted = [
            one for one in found if one is not None and one.contract == contract and one.recipient == address.lower()
        ]
        if any(not first <= one.block_number <= last for one in wanted):
            raise NodeSilent("a log of a block that was not asked for")
        return wanted

    def receipt(self, tx_hash: str) -> Receipt | None:
        """What became of a transaction; None while it is not in a block, which says nothing. Raises NodeSilent."""
        value = self._call("eth_getTransactionReceipt", tx_hash)
        if value is None:
            return None
        receipt = _mapping(value)
        logs = receipt.get("logs")
        if not isinstance(logs, list) or _hash(receipt.get("transactionHash")) != tx_hash:
            raise NodeSilent("a receipt of something else")
        transfers = (_transfer(_mapping(one)) for one in logs)
        return Receipt(
            tx_hash=tx_hash,
            block_number=_quantity(receipt.get("blockNumber")),
            block_hash=_hash(receipt.get("blockHash")),
            is_success=_quantity(receipt.get("status")) == 1,
            transfers=tuple(one for one in transfers if one is not None),
        )

    def _call(self, method: str, *params: Any) -> Any:
        number = next(self._ids)
        body = {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}
        try:
            answer = self._caller.call("POST", self._url, body=body)
        except NoAnswer as error:
            raise NodeSilent(f"{method}: {error}") from error
        value = answer.value
        if not answer.is_success or not isinstance(value, dict) or value.get("id") != number:
            raise NodeSilent(f"{method}: HTTP {answer.status}, no answer to the question")
        if value.get("error") is not None or "result" not in value:
            raise NodeSilent(f"{method}: {str(value.get('error'))[:200]}")
        return value["result"]


def coins_to(transaction: Mapping[str, Any], address: str) -> tuple[str, int] | None:
    """The hash and value of a transaction that sends the chain's own coins to an address. Raises NodeSilent."""
    to = transaction.get("to")
    if not isinstance(to, str) or to.lower() != address.lower():
        return None
    units = _quantity(transaction.get("value"))
    return (_hash(transaction.get("hash")), units) if units else None


def _transfer(log: Mapping[str, Any]) -> TransferLog | None:
    """A log as a transfer of an ERC-20 token; None when it is something else."""
    topics, contract = log.get("topics"), log.get("address")
    # A transfer of an NFT has a fourth topic and another meaning.
    if not isinstance(topics, list) or len(topics) != 3 or str(topics[0]).lower() != TRANSFER or log.get("removed"):
        return None
    recipient, data = str(topics[2]).lower(), str(log.get("data")).lower()
    if not _WORD.fullmatch(recipient) or not _WORD.fullmatch(data) or not isinstance(contract, str):
        return None
    return TransferLog(
        contract=contract.lower(),
        recipient="0x" + recipient[-40:],
        units=int(data, 16),
        tx_hash=_hash(log.get("transactionHash")),
        log_index=_quantity(log.get("logIndex")),
        block_number=_quantity(log.get("blockNumber")),
        block_hash=_hash(log.get("blockHash")),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise NodeSilent("something that is no object")
    return value


def _quantity(value: Any) -> int:
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value.lower()):
        raise NodeSilent("something that is no number")
    return int(value, 16)


def _hash(value: Any) -> str:
    if not isinstance(value, str) or not _HASH.fullmatch(value.lower()):
        raise NodeSilent("something that is no hash")
    return value.lower()


def _time(value: Any) -> datetime:
    try:
        return datetime.fromtimestamp(_quantity(value), UTC)
    except (OverflowError, OSError, ValueError):
        raise NodeSilent("something that is no time") from None

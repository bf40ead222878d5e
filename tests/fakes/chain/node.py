"""A node of the chain: JSON-RPC over HTTP in the wire format of Ethereum, and every way a node can fail or lie."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from eth_tester.exceptions import BlockNotFound, TransactionNotFound

from tests.fakes.chain.evm import Chain, Token
from tests.fakes.serving import Dropped, Handler, Server
from tests.fakes.stripe.faults import Faults

_HANGS_AT_MOST = 60.0
_LARGEST_RANGE = 2_000


class RpcError(Exception):
    """An error object instead of a result."""


@dataclass
class FakeNode:
    """Serves a chain on a free port of 127.0.0.1 until the block ends.

    `lies` holds answers that are given instead of the true ones: a value, or a function of the true one. `lag` is how
    far the safe and finalized blocks are behind the newest.
    """

    chain: Chain
    lies: dict[str, Any] = field(default_factory=dict)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)
    url: str = ""
    lag: int = 0
    _server: Server | None = None

    def __enter__(self) -> Self:
        self._server = Server(0, _Handler, self)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v3/key?x=1"
        self._server.run("fake-node")
        return self

    def __exit__(self, *_problem: object) -> None:
        self.faults.clear()
        if self._server:
            self._server.end()
            self._server = None

    def network(self, token: Token | None, **changes: Any) -> dict[str, Any]:
        """This node as an entry of WEB3_NETWORKS."""
        return {
            "name": "local",
            "title": "Local chain",
            "chain_id": self.chain.chain_id,
            "rpc_urls": [self.url],
            "symbol": "USDX" if token else "ETH",
            "token": token.address if token else None,
            "decimals": token.decimals if token else 18,
            "currencies": ["PLN", "USD"],
            "confirmations": 3,
            "test": True,
            **changes,
        }

    def result(self, method: str, params: list[Any]) -> Any:
        """The answer to one call, true or not. Raises RpcError."""
        with self.chain.lock:
            truth = _answer(self.chain, method, params, lag=self.lag)
        if method not in self.lies:
            return truth
        lie = self.lies[method]
        return lie(truth) if callable(lie) else lie


class _Handler(Handler):
    def answer(self, method: str, body: bytes) -> None:
        node: FakeNode = self.server.owner
        asked = json.loads(body)
        node.calls.append((asked["method"], asked["params"]))
        fault = node.faults.take(method, asked["method"])
        if fault and fault.kind == "hang":
            node.faults.released.wait(_HANGS_AT_MOST)
        if fault and fault.kind in ("hang", "refused"):
            raise Dropped
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": asked["id"]}
        try:
            reply["result"] = node.result(asked["method"], asked["params"])
        except RpcError as error:
            reply["error"] = {"code": -32000, "message": str(error)}
        status = fault.status if fault and fault.kind == "status" else 200
        text = b"<html>Bad gateway</html>" if fault and fault.kind == "garbage" else json.dumps(reply).encode()
        is_half = bool(fault and fault.kind == "half")
        self.send(status, text, {"Content-Type": "application/json"}, is_half=is_half)


def _answer(chain: Chain, method: str, params: list[Any], *, lag: int) -> Any:
    answers: dict[str, Callable[..., Any]] = {
        "eth_chainId": lambda: hex(chain.chain_id),
        "eth_blockNumber": lambda: hex(chain.head()),
        "eth_getBlockByNumber": lambda number, full: _block(chain, number, full, lag=lag),
        "eth_getBalance": lambda address, _block: hex(chain.tester.get_balance(address)),
        "eth_getTransactionReceipt": lambda tx_hash: _receipt(chain, tx_hash),
        "eth_getLogs": lambda wanted: _logs(chain, wanted),
    }
    if method not in answers:
        raise RpcError(f"the method {method} does not exist")
    return answers[method](*params)


def _block(chain: Chain, number: str, full: bool, *, lag: int) -> Any:
    wanted: Any = int(number, 16) if number.startswith("0x") else max(0, chain.head() - lag)
    try:
        block = chain.tester.get_block_by_number(wanted, full_transactions=full)
    except BlockNotFound:
        return None
    transactions = [
        {"hash": one["hash"], "from": one["from"], "to": one["to"] or None, "value": hex(one["value"])} if full else one
        for one in block["transactions"]
    ]
    return {
        "number": hex(block["number"]),
        "hash": block["hash"],
        "parentHash": block["parent_hash"],
        "timestamp": hex(block["timestamp"]),
        "transactions": transactions,
    }


def _receipt(chain: Chain, tx_hash: str) -> Any:
    try:
        receipt = chain.tester.get_transaction_receipt(tx_hash)
    except TransactionNotFound:
        return None
    if receipt["block_number"] is None:
        return None
    return {
        "transactionHash": receipt["transaction_hash"],
        "blockNumber": hex(receipt["block_number"]),
        "blockHash": receipt["block_hash"],
        "status": hex(receipt["status"]),
        "from": receipt["from"],
        "to": receipt["to"] or None,
        "logs": [as_log(one) for one in receipt["logs"]],
    }


def _logs(chain: Chain, wanted: dict[str, Any]) -> list[Any]:
    first, last = int(wanted["fromBlock"], 16), int(wanted["toBlock"], 16)
    if last - first + 1 > _LARGEST_RANGE:
        raise RpcError(f"block range is limited to {_LARGEST_RANGE}")
    found = []
    for number in range(first, min(last, chain.head()) + 1):
        for tx_hash in chain.tester.get_block_by_number(number)["transactions"]:
            found += chain.tester.get_transaction_receipt(tx_hash)["logs"]
    return [log for log in map(as_log, found) if _fits(log, wanted)]


def _fits(log: dict[str, Any], wanted: dict[str, Any]) -> bool:
    if log["address"].lower() != wanted["address"].lower():
        return False
    pairs = zip(wanted["topics"], log["topics"], strict=False)
    return len(log["topics"]) >= len(wanted["topics"]) and all(want in (None, topic) for want, topic in pairs)


def as_log(log: Any) -> dict[str, Any]:
    """A log of the EVM as nodes write it."""
    return {
        "address": log["address"].lower(),
        "topics": list(log["topics"]),
        "data": log["data"],
        "blockNumber": hex(log["block_number"]),
        "blockHash": log["block_hash"],
        "transactionHash": log["transaction_hash"],
        "transactionIndex": hex(log["transaction_index"]),
        "logIndex": hex(log["log_index"]),
        "removed": False,
    }

"""The chain itself: blocks, coins, tokens, and the ways in which they go wrong."""

import json
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_abi import encode
from eth_tester import EthereumTester, PyEVMBackend
from eth_utils import function_signature_to_4byte_selector as selector

# The EVM raises the limit for calls that go a thousand deep. None here do, and parsing hostile JSON must meet the limit
# that it meets in production.
sys.setrecursionlimit(1_000)
_COMPILED = json.loads((Path(__file__).parent / "token.json").read_text(encoding="utf-8"))
_GAS = 2_000_000
SUPPLY = 10**36


class Chain:
    """An EVM with funded accounts; every transaction is mined at once unless told otherwise."""

    def __init__(self, chain_id: int = 31_337) -> None:
        self.chain_id = chain_id
        self.lock = threading.RLock()
        self.tester = EthereumTester(PyEVMBackend())
        self.rich = self.tester.get_accounts()[0]
        self.other = self.tester.get_accounts()[1]

    def head(self) -> int:
        """The newest block's number."""
        with self.lock:
            return int(self.tester.get_block_by_number("latest")["number"])

    def mine(self, count: int = 1) -> None:
        """Add empty blocks."""
        with self.lock:
            self.tester.mine_blocks(count)

    def travel(self, timestamp: float) -> None:
        """Mine the next block at a time to come."""
        with self.lock:
            self.tester.time_travel(int(timestamp))
            self.tester.mine_blocks(1)

    def snapshot(self) -> Any:
        """A point to come back to."""
        with self.lock:
            return self.tester.take_snapshot()

    def reorganise(self, snapshot: Any, blocks: int = 1) -> None:
        """Throw away everything since, and mine other blocks in its place."""
        with self.lock:
            self.tester.revert_to_snapshot(snapshot)
            # Somebody else's transaction, or the new blocks would be the old ones.
            self.send({"from": self.other, "to": self.rich, "value": 1, "gas": 100_000})
            self.mine(max(0, blocks - 1))

    def send(self, transaction: dict[str, Any]) -> str:
        """Send a transaction from the rich account; returns its hash."""
        with self.lock:
            return str(self.tester.send_transaction({"from": self.rich, "gas": _GAS, **transaction}))

    def send_coins(self, address: str, units: int) -> str:
        """Send the chain's own coins."""
        return self.send({"to": address, "value": units, "gas": 100_000})

    def deploy(self, decimals: int = 6) -> "Token":
        """A new token whose whole supply is the rich account's."""
        arguments = encode(["uint256", "uint8"], [SUPPLY, decimals]).hex()
        tx_hash = self.send({"data": _COMPILED["bytecode"] + arguments})
        with self.lock:
            address = self.tester.get_transaction_receipt(tx_hash)["contract_address"]
        return Token(self, str(address), decimals)


@dataclass(frozen=True)
class Token:
    """An ERC-20 contract on a chain."""

    chain: Chain
    address: str
    decimals: int

    def transfer(self, address: str, units: int, *, sender: str | None = None) -> str:
        """Send tokens; whoever has none makes a transaction that is reverted. Returns its hash."""
        return self._call("transfer(address,uint256)", ["address", "uint256"], [address, units], sender)

    def split(self, address: str, first: int, second: int) -> str:
        """Two transfers in one transaction."""
        return self._call("split(address,uint256,uint256)", ["address", "uint256", "uint256"], [address, first, second])

    def _call(self, signature: str, types: list[str], values: list[Any], sender: str | None = None) -> str:
        data = "0x" + (selector(signature) + encode(types, values)).hex()
        return self.chain.send({"to": self.address, "data": data, **({"from": sender} if sender else {})})

"""Looking for what came to an address: every transfer is checked on the chain again each time, and counted when deep.

A transfer counts when the right contract says so in a transaction that succeeded, in a block that is on the chain at
this moment and deep enough, and when every node that was configured sees the same. Anything else waits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from portal.payments.providers.web3.networks import Network
from portal.payments.providers.web3.rpc import Block, Node, NodeSilent, TransferLog, coins_to

BLOCKS_AT_ONCE = 2_000
# What one look may take: token logs are found in large ranges, coins only block by block.
_MOST_RANGES, _MOST_BLOCKS = 50, 500
NATIVE_INDEX = -1  # The chain's own coins move without a log.


@dataclass(frozen=True, slots=True)
class Where:
    """An address to look at: what came up to `scanned_block` is known already."""

    address: str
    scanned_block: int


@dataclass(frozen=True, slots=True)
class Seen:
    """A transfer on the chain; `is_final` once it can be counted."""

    tx_hash: str
    log_index: int
    block_number: int
    block_hash: str
    units: int
    sent_at: datetime
    depth: int
    is_final: bool


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found after `scanned_block`; everything up to the new `scanned_block` is final.

    `is_complete` when it reached the newest block, which was mined at `head_at`.
    """

    transfers: tuple[Seen, ...]
    scanned_block: int
    is_complete: bool
    head_at: datetime


class Observer:
    """Looks at one network through all nodes that are configured for it."""

    def __init__(self, network: Network, nodes: Sequence[Node]) -> None:
        self.network = network
        self._nodes = tuple(nodes)

    def newest_block(self) -> int:
        """Where a new deposit begins to look. Raises NodeSilent."""
        self._nodes[0].check_chain()
        return self._nodes[0].head()

    def look(self, where: Where) -> Look:
        """Find and check what came. Raises NodeSilent, and then nothing is known."""
        node = self._nodes[0]
        for one in self._nodes:
            one.check_chain()
        head = node.head()
        if head < where.scanned_block:
            raise NodeSilent("the node is behind what was seen before")
        first = where.scanned_block + 1
        newest = _existing(node, head)
        if first > head:
            return Look((), where.scanned_block, True, newest.mined_at)
        last, found = self._find(node, where, first, head)
        finals = [self._final_block(one, one.head()) for one in self._nodes]
        final = min(finals)
        transfers = tuple(seen for one in found if (seen := self._check(node, one, head=head, final=final)) is not None)
        # What is not final, or could not be confirmed, is looked for again next time.
        open_blocks = [one.block_number for one in transfers if not one.is_final]
        known = {(one.tx_hash, one.log_index) for one in transfers}
        open_blocks += [one.block_number for one in found if (one.tx_hash, one.log_index) not in known]
        scanned = max(where.scanned_block, min([last, final, *(number - 1 for number in open_blocks)]))
        return Look(transfers, scanned, last == head, newest.mined_at)

    def _find(self, node: Node, where: Where, first: int, head: int) -> tuple[int, list[TransferLog]]:
        """What may have come, and up to which block was looked."""
        token = self.network.token
        if token is None:
            return self._find_coins(node, where, first, head)
        last = min(head, first + BLOCKS_AT_ONCE * _MOST_RANGES - 1)
        found: list[TransferLog] = []
        for start in range(first, last + 1, BLOCKS_AT_ONCE):
            end = min(start + BLOCKS_AT_ONCE - 1, last)
            found += node.transfers_to(where.address, token, start, end)
        return last, [one for one in found if one.units]

    def _find_coins(self, node: Node, where: Where, first: int, head: int) -> tuple[int, list[TransferLog]]:
        if not node.balance(where.address):
            return head, []
        last = min(head, first + _MOST_BLOCKS - 1)
        found: list[TransferLog] = []
        for number in range(first, last + 1):
            block = _existing(node, number, with_transactions=True)
            for transaction in block.transactions:
                coins = coins_to(transaction, where.address)
                if coins is not None:
                    tx_hash, units = coins
                    found.append(
                        TransferLog("", where.address.lower(), units, tx_hash, NATIVE_INDEX, number, block.hash)
                    )
        return last, found

    def _final_block(self, node: Node, head: int) -> int:
        """The newest block that counts, as one node sees it."""
        depth = self.network.confirmations
        if isinstance(depth, int):
            return head - depth + 1
        block = node.block(depth)
        if block is None:
            raise NodeSilent(f"it knows no {depth} block")
        return min(block.number, head)

    def _check(self, node: Node, found: TransferLog, *, head: int, final: int) -> Seen | None:
        block = _agreed_block(node, found)
        if block is None:
            return None
        is_final = found.block_number <= final
        if is_final:
            is_final = all(_agreed_block(other, found) is not None for other in self._nodes[1:])
        return Seen(
            tx_hash=found.tx_hash,
            log_index=found.log_index,
            block_number=found.block_number,
            block_hash=found.block_hash,
            units=found.units,
            sent_at=block.mined_at,
            depth=max(0, head - found.block_number + 1),
            is_final=is_final,
        )


def _agreed_block(node: Node, found: TransferLog) -> Block | None:
    """The block of a transfer, when this node has its receipt, it succeeded, and the block is on the chain now."""
    receipt = node.receipt(found.tx_hash)
    if receipt is None or not receipt.is_success or receipt.block_hash != found.block_hash:
        return None
    if found.log_index != NATIVE_INDEX and found not in receipt.transfers:
        return None
    block = node.block(found.block_number)
    if block is None or block.hash != found.block_hash or receipt.block_number != found.block_number:
        return None
    return block


def _existing(node: Node, number: int, *, with_transactions: bool = False) -> Block:
    block = node.block(number, with_transactions=with_transactions)
    if block is None:
        raise NodeSilent("a block that it has just named is gone")
    return block


def observers_of(networks: Sequence[Network], *, timeout: tuple[float, float]) -> Mapping[str, Observer]:
    """An observer for each network, by its name."""
    return {
        network.name: Observer(network, [Node(url, network.chain_id, timeout=timeout) for url in network.rpc_urls])
        for network in networks
    }

"""What the transfers of a deposit mean for us: the price came, or part of it, or money nobody asked for.

Each fact about money is named by a transfer, `web3:<chain>:<transaction>:<log>`. The core's business keys are unique
and taken in the transaction that settles, so a transfer counts once, for one session, whoever claims it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from portal.payments.providers.base import FetchResult, NormalisedEvent, Outcome
from portal.payments.providers.web3.models import ChainDeposit, ChainTransfer, ChainWatch
from portal.payments.providers.web3.networks import Network

# Blocks are stamped by others' clocks.
CLOCK_SLACK = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of the price came on one network, in base units: for good, and seen at all."""

    final: int
    seen: int


def progress_of(deposit: ChainDeposit, watch: ChainWatch) -> Progress:
    """What counts towards the price. Transfers from before the page and after its time do not."""
    timely = [one for one in watch.transfers if _is_timely(deposit, one)]
    return Progress(sum(one.units for one in timely if one.is_final), sum(one.units for one in timely))


def paid_watch(deposit: ChainDeposit) -> ChainWatch | None:
    """The network on which the price is in full and for good; the one that was decided on stays."""
    if deposit.paid_network is not None:
        return next(one for one in deposit.watches if one.network == deposit.paid_network)
    if deposit.closed_at is not None:
        return None
    return next((one for one in deposit.watches if progress_of(deposit, one).final >= one.expected_units), None)


def is_on_its_way(deposit: ChainDeposit) -> bool:
    """Whether a transfer in time was seen that may still become final or vanish."""
    return any(not one.is_final and _is_timely(deposit, one) for watch in deposit.watches for one in watch.transfers)


def state_of(deposit: ChainDeposit, networks: Mapping[str, Network]) -> FetchResult:
    """A deposit and its transfers in the core's words."""
    paid = paid_watch(deposit)
    if paid is not None:
        return _paid(deposit, paid, networks)
    if deposit.closed_at is not None:
        return _closed(deposit, networks)
    if is_on_its_way(deposit):
        return FetchResult(Outcome.PENDING, _fact(deposit, Outcome.PENDING, "seen, not deep enough yet"), "seen")
    if any(progress_of(deposit, watch).final for watch in deposit.watches):
        return FetchResult(Outcome.PENDING, _fact(deposit, Outcome.PENDING, "less than the price came"), "short")
    return FetchResult(Outcome.PENDING, None, "waiting")


def _paid(deposit: ChainDeposit, watch: ChainWatch, networks: Mapping[str, Network]) -> FetchResult:
    """The transfer that completed the price names the payment; what came beyond or beside it is told apart."""
    total, counted = 0, []
    for transfer in watch.transfers:
        if transfer.is_final and _is_timely(deposit, transfer) and total < watch.expected_units:
            total += transfer.units
            counted.append(transfer)
    completing = counted[-1]
    together = f", together with {len(counted) - 1} before it" if len(counted) > 1 else ""
    paid = replace(
        _money(deposit, watch, completing, deposit.amount_minor),
        detail=f"{_named(watch, completing)}{together}",
    )
    more = []
    network = networks.get(watch.network)
    over = network.minor_of(total - watch.expected_units, deposit.currency) if network else 0
    if over:
        beyond = _money(deposit, watch, completing, over)
        more.append(replace(beyond, business_key=f"{beyond.business_key}:over", detail="more than the price came"))
    more += _each(deposit, networks, leave_out=counted)
    return FetchResult(Outcome.PAID, paid, f"paid/{len(more)}", tuple(more))


def _closed(deposit: ChainDeposit, networks: Mapping[str, Network]) -> FetchResult:
    failed = replace(
        _fact(deposit, Outcome.FAILED, "the price did not come in time"),
        business_key=f"web3:{deposit.reference}:failed",
    )
    money = _each(deposit, networks, leave_out=[])
    return FetchResult(Outcome.FAILED, failed, f"closed/{len(money)}", tuple(money))


def _each(
    deposit: ChainDeposit, networks: Mapping[str, Network], *, leave_out: list[ChainTransfer]
) -> list[NormalisedEvent]:
    """Every other final transfer as money of its own. Less than a minor unit is nobody's money."""
    found = []
    for watch in deposit.watches:
        network = networks.get(watch.network)
        for transfer in watch.transfers:
            if not transfer.is_final or transfer in leave_out or network is None:
                continue
            minor = network.minor_of(transfer.units, deposit.currency)
            if minor:
                found.append(_money(deposit, watch, transfer, minor))
    return found


def _money(deposit: ChainDeposit, watch: ChainWatch, transfer: ChainTransfer, minor: int) -> NormalisedEvent:
    return replace(
        _fact(deposit, Outcome.PAID, _named(watch, transfer)),
        payment_reference=_named(watch, transfer),
        business_key=f"web3:{transfer.chain_id}:{transfer.tx_hash}:{transfer.log_index}",
        amount_minor=minor,
        currency=deposit.currency,
        occurred_at=transfer.sent_at,
    )


def _fact(deposit: ChainDeposit, outcome: Outcome, detail: str) -> NormalisedEvent:
    return NormalisedEvent(
        outcome=outcome,
        session_id=deposit.session_public_id,
        attempt_reference=deposit.reference,
        attempt=deposit.attempt,
        detail=detail,
    )


def _named(watch: ChainWatch, transfer: ChainTransfer) -> str:
    """The transaction with its network, as staff look it up."""
    return f"{watch.network}:{transfer.tx_hash}"


def _is_timely(deposit: ChainDeposit, transfer: ChainTransfer) -> bool:
    return deposit.created_at - CLOCK_SLACK <= transfer.sent_at <= deadline_of(deposit)


def deadline_of(deposit: ChainDeposit) -> datetime:
    """Until when a transfer must be in a block to count as the price."""
    return min(deposit.expires_at, deposit.closed_at or deposit.expires_at)

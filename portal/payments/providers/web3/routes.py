"""The portal's own page for paying on a chain: how much, where to, and what has come so far."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal

import segno
from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from portal.core import clock, htmx
from portal.core.access import public
from portal.core.db import unit_of_work
from portal.payments import queries
from portal.payments.extension import current_registry
from portal.payments.models import SessionStatus
from portal.payments.providers.web3 import deposits, facts
from portal.payments.providers.web3.models import ChainDeposit, ChainWatch
from portal.payments.providers.web3.networks import HasNetworks, Network
from portal.payments.services import checking

bp = Blueprint("web3", __name__, url_prefix="/pay/chain")

_EXACT = Context(prec=120)
_PLACES = 2
# A page that was left open stops asking; its link still looks again.
_POLLS, _WAIT = 400, 5


@dataclass(frozen=True, slots=True)
class TransferView:
    """One transfer as the buyer sees it."""

    tx_hash: str
    amount: str
    depth: int
    is_final: bool


@dataclass(frozen=True, slots=True)
class DepositView:
    """A deposit on one network, in words and amounts for the page.

    `state`: waiting, short, seen (enough came, not deep enough yet), arrived, paid, over.
    """

    state: str
    symbol: str
    amount: str
    received: str
    missing: str
    needed_depth: int | None
    transfers: tuple[TransferView, ...]
    minutes_left: int
    ends_at: datetime

    @property
    def is_over(self) -> bool:
        """Whether nothing more should be sent."""
        return self.state in ("arrived", "paid", "over")


@bp.get("/<reference>")
@public
def show(reference: str) -> ResponseReturnValue:
    """The page that a buyer is sent to; each look at it has a worker look at the chain, at most every five seconds."""
    provider = current_registry().get("web3")
    deposit = deposits.get(reference)
    networks = provider.networks if isinstance(provider, HasNetworks) else {}
    offered = [watch for watch in deposit.watches if watch.network in networks]
    watch = _chosen(deposit, offered, request.args.get("network"))
    at = clock.now()
    session = queries.find_session(deposit.session_public_id)
    view = _view(deposit, watch, networks[watch.network], session.status if session else None, at=at)
    if session is not None and not session.is_final:
        with unit_of_work():
            checking.request_check(session, at=at)
    polls = request.args.get("polls", type=int, default=0)
    response = htmx.render(
        "web3/page.html",
        fragment="web3/_status.html",
        deposit=deposit,
        view=view,
        network=networks[watch.network],
        offered=[networks[one.network] for one in offered],
        qr=segno.make(deposit.address, error="m").svg_data_uri(scale=5, border=2, dark="#111113", light="#ffffff"),
        polls=polls,
        wait=_WAIT if polls < _POLLS and view.state != "paid" else 0,
    )
    response.headers["Cache-Control"] = "no-store"
    return response


def _chosen(deposit: ChainDeposit, offered: list[ChainWatch], name: str | None) -> ChainWatch:
    """The network the buyer picked, else where something came, else the first."""
    if not offered:
        raise deposits.DepositNotFound
    picked = [watch for watch in offered if watch.network == (deposit.paid_network or name)]
    return (picked or [watch for watch in offered if watch.transfers] or offered)[0]


def _view(
    deposit: ChainDeposit, watch: ChainWatch, network: Network, status: SessionStatus | None, *, at: datetime
) -> DepositView:
    progress = facts.progress_of(deposit, watch)
    end = facts.deadline_of(deposit)
    if status is SessionStatus.PAID:
        # Also when it was paid in another way: then nothing should be sent here any more.
        state = "paid"
    elif deposit.paid_network is not None:
        state = "arrived"
    elif progress.seen >= watch.expected_units:
        state = "seen"
    elif deposit.closed_at is not None or end <= at or status is SessionStatus.FAILED:
        state = "over"
    else:
        state = "short" if progress.seen else "waiting"
    return DepositView(
        state=state,
        symbol=network.symbol,
        amount=token_amount(watch.expected_units, network.decimals),
        received=token_amount(progress.seen, network.decimals),
        missing=token_amount(max(0, watch.expected_units - progress.seen), network.decimals),
        needed_depth=network.confirmations if isinstance(network.confirmations, int) else None,
        transfers=tuple(
            TransferView(one.tx_hash, token_amount(one.units, network.decimals), one.depth, one.is_final)
            for one in watch.transfers
        ),
        minutes_left=max(0, int((end - at).total_seconds() // 60)),
        ends_at=end,
    )


def token_amount(units: int, decimals: int) -> str:
    """Base units as whole tokens, every digit that counts and at least two places: 49000000 of six is 49.00."""
    whole, _dot, places = format(Decimal(units).scaleb(-decimals, _EXACT), "f").partition(".")
    return f"{whole}.{places.rstrip('0').ljust(_PLACES, '0')}"

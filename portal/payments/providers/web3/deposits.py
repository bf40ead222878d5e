"""The book of deposits: opening them, writing down what a look at the chain found, closing them.

Callers hold the transaction. A deposit's row is locked before anything about it changes.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING

from sqlalchemy import or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import selectinload

from portal.core.db import db, is_postgresql
from portal.core.errors import NotFound
from portal.payments.providers.base import StartRequest
from portal.payments.providers.web3.models import ChainAccount, ChainDeposit, ChainTransfer, ChainWatch
from portal.payments.providers.web3.networks import Network

if TYPE_CHECKING:
    from portal.payments.providers.web3.addresses import ExtendedKey
    from portal.payments.providers.web3.looking import Look, Seen

_PARTS = selectinload(ChainDeposit.watches).selectinload(ChainWatch.transfers)


class DepositNotFound(NotFound):
    """No such deposit."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A network to offer, and its newest block when it was asked."""

    network: Network
    head: int


def find(*, idempotency_key: str) -> ChainDeposit | None:
    """The deposit that a try has opened already."""
    deposit: ChainDeposit | None = db.session.scalar(
        select(ChainDeposit)
        .where(ChainDeposit.idempotency_key == idempotency_key)
        .options(_PARTS)
        .execution_options(populate_existing=True)
    )
    return deposit


def get(reference: str, *, lock: bool = False) -> ChainDeposit:
    """A deposit with all that came. Raises DepositNotFound."""
    statement = select(ChainDeposit).where(ChainDeposit.reference == reference).options(_PARTS)
    if lock:
        statement = statement.with_for_update()
    deposit: ChainDeposit | None = db.session.scalar(statement.execution_options(populate_existing=True))
    if deposit is None:
        raise DepositNotFound
    return deposit


def open_deposit(
    request: StartRequest, account: "ExtendedKey", offers: Sequence[Offer], *, at: datetime
) -> ChainDeposit:
    """Give a try an address of its own; the same try gets the same one."""
    # Here, because the pages read this book too, and need no curve.
    from portal.payments.providers.web3.addresses import deposit_address

    fingerprint = fingerprint_of(account)
    index = _draw(fingerprint)
    # Whoever draws holds the account's row, so a twin of this call is either before or after.
    deposit = find(idempotency_key=request.idempotency_key)
    if deposit is not None:
        return deposit
    deposit = ChainDeposit(
        reference=secrets.token_urlsafe(24),
        idempotency_key=request.idempotency_key,
        session_public_id=request.session_id,
        attempt=request.attempt,
        account=fingerprint,
        address_index=index,
        address=deposit_address(account, index),
        description=request.description[:200],
        amount_minor=request.amount.amount_minor,
        currency=request.amount.currency,
        success_url=request.success_url,
        cancel_url=request.cancel_url,
        created_at=at,
        expires_at=request.expires_at,
        watches=[
            ChainWatch(
                network=offer.network.name,
                chain_id=offer.network.chain_id,
                token=offer.network.token,
                expected_units=offer.network.units_of(request.amount),
                from_block=offer.head,
                scanned_block=offer.head,
            )
            for offer in offers
        ],
    )
    db.session.add(deposit)
    db.session.flush()
    return deposit


def fingerprint_of(account: "ExtendedKey") -> str:
    """A name for a public key that tells nothing about the addresses below it."""
    return sha256(account.point + account.chain_code).hexdigest()


def write_down(deposit: ChainDeposit, looks: "Mapping[str, Look]", *, at: datetime) -> None:
    """Keep what was found: final transfers for good, the others until the next look. The deposit's row is locked."""
    deposit.looked_at = at
    for watch in deposit.watches:
        look = looks.get(watch.network)
        if look is None:
            continue
        found = {(one.tx_hash, one.log_index): one for one in look.transfers}
        for row in list(watch.transfers):
            seen = found.pop((row.tx_hash, row.log_index), None)
            if row.is_final:
                continue
            if seen is None:
                watch.transfers.remove(row)
            else:
                _update(row, seen)
        watch.transfers.extend(_row(watch, seen) for seen in found.values())
        # A slower look beside this one may come later with less.
        watch.scanned_block = max(watch.scanned_block, look.scanned_block)
    db.session.flush()
    for watch in deposit.watches:
        watch.transfers.sort(key=lambda one: (one.block_number, one.log_index))


def due(*, since: datetime, before: datetime, limit: int) -> list[str]:
    """Deposits that ended since then and were not looked at lately: money may still come to their addresses."""
    rows = db.session.scalars(
        select(ChainDeposit.reference)
        .where(
            ChainDeposit.expires_at >= since,
            or_(ChainDeposit.looked_at.is_(None), ChainDeposit.looked_at <= before),
            or_(ChainDeposit.closed_at.is_not(None), ChainDeposit.paid_network.is_not(None)),
        )
        .order_by(ChainDeposit.expires_at, ChainDeposit.id)
        .limit(limit)
    )
    return list(rows)


def _draw(fingerprint: str) -> int:
    """Take the next index of an account; its row stays locked until the transaction ends."""
    insert = postgresql.insert if is_postgresql() else sqlite.insert
    first = insert(ChainAccount).values(fingerprint=fingerprint, next_index=0)
    db.session.execute(first.on_conflict_do_nothing(index_elements=["fingerprint"]))
    taken: int = db.session.execute(
        update(ChainAccount)
        .where(ChainAccount.fingerprint == fingerprint)
        .values(next_index=ChainAccount.next_index + 1)
        .returning(ChainAccount.next_index)
        .execution_options(synchronize_session=False)
    ).scalar_one()
    return taken - 1


def _row(watch: ChainWatch, seen: "Seen") -> ChainTransfer:
    row = ChainTransfer(chain_id=watch.chain_id, tx_hash=seen.tx_hash, log_index=seen.log_index)
    _update(row, seen)
    return row


def _update(row: ChainTransfer, seen: "Seen") -> None:
    row.block_number = seen.block_number
    row.block_hash = seen.block_hash
    row.units = seen.units
    row.sent_at = seen.sent_at
    row.depth = seen.depth
    row.is_final = seen.is_final

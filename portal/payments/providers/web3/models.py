"""Deposits on chains: an address for each try, where it is watched, and what came."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Dialect, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

from portal.core.db import Base, UTCDateTime


class Units(TypeDecorator[int]):
    """A token amount in base units: up to 78 digits, more than any database's integer, kept as text."""

    impl = String(78)
    cache_ok = True

    def process_bind_param(self, value: int | None, _dialect: Dialect) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: Any, _dialect: Dialect) -> int | None:
        return None if value is None else int(value)


class ChainAccount(Base):
    """An extended public key in use, by its fingerprint, and the next index of it: none is ever given twice."""

    __tablename__ = "chain_accounts"

    fingerprint: Mapped[str] = mapped_column(String(64), primary_key=True)
    next_index: Mapped[int]


class ChainDeposit(Base):
    """One try to pay by sending tokens: its own address, and the page that shows it."""

    __tablename__ = "chain_deposits"

    id: Mapped[int] = mapped_column(primary_key=True)
    # Also the address of the page, so it cannot be guessed.
    reference: Mapped[str] = mapped_column(String(64), unique=True)
    idempotency_key: Mapped[str] = mapped_column(String(128), unique=True)
    session_public_id: Mapped[str] = mapped_column(String(64))
    attempt: Mapped[int]
    account: Mapped[str] = mapped_column(ForeignKey("chain_accounts.fingerprint"))
    address_index: Mapped[int]
    address: Mapped[str] = mapped_column(String(42), unique=True)
    description: Mapped[str] = mapped_column(String(200))
    amount_minor: Mapped[int]
    currency: Mapped[str] = mapped_column(String(3))
    success_url: Mapped[str] = mapped_column(Text)
    cancel_url: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime)
    # Once set, nothing that comes counts as the price any more; each transfer is told apart.
    closed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # The watch on which the price came in full; decided once.
    paid_network: Mapped[str | None] = mapped_column(String(32))
    looked_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    watches: Mapped[list["ChainWatch"]] = relationship(
        back_populates="deposit", order_by="ChainWatch.id", cascade="all, delete-orphan"
    )

    __table_args__ = (
        CheckConstraint("amount_minor > 0", name="amount_positive"),
        UniqueConstraint("account", "address_index"),
        Index("ix_chain_deposits_expires_at", "expires_at", "id"),
    )


class ChainWatch(Base):
    """A deposit's address on one network: how much is expected there, and how far it was looked at for good."""

    __tablename__ = "chain_watches"

    id: Mapped[int] = mapped_column(primary_key=True)
    deposit_id: Mapped[int] = mapped_column(ForeignKey("chain_deposits.id"))
    network: Mapped[str] = mapped_column(String(32))
    chain_id: Mapped[int]
    token: Mapped[str | None] = mapped_column(String(42))
    expected_units: Mapped[int] = mapped_column(Units)
    from_block: Mapped[int]
    scanned_block: Mapped[int]

    deposit: Mapped[ChainDeposit] = relationship(back_populates="watches")
    transfers: Mapped[list["ChainTransfer"]] = relationship(
        back_populates="watch",
        order_by="(ChainTransfer.block_number, ChainTransfer.log_index)",
        cascade="all, delete-orphan",
    )

    __table_args__ = (UniqueConstraint("deposit_id", "network"),)


class ChainTransfer(Base):
    """A transfer to a deposit's address. Until it is final it may vanish again."""

    __tablename__ = "chain_transfers"

    id: Mapped[int] = mapped_column(primary_key=True)
    watch_id: Mapped[int] = mapped_column(ForeignKey("chain_watches.id"), index=True)
    chain_id: Mapped[int]
    tx_hash: Mapped[str] = mapped_column(String(66))
    # -1: the chain's own coins, which move without a log.
    log_index: Mapped[int]
    block_number: Mapped[int]
    block_hash: Mapped[str] = mapped_column(String(66))
    units: Mapped[int] = mapped_column(Units)
    sent_at: Mapped[datetime] = mapped_column(UTCDateTime)
    depth: Mapped[int]
    is_final: Mapped[bool]

    watch: Mapped[ChainWatch] = relationship(back_populates="transfers")

    __table_args__ = (UniqueConstraint("chain_id", "tx_hash", "log_index"),)

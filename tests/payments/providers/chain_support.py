"""The chain's adapter, a real EVM and its nodes, as the tests need them."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any

from flask import Flask

from portal.config import Settings
from portal.core import clock
from portal.core.db import db
from portal.core.money import Money
from portal.payments.providers import standard_webhooks
from portal.payments.providers.registry import Registry
from portal.payments.providers.web3.models import ChainDeposit
from portal.payments.providers.web3.provider import ChainProvider
from tests.fakes.chain import Chain, FakeNode, Token
from tests.fakes.chain.wallet import xpub_of
from tests.payments.providers.harness import SESSION_ID

SEED = sha256(b"a wallet that only tests have").digest()
XPUB = xpub_of(SEED)
KEY = b"a key of twenty-four by."
WEBHOOK_SECRET = standard_webhooks.secret_from(KEY)
TX_ID = "0x" + "ab" * 32


def with_chain(settings: Settings, *networks: dict[str, Any], **changes: Any) -> Settings:
    """Settings with payments on chains switched on."""
    values = {
        "web3_networks": json.dumps(list(networks)),
        "web3_xpub": XPUB,
        "web3_webhook_secret": WEBHOOK_SECRET,
        "sandbox_enabled": False,
    }
    return replace(settings, **{**values, **changes})


def install(app: Flask, *networks: dict[str, Any]) -> ChainProvider:
    """Give an application the provider for these networks, with short patience."""
    registry = Registry(with_chain(app.config["SETTINGS"], *networks))
    provider = registry.get("web3")
    assert isinstance(provider, ChainProvider)
    app.extensions["payment_registry"] = registry
    return provider


def deposit_of(reference: str) -> ChainDeposit:
    """A deposit as it stands in the database."""
    db.session.expire_all()
    deposit: ChainDeposit = db.session.scalars(db.select(ChainDeposit).where(ChainDeposit.reference == reference)).one()
    return deposit


def claim(session_id: str = SESSION_ID, *, tx_id: str = TX_ID, network: str = "local") -> bytes:
    """A message that somebody has paid."""
    return json.dumps({"session_id": session_id, "tx_id": tx_id, "network": network}).encode()


def sign(body: bytes, *, webhook_id: str | None = None, age: timedelta = timedelta(0)) -> dict[str, str]:
    """Its headers."""
    return standard_webhooks.sign(
        webhook_id or f"hint_{sha256(body).hexdigest()[:16]}", body, KEY, at=clock.now() - age
    )


class Wallet:
    """A buyer with tokens, and the portal's nodes."""

    def __init__(self, chain: Chain, token: Token) -> None:
        self.chain = chain
        self.token = token

    def send(self, reference: str, amount: str = "49.00", *, blocks: int = 3) -> str:
        """Send tokens to a deposit's address and let blocks pass; returns the transaction."""
        units = Money.parse(amount, "PLN").amount_minor * 10 ** (self.token.decimals - 2)
        tx_hash = self.token.transfer(deposit_of(reference).address, units)
        self.chain.mine(blocks)
        return tx_hash


class ChainHarness:
    """The chain's adapter with one node."""

    def __init__(self, app: Flask, node: FakeNode, token: Token) -> None:
        self.provider = install(app, node.network(token))
        self.node = node
        self.wallet = Wallet(node.chain, token)
        self.paid: dict[str, str] = {}

    def pay(self, reference: str) -> None:
        self.paid[reference] = self.wallet.send(reference)

    def webhooks(self, reference: str) -> list[tuple[Mapping[str, str], bytes]]:
        body = claim(tx_id=self.paid[reference])
        return [(self.sign(body), body)]

    def sign(self, body: bytes, *, age: timedelta = timedelta(0)) -> dict[str, str]:
        return sign(body, age=age)

    def foreign_body(self) -> bytes:
        return claim(network="somewhere-else")

    @contextmanager
    def down(self) -> Iterator[None]:
        self.node.faults.add("refused", times=100)
        yield
        self.node.faults.clear()

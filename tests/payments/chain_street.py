"""An application that takes tokens on a real chain, for the tests of the money core and of the page."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from flask import Flask
from flask.testing import FlaskClient

from portal.core import clock, outbox
from portal.core.db import db
from portal.core.queues import QueueName
from portal.payments.models import Payment, PaymentAttempt, PaymentSession, SessionStatus
from portal.payments.services import checking
from portal.payments.services.draining import drain_inbox
from portal.payments.services.starting import start_attempt
from tests.fakes.chain import Chain, FakeNode, Token
from tests.payments import signed
from tests.payments.providers.chain_support import Wallet, claim, deposit_of, install, sign

HOOK = "/webhooks/web3"


@dataclass
class Street:
    """The application, its chain, and a buyer."""

    app: Flask
    chain: Chain
    node: FakeNode
    token: Token
    wallet: Wallet

    def started(self) -> tuple[PaymentSession, str]:
        """A session with a deposit, and the deposit's reference."""
        session = signed.make_session()
        start_attempt(session.id, "web3", at=clock.now())
        reference = db.session.scalars(
            db.select(PaymentAttempt.provider_reference).where(PaymentAttempt.session_id == session.id)
        ).one()
        assert reference is not None
        return session, reference

    def look(self, session: PaymentSession) -> None:
        """Have the scheduled check ask, and apply what it finds."""
        checking.check_session(session.id)
        work()

    def let_time_pass(self, by: timedelta) -> None:
        """The chain's next block is mined as much later; the portal's clock is the caller's."""
        self.chain.travel((clock.now() + by).timestamp())


def open_street(app: Flask) -> Iterator[Street]:
    """Switch payments on chains on for one test."""
    chain = Chain()
    token = chain.deploy()
    before = app.extensions["payment_registry"]
    with FakeNode(chain) as node:
        install(app, node.network(token))
        yield Street(app, chain, node, token, Wallet(chain, token))
    app.extensions["payment_registry"] = before


def work() -> None:
    """The workers work everything off."""
    drain_inbox()
    outbox.drain(QueueName.WEBHOOKS)
    drain_inbox()
    db.session.expire_all()


def hint(client: FlaskClient, session: PaymentSession | str, tx_id: str, network: str = "local") -> tuple[int, str]:
    """Claim by webhook that a transaction paid a session."""
    public_id = session if isinstance(session, str) else session.public_id
    body = claim(public_id, tx_id=tx_id, network=network)
    answer = client.post(HOOK, data=body, headers=sign(body))
    return answer.status_code, answer.get_json().get("status", "")


def money() -> list[tuple[int, str, str | None]]:
    """Every payment: how much, how it stands, and why not."""
    payments = db.session.scalars(db.select(Payment).order_by(Payment.id))
    return [(one.amount_minor, one.standing.value, one.surplus_reason) for one in payments]


def status_of(session: PaymentSession) -> SessionStatus:
    """How a session stands in the database."""
    db.session.expire_all()
    return db.session.get_one(PaymentSession, session.id).status


__all__ = ["HOOK", "Street", "deposit_of", "hint", "money", "open_street", "status_of", "work"]

"""Payments on chains behind the provider contract."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from portal.core import clock
from portal.core.db import unit_of_work
from portal.payments.providers import standard_webhooks
from portal.payments.providers.base import (
    Capabilities,
    FetchResult,
    InvalidPayload,
    NormalisedEvent,
    Outcome,
    ParsedWebhook,
    ProviderRejected,
    ProviderUnavailable,
    RecoveredEvent,
    RefundRequest,
    RefundResult,
    StartRequest,
    StartResult,
)
from portal.payments.providers.calling import CONNECT_SECONDS, READ_SECONDS
from portal.payments.providers.payloads import Fields, parse_object
from portal.payments.providers.web3 import deposits, facts
from portal.payments.providers.web3.addresses import ExtendedKey
from portal.payments.providers.web3.looking import Look, Where, observers_of
from portal.payments.providers.web3.models import ChainDeposit
from portal.payments.providers.web3.networks import Network
from portal.payments.providers.web3.rpc import NodeSilent

log = structlog.get_logger(__name__)

EVENT_TYPE = "transfer.claimed"
_TX_ID = re.compile(r"0x[0-9a-fA-F]{64}")
_LONGEST_SESSION_ID = 64
# Addresses whose page is over are looked at now and then, as long as the recovery reaches back.
_LOOK_AGAIN_AFTER = timedelta(hours=1)
_MOST_RECOVERED = 50
_SENTENCES = {
    "currency_not_supported": _l("No network takes this currency. Choose another way to pay."),
    "not_supported": _l("Money on a chain is given back by hand."),
    "already_completed": _l("The payment is already on the chain."),
}


class ChainProvider:
    """Takes tokens at an address for each try. Safe to share between threads."""

    name = "web3"
    capabilities: Capabilities

    def __init__(
        self,
        *,
        account: ExtendedKey,
        networks: Sequence[Network],
        keys: Sequence[bytes],
        portal_url: str,
        timeout: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
    ) -> None:
        """`keys` sign hints and are all believed. Raises ValueError when there is no key or no network."""
        if not keys or not networks:
            raise ValueError("a webhook key and a network are needed")
        self._account = account
        self._keys = tuple(keys)
        self._networks = {network.name: network for network in networks}
        # Whichever a token is worth one to one; there are no exchange rates.
        currencies = frozenset(currency for network in networks for currency in network.currencies)
        self.capabilities = Capabilities(
            refund=False, partial_refund=False, fetch=True, methods=("crypto",), currencies=currencies
        )
        self._observers = observers_of(networks, timeout=timeout)
        self._portal_url = portal_url.rstrip("/")

    @property
    def title(self) -> str:
        """What people read."""
        return str(_("Stablecoins and crypto"))

    @property
    def networks(self) -> Mapping[str, Network]:
        """The configured networks by name."""
        return self._networks

    def start(self, request: StartRequest) -> StartResult:
        """Give the try an address and a page of ours. Raises ProviderUnavailable or ProviderRejected.

        A network whose node does not answer is left out; with none left nothing is opened.
        """
        if request.amount.amount_minor <= 0:
            raise ValueError("nothing to pay")
        if request.amount.currency not in (self.capabilities.currencies or ()):
            raise _rejected("currency_not_supported")
        with _books("start"), unit_of_work():
            deposit = deposits.find(idempotency_key=request.idempotency_key)
        if deposit is None:
            offers = self._offers(request.amount.currency)
            with _books("start"), unit_of_work():
                deposit = deposits.open_deposit(request, self._account, offers, at=clock.now())
        asked = (request.session_id, request.amount.amount_minor, request.amount.currency)
        if (deposit.session_public_id, deposit.amount_minor, deposit.currency) != asked:
            raise _rejected("idempotency_conflict")
        return StartResult(deposit.reference, f"{self._portal_url}/pay/chain/{deposit.reference}", deposit.expires_at)

    def parse_webhook(self, headers: Mapping[str, str], body: bytes, *, at: datetime) -> ParsedWebhook:
        """Read a claim that a session was paid: never more than a hint. Raises InvalidSignature or InvalidPayload."""
        webhook_id = standard_webhooks.verify(headers, body, self._keys, at=at)
        claim = Fields(parse_object(body))
        session_id, tx_id, network = claim.text("session_id"), claim.text("tx_id"), claim.text("network")
        if len(session_id) > _LONGEST_SESSION_ID or not _TX_ID.fullmatch(tx_id):
            raise InvalidPayload("session_id or tx_id is not one")
        detail = f"{network[:32]}:{tx_id.lower()}"
        # The name picks one of our networks; addresses and nodes never come from outside.
        if network not in self._networks:
            fact = NormalisedEvent(Outcome.IGNORED, detail=f"unknown network {detail}")
        else:
            fact = NormalisedEvent(Outcome.HINT, session_id=session_id, detail=detail)
        return ParsedWebhook(delivery_key=webhook_id, event_type=EVENT_TYPE, events=(fact,))

    def fetch(self, attempt_reference: str) -> FetchResult:
        """Look at the chain and say what came. Raises ProviderUnavailable or ProviderRejected."""
        looks = self._look(attempt_reference)
        at = clock.now()
        with _books("fetch"), unit_of_work():
            deposit = self._write_down(attempt_reference, looks, at=at)
            if self._is_over(deposit, looks, at):
                deposit.closed_at = deposit.expires_at
            return self._state(deposit)

    def refund(self, request: RefundRequest) -> RefundResult:
        """Refuse: no key here could send anything. Always raises ProviderRejected."""
        raise _rejected("not_supported", detail=request.payment_reference)

    def expire(self, attempt_reference: str) -> None:
        """Close the page: what comes from now on is kept apart. Raises ProviderUnavailable or ProviderRejected.

        Nobody can stop a transfer; so the chain is looked at first, and a price that is on its way is waited for.
        """
        looks = self._look(attempt_reference)
        at = clock.now()
        with _books("expire"), unit_of_work():
            deposit = self._write_down(attempt_reference, looks, at=at)
            is_coming = any(facts.progress_of(deposit, watch).seen >= watch.expected_units for watch in deposit.watches)
            if deposit.closed_at is None:
                if deposit.paid_network is not None or is_coming:
                    raise _rejected("already_completed")
                deposit.closed_at = min(at, deposit.expires_at)

    def recover_events(self, since: datetime) -> Iterator[RecoveredEvent]:
        """What came to addresses whose page is over. Raises ProviderUnavailable."""
        with _books("recover"), unit_of_work():
            references = deposits.due(since=since, before=clock.now() - _LOOK_AGAIN_AFTER, limit=_MOST_RECOVERED)
        for reference in references:
            state = self.fetch(reference)
            if state.event is not None:
                yield RecoveredEvent(f"asked: {state.raw_status}".encode(), state.as_told(reference))

    def _offers(self, currency: str) -> list[deposits.Offer]:
        offers: list[deposits.Offer] = []
        problem: NodeSilent | None = None
        for network in self._networks.values():
            if currency not in network.currencies:
                continue
            try:
                offers.append(deposits.Offer(network, self._observers[network.name].newest_block()))
            except NodeSilent as error:
                log.warning("web3.network_left_out", network=network.name, error=str(error))
                problem = error
        if not offers:
            raise ProviderUnavailable(detail=f"start: {problem}") from problem
        return offers

    def _look(self, reference: str) -> dict[str, Look]:
        """Look at every network of a deposit, with no transaction open. Raises ProviderUnavailable."""
        with _books("look"), unit_of_work():
            deposit = deposits.get(reference)
            places = {watch.network: Where(deposit.address, watch.scanned_block) for watch in deposit.watches}
        looks = {}
        for name, where in places.items():
            observer = self._observers.get(name)
            if observer is None:
                raise ProviderUnavailable(detail=f"the network {name} is not configured any more")
            try:
                looks[name] = observer.look(where)
            except NodeSilent as error:
                log.warning("web3.no_answer", network=name, error=str(error))
                raise ProviderUnavailable(detail=f"{name}: {error}") from error
        return looks

    def _write_down(self, reference: str, looks: Mapping[str, Look], *, at: datetime) -> ChainDeposit:
        deposit = deposits.get(reference, lock=True)
        deposits.write_down(deposit, looks, at=at)
        paid = facts.paid_watch(deposit)
        if paid is not None:
            deposit.paid_network = paid.network
        return deposit

    def _is_over(self, deposit: ChainDeposit, looks: Mapping[str, Look], at: datetime) -> bool:
        """Whether the price can no longer come in time: every chain was seen to a block after the page's end."""
        if deposit.closed_at is not None or deposit.paid_network is not None or at <= deposit.expires_at:
            return False
        is_seen = all(look.is_complete and look.head_at > deposit.expires_at for look in looks.values())
        return is_seen and not facts.is_on_its_way(deposit)

    def _state(self, deposit: ChainDeposit) -> FetchResult:
        state = facts.state_of(deposit, self._networks)
        is_test = all(network.is_test for network in self._networks.values())
        return replace(
            state,
            event=replace(state.event, is_test=is_test) if state.event else None,
            more=tuple(replace(fact, is_test=is_test) for fact in state.more),
        )


def _rejected(reason: str, *, detail: str | None = None) -> ProviderRejected:
    return ProviderRejected(_SENTENCES.get(reason), reason=reason, detail=detail)


@contextmanager
def _books(action: str) -> Iterator[None]:
    """The book of deposits is in the portal's database; when that is away, nothing is known."""
    try:
        yield
    except deposits.DepositNotFound as error:
        raise ProviderRejected(reason="resource_missing", detail=action) from error
    except (DBAPIError, PoolTimeout) as error:
        raise ProviderUnavailable(detail=f"{action}: {type(error).__name__}") from error

"""The sandbox behind the provider contract: the portal's side of the wall."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

import structlog
from flask_babel import gettext as _
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from portal.core import clock
from portal.core.db import unit_of_work
from portal.core.faults import fault
from portal.payments.providers import standard_webhooks
from portal.payments.providers.base import (
    PLACEHOLDER,
    Capabilities,
    FetchResult,
    InvalidPayload,
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
from portal.payments.providers.sandbox import books
from portal.payments.providers.sandbox.events import charge_fact, closed_fact, ended_fact, read_event
from portal.payments.providers.sandbox.models import PageStatus, SandboxPayment

log = structlog.get_logger(__name__)

# A webhook that is younger may simply be on its way.
_UNDELIVERED_AFTER = timedelta(minutes=1)


class SandboxProvider:
    """Takes no real money, and otherwise behaves like any other provider. Safe to share between threads."""

    name = "sandbox"
    capabilities = Capabilities(refund=True, partial_refund=True, fetch=True, methods=("card", "blik"), recurring=True)

    def __init__(self, *, keys: Sequence[bytes], portal_url: str, shows_signatures: bool = False) -> None:
        """`keys` are all believed; `shows_signatures` on a developer's own machine. Raises ValueError without a key."""
        if not keys:
            raise ValueError("the sandbox needs a webhook key")
        self._keys = tuple(keys)
        self._portal_url = portal_url.rstrip("/")
        self._shows_signatures = shows_signatures

    @property
    def title(self) -> str:
        """What people read."""
        return str(_("Test payment"))

    def start(self, request: StartRequest) -> StartResult:
        """Open a page in the company's books. Raises ProviderUnavailable or ProviderRejected."""
        with _answering("start"), unit_of_work():
            page = books.open_page(request, at=clock.now())
        return StartResult(page.reference, f"{self._portal_url}/sandbox/{page.reference}", page.expires_at)

    def parse_webhook(self, headers: Mapping[str, str], body: bytes, *, at: datetime) -> ParsedWebhook:
        """Verify and read a delivery. Raises InvalidSignature or InvalidPayload."""
        webhook_id = standard_webhooks.verify(headers, body, self._keys, at=at)
        return read_event(webhook_id, body)

    def reread(self, body: bytes, *, delivery_key: str) -> ParsedWebhook:
        """Read a delivery without asking who sent it. Raises InvalidPayload."""
        return read_event(delivery_key, body)

    def sample_headers(self, body: bytes, *, delivery_key: str, at: datetime) -> Mapping[str, str]:
        """The headers of a delivery; really signed in development, so that it can be posted again by hand."""
        headers = standard_webhooks.sign(delivery_key, body, self._keys[0], at=at)
        if not self._shows_signatures:
            headers = {**headers, "webhook-signature": f"v1,{PLACEHOLDER}"}
        return {"Content-Type": "application/json", **headers}

    def fetch(self, attempt_reference: str) -> FetchResult:
        """Look into the company's books. Raises ProviderUnavailable or ProviderRejected."""
        with _answering("fetch"):
            return _state(books.get_page(attempt_reference), clock.now())

    def fetch_subscription(self, reference: str) -> FetchResult:
        """Look into the company's books. Raises ProviderUnavailable or ProviderRejected."""
        with _answering("fetch"):
            return _subscription_state(books.get_page(books.page_of_subscription(reference)))

    def cancel_subscription(self, reference: str) -> None:
        """Have it charge no more. Raises ProviderUnavailable or ProviderRejected."""
        with _answering("cancel"), unit_of_work():
            books.end_subscription(books.page_of_subscription(reference), at=clock.now())

    def refund(self, request: RefundRequest) -> RefundResult:
        """Give money back. Raises ProviderUnavailable or ProviderRejected."""
        with _answering("refund"), unit_of_work():
            given = books.refund(request, at=clock.now())
        return RefundResult(given.reference, "succeeded")

    def expire(self, attempt_reference: str) -> None:
        """Close a page. Raises ProviderUnavailable, or ProviderRejected when it was paid."""
        with _answering("expire"), unit_of_work():
            page = books.expire(attempt_reference, at=clock.now())
        if page.state is PageStatus.PAID:
            raise ProviderRejected(reason="already_completed")

    def recover_events(self, since: datetime) -> Iterator[RecoveredEvent]:
        """The events whose webhooks were lost, oldest first. Raises ProviderUnavailable."""
        with _answering("recover"):
            lost = books.undelivered(since=since, until=clock.now() - _UNDELIVERED_AFTER)
            found = [(event.webhook_id, event.body.encode()) for event in lost]
        for webhook_id, body in found:
            try:
                yield RecoveredEvent(body, read_event(webhook_id, body))
            except InvalidPayload as error:
                log.error("sandbox.unreadable_event", id=webhook_id, reason=error.reason)


def _state(page: SandboxPayment, at: datetime) -> FetchResult:
    if page.charges:
        return FetchResult(Outcome.PAID, charge_fact(page, page.charges[0]), page.state.value)
    if page.state is PageStatus.CANCELLED:
        return FetchResult(Outcome.FAILED, closed_fact(page, books.CANCELLED), page.state.value)
    if page.state is PageStatus.EXPIRED or page.expires_at <= at:
        return FetchResult(Outcome.FAILED, closed_fact(page, books.EXPIRED), PageStatus.EXPIRED.value)
    return FetchResult(Outcome.PENDING, None, page.state.value)


def _subscription_state(page: SandboxPayment) -> FetchResult:
    """Its newest charge, then its end: the order in which they happened."""
    facts = [charge_fact(page, charge) for charge in page.charges[-1:]]
    if page.ended_at is not None:
        facts.append(ended_fact(page))
    if not facts:
        return FetchResult(Outcome.PENDING, None, page.state.value)
    word = "ended" if page.ended_at else "active"
    return FetchResult(facts[-1].outcome, facts[0], f"{word} {page.charges[-1].reference}", tuple(facts[1:]))


@contextmanager
def _answering(action: str) -> Iterator[None]:
    """The company's books share the portal's database; when that is away, the company does not answer."""
    try:
        fault("sandbox-call")
        yield
    except books.PageNotFound as error:
        raise ProviderRejected(reason="resource_missing", detail=action) from error
    except (DBAPIError, PoolTimeout) as error:
        raise ProviderUnavailable(detail=f"{action}: {type(error).__name__}") from error

"""The contract between the money core and a payment provider.

The core hands over plain values and gets plain values back. What a provider says about money always arrives as a
`NormalisedEvent`, whether a webhook brought it or the core asked; both carry the same business key, so one fact
counts once however often and by whichever way it is told.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar, Literal, Protocol, runtime_checkable

from flask_babel import lazy_gettext as _l

from portal.core.errors import PortalError, Sentence, Unavailable
from portal.core.money import Money

RefundStatus = Literal["pending", "succeeded", "failed"]


class Outcome(StrEnum):
    """What a provider's message means for us, in our words."""

    PENDING = "pending"  # The buyer is done; the money is on its way.
    HINT = "hint"  # Something happened to this attempt; `fetch` tells what, the message itself is not believed.
    CLAIMED = "claimed"  # Said to be paid, with too little to believe it; a person looks, and says how it ended.
    PAID = "paid"
    FAILED = "failed"  # Final: this attempt can no longer be paid.
    REFUNDED = "refunded"
    REFUND_FAILED = "refund_failed"  # May follow REFUNDED: the bank sent the money back.
    DISPUTED = "disputed"  # Also when it changes while it is open; `detail` is the buyer's reason.
    DISPUTE_CLOSED = "dispute_closed"  # `detail` says how: won, lost or withdrawn.
    # What becomes of a subscription, named by `subscription_reference`. A renewal that went well is PAID.
    RENEWAL_FAILED = "renewal_failed"  # `due_at`: when the provider tries again, if it says so.
    SUBSCRIPTION_PAUSED = "subscription_paused"
    SUBSCRIPTION_RESUMED = "subscription_resumed"
    SUBSCRIPTION_ENDED = "subscription_ended"  # Nothing is charged for it any more.
    NEWS = "news"  # Not about money: `subject_reference` names a thing of another domain; see payments/listening.py.
    IGNORED = "ignored"  # Understood, and changes nothing.


class SignatureProblem(StrEnum):
    """Why a webhook was not believed; for the log and the skew warning, never for the answer's body."""

    MISSING_HEADER = "missing_header"
    MALFORMED_HEADER = "malformed_header"
    TOO_OLD = "too_old"
    IN_FUTURE = "in_future"
    NO_MATCH = "no_match"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can do; the core asks here and never by name."""

    refund: bool
    partial_refund: bool
    fetch: bool
    methods: tuple[str, ...]  # "card", "blik", "transfer", "crypto": what checkout shows.
    repeats_start: bool = True  # A repeated `start` gives the same page; else it raises AlreadyStarted.
    currencies: frozenset[str] | None = None  # Where the account decides; None leaves it to the registry's row.
    expire: bool = True  # `expire` closes a page; else it stays open until the time it was started with, or for ever.
    recurring: bool = False  # Takes `StartRequest.every_months`, and is a `TakesSubscriptions`.


@dataclass(frozen=True, slots=True)
class StartRequest:
    """One try at having a payment session paid."""

    session_id: str  # The payment session's public uuid; comes back in every event.
    attempt: int
    idempotency_key: str  # Recorded before the call, so that a repeated call starts nothing new.
    amount: Money
    description: str  # What the buyer reads on the provider's page.
    success_url: str
    cancel_url: str
    customer_email: str | None
    expires_at: datetime
    metadata: Mapping[str, str]
    locale: str | None
    # The buyer's network address while they wait for the answer, for providers that ask for it; stored nowhere.
    client_address: str | None = None
    # When the attempt was recorded: no call for it is older. For providers without keys, which must look first whether
    # an earlier call opened a page.
    begun_at: datetime | None = None
    # The buyer agrees to pay the amount now and again every so many months, until somebody ends it; None for once.
    every_months: int | None = None


@dataclass(frozen=True, slots=True)
class StartResult:
    """Where to send the buyer, and the provider's own id of the attempt."""

    reference: str
    redirect_url: str
    expires_at: datetime | None  # When the provider closes its page; may be later than asked for.


@dataclass(frozen=True, slots=True)
class NormalisedEvent:
    """One fact about money, in our words.

    Nothing in it is checked against our records: before anything of value is granted, the core compares session,
    amount, currency and test or live mode with what it stored.
    """

    outcome: Outcome
    session_id: str | None = None
    attempt_reference: str | None = None  # As `StartResult.reference`.
    payment_reference: str | None = None  # What a refund refers to.
    business_key: str | None = None  # Names the fact; None for an event that states none.
    amount_minor: int | None = None
    currency: str | None = None  # Upper case.
    is_test: bool | None = None
    occurred_at: datetime | None = None
    detail: str | None = None  # For staff and logs.
    attempt: int | None = None  # Which attempt of the session, where only its number comes back.
    # The provider's id of the refund or dispute; a refund's is `RefundResult.reference`. Without it, it is read from a
    # business key of the form `<provider>:<id>:<fact>`.
    subject_reference: str | None = None
    refund_key: str | None = None  # `RefundRequest.idempotency_key` of a refund we asked for, where it comes back.
    due_at: datetime | None = None  # Until when a dispute must be answered, or when a failed renewal is tried again.
    # The provider's id of the subscription, in every fact about one. The first payment's and each renewal's are told
    # apart by the core: the first settles the session that was started, the others have sessions of their own.
    subscription_reference: str | None = None


@dataclass(frozen=True, slots=True)
class ParsedWebhook:
    """A verified delivery. Without events, or with IGNORED ones only, it is stored and changes nothing."""

    delivery_key: str  # The same for every delivery of one event.
    event_type: str  # The provider's name for it.
    events: tuple[NormalisedEvent, ...]


@dataclass(frozen=True, slots=True)
class RecoveredEvent:
    """An event that was read from the provider because its webhook did not arrive; `body` goes into the inbox."""

    body: bytes
    parsed: ParsedWebhook


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What the provider says now. `event` is missing while nothing has happened to the money."""

    outcome: Outcome
    event: NormalisedEvent | None
    raw_status: str  # In the provider's words, for staff. Another one whenever the facts are others.
    more: tuple[NormalisedEvent, ...] = ()  # Further facts, applied after `event`: money beyond or beside the price.

    def as_told(self, attempt_reference: str) -> ParsedWebhook:
        """The facts as the inbox takes them in; the same answer has the same key."""
        return ParsedWebhook(
            delivery_key=f"poll:{attempt_reference}:{self.raw_status}"[:255],
            event_type=f"poll.{self.outcome.value}",
            events=(*((self.event,) if self.event else ()), *self.more),
        )


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """Give back a payment, or part of it; no amount means all that is left."""

    payment_reference: str
    amount: Money | None
    idempotency_key: str
    reason: str


@dataclass(frozen=True, slots=True)
class RefundResult:
    """The provider's refund. A succeeded one may still fail later; a webhook says so."""

    reference: str
    status: RefundStatus


class ProviderUnavailable(Unavailable):
    """The provider did not say yes or no: whether anything happened is unknown, so ask again and never fail it.

    `is_answered` is true when the provider itself answered that it failed. It then repeats that answer for the same
    idempotency key, so a new attempt needs a new key; without an answer the same key must be used again.
    """

    default = _l("The payment provider does not answer right now. Nothing was lost; please try again in a moment.")

    def __init__(
        self, message: Sentence | None = None, *, is_answered: bool = False, detail: str | None = None
    ) -> None:
        super().__init__(message)
        self.is_answered = is_answered
        self.detail = detail


class ProviderRejected(PortalError):
    """The provider's final no. `message` is for the buyer, `reason` and `detail` are for staff and logs."""

    status: ClassVar[int] = 422
    code: ClassVar[str] = "provider_rejected"
    default = _l("The payment provider refused this. Choose another way to pay, or try again later.")

    def __init__(
        self, message: Sentence | None = None, *, reason: str | None = None, detail: str | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.detail = detail


class AlreadyStarted(ProviderRejected):
    """This attempt has a page already, whose address the provider told once and does not tell again.

    Either another call is about to record it, or the answer that had it was lost. Only providers whose capabilities
    lack `repeats_start` raise it.
    """

    code: ClassVar[str] = "already_started"

    def __init__(self, *, detail: str | None = None) -> None:
        super().__init__(
            _l("The payment page that was opened before got lost. Please try again."),
            reason="already_started",
            detail=detail,
        )


class InvalidSignature(PortalError):
    """A webhook that nobody we trust has signed. All of them are answered alike."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "invalid_signature"
    default = _l("The signature is missing or wrong.")

    def __init__(self, reason: SignatureProblem, *, skew: timedelta | None = None) -> None:
        super().__init__()
        self.args = (reason,)  # What a log or a traceback shows; a person reads `message`.
        self.reason = reason
        # How far the sender's clock is behind ours (negative: ahead). Known only when the signature itself was right.
        self.skew = skew


class InvalidPayload(PortalError):
    """A signed body that is not what its provider sends; `reason` says what is wrong with it."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "invalid_payload"
    default = _l("The body could not be read.")

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.args = (reason,)
        self.reason = reason


class Provider(Protocol):
    """What every payment provider offers. All calls may be repeated; none runs inside a database transaction."""

    @property
    def name(self) -> str:
        """The key in addresses, settings and tables."""

    @property
    def title(self) -> str:
        """What people read."""

    @property
    def capabilities(self) -> Capabilities:
        """What this provider can do."""

    def start(self, request: StartRequest) -> StartResult:
        """Open a hosted page for one attempt; repeating the request gives the same page, and never a second one.

        Raises ProviderUnavailable (unknown whether it was opened), ProviderRejected (it was not), or AlreadyStarted
        (it was, by an earlier call, and its address is not told again).
        """

    def parse_webhook(self, headers: Mapping[str, str], body: bytes, *, at: datetime) -> ParsedWebhook:
        """Verify the raw bytes as received, then say what they mean. Talks to nobody.

        Raises InvalidSignature or InvalidPayload, and nothing else whatever the bytes are.
        """

    def fetch(self, attempt_reference: str) -> FetchResult:
        """Ask how an attempt stands; the event has the business key that its webhook would have.

        Raises ProviderUnavailable, or ProviderRejected when the provider does not know the reference; always so when
        the capabilities lack `fetch`.
        """

    def refund(self, request: RefundRequest) -> RefundResult:
        """Give money back; repeating the request gives the same refund.

        Raises ProviderUnavailable (unknown) or ProviderRejected (nothing was refunded).
        """

    def expire(self, attempt_reference: str) -> None:
        """Close the hosted page: when this returns, the attempt cannot be paid any more. Repeating is harmless.

        Raises ProviderUnavailable, or ProviderRejected with reason "already_completed" when the buyer was faster;
        `fetch` then tells how that went. Without the capability `expire` an open page is left open, which is refused
        with reason "cannot_expire".
        """


@runtime_checkable
class TakesSubscriptions(Protocol):
    """A provider that charges again by itself, every so many months, what a buyer agreed to once."""

    def cancel_subscription(self, reference: str) -> None:
        """Have it charge no more: when this returns, nothing further is taken. What was paid stays paid. Repeating is
        harmless.

        Raises ProviderUnavailable (unknown), or ProviderRejected when it does not know the subscription.
        """

    def fetch_subscription(self, reference: str) -> FetchResult:
        """Ask how a subscription stands: its newest charge, and whether it goes on, with the business keys that their
        webhooks would have. Raises ProviderUnavailable, or ProviderRejected when it does not know the reference."""


@runtime_checkable
class RecoversEvents(Protocol):
    """A provider that can list the events whose webhooks it could not deliver."""

    def recover_events(self, since: datetime) -> Iterator[RecoveredEvent]:
        """The undelivered events of the types we use, oldest first. Raises ProviderUnavailable or ProviderRejected."""


@runtime_checkable
class DecidedByHand(Protocol):
    """A provider that cannot be asked: how an attempt ended, a person finds out there and says here."""

    def fact_by_hand(self, attempt_reference: str, outcome: Outcome, transaction: str | None) -> NormalisedEvent:
        """The fact as the provider's own message would state it, with the same business key; amounts are added by
        the core. `outcome` is PAID or FAILED, `transaction` its id of the money, where it is known."""


@runtime_checkable
class Rereads(Protocol):
    """A provider whose deliveries staff can look into again: stored ones, and what they paste by hand."""

    def reread(self, body: bytes, *, delivery_key: str) -> ParsedWebhook:
        """Say what a delivery means, believing it: it was verified when it came, or the reader is told that it was not.

        Pure. Raises InvalidPayload.
        """

    def sample_headers(self, body: bytes, *, delivery_key: str, at: datetime) -> Mapping[str, str]:
        """The headers of such a delivery, with `PLACEHOLDER` where the signature belongs.

        Never a valid signature: whoever reads the back office must not be able to make one. The one exception is a
        provider that takes no real money, on a developer's own machine.
        """


PLACEHOLDER = "SIGNATURE"

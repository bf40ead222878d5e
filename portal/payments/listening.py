"""Senders whose webhooks are about other things than money, and who makes something of them.

They use the addresses, limits, inbox, answers and replays of the payment providers; only what an event means is their
own. The adapter tells each event as one fact with the outcome NEWS, whose `subject_reference` names the thing.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from portal.core.errors import Sentence
from portal.payments.providers.base import NormalisedEvent, ParsedWebhook

if TYPE_CHECKING:
    from portal.payments.models import EventStatus, ProviderEvent


class Subject(StrEnum):
    """How far a thing has come that news are about."""

    OPEN = "open"
    # Whatever is told now is late or does not fit, so it is decided while the sender waits.
    OVER = "over"


class Sender(Protocol):
    """Whoever posts webhooks to us: a payment provider or a listener's company."""

    @property
    def name(self) -> str:
        """The key in addresses, settings and tables."""

    def parse_webhook(self, headers: Mapping[str, str], body: bytes, *, at: datetime) -> ParsedWebhook:
        """Verify the raw bytes as received, then say what they mean. Talks to nobody.

        Raises InvalidSignature or InvalidPayload, and nothing else whatever the bytes are.
        """


class Listener(Sender, Protocol):
    """A sender together with the domain that its news are for."""

    @property
    def title(self) -> Sentence:
        """What people read."""

    def standing_of(self, reference: str) -> Subject | None:
        """Whether we have what the news are about, and whether its end is known already.

        Asked while a sender waits: read by `core.db.read_alone`, so that no second connection is held beside the one
        that stores the event.
        """

    def known_among(self, references: Sequence[str]) -> Collection[str]:
        """Those of the references that are of something we have, in the caller's transaction."""

    def lock(self, references: Sequence[str]) -> None:
        """Take the locks of everything that a batch of news is about, in one order, in the caller's transaction."""

    def apply(self, event: "ProviderEvent", fact: NormalisedEvent, *, at: datetime) -> tuple["EventStatus", str]:
        """Make something of one event, in the caller's transaction: what became of it, and why, in words for staff.

        UNMATCHED means that we do not have the thing yet. Doing it again changes nothing.
        """

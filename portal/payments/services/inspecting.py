"""A delivery that somebody pasted: which part of its signature is right, and what it says. Nothing is stored."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from portal.payments.listening import Sender
from portal.payments.providers.base import (
    InvalidPayload,
    InvalidSignature,
    ParsedWebhook,
    Rereads,
    SignatureProblem,
)

_ONLY_TIME = (SignatureProblem.TOO_OLD, SignatureProblem.IN_FUTURE)


class Mending(StrEnum):
    """What copying had changed about a body, found because the signature fits without it."""

    NONE = "none"
    LAST_NEWLINE = "last_newline"
    LINE_ENDS = "line_ends"


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is known of a pasted delivery.

    `problem` is what is wrong with the signature, None when a delivery like this would be believed; `skew` how far its
    time is from ours; `unreadable` what is wrong with the body. `parsed` is also there for a body that nobody signed.
    """

    problem: SignatureProblem | None
    skew: timedelta | None
    unreadable: str | None
    mending: Mending
    parsed: ParsedWebhook | None
    body: str

    @property
    def is_signed(self) -> bool:
        """Whether the secret's owner wrote it, if not just now."""
        return self.problem is None or self.problem in _ONLY_TIME


def inspect(provider: Sender, headers: Mapping[str, str], body: str, *, at: datetime) -> Inspection:
    """Verify and read a pasted delivery. A browser sends CRLF for every end of a line, so the signature is tried with
    the ends of lines that JSON on the wire usually has, and with those as they came."""
    plain = body.replace("\r\n", "\n")
    first: Inspection | None = None
    for mending, text in _spellings(plain):
        found = _inspect(provider, headers, text, mending, at=at)
        if found.is_signed:
            return found
        first = first or found
        if found.problem is not SignatureProblem.NO_MATCH:
            break
    return first or _inspect(provider, headers, plain, Mending.NONE, at=at)


def _spellings(plain: str) -> Iterator[tuple[Mending, str]]:
    yield Mending.NONE, plain
    yield Mending.LAST_NEWLINE, plain[:-1] if plain.endswith("\n") else f"{plain}\n"
    if "\n" in plain:
        yield Mending.LINE_ENDS, plain.replace("\n", "\r\n")
        yield Mending.LINE_ENDS, plain.rstrip("\n").replace("\n", "\r\n")


def _inspect(provider: Sender, headers: Mapping[str, str], text: str, mending: Mending, *, at: datetime) -> Inspection:
    body = text.encode("utf-8", "replace")
    try:
        parsed = provider.parse_webhook(headers, body, at=at)
    except InvalidSignature as error:
        unreadable, read = _read(provider, body)
        return Inspection(error.reason, error.skew, unreadable, mending, read, text)
    except InvalidPayload as error:
        return Inspection(None, None, error.reason, mending, None, text)
    return Inspection(None, None, None, mending, parsed, text)


def _read(provider: Sender, body: bytes) -> tuple[str | None, ParsedWebhook | None]:
    """What a body says that is not believed: why it cannot be read, or its facts."""
    if not isinstance(provider, Rereads):
        return None, None
    try:
        return None, provider.reread(body, delivery_key="pasted")
    except InvalidPayload as error:
        return error.reason, None

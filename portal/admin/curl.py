"""A delivery as a command for a terminal: the body as it came, and a placeholder where its signature belongs."""

import shlex
from collections.abc import Mapping
from datetime import datetime

from portal.core.addresses import address_of
from portal.payments.extension import sender_of
from portal.payments.models import ProviderEvent
from portal.payments.providers.base import PLACEHOLDER, Rereads
from portal.payments.providers.registry import UnknownProvider

# Of a provider that does not say how its deliveries look.
_UNKNOWN = {"Content-Type": "application/json", "Signature": PLACEHOLDER}


def curl_command(event: ProviderEvent, *, at: datetime) -> str | None:
    """Post a stored delivery again by hand; None for what no provider has posted.

    The signature is missing on purpose: it would be a key with which anybody could say that something was paid. Whoever
    needs one has the provider send the event again.
    """
    if event.source != "webhook":
        return None
    headers = _headers(event, at)
    url = address_of("webhooks.receive", provider_name=event.provider)
    lines = [f"curl -X POST {shlex.quote(url)}"]
    lines += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers.items()]
    # Raw: with --data a body that begins with @ would name a file of whoever pastes it.
    lines.append(f"--data-raw {shlex.quote(event.body)}")
    return " \\\n  ".join(lines)


def _headers(event: ProviderEvent, at: datetime) -> Mapping[str, str]:
    try:
        provider = sender_of(event.provider)
    except UnknownProvider:
        return _UNKNOWN
    if not isinstance(provider, Rereads):
        return _UNKNOWN
    return provider.sample_headers(event.body.encode("utf-8", "replace"), delivery_key=event.delivery_key, at=at)

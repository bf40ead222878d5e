"""The secrets that deliveries are signed with: 32 random bytes, sealed at rest, told to their merchant once."""

import secrets
from datetime import datetime

from portal.core import sealed
from portal.merchants.outbound.models import WebhookEndpoint
from portal.payments.providers import standard_webhooks

_SEAL = "merchant-webhook"
_BYTES = 32


def new_secret() -> str:
    """A secret as merchants copy it: whsec_ and base64."""
    return standard_webhooks.secret_from(secrets.token_bytes(_BYTES))


def seal(secret: str) -> str:
    """A secret as it is stored."""
    return sealed.seal(secret, purpose=_SEAL)


def headers_of(endpoint: WebhookEndpoint, webhook_id: str, body: bytes, *, at: datetime) -> dict[str, str]:
    """The headers of one try, signed with every secret that is good at that moment.

    Raises ValueError when the portal's own secret key was changed since: the merchant has to replace the secret.
    """
    keys = [_key(endpoint.sealed_secret)]
    if endpoint.sealed_previous and endpoint.previous_ends_at is not None and at < endpoint.previous_ends_at:
        keys.append(_key(endpoint.sealed_previous))
    signed = [standard_webhooks.sign(webhook_id, body, key, at=at) for key in keys]
    return {**signed[0], "webhook-signature": " ".join(one["webhook-signature"] for one in signed)}


def _key(sealed_secret: str) -> bytes:
    return standard_webhooks.key_of(sealed.unseal(sealed_secret, purpose=_SEAL))

"""The secrets that the sandbox company and the portal share."""

import hmac
from hashlib import sha256

from portal.config import ConfigurationError, Settings
from portal.payments.providers.standard_webhooks import key_of


def keys_of(settings: Settings) -> tuple[bytes, ...]:
    """The webhook keys in use, the one to sign with first. Raises ConfigurationError for a secret that is none.

    `SANDBOX_WEBHOOK_SECRET` may hold several `whsec_` secrets, separated by commas, to rotate them. Without any, the
    key follows from `SECRET_KEY`: each installation has its own and nobody needs to set it.
    """
    given = tuple(part.strip() for part in settings.sandbox_webhook_secret.split(",") if part.strip())
    if not given:
        return (hmac.new(settings.secret_key.encode(), b"sandbox-webhook-secret", sha256).digest(),)
    try:
        return tuple(key_of(secret) for secret in given)
    except ValueError as error:
        raise ConfigurationError([f"SANDBOX_WEBHOOK_SECRET: {error}"]) from None

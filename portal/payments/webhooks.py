"""The addresses providers and carriers post to: a size cap, the raw bytes, then the inbox."""

from typing import Any

import structlog
from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _l

from portal.core import audit, clock, metrics
from portal.core.access import public
from portal.core.db import unit_of_work
from portal.core.errors import PortalError
from portal.payments.extension import sender_of
from portal.payments.providers.base import InvalidPayload, InvalidSignature
from portal.payments.services.accepting import Answer, accept_webhook

log = structlog.get_logger(__name__)

bp = Blueprint("webhooks", __name__)
LARGEST_BODY = 256 * 1024
_LONGEST_HEADER = 120


class TooLarge(PortalError):
    """The body is larger than any provider sends."""

    status = 413
    code = "too_large"
    default = _l("The body is larger than 256 KiB.")


@bp.post("/webhooks/<provider_name>")
@public
def receive(provider_name: str) -> ResponseReturnValue:
    """Take in one delivery."""
    answer = _accept(provider_name)
    return jsonify(status=answer.word), answer.status


@bp.post("/api/v1/webhooks/<provider_name>")
@public
def receive_always_200(provider_name: str) -> ResponseReturnValue:
    """The same for senders that stop retrying on 4xx: 200 whenever it was verified and stored."""
    answer = _accept(provider_name)
    return jsonify(status=answer.word), 200


def _accept(provider_name: str) -> Answer:
    sender = sender_of(provider_name)
    body = _read_body()
    at = clock.now()
    try:
        answer = accept_webhook(sender, dict(request.headers.items()), body, at=at)
    except InvalidSignature as error:
        skew = round(error.skew.total_seconds()) if error.skew is not None else None
        _note_refusal(provider_name, {"reason": error.reason.value, "skew_seconds": skew, **_sender(body)})
        raise
    except InvalidPayload as error:
        _note_refusal(provider_name, {"reason": error.reason, "is_signed": True, **_sender(body)})
        raise
    metrics.WEBHOOKS.labels(provider_name, answer.word).inc()
    return answer


def _read_body() -> bytes:
    """The raw bytes, never more than the cap in memory, whatever length was announced or not announced."""
    if (request.content_length or 0) > LARGEST_BODY:
        raise TooLarge
    request.max_content_length = None
    body: bytes = request.stream.read(LARGEST_BODY + 1)
    if len(body) > LARGEST_BODY:
        raise TooLarge
    return body


def _sender(body: bytes) -> dict[str, Any]:
    """What tells a provider with a wrong secret from a scanner. Never a signature: it is a key for five minutes."""
    return {
        "size": len(body),
        "content_type": request.headers.get("Content-Type", "")[:_LONGEST_HEADER],
        "user_agent": request.headers.get("User-Agent", "")[:_LONGEST_HEADER],
    }


def _note_refusal(provider_name: str, detail: dict[str, Any]) -> None:
    """One audit line: the forger learns nothing, staff see which part failed and whether a clock is off."""
    metrics.WEBHOOKS.labels(provider_name, "refused").inc()
    log.warning("webhook_refused", provider=provider_name, **detail)
    with unit_of_work():
        audit.record(f"WEBHOOK_{provider_name.upper()}_REFUSED", actor=f"provider:{provider_name}", after=detail)

"""The public state of a payment session."""

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from portal.core.access import public
from portal.payments import queries
from portal.payments.errors import SessionNotFound

bp = Blueprint("payments", __name__)


@bp.get("/session/<public_id>/status")
@public
def session_status(public_id: str) -> ResponseReturnValue:
    """How a session stands, as JSON; the id is a random uuid, and nothing about the buyer is told."""
    session = queries.find_session(public_id)
    if session is None:
        raise SessionNotFound
    return jsonify(
        status=session.status.value,
        payment_status=session.payment_status,
        payment_provider=session.provider,
        paid_at=session.paid_at.isoformat() if session.paid_at else None,
    )

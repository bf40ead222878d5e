"""`/api/v1/sessions/<id>/refunds`: giving money back, and seeing what became of it."""

import uuid

from flask import request
from flask.typing import ResponseReturnValue

from portal.core import clock
from portal.core.access import public
from portal.core.db import unit_of_work
from portal.extensions import limiter
from portal.merchants import queries
from portal.merchants.api import answers, reading
from portal.merchants.api.authentication import caller, limited_by, needs
from portal.merchants.api.routes import LIMIT, bp, repeat_key, send
from portal.merchants.models import Scope
from portal.merchants.services import refunding, repeating
from portal.merchants.services.repeating import Answer
from portal.payments.models import PaymentSession


@bp.post("/sessions/<public_id>/refunds")
@public
@limiter.limit(LIMIT, key_func=limited_by)
@needs(Scope.REFUNDS_WRITE)
def create_refund(public_id: str) -> ResponseReturnValue:
    """Give money of a paid session back. With an Idempotency-Key, asking again gives the first answer and no money."""
    reading.refuse_unknown(request.args.keys(), ())
    session = queries.get_session(caller().merchant_id, public_id, mode=caller().mode)
    key = repeat_key()
    body = reading.read_object()
    wish = reading.read_refund_wish(body, session.currency)
    if key is None:
        with unit_of_work():
            return send(_give_back(session, wish))
    asked = repeating.fingerprint(f"POST /api/v1/sessions/{session.public_id}/refunds", body)
    merchant_id, mode, at = caller().merchant_id, caller().mode, clock.now()
    with unit_of_work():
        answer = repeating.answer_once(merchant_id, mode, key, asked, lambda: _give_back(session, wish), at=at)
    return send(answer)


def _give_back(session: PaymentSession, wish: reading.RefundWish) -> Answer:
    refund = refunding.give_back(
        session, wish.amount, wish.reason, key=f"api:{uuid.uuid4()}", by=f"api_key:{caller().id}", at=clock.now()
    )
    return Answer(201, answers.as_text(answers.refund_values(refund, session)))


@bp.get("/sessions/<public_id>/refunds")
@public
@limiter.limit(LIMIT, key_func=limited_by)
@needs(Scope.SESSIONS_READ)
def list_refunds(public_id: str) -> ResponseReturnValue:
    """What went back of a session, newest first; another merchant's session is not found."""
    reading.refuse_unknown(request.args.keys(), ())
    session = queries.get_session(caller().merchant_id, public_id, mode=caller().mode)
    values = [answers.refund_values(refund, session) for refund in refunding.refunds_of(session)]
    return send(Answer(200, answers.as_text({"object": "list", "data": values})))

"""`/api/v1/sessions`: opening, listing and reading payment sessions."""

import re
import uuid

from flask import Blueprint, Response, make_response, request
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _l
from werkzeug.exceptions import TooManyRequests

from portal.core import clock
from portal.core.access import public
from portal.core.db import unit_of_work
from portal.core.errors import PortalError, TooMany
from portal.core.web import answer_error
from portal.extensions import limiter
from portal.merchants import queries
from portal.merchants.api import answers, reading
from portal.merchants.api.authentication import authenticate, caller, limited_by, needs, note_use_afterwards
from portal.merchants.errors import InvalidFields, InvalidIdempotencyKey, PaymentNotFound, UnknownFields
from portal.merchants.models import Scope
from portal.merchants.services import repeating
from portal.merchants.services.repeating import Answer
from portal.merchants.services.selling import SessionWish, open_session
from portal.payments.models import SessionStatus

bp = Blueprint("api", __name__, url_prefix="/api/v1")

LIMIT = "120 per minute"
LARGEST_PAGE = 100
_REPEAT_KEY = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?")

bp.before_request(authenticate)
bp.after_request(note_use_afterwards)


@bp.post("/sessions")
@public
@limiter.limit(LIMIT, key_func=limited_by)
@needs(Scope.SESSIONS_WRITE)
def create_session() -> ResponseReturnValue:
    """Open a payment session. With an Idempotency-Key, asking again gives the first answer and opens nothing."""
    reading.refuse_unknown(request.args.keys(), ())
    key = repeat_key()
    body = reading.read_object()
    wish = reading.read_session_wish(body, caller().merchant, caller().mode)
    if key is None:
        with unit_of_work():
            return send(_open(wish))
    asked = repeating.fingerprint("POST /api/v1/sessions", body)
    merchant_id, mode, at = caller().merchant_id, caller().mode, clock.now()
    with unit_of_work():
        answer = repeating.answer_once(merchant_id, mode, key, asked, lambda: _open(wish), at=at)
    return send(answer)


def repeat_key() -> str | None:
    """The request's Idempotency-Key. Raises InvalidIdempotencyKey."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _REPEAT_KEY.fullmatch(key):
        raise InvalidIdempotencyKey
    return key


def _open(wish: SessionWish) -> Answer:
    merchant = caller().merchant
    session = open_session(merchant, wish, by=f"api_key:{caller().id}", at=clock.now(), public_id=str(uuid.uuid4()))
    return Answer(201, answers.as_text(answers.session_values(session, merchant, (), 0)))


@bp.get("/sessions")
@public
@limiter.limit(LIMIT, key_func=limited_by)
@needs(Scope.SESSIONS_READ)
def list_sessions() -> ResponseReturnValue:
    """The sessions of this key's merchant and mode, newest first, from a cursor on."""
    reading.refuse_unknown(request.args.keys(), ("cursor", "limit", "status"))
    problems = reading.Problems()
    limit, status, cursor = _limit(problems), _status(problems), request.args.get("cursor")
    problems.stop_if_any()
    merchant = caller().merchant
    try:
        found = queries.list_after(merchant.id, caller().mode, status=status, cursor=cursor, limit=limit + 1)
    except PaymentNotFound:
        problems.add("cursor", "unknown_cursor", _l("Send the next_cursor of an earlier answer."))
        problems.stop_if_any()
        raise
    rows = found[:limit]
    has_more = len(found) > limit
    values = {
        "object": "list",
        "data": answers.sessions_values(rows, merchant),
        "has_more": has_more,
        "next_cursor": rows[-1].public_id if has_more else None,
    }
    return send(Answer(200, answers.as_text(values)))


def _limit(problems: reading.Problems) -> int:
    text = request.args.get("limit", "25")
    if text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= LARGEST_PAGE:
        return int(text)
    problems.add("limit", "out_of_range", _l("Ask for 1 to 100 at a time."))
    return 1


def _status(problems: reading.Problems) -> SessionStatus | None:
    text = request.args.get("status")
    if text is None:
        return None
    found = next((status for status in SessionStatus if status.value == text), None)
    if found is None:
        known = ", ".join(status.value for status in SessionStatus)
        problems.add("status", "unknown_status", _l("Choose one of: %(statuses)s.", statuses=known))
    return found


@bp.get("/sessions/<public_id>")
@public
@limiter.limit(LIMIT, key_func=limited_by)
@needs(Scope.SESSIONS_READ)
def read_session(public_id: str) -> ResponseReturnValue:
    """One session; another merchant's, or one of the other mode, is not found."""
    reading.refuse_unknown(request.args.keys(), ())
    session = queries.get_session(caller().merchant_id, public_id, mode=caller().mode)
    values = answers.sessions_values([session], caller().merchant)[0]
    return send(Answer(200, answers.as_text(values)))


def send(answer: Answer) -> Response:
    """An answer as it goes over the wire."""
    response = make_response(answer.body, answer.http_code)
    response.mimetype = "application/json"
    if answer.is_repeated:
        response.headers["Idempotent-Replayed"] = "true"
    return response


@bp.errorhandler(PortalError)
def _refused(error: PortalError) -> ResponseReturnValue:
    fields = error.fields if isinstance(error, InvalidFields | UnknownFields) else ()
    response = answer_error(error.status, error.code, str(error), field=error.field, fields=fields)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="portal"'
    return response


@bp.errorhandler(TooManyRequests)
def _too_many(_error: TooManyRequests) -> ResponseReturnValue:
    response = answer_error(TooMany.status, TooMany.code, str(TooMany.default))
    limit = limiter.current_limit
    seconds = limit.reset_at - clock.now().timestamp() if limit else 60
    response.headers["Retry-After"] = str(max(1, round(seconds)))
    return response

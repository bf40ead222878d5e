"""Uploading models: read as they come in, so that nobody's hundred megabytes are held in memory.

Flask-WTF would read the whole form to find its token, so these addresses are taken out of its care and check the token
themselves, before the first file: the form sends it first, the script in a header. See docs/decisions/0017.
"""

from flask import jsonify, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import get_locale
from flask_babel import gettext as _
from flask_login import current_user
from flask_wtf.csrf import CSRFError, validate_csrf
from wtforms import ValidationError

from portal.core import clock, htmx, uploads
from portal.core.access import public
from portal.core.db import stop_reading, unit_of_work
from portal.core.errors import PortalError
from portal.core.files import StoreTrouble
from portal.core.uploads import TextField
from portal.extensions import csrf, limiter
from portal.quotes import visitor
from portal.quotes.errors import NotADraft, QuoteFull, UploadRefused
from portal.quotes.models import Quote
from portal.quotes.routes.blueprint import bp, load, show, words
from portal.quotes.services import drafting, receiving
from portal.quotes.services.editing import MAX_ITEMS
from portal.quotes.services.loading import DRAFT, QuoteOwner, find_draft_of_token, get_quote
from portal.quotes.services.receiving import Received

_MIB = 1024 * 1024
# One request may bring several files; the largest file with the form around it fits in any case.
REQUEST_BYTES = 256 * _MIB
_FIELD = "models"
_TOKEN = "csrf_token"  # noqa: S105  # the name of the field
# By person and hour: files, and megabytes of them.
FILES, VOLUME = "400 per hour", "6000 per hour"


def megabytes() -> int:
    """What a request costs of its sender's volume."""
    return 1 + (request.content_length or 0) // _MIB


@bp.post("/quote")
@csrf.exempt
@public
@limiter.limit(FILES)
@limiter.limit(VOLUME, cost=megabytes, scope="volume")
def create() -> ResponseReturnValue:
    """Begin a quote of the files that come in; a visitor's go into the draft that the browser has."""
    asks = visitor.future_owner()
    is_known = asks.user_id is None and find_draft_of_token(asks.token) is not None
    return _take_in(DRAFT if is_known else None, asks)


@bp.post("/quotes/<number>/files")
@csrf.exempt
@public
@limiter.limit(FILES)
@limiter.limit(VOLUME, cost=megabytes, scope="volume")
def add(number: str) -> ResponseReturnValue:
    """Put more files into a draft."""
    return _take_in(number, visitor.owner())


def _take_in(number: str | None, asks: QuoteOwner) -> ResponseReturnValue:
    """Store what comes in, then put it into the quote; whatever goes wrong leaves nothing behind."""
    received: list[Received] = []
    refused: list[PortalError] = []
    try:
        read_form(number, asks, received, refused)
        if received:
            quote = _put_in(number, asks, received)
            number = quote.number or DRAFT
            visitor.remember(asks)
        elif not refused:
            refused.append(UploadRefused(_("Choose one or more files first.")))
    except BaseException:
        # Also for a sender who went away in the middle.
        receiving.discard(received)
        raise
    return _answer(number, refused)


def read_form(
    number: str | None,
    asks: QuoteOwner,
    received: list[Received],
    refused: list[PortalError],
    *,
    most: int | None = None,
) -> None:
    """Read the form to its end; of `most` files the others are passed over. Raises what `_admit` raises, before
    anything is stored."""
    token, room, is_full = request.headers.get("X-CSRFToken"), None, False
    for part in uploads.incoming(request, limit=REQUEST_BYTES):
        if isinstance(part, TextField):
            token = part.value if part.name == _TOKEN else token
            continue
        if room is None:
            room = _admit(token, number, asks)
        if part.field != _FIELD or part.is_blank:
            continue
        if len(received) >= (room if most is None else most):
            is_full = most is None
            continue
        try:
            received.append(receiving.receive(part.name, part.pieces))
        except (UploadRefused, StoreTrouble) as error:
            refused.append(error)
    if is_full:
        refused.append(QuoteFull())
    if room is None:
        _admit(token, number, asks)


def _admit(token: str | None, number: str | None, asks: QuoteOwner) -> int:
    """How many models the sender may still add. Raises CSRFError, QuoteNotFound, NotADraft."""
    try:
        validate_csrf(token)
    except ValidationError as error:
        raise CSRFError(error.args[0]) from None
    room = MAX_ITEMS
    if number is not None:
        quote = get_quote(number, owner=asks)
        if not quote.is_draft:
            raise NotADraft
        room -= len(quote.items)
    # What follows takes as long as the sender's line needs; no connection is held meanwhile.
    stop_reading()
    return room


def _put_in(number: str | None, asks: QuoteOwner, received: list[Received]) -> Quote:
    with unit_of_work():
        if number is not None:
            return drafting.add_models(number, asks, received, at=clock.now())
        return drafting.start_quote(asks, received, locale=str(get_locale()), at=clock.now())


def _answer(number: str | None, refused: list[PortalError]) -> ResponseReturnValue:
    """For the script as JSON; for a form the quote's page, with what was not taken."""
    status = max((one.status for one in refused), default=200)
    sentences = [str(one) for one in refused]
    if request.accept_mimetypes.best == "application/json":
        return jsonify(refused=sentences, **(_addresses(number) if number else {})), status
    if number is None:
        return htmx.render(
            "quotes/start.html",
            status=status,
            refused=sentences,
            is_visitor=not current_user.is_authenticated,
            **words(),
        )
    if not refused:
        return htmx.after_post(url_for("quotes.detail", number=number))
    return show(load(number), refused=sentences, status=status)


def _addresses(number: str) -> dict[str, str]:
    """Where the quote is, and where its next file goes."""
    return {"url": url_for("quotes.detail", number=number), "upload_url": url_for("quotes.add", number=number)}

"""A changed model for a row of a draft: uploading it, and seeing it beside the one before."""

from flask import url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.core import clock, htmx
from portal.core.access import public
from portal.core.db import unit_of_work
from portal.core.errors import PortalError
from portal.extensions import csrf, limiter
from portal.quotes import visitor
from portal.quotes.comparing import compare
from portal.quotes.errors import ItemGone, NotADraft, QuoteNotFound, UploadRefused
from portal.quotes.models import Quote
from portal.quotes.routes.blueprint import bp, words
from portal.quotes.routes.custody import mesh_url, picture_url
from portal.quotes.routes.uploading import FILES, VOLUME, megabytes, read_form
from portal.quotes.services import receiving, revising
from portal.quotes.services.loading import get_quote
from portal.quotes.services.receiving import Received

_PAGE = "/quotes/<number>/items/<item_id>/revision"


@bp.get(_PAGE)
@public
def revision(number: str, item_id: str) -> ResponseReturnValue:
    """The form for a changed model; when there is one, old beside new."""
    return _show(number, item_id)


def _show(number: str, item_id: str, errors: list[PortalError] | None = None) -> ResponseReturnValue:
    quote = get_quote(number, owner=visitor.owner())
    item = next((one for one in quote.items if str(one.id) == item_id), None)
    if item is None:
        raise QuoteNotFound
    compared = compare(quote, item, at=clock.now()) if item.revision_of_id is not None else None
    return htmx.render(
        "quotes/revision.html",
        status=max((one.status for one in errors or ()), default=200),
        number=number,
        quote=quote,
        item=item,
        compared=compared,
        picture_url=picture_url,
        mesh_url=mesh_url,
        refused=[str(one) for one in errors or ()],
        **words(),
    )


@bp.post(_PAGE)
@csrf.exempt
@public
@limiter.limit(FILES)
@limiter.limit(VOLUME, cost=megabytes, scope="volume")
def revise(number: str, item_id: str) -> ResponseReturnValue:
    """Put a changed model in a row's place. Like every upload it is read as it comes in, and its token with it."""
    asks = visitor.owner()
    received: list[Received] = []
    refused: list[PortalError] = []
    try:
        read_form(number, asks, received, refused, most=1)
        if received:
            _put_in(number, item_id, received[0])
    except (ItemGone, NotADraft) as error:
        receiving.discard(received)
        received.clear()
        refused.append(error)
    except BaseException:
        receiving.discard(received)
        raise
    if not received:
        return _refused(number, item_id, refused or [UploadRefused(_("Choose one or more files first."))])
    return htmx.after_post(url_for("quotes.revision", number=number, item_id=item_id))


def _put_in(number: str, item_id: str, received: Received) -> Quote:
    if not (item_id.isascii() and item_id.isdigit()):
        raise ItemGone
    with unit_of_work():
        return revising.revise_item(number, visitor.owner(), int(item_id), received, at=clock.now())


def _refused(number: str, item_id: str, refused: list[PortalError]) -> ResponseReturnValue:
    """The page with the reason, or the quote's error page when the row is gone."""
    if any(isinstance(one, ItemGone) for one in refused):
        raise refused[0]
    return _show(number, item_id, refused)

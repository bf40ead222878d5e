"""What the pages of a quote share: the blueprint, and showing one quote as page or fragment."""

from collections.abc import Callable, Sequence
from typing import Any

from flask import Blueprint, Response, flash, url_for
from flask_login import current_user
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as BaseResponse

from portal.core import clock, htmx
from portal.core.db import unit_of_work
from portal.core.errors import PortalError
from portal.quotes import visitor, wording
from portal.quotes.forms import ItemForm
from portal.quotes.models import Quote
from portal.quotes.presenting import QuoteView, view_of
from portal.quotes.pricing.wording import rush_name
from portal.quotes.services.editing import LONGEST_NOTE, MAX_ITEMS
from portal.quotes.services.loading import DRAFT, get_quote
from portal.quotes.services.receiving import FORMATS

bp = Blueprint("quotes", __name__)

PAGE, FRAGMENT = "quotes/detail.html", "quotes/_quote.html"
CHANGED = "quote-changed"


def words() -> dict[str, Any]:
    """What the templates of quotes call."""
    return {
        "words": wording,
        "rush_name": rush_name,
        "at": clock.now(),
        "max_models": MAX_ITEMS,
        "longest_note": LONGEST_NOTE,
        "accepted_types": ",".join(f".{one}" for one in FORMATS),
    }


def load(number: str) -> QuoteView:
    """The quote of the one who asks, as its page shows it. Raises QuoteNotFound."""
    return view_of(get_quote(number, owner=visitor.owner()), at=clock.now())


def forms_of(
    view: QuoteView, *, sent: MultiDict[str, str] | None = None, item_id: int | None = None
) -> dict[int, ItemForm]:
    """A form for each row of a draft; the one that was sent in vain shows what was entered."""
    if not view.quote.is_draft:
        return {}
    forms = {}
    for row in view.rows:
        is_sent = sent is not None and row.item.id == item_id
        forms[row.item.id] = ItemForm.of(row.item, view.book, formdata=sent if is_sent else None)
        if is_sent:
            forms[row.item.id].validate()
    return forms


def show(
    view: QuoteView,
    *,
    error: PortalError | None = None,
    refused: Sequence[str] = (),
    status: int | None = None,
    forms: dict[int, ItemForm] | None = None,
) -> Response:
    """The quote's page or fragment, with what went wrong."""
    return htmx.render(
        PAGE,
        fragment=FRAGMENT,
        status=status or (error.status if error else 200),
        view=view,
        forms=forms if forms is not None else forms_of(view),
        error=error,
        refused=refused,
        is_visitor=not current_user.is_authenticated,
        **words(),
    )


def change(number: str, work: Callable[[], Quote], *, done: str | None = None) -> BaseResponse:
    """Do something to a quote and show it: the page by redirect, or the fragment; what is refused with the reason."""
    try:
        with unit_of_work():
            quote = work()
    except PortalError as error:
        if error.status == 404:
            raise
        return show(load(number), error=error)
    return shown_again(quote, done=done)


def shown_again(quote: Quote, *, done: str | None = None) -> BaseResponse:
    """After a change: where the quote is now."""
    if done:
        flash(done, "success")
    url = url_for("quotes.detail", number=quote.number or DRAFT)
    if not htmx.wants_fragment():
        return htmx.after_post(url)
    view = load(quote.number or DRAFT)
    return htmx.after_post(
        url,
        fragment=FRAGMENT,
        view=view,
        forms=forms_of(view),
        error=None,
        refused=(),
        is_visitor=not current_user.is_authenticated,
        **words(),
    )

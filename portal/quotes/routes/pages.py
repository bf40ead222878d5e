"""Looking at quotes: where to begin, the list, one quote, one row of it, its price, its PDF."""

from typing import Any

from flask import Response, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal.core import clock, htmx
from portal.core.access import logged_in, public
from portal.quotes import queries, visitor, wording
from portal.quotes.errors import QuoteNotFound
from portal.quotes.paper import pdf
from portal.quotes.presenting import QuoteView
from portal.quotes.routes.blueprint import CHANGED, PAGE, bp, forms_of, load, show, words
from portal.quotes.services.drafting import newest_draft
from portal.quotes.services.loading import DRAFT, find_draft_of_token, get_quote


@bp.get("/quote")
@public
def start() -> ResponseReturnValue:
    """Where anybody begins. A browser that has a draft goes on with it, an account has a page of its own."""
    if current_user.is_authenticated:
        return htmx.leave(url_for("quotes.new"))
    if find_draft_of_token(visitor.owner().token) is not None:
        return htmx.leave(url_for("quotes.detail", number=DRAFT))
    return _start_page()


@bp.get("/quotes/new")
@logged_in
def new() -> ResponseReturnValue:
    """Begin a new quote in the account."""
    return _start_page()


@bp.get("/quotes")
@logged_in
def index() -> ResponseReturnValue:
    """Everything this customer asked a price for."""
    page = queries.page_of_quotes(current_user.id, before=request.args.get("before"), after=request.args.get("after"))
    return htmx.render("quotes/index.html", fragment="quotes/_list.html", page=page, words=wording, at=clock.now())


@bp.get("/quotes/<number>")
@public
def detail(number: str) -> ResponseReturnValue:
    """One quote: its models, how they are to be made, what it costs and what comes next."""
    if number == DRAFT and current_user.is_authenticated:
        # The address a visitor came from before logging in; the draft is theirs now and has a number.
        kept = newest_draft(current_user.id)
        return htmx.leave(url_for("quotes.detail", number=kept) if kept else url_for("quotes.new"))
    return show(load(number))


@bp.get("/quotes/<number>/items/<item_id>")
@public
def item(number: str, item_id: str) -> ResponseReturnValue:
    """One row, which asks for itself again while its model is being measured."""
    view = load(number)
    row = next((one for one in view.rows if str(one.item.id) == item_id), None)
    if row is None:
        raise QuoteNotFound
    trigger = CHANGED if row.model.is_final else None
    return htmx.render(PAGE, fragment="quotes/_row.html", trigger=trigger, row=row, **_all(view))


@bp.get("/quotes/<number>/price")
@public
def price(number: str) -> ResponseReturnValue:
    """What it costs: the table of quantities and delivery times, the sums, and what can be done next."""
    view = load(number)
    return htmx.render(PAGE, fragment="quotes/_price.html", **_all(view))


@bp.get("/quotes/<number>.pdf")
@public
def paper(number: str) -> ResponseReturnValue:
    """The quote on paper."""
    if number == DRAFT:
        raise QuoteNotFound
    quote = get_quote(number, owner=visitor.owner())
    return Response(
        pdf(quote),
        mimetype="application/pdf",
        headers={"Content-Disposition": f'inline; filename="{quote.number}.pdf"'},
    )


def _start_page() -> Response:
    return htmx.render("quotes/start.html", refused=(), is_visitor=not current_user.is_authenticated, **words())


def _all(view: QuoteView) -> dict[str, Any]:
    return {
        "view": view,
        "forms": forms_of(view),
        "error": None,
        "refused": (),
        "is_visitor": not current_user.is_authenticated,
        **words(),
    }

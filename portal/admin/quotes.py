"""Quotes: the queue that waits for a price, one quote with all its arithmetic, and what staff decide about it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from flask import request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _l

from portal.admin import exporting, filters, services
from portal.admin.blueprint import act, actor, bp
from portal.admin.queries import quotes as queries
from portal.admin.queries.quotes import QuoteState
from portal.admin.quote_forms import Approve, Message, Override, Reject
from portal.admin.quote_wording import event_words, reason_words, state_choices, step_rows
from portal.core import clock, htmx
from portal.core.access import staff
from portal.core.db import db, unit_of_work
from portal.core.errors import Invalid, Sentence
from portal.core.money import Money
from portal.quotes import wording
from portal.quotes.margin import Margin, margin_of, margin_of_quote
from portal.quotes.models import Quote, QuoteStatus
from portal.quotes.presenting import view_of
from portal.quotes.pricing.price import Price
from portal.quotes.services import reviewing

_PAGE = "/quotes/<number>"
_BY_VALUE = "value"
_FORMS = (Approve, Override, Reject, Message)
_F = TypeVar("_F", Approve, Override, Reject, Message)


@bp.get("/quotes")
@staff
def quotes() -> ResponseReturnValue:
    """What waits for a price, the longest waiting first; `?state=` shows others."""
    wanted = _wanted()
    page = queries.quotes_page(wanted, before=request.args.get("before"), after=request.args.get("after"))
    return htmx.render(
        "admin/quotes.html",
        fragment="admin/_quotes.html",
        page=page,
        states=state_choices(),
        quote_state=wording.state,
        reasons_of=_reasons_of,
        at=clock.now(),
    )


def _reasons_of(quote: Quote) -> str:
    return ", ".join(reason_words(code) for code in quote.review_reasons)


def _wanted() -> queries.QuoteFilter:
    state = QuoteState.WAITING if not request.args.get("state") else filters.choice("state", QuoteState)
    # Whoever looks for something means all quotes, unless they say which.
    text = filters.text()
    if text and not request.args.get("state"):
        state = None
    return queries.QuoteFilter(text=text, state=state, by_value=request.args.get("sort") == _BY_VALUE)


@bp.get("/quotes.csv")
@staff
def quotes_csv() -> ResponseReturnValue:
    """The quotes of the list's filter as a file."""
    wanted = _wanted()
    with unit_of_work():
        services.note_export("quotes", by=actor().email, filters=request.args.to_dict())
    rows = exporting.all_rows(queries.quotes_where(wanted), Quote.id)
    return exporting.csv_answer("quotes", _CSV_HEADER, rows, _csv_cells)


_CSV_HEADER = (
    "number", "submitted_at", "email", "name", "status", "approved_at", "expires_at", "rush", "currency", "computed",
    "total", "cost", "margin", "override_reason", "review_reasons",
)  # fmt: skip


def _csv_cells(quote: Quote) -> Sequence[object]:
    margin = margin_of_quote(quote)
    costs = (margin.cost_minor, margin.left_minor) if margin is not None else (0, 0)
    amounts = (quote.computed_total_minor, quote.total_minor, *costs)
    return (
        quote.number, quote.submitted_at, quote.user.email if quote.user else "", quote.user.name if quote.user else "",
        quote.status, quote.approved_at, quote.expires_at, quote.rush, quote.currency,
        *(_signed_cell(amount, quote.currency) for amount in amounts),
        quote.override_reason or "", " ".join(quote.review_reasons),
    )  # fmt: skip


def _signed_cell(amount_minor: int, currency: str) -> str:
    """An amount that may be a loss."""
    sign = "-" if amount_minor < 0 else ""
    return f"{sign}{exporting.amount_cell(abs(amount_minor), currency)}"


@bp.get(_PAGE)
@staff
def quote(number: str) -> ResponseReturnValue:
    """One quote: who asks, each part with its arithmetic, cost and margin, and what can be decided."""
    return _show(number)


@dataclass(frozen=True, slots=True)
class _Sent:
    """A form that was sent in vain."""

    form: Approve | Override | Reject | Message


def _show(
    number: str, refusal: str | None = None, status: int = 200, *, sent: _Sent | None = None
) -> ResponseReturnValue:
    file = queries.read_quote_file(number)
    view = view_of(file.quote, at=clock.now())
    forms: dict[str, Any] = {one.__name__.lower(): one(file.quote, is_sent=False) for one in _FORMS}
    if file.quote.staff_message:
        forms["approve"].message.data = forms["override"].message.data = file.quote.staff_message
    if sent is not None:
        forms[type(sent.form).__name__.lower()] = sent.form
    return htmx.render(
        "admin/quote.html",
        fragment="admin/_quote.html",
        status=status,
        file=file,
        quote=file.quote,
        view=view,
        margin=margin_of(view.price, view.total_minor),
        computed_margin=margin_of(view.price, file.quote.computed_total_minor),
        forms=forms,
        is_waiting=file.quote.status is QuoteStatus.PENDING,
        words_of=wording,
        steps_of=step_rows,
        event_words=event_words,
        quote_reason=reason_words,
        at=clock.now(),
        refusal=refusal,
    )


@bp.get(f"{_PAGE}/margin")
@staff
def quote_margin(number: str) -> ResponseReturnValue:
    """What another total would leave, while it is being typed."""
    one = queries.get_quote(number)
    view = view_of(one, at=clock.now())
    return htmx.render(
        "admin/quote_margin.html",
        fragment="admin/_quote_margin.html",
        quote=one,
        currency=view.price.currency,
        was=margin_of(view.price, view.total_minor),
        would=_typed_margin(request.args.get("override-total", ""), view.price),
    )


def _typed_margin(text: str, price: Price) -> Margin | None:
    try:
        asked = Money.parse(text.strip(), price.currency).amount_minor
    except ValueError:
        return None
    return margin_of(price, asked) if 0 < asked <= reviewing.HIGHEST_TOTAL_MINOR else None


@bp.post(f"{_PAGE}/approve")
@staff
def approve_quote(number: str) -> ResponseReturnValue:
    """Confirm the price and send it."""
    return _decide(
        number,
        Approve,
        lambda one, form: reviewing.approve_quote(
            one.id, by=actor().email, message=form.message.data or "", seen=form.seen.data, at=clock.now()
        ),
        done=_l("The price is confirmed and on its way to the customer."),
    )


@bp.post(f"{_PAGE}/override")
@staff
def override_quote(number: str) -> ResponseReturnValue:
    """Ask for another total, and send it."""
    return _decide(
        number,
        Override,
        lambda one, form: reviewing.override_price(
            one.id,
            form.total_minor(),
            reason=form.reason.data or "",
            by=actor().email,
            message=form.message.data or "",
            seen=form.seen.data,
            at=clock.now(),
        ),
        done=_l("The new price is confirmed and on its way to the customer."),
    )


@bp.post(f"{_PAGE}/reject")
@staff
def reject_quote(number: str) -> ResponseReturnValue:
    """Turn the quote down."""
    return _decide(
        number,
        Reject,
        lambda one, form: reviewing.reject_quote(
            one.id, reason=form.reason.data or "", by=actor().email, seen=form.seen.data, at=clock.now()
        ),
        done=_l("The quote is turned down, and the customer is told why."),
    )


@bp.post(f"{_PAGE}/message")
@staff
def message_about_quote(number: str) -> ResponseReturnValue:
    """Tell the customer something without deciding."""
    return _decide(
        number,
        Message,
        lambda one, form: reviewing.write_to_customer(
            one.id, form.message.data or "", by=actor().email, seen=form.seen.data, at=clock.now()
        ),
        done=_l("The message is on its way."),
    )


def _decide(number: str, kind: type[_F], work: Callable[[Quote, _F], Quote], *, done: Sentence) -> ResponseReturnValue:
    one = queries.get_quote(number)
    form = kind(one, is_sent=True)
    if not form.validate_on_submit():
        return _show(number, status=422, sent=_Sent(form))
    try:
        return act(
            lambda: work(one, form),
            show=partial(_show, number),
            url=url_for("admin.quote", number=number),
            done=done,
        )
    except Invalid as error:
        db.session.expire_all()
        form.blame(error)
        return _show(number, status=error.status, sent=_Sent(form))

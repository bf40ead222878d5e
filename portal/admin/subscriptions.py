"""Subscriptions: the list with those in their grace, one with its periods, and ending it for a customer."""

from collections.abc import Sequence
from functools import partial

from flask import request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _l

from portal.admin import exporting, filters, services
from portal.admin.blueprint import ROW_ID, act, actor, bp
from portal.admin.queries import subscriptions as queries
from portal.core import clock, htmx
from portal.core.access import staff
from portal.core.db import unit_of_work
from portal.subscriptions.models import EndCause, Subscription, SubscriptionStatus
from portal.subscriptions.services import cancelling

_PAGE = f"/subscriptions/<{ROW_ID}:subscription_id>"
_STATES = ("grace", "ending")


@bp.get("/subscriptions", endpoint="subscriptions")
@staff
def subscription_list() -> ResponseReturnValue:
    """All subscriptions, newest first."""
    page = queries.subscriptions_page(_wanted(), before=request.args.get("before"), after=request.args.get("after"))
    return htmx.render(
        "admin/subscriptions.html", fragment="admin/_subscriptions.html", page=page, statuses=SubscriptionStatus
    )


def _wanted() -> queries.SubscriptionFilter:
    return queries.SubscriptionFilter(
        text=filters.text(),
        status=filters.choice("status", SubscriptionStatus),
        state=filters.one_of("state", _STATES),
    )


@bp.get("/subscriptions.csv")
@staff
def subscriptions_csv() -> ResponseReturnValue:
    """The subscriptions of the list's filter as a file."""
    wanted = _wanted()
    with unit_of_work():
        services.note_export("subscriptions", by=actor().email, filters=request.args.to_dict())
    rows = exporting.all_rows(queries.subscriptions_where(wanted), Subscription.id)
    return exporting.csv_answer("subscriptions", _CSV_HEADER, rows, _csv_cells)


_CSV_HEADER = (
    "id", "title", "customer_email", "status", "price", "currency", "started_at", "period_ends_at", "grace_ends_at",
    "cancels_at_period_end", "ended_at", "end_cause", "end_note",
)  # fmt: skip


def _csv_cells(one: Subscription) -> Sequence[object]:
    return (
        one.public_id, one.title, one.user.email, one.status, exporting.amount_cell(one.price_minor, one.currency),
        one.currency, one.started_at, one.period_ends_at, one.grace_ends_at, one.cancels_at_period_end, one.ended_at,
        one.end_cause, one.end_note,
    )  # fmt: skip


@bp.get(_PAGE)
@staff
def subscription(subscription_id: int) -> ResponseReturnValue:
    """One subscription."""
    return _show(subscription_id)


def _show(subscription_id: int, refusal: str | None = None, status: int = 200) -> ResponseReturnValue:
    file = queries.read_subscription(subscription_id)
    return htmx.render(
        "admin/subscription.html",
        fragment="admin/_subscription.html",
        status=status,
        file=file,
        subscription=file.subscription,
        refusal=refusal,
    )


@bp.post(f"{_PAGE}/cancel")
@staff
def cancel_subscription(subscription_id: int) -> ResponseReturnValue:
    """End a subscription now, for a customer who asked."""
    queries.read_subscription(subscription_id)
    note = request.form.get("note", "")
    return act(
        lambda: cancelling.cancel_now(
            subscription_id, by=actor().email, at=clock.now(), note=note, cause=EndCause.BY_STAFF
        ),
        show=partial(_show, subscription_id),
        url=url_for("admin.subscription", subscription_id=subscription_id),
        done=_l("The subscription has ended."),
    )

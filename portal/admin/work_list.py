"""The first page of the back office: what needs a person, most money first."""

from flask import request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import LazyString, format_date
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from portal.admin import filters
from portal.admin.blueprint import bp
from portal.admin.queries.work_list import LIMIT, WorkItem, WorkKind, read_work_list
from portal.admin.wording import flag_words, mail_title, verdict_words
from portal.core import clock, htmx
from portal.core.access import staff
from portal.core.status_labels import status_label
from portal.sites.changes.models import Trouble
from portal.sites.changes.presenting import trouble_words

_TITLES: dict[WorkKind, LazyString] = {
    WorkKind.CONFLICT: _l("Money that does not fit"),
    WorkKind.UNMATCHED: _l("Events without a payment"),
    WorkKind.PARKED: _l("Events that failed"),
    WorkKind.NO_INVOICE: _l("Paid without invoice"),
    WorkKind.NO_ORDER: _l("Paid without order"),
    WorkKind.UNFULFILLED: _l("Paid, not delivered"),
    WorkKind.LATE: _l("Payments without an end"),
    WorkKind.MAIL: _l("Failed mails"),
    WorkKind.EFFECT: _l("Failed jobs"),
    WorkKind.REFUND: _l("Refunds to look at"),
    WorkKind.DISPUTE: _l("Disputes"),
    WorkKind.PRODUCTION: _l("Printed parts"),
    WorkKind.QUOTE: _l("Quotes to price"),
    WorkKind.CHANGE: _l("Changes of sites"),
}
_TONES = {
    WorkKind.CONFLICT: "danger",
    WorkKind.PARKED: "danger",
    WorkKind.NO_INVOICE: "danger",
    WorkKind.NO_ORDER: "danger",
    WorkKind.DISPUTE: "danger",
}
_DETAILS: dict[str, LazyString] = {
    "cancelled": _l("The money came after the order was cancelled."),
    "missing": _l("The money counts, and the order does not know of it."),
    "unknown": _l("The provider gave no answer when it was asked."),
    "by_hand": _l("The provider cannot be asked. Look there, and say how it ended."),
    "overdue": _l("Its time is up and the provider has not said how it ended."),
    "verification": _l("waits until the buyer has proven this address"),
    "delivery": _l("is paid, and nothing was unlocked"),
    "on_hold": _l("on hold"),
    "promise_over": _l("the promised day is over"),
    "label_unknown": _l("the carrier has not said whether the label is bought"),
    "parcel_returned": _l("the parcel came back"),
}
_EVENTS = (WorkKind.CONFLICT, WorkKind.UNMATCHED, WorkKind.PARKED)
_SESSIONS = (WorkKind.NO_INVOICE, WorkKind.NO_ORDER, WorkKind.LATE)
_LONGEST_START = 6


@bp.get("")
@staff
def home() -> ResponseReturnValue:
    """What needs a person; `?kind=` shows one queue."""
    kind = filters.choice("kind", WorkKind)
    work = read_work_list(at=clock.now(), kind=kind, start=_start())
    total = sum(work.counts.values())
    chips = [(f"{_('Everything')} {_bounded(total)}", "")] + [
        (f"{_TITLES[one]} {_bounded(count)}", one.value) for one, count in work.counts.items() if count or one is kind
    ]
    return htmx.render(
        "admin/home.html",
        fragment="admin/_work.html",
        work=work,
        chips=chips,
        kind=kind,
        total=total,
        titles=_TITLES,
        tones=_TONES,
        headline=_headline,
        explanation=_explanation,
        address=_address,
        action=_action,
    )


def _start() -> int:
    """The first row of the page: the list is made anew each time, so its cursor is a place and not a row."""
    for name in ("before", "after"):
        text = request.args.get(name, "")
        if text.isascii() and text.isdigit() and len(text) <= _LONGEST_START:
            return int(text)
    return 0


def _bounded(count: int) -> str:
    return f"{LIMIT - 1}+" if count >= LIMIT else str(count)


def _headline(item: WorkItem) -> str:
    """What a row is about, in a few words."""
    if item.kind in _EVENTS:
        return verdict_words(item.note)
    if item.kind in (WorkKind.NO_INVOICE, WorkKind.NO_ORDER, WorkKind.LATE):
        return item.note
    if item.kind is WorkKind.MAIL:
        return str(_("%(kind)s to %(address)s", kind=mail_title(item.name), address=item.note))
    return item.name


def _explanation(item: WorkItem) -> str:
    """Why it waits, and what helps to find it."""
    if item.kind in _EVENTS:
        return f"{item.detail} · {item.name}"
    if item.kind is WorkKind.NO_INVOICE:
        return str(_("The money is here and no invoice was issued."))
    if item.kind in (WorkKind.MAIL, WorkKind.EFFECT):
        return item.note if item.kind is WorkKind.EFFECT else str(_("It could not be sent."))
    if item.kind is WorkKind.REFUND:
        return flag_words(item.detail)
    if item.kind is WorkKind.DISPUTE and item.detail == "no_deadline":
        return str(_("Answer at the provider; it names no deadline."))
    if item.kind is WorkKind.DISPUTE:
        status, day = status_label(item.detail), format_date(item.since)
        return str(_("%(status)s · answer until %(day)s", status=status, day=day))
    if item.kind is WorkKind.QUOTE:
        return str(_("%(customer)s waits for a price", customer=item.note))
    if item.kind is WorkKind.CHANGE:
        return f"{item.note}: {_change_words(item.detail)}"
    reason = str(_DETAILS.get(item.detail, item.detail))
    return f"{item.note}: {reason}" if item.kind in (WorkKind.UNFULFILLED, WorkKind.PRODUCTION) else reason


def _address(item: WorkItem) -> str:
    """The page of the thing a row is about."""
    if item.kind in _EVENTS:
        return url_for("admin.webhook", event_id=item.id)
    if item.kind in _SESSIONS:
        return url_for("admin.payment", public_id=item.name)
    if item.kind is WorkKind.UNFULFILLED:
        return url_for("admin.order", number=item.name)
    if item.kind is WorkKind.MAIL:
        return url_for("admin.mail_message", mail_id=item.id)
    if item.kind is WorkKind.REFUND:
        return url_for("admin.refund", refund_id=item.id)
    if item.kind is WorkKind.PRODUCTION:
        return url_for("admin.sales_order", number=item.name)
    if item.kind is WorkKind.DISPUTE:
        return url_for("admin.dispute", dispute_id=item.id)
    if item.kind is WorkKind.QUOTE:
        return url_for("admin.quote", number=item.name)
    if item.kind is WorkKind.CHANGE:
        return url_for("admin.change", change_id=item.id)
    return url_for("admin.job", message_id=item.id)


def _change_words(detail: str) -> str:
    """Why a change waits for staff."""
    if detail in list(Trouble):
        return trouble_words(Trouble(detail))
    if detail == "not_online":
        return str(_("accepted, and still not online"))
    return str(_("the editor service is late")) if detail == "editor_late" else str(_("waits for a draft"))


def _action(item: WorkItem) -> tuple[str, str] | None:
    """The one thing to do about a row that needs no looking first: where to post, and the button's words."""
    if item.kind in (WorkKind.UNMATCHED, WorkKind.PARKED):
        return url_for("admin.run_webhook_again", event_id=item.id), _("Run again")
    if item.kind is WorkKind.LATE and item.detail != "by_hand":
        return url_for("admin.ask_provider", public_id=item.name), _("Ask the provider")
    if item.kind is WorkKind.UNFULFILLED and item.detail == "verification":
        return url_for("admin.send_order_link", number=item.name), _("Send the link again")
    if item.kind is WorkKind.MAIL:
        return url_for("admin.send_mail_again", mail_id=item.id), _("Send again")
    if item.kind is WorkKind.EFFECT:
        return url_for("admin.run_job_again", message_id=item.id), _("Run again")
    return None

"""The effect ledger: each thing that followed from an event, with its own state and the safe way to do it again.

A domain that adds effects of its own (a key, a site) registers a function that finds them: `@effects_of`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from flask import url_for
from flask_babel import gettext as _

from portal.admin.queries.deliveries import MAIL_TOPIC, Brought, read_brought
from portal.admin.queries.payments import EventFile
from portal.admin.wording import actor_words, change_words, mail_title
from portal.core.mail import MailStatus
from portal.core.outbox import MAX_ATTEMPTS, MessageStatus
from portal.core.ui import money
from portal.orders.models import OrderStatus, PaymentStatus
from portal.payments.models import Standing


@dataclass(frozen=True, slots=True)
class Effect:
    """One line: what, in which state, and where to look. `action` is where to post and the button's words."""

    what: str
    state: str
    note: str = ""
    at: datetime | None = None
    url: str | None = None
    action: tuple[str, str] | None = None
    kind: str | None = None


# Mails have lines of their own, and the event's own history is its timeline.
_ELSEWHERE = ("mail_messages", "provider_events")
Finder = Callable[[EventFile], Iterable[Effect]]
_finders: list[Finder] = []


def effects_of(finder: Finder) -> Finder:
    """Add effects of another domain to the ledger."""
    if finder not in _finders:
        _finders.append(finder)
    return finder


def read_ledger(file: EventFile) -> list[Effect]:
    """Everything that followed from an event, money first, then what was bought, then mails and jobs."""
    brought = read_brought(file)
    effects = [*_money(file, brought), *_goods(brought), *_accounts(file), *_mails(file, brought), *_jobs(file)]
    for finder in _finders:
        effects += finder(file)
    return effects


def _money(file: EventFile, brought: Brought) -> Iterator[Effect]:
    session = file.session
    url = url_for("admin.payment", public_id=session.public_id) if session is not None else None
    for payment in file.payments:
        amount = money(payment.amount_minor, payment.currency)
        yield Effect(_("Money: %(amount)s", amount=amount), payment.standing, at=payment.received_at, url=url)
    for change in file.changes:
        if change.entity in _ELSEWHERE:
            continue
        kind = "payment" if change.entity == "payment_sessions" or change.column == "payment_status" else None
        note = " · ".join(part for part in (actor_words(change.actor), change.reason) if part)
        yield Effect(change_words(change.entity, change.column), change.became, note, change.at, kind=kind)
    counted = next((one for one in file.payments if one.standing is Standing.COUNTED), None)
    if counted is None:
        return
    if brought.invoice is not None:
        url = url_for("invoices.show", number=brought.invoice.number)
        what = _("Invoice %(number)s", number=brought.invoice.number)
        yield Effect(what, "issued", at=brought.invoice.issued_at, url=url)
    else:
        action = _repair("paid_without_invoice", counted.session_id), _("Issue the invoice")
        yield Effect(_("Invoice"), "missing", action=action)


def _goods(brought: Brought) -> Iterator[Effect]:
    order = brought.order
    if order is None:
        return
    url = url_for("admin.order", number=order.number)
    yield Effect(_("Order %(number)s", number=order.number), order.payment_status, at=order.paid_at, url=url)
    if not brought.unlocks + brought.returned:
        return
    count = _("%(count)s of %(most)s", count=brought.granted, most=brought.unlocks)
    if brought.returned:
        count += " · " + _("given back: %(count)s", count=brought.returned)
    if order.status is OrderStatus.FULFILLED and brought.granted < brought.unlocks:
        action = _repair("paid_without_enrolment", order.id), _("Give what is missing")
        yield Effect(_("Packages unlocked"), "missing", count, url=url, action=action)
    elif order.status is OrderStatus.FULFILLED:
        state = "enrolled" if brought.unlocks else PaymentStatus.REFUNDED
        yield Effect(_("Packages unlocked"), state, count, url=url)
    else:
        state = "waiting" if order.status is OrderStatus.OPEN else "cancelled"
        yield Effect(_("Packages unlocked"), state, count, url=url)


def _accounts(file: EventFile) -> Iterator[Effect]:
    for line in file.audit_lines:
        kind, _colon, number = (line.subject or "").partition(":")
        if line.event == "account.created" and kind == "users" and number.isdigit():
            url = url_for("admin.customer", user_id=int(number))
            yield Effect(_("Account of %(email)s", email=line.actor), "created", at=line.at, url=url)


def _mails(file: EventFile, brought: Brought) -> Iterator[Effect]:
    errors = {one.payload.get("mail_id"): one.last_error for one in file.effects if one.topic == MAIL_TOPIC}
    for mail in brought.mails:
        again = url_for("admin.send_event_mail_again", event_id=file.event.id, mail_id=mail.id)
        yield Effect(
            what=_("Mail: %(title)s", title=mail_title(mail.template)),
            state=mail.status,
            note=errors.get(mail.id) or mail.to,
            at=mail.sent_at or mail.created_at,
            url=url_for("admin.mail_message", mail_id=mail.id),
            # A mail that is on its way is not written a second time; one that was sent has its own page for that.
            action=(again, _("Send again")) if mail.status is MailStatus.FAILED else None,
        )


def _jobs(file: EventFile) -> Iterator[Effect]:
    for message in file.effects:
        if message.topic == MAIL_TOPIC:
            continue
        again = url_for("admin.run_event_effect_again", event_id=file.event.id, message_id=message.id)
        tries = _("%(count)s of %(most)s tries", count=message.attempts, most=MAX_ATTEMPTS)
        yield Effect(
            what=message.topic,
            state=message.status,
            note=" · ".join(part for part in (tries if message.attempts else "", message.last_error) if part),
            at=message.done_at or message.created_at,
            url=url_for("admin.job", message_id=message.id),
            action=(again, _("Run again")) if message.status is MessageStatus.FAILED else None,
        )


def _repair(name: str, subject_id: int) -> str:
    return url_for("admin.repair_invariant", invariant_name=name, subject_id=subject_id)

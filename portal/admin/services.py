"""What staff do that other domains offer as it is: each with a line in the audit log saying who did it."""

from datetime import datetime

from flask_babel import lazy_gettext as _l
from sqlalchemy.exc import NoResultFound

from portal.accounts import services as accounts
from portal.core import audit, mail, outbox
from portal.core.errors import Conflict, NotFound
from portal.core.invariants import Invariant, UnknownInvariant
from portal.core.mail import MailMessage
from portal.payments.models import PaymentSession
from portal.payments.services import checking, draining, replaying


class NotFailed(Conflict):
    """Only an effect that was given up can be run again by hand; a waiting one runs by itself."""

    code = "not_failed"
    default = _l("This has not failed, or somebody has already started it again.")


class PaymentFinished(Conflict):
    """A provider is asked only about a payment that can still change."""

    code = "payment_finished"
    default = _l("This payment is already finished. There is nothing to ask.")


class NothingToSetUp(Conflict):
    """The buyer's account does not exist yet, is closed, or has its password."""

    code = "nothing_to_set_up"
    default = _l("There is no account that waits for its owner. Look at the customer's page.")


def run_event_again(event_id: int, *, by: str, at: datetime) -> None:
    """Put a parked or unmatched event back into the queue. Raises InvalidTransition when it is neither."""
    draining.run_again(event_id, by=by, at=at)
    audit.record("event.run_again", actor=by, subject=f"provider_events:{event_id}")


def apply_event_again(event_id: int, *, by: str, at: datetime) -> None:
    """Apply an event now, as today's code reads it. Raises InvalidTransition or ReplayFailed."""
    outlook = replaying.apply_again(event_id, by=by, at=at)
    audit.record(
        "event.applied_by_hand",
        actor=by,
        subject=f"provider_events:{event_id}",
        after={"status": outlook.status, "verdict": outlook.verdict},
    )


def resolve_event(event_id: int, *, by: str, at: datetime, note: str) -> None:
    """Note how a person dealt with a conflict or an unmatched event. Raises InvalidTransition when it is neither."""
    draining.resolve(event_id, by=by, at=at, note=note)
    audit.record("event.resolved", actor=by, subject=f"provider_events:{event_id}", detail=note)


def send_mail_again(mail_id: int, *, by: str, at: datetime) -> MailMessage:
    """Send a mail once more, with fresh links. Raises InvalidTransition while it waits to be sent."""
    message = mail.send_again(mail_id, by=by, at=at)
    audit.record("mail.sent_again", actor=by, subject=f"mail_messages:{mail_id}", after={"to": message.to})
    return message


def run_effect_again(message_id: int, *, by: str, at: datetime) -> None:
    """Give an effect that was given up fresh tries. Raises NotFailed."""
    if not outbox.run_again(message_id, at=at):
        raise NotFailed
    audit.record("effect.run_again", actor=by, subject=f"outbox_messages:{message_id}")


def ask_provider(session: PaymentSession, *, by: str, at: datetime) -> None:
    """Have the providers asked about a payment now. Raises PaymentFinished."""
    if session.is_final:
        raise PaymentFinished
    checking.request_check(session, at=at)
    audit.record("payment_session.check_requested", actor=by, subject=f"payment_sessions:{session.id}")


def ask_about_everything(provider: str, *, by: str, at: datetime) -> None:
    """Have one provider asked about all that is open there, and for the events it could not deliver."""
    count = checking.request_provider_checks(provider, at=at)
    audit.record("provider.check_requested", actor=by, after={"provider": provider, "payments": count})


def repair(rule: Invariant, subject_id: int, *, by: str, at: datetime) -> None:
    """Mend one breach of an invariant. Raises AlreadyRight, UnknownInvariant for one without a repair, or NotFound."""
    if rule.repair is None:
        raise UnknownInvariant
    try:
        rule.repair(subject_id, by=by, at=at)
    except NoResultFound:
        raise NotFound from None
    audit.record("invariant.repaired", actor=by, after={"invariant": rule.name, "id": subject_id})


def note_export(what: str, *, by: str, filters: dict[str, str]) -> None:
    """Leave a line that somebody took a list of customers' data with them."""
    audit.record(f"{what}.exported", actor=by, after=filters)


def send_set_up_link(email: str, *, by: str, at: datetime) -> None:
    """Mail the owner of an address the link that opens their account. Raises NothingToSetUp."""
    user = accounts.find_user(email)
    if user is None or not accounts.send_set_up_link(user, at):
        raise NothingToSetUp
    audit.record("set_up_link.sent", actor=by, subject=f"users:{user.id}")

"""What the worker does for accounts: answers to requests that were taken without looking, and tidying up."""

from datetime import timedelta

from sqlalchemy import delete

from portal.accounts.models import SignIn, UserToken
from portal.accounts.services import registering, sessions, throttling
from portal.core import clock, outbox, periodic, queues
from portal.core.db import db, unit_of_work
from portal.core.queues import QueueName

_TOKENS_KEPT_FOR = timedelta(days=30)


@outbox.handles(registering.REGISTERED, queue=QueueName.MAIL)
def answer_registration(address: str, is_new: bool) -> None:
    """Send the verification mail, or tell the owner of a known address that they have an account."""
    with unit_of_work():
        registering.answer_registration(address, is_new=is_new, at=clock.now())


@outbox.handles(registering.LINK_REQUESTED, queue=QueueName.MAIL)
def answer_link_request(address: str, purpose: str) -> None:
    """Send the link that was asked for, if there is somebody to send it to."""
    with unit_of_work():
        registering.answer_link_request(address, purpose, at=clock.now())


@queues.job
def tidy_up() -> None:
    """Delete sessions, links and tries to sign in that mean nothing any more."""
    at = clock.now()
    with unit_of_work():
        sessions.delete_dead_sessions(at=at)
        db.session.execute(delete(UserToken).where(UserToken.expires_at < at - _TOKENS_KEPT_FOR))
        db.session.execute(delete(SignIn).where(SignIn.at < at - throttling.KEPT_FOR))


def register_periodic() -> None:
    """Put the tidying on the worker's list."""
    periodic.every(timedelta(days=1), "portal.accounts.jobs.tidy_up")

"""Looking at a hosted page of the sandbox from behind."""

from sqlalchemy import func, select

from portal.core.db import db
from portal.payments import queries
from portal.payments.models import PaymentSession, SessionStatus
from portal.payments.providers.sandbox import books
from portal.payments.providers.sandbox.models import SandboxPayment


def reference_of(page_url: str) -> str:
    """The provider's id of the page."""
    return page_url.rsplit("/", 1)[1]


def page_of(page_url: str) -> SandboxPayment:
    """The page as the books have it now."""
    db.session.rollback()  # What other threads did is in a newer snapshot.
    return books.get_page(reference_of(page_url))


def status_of(session: PaymentSession) -> SessionStatus:
    """How the portal's payment session stands now."""
    db.session.expire_all()
    found = queries.find_session(session.public_id)
    assert found is not None
    return found.status


def told(page_url: str) -> list[str]:
    """The types of the events about a page, in order."""
    return [event.event_type for event in books.events_of(page_of(page_url))]


def count(model: type[object]) -> int:
    """How many rows a table has."""
    return db.session.scalar(select(func.count()).select_from(model)) or 0

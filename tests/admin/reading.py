"""What a test sees on a page of the back office."""

import html
import re

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.core.audit import AuditEvent
from portal.core.db import db

_ROW_LINK = re.compile(r'class="row-link"[^>]*>(.*?)</a>', re.DOTALL)
_TAGS = re.compile(r"<[^>]+>")
_SPACES = re.compile(r"\s+")
FRAGMENT = {"HX-Request": "true"}


def rows(answer: TestResponse) -> list[str]:
    """The titles of a table's rows, in order."""
    return [words_of(found) for found in _ROW_LINK.findall(answer.get_data(as_text=True))]


def words(answer: TestResponse) -> str:
    """What can be read on a page."""
    return words_of(answer.get_data(as_text=True))


def words_of(markup: str) -> str:
    """Markup without its tags, every run of space as one."""
    return _SPACES.sub(" ", html.unescape(_TAGS.sub(" ", markup))).strip()


def page(browser: FlaskClient, address: str) -> str:
    """The words of a page that must be there."""
    answer = browser.get(address)
    assert answer.status_code == 200, address
    return words(answer)


def audited(event: str) -> list[AuditEvent]:
    """The lines the audit log has of an event."""
    db.session.rollback()
    return list(db.session.scalars(db.select(AuditEvent).where(AuditEvent.event == event).order_by(AuditEvent.id)))

"""Changes for tests: an owner's active site, requests, drafts by staff, and the queues carried out here."""

import io
from collections.abc import Mapping
from typing import Any

from PIL import Image

from portal.accounts.models import User
from portal.core import clock, outbox
from portal.core.db import db, unit_of_work
from portal.sites.changes.models import ChangeDraft, ChangeRequest, Drafter
from portal.sites.changes.services import asking, drafting
from portal.sites.models import Site
from portal.sites.services import ownership
from tests.sites.support import BY, make_live_site

HOME = (
    "<!doctype html>\n<title>Bakery</title>\n<h1>Bread</h1>\n<p>Mon to Fri</p>\n<p>Open from 8</p>\n"
    "<p>Ring twice</p>\n<p>Since 1921</p>\n<p>Cash only</p>\n"
)
FILES = {
    "index.html": HOME.encode(),
    "about.html": b"<!doctype html><title>About</title><h1>About</h1>",
    "s.css": b"p {}",
}


def home(*changes: tuple[str, str]) -> bytes:
    """The first page with other words in it."""
    text = HOME
    for was, became in changes:
        assert was in text
        text = text.replace(was, became)
    return text.encode()


HOURS, CARDS = ("Open from 8", "Open from 9"), ("Cash only", "Cards welcome")


def make_active_site(owner: User, files: Mapping[str, bytes] = FILES, **values: Any) -> Site:
    """A live site whose subscription runs."""
    site = make_live_site(files=files, owner=owner, **values)
    with unit_of_work():
        ownership.activate(site, at=clock.now())
    return reload(site)


def ask(site: Site, owner: User, text: str = "Open from 9 please", **values: Any) -> ChangeRequest:
    return asking.ask_for_change(reload(site), owner, text=text, at=clock.now(), **values)


def draft(change: ChangeRequest, files: Mapping[str, bytes], **values: Any) -> ChangeDraft:
    """Staff draft it, on top of what they have drafted before."""
    change = reload(change)
    replaces = change.draft.number if change.draft else None
    return drafting.save_draft(
        change, files, **{"replaces": replaces, "author": BY, "by": Drafter.STAFF, "at": clock.now(), **values}
    )


def show(change: ChangeRequest) -> ChangeRequest:
    """Show the draft to the owner."""
    current = reload(change).draft
    with unit_of_work():
        drafting.show_draft(change.id, draft_number=current.number if current else None, by=BY, at=clock.now())
    return reload(change)


def ready(site: Site, owner: User, files: Mapping[str, bytes] | None = None, **values: Any) -> ChangeRequest:
    """A request whose draft waits for the owner: other hours, and cards."""
    change = ask(site, owner, **values)
    draft(change, files if files is not None else {"index.html": home(HOURS, CARDS)})
    return show(change)


def ids(change: ChangeRequest) -> list[str]:
    """The pieces of its draft."""
    current = reload(change).draft
    assert current is not None
    return [piece.id for piece in current.read_pieces()]


def draft_of(change: ChangeRequest) -> int:
    current = reload(change).draft
    assert current is not None
    return current.number


def reload(row: Any) -> Any:
    """The row as the database has it now."""
    db.session.rollback()
    return db.session.get_one(type(row), row.id, populate_existing=True)


def carry_out() -> None:
    """Deploy, draft, and send mail."""
    for queue in ("deploy", "files", "mail"):
        outbox.drain(queue)
    db.session.rollback()


def picture(kind: str = "PNG", size: tuple[int, int] = (40, 30)) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", size, "teal").save(written, kind)
    return written.getvalue()

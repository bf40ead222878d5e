"""An owner asks for a change: what it is, where, and a picture if there is one."""

import uuid
from datetime import datetime

from flask_babel import lazy_gettext as _l
from sqlalchemy import func, select

from portal.accounts.models import User
from portal.core import audit, files, outbox, pictures, settings
from portal.core.db import db, stop_reading, unit_of_work
from portal.sites import queries, storage
from portal.sites.changes.errors import ChangesClosed, InvalidChange, TooManyOpen
from portal.sites.changes.models import OPEN, ChangeRequest, ChangeStatus, Drafter
from portal.sites.changes.queries import pages_of
from portal.sites.models import Site

TO_DRAFT = "site_change.to_draft"
LONGEST_TEXT = 4_000
MOST_OPEN = 5


def ask_for_change(
    site: Site, customer: User, *, text: str, page: str = "", picture: bytes = b"", at: datetime
) -> ChangeRequest:
    """Take a request for a site whose subscription runs. Opens its own transactions; a picture is read between them.

    Asking for the same again while it is open changes nothing. `page` is the path of one, or empty. Raises
    ChangesClosed, TooManyOpen or InvalidChange.
    """
    text = text.replace("\r\n", "\n").strip()
    _check(site, text, page)
    site_id = site.id
    stop_reading()
    name = _store(picture) if picture else None
    made = False
    try:
        with unit_of_work():
            # The lock gives two who ask at once two numbers, and lets the second see what the first has asked.
            locked = storage.lock_site(site_id)
            if not locked.may_be_changed or locked.owner_id != customer.id:
                raise ChangesClosed
            same, count = _open_ones(locked, text, page)
            if same is not None:
                return same
            if count >= MOST_OPEN:
                raise TooManyOpen
            change = _add(locked, customer, text, page, name, at)
            made = True
            return change
    finally:
        if name is not None and not made:
            files.delete(name)


def _check(site: Site, text: str, page: str) -> None:
    if not site.may_be_changed:
        raise ChangesClosed
    if not text:
        raise InvalidChange(_l("Say what should be different."), field="text")
    if len(text) > LONGEST_TEXT:
        raise InvalidChange(_l("This is longer than 4,000 characters. Ask for it in several steps."), field="text")
    if any(not letter.isprintable() and letter not in "\n\t" for letter in text):
        raise InvalidChange(_l("This holds characters that cannot be printed."), field="text")
    if page and page not in pages_of(queries.find_wanted_version(site)):
        raise InvalidChange(_l("The site has no such page."), field="page")


def _store(picture: bytes) -> str:
    """Write a stranger's picture anew and keep that. Raises InvalidChange."""
    try:
        clean = pictures.cleaned(picture)
    except pictures.OversizedPicture:
        raise InvalidChange(
            _l("The picture is too large: 12 MB and 50 million pixels at most."), field="picture"
        ) from None
    except pictures.UnreadablePicture:
        raise InvalidChange(_l("This is no JPEG, PNG or WebP picture that we can read."), field="picture") from None
    name = f"changes/{uuid.uuid4()}.jpg"
    files.put(name, clean)
    return name


def _open_ones(site: Site, text: str, page: str) -> tuple[ChangeRequest | None, int]:
    found = db.session.scalars(
        select(ChangeRequest).where(ChangeRequest.site_id == site.id, ChangeRequest.status.in_(OPEN))
    ).all()
    return next((one for one in found if (one.text, one.page) == (text, page)), None), len(found)


def _add(site: Site, customer: User, text: str, page: str, picture_name: str | None, at: datetime) -> ChangeRequest:
    last = db.session.scalar(select(func.max(ChangeRequest.number)).where(ChangeRequest.site_id == site.id))
    has_editor = settings.current().has_editor
    change = ChangeRequest(
        site_id=site.id,
        number=(last or 0) + 1,
        asked_by_id=customer.id,
        text=text,
        page=page,
        picture_name=picture_name,
        status=ChangeStatus.RECEIVED,
        drafter=Drafter.EDITOR if has_editor else Drafter.STAFF,
        created_at=at,
        updated_at=at,
    )
    db.session.add(change)
    db.session.flush()
    audit.record(
        "site_change.received", actor=customer.email, subject=f"site_changes:{change.id}",
        after={"site": site.slug, "page": page, "picture": picture_name is not None},
    )  # fmt: skip
    if has_editor:
        outbox.publish(TO_DRAFT, change_id=change.id)
    return change

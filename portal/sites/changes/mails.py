"""What the mails about changes are filled with."""

from typing import Any

from flask_babel import lazy_gettext as _l

from portal.core import mail
from portal.core.addresses import address_of
from portal.core.db import db
from portal.core.mail import Content
from portal.sites import layout
from portal.sites.changes.models import ChangeRequest


@mail.context("change_ready", title=_l("Change of a site: look at it"))
def change_ready(change_id: int) -> Content:
    """A draft waits for its owner."""
    return Content(values=_values(db.session.get_one(ChangeRequest, change_id)))


@mail.context("change_live", title=_l("Change of a site: it is online"))
def change_live(change_id: int) -> Content:
    """What was accepted is what visitors see."""
    change = db.session.get_one(ChangeRequest, change_id)
    return Content(values={**_values(change), "live_url": layout.site_url(change.site.slug)})


@mail.context("change_declined", title=_l("Change of a site: declined"))
def change_declined(change_id: int) -> Content:
    """Staff do not make this change."""
    return Content(values=_values(db.session.get_one(ChangeRequest, change_id)))


def _values(change: ChangeRequest) -> dict[str, Any]:
    url = address_of("sites.change", slug=change.site.slug, number=change.number)
    return {"change": change, "site": change.site, "change_url": url}

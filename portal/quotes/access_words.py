"""The custody log in words: to customers, for whom we are the shop, and to staff, who know each other by name."""

from collections.abc import Mapping

from flask_babel import LazyString
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from portal.quotes.models import ModelAccess
from portal.quotes.services.custody import DESTROYED, DOWNLOADED, ERASED, PICTURED, VIEWED
from portal.quotes.services.loading import QuoteOwner

_ACTIONS: Mapping[str, LazyString] = {
    DOWNLOADED: _l("Downloaded the file"),
    VIEWED: _l("Looked at it in 3D"),
    PICTURED: _l("Looked at the picture"),
    DESTROYED: _l("Destroyed it"),
    ERASED: _l("Deleted its bytes from our store"),
}


class StaffWords:
    """Everybody by their address."""

    def action(self, line: ModelAccess) -> str:
        """What was done."""
        return str(_ACTIONS.get(line.action, line.action))

    def actor(self, line: ModelAccess) -> str:
        """Who did it."""
        return str(_("by itself")) if line.actor.startswith("job:") else line.actor


class CustomerWords(StaffWords):
    """The customer as "you", and our people by what they are: their addresses are not the customer's business."""

    def __init__(self, owner: QuoteOwner) -> None:
        self._own = owner.name

    def actor(self, line: ModelAccess) -> str:
        """Who did it."""
        if line.actor in (self._own, "visitor"):
            return str(_("You"))
        return str(_("by itself")) if line.actor.startswith("job:") else str(_("Our staff"))

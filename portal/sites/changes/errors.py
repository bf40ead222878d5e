"""What can go wrong with change requests, in words for owners and staff."""

from flask_babel import lazy_gettext as _l

from portal.core.errors import Conflict, Invalid, NotFound


class ChangeNotFound(NotFound):
    """No such request, or it is about somebody else's site."""


class InvalidChange(Invalid):
    """A request that cannot be taken; `field` says which part of it."""

    code = "invalid_change"


class ChangesClosed(Conflict):
    """The subscription that pays for changes does not run."""

    code = "changes_closed"
    default = _l("Changes are part of the monthly subscription, and yours does not run. Your site stays online.")


class TooManyOpen(Conflict):
    """So many requests wait for a decision that more would only lie about."""

    code = "too_many_changes"
    default = _l("Five of your changes are still open. Decide about them first; then there is room for the next one.")


class ChangeMoved(Conflict):
    """The request is not where it was when the page was made."""

    code = "change_moved"


class DraftMoved(Conflict):
    """The draft that was looked at is not the draft that there is."""

    code = "draft_moved"
    default = _l("There is a newer draft by now. Look at it before you decide.")


class NoPieces(Conflict):
    """Nothing was chosen, which is what declining is for."""

    code = "no_pieces"
    default = _l("Choose at least one piece, or decline the change.")


class PieceOutdated(Conflict):
    """The site has changed at the place of a piece that was chosen."""

    code = "piece_outdated"
    default = _l(
        "The site has changed at one of these places since this was drafted. Leave it out, or ask for a new draft."
    )


class PiecesNeeded(Conflict):
    """What was chosen links to something that was not chosen."""

    code = "pieces_needed"


class NothingDrafted(Conflict):
    """A draft that is the same as the site."""

    code = "nothing_drafted"
    default = _l("Nothing is different from the site as it is.")


class UndoTooLate(Conflict):
    """A change that cannot be taken back by itself any more."""

    code = "undo_too_late"
    default = _l("Later changes touch the same places. Restore an older version instead.")


class BusySite(Conflict):
    """Others change the site all the time."""

    code = "busy_site"
    default = _l("Somebody else is changing this site right now. Try again in a moment.")

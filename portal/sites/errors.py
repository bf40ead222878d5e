"""What can go wrong with hosted sites, in words for the people who keep and visit them."""

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

from portal.core.errors import Conflict, Invalid, NotFound


class SiteNotFound(NotFound):
    """No such site, or it is not this person's."""

    default = _l("We could not find that site.")


class VersionNotFound(NotFound):
    """The site has no such version."""

    default = _l("We could not find that version.")


class FileNotInVersion(NotFound):
    """The version has no such file."""

    default = _l("This version has no such file.")


class InvalidSite(Invalid):
    """A field of a site that cannot be kept; `field` names it."""

    code = "invalid_site"


class SlugTaken(InvalidSite):
    """Another site already has this address."""

    code = "slug_taken"
    default = _l("Another site already uses this address.")


class ContentRefused(Invalid):
    """Files that cannot become a version; nothing of them was kept. `path` names the file, where one is to blame."""

    code = "content_refused"

    def __init__(self, message: LazyString | str, path: str = "") -> None:
        super().__init__(message, field="files")
        self.path = path


class NothingChanged(Conflict):
    """What should become a version is what the newest one is already."""

    code = "nothing_changed"
    default = _l("Nothing changed: the newest version already has exactly this content.")


class VersionMoved(Conflict):
    """Somebody else made a version while this one was being edited."""

    code = "version_moved"
    default = _l("Somebody else changed this site in the meantime. Look at the newest version before you save.")


class SiteDeleted(Conflict):
    """Nothing can be done with a site that was deleted, except to bring it back."""

    code = "site_deleted"
    default = _l("This site was deleted. Bring it back first.")


class SiteNotForSale(Conflict):
    """Somebody owns the site by now."""

    code = "site_not_for_sale"
    default = _l("This site has found its owner.")


class SiteBeingBought(Conflict):
    """Another buyer was faster and is about to pay; until that is decided nobody else can begin."""

    code = "site_being_bought"
    default = _l(
        "Somebody else is buying this site right now. If they do not pay, it is for sale again within the hour."
    )


class SiteInUse(Conflict):
    """A site that somebody pays for every month is not deleted."""

    code = "site_in_use"
    default = _l("This site has a running subscription. Cancel it before you delete the site.")


class UndoOver(Conflict):
    """The site is not deleted, or its content is gone by now."""

    code = "undo_over"
    default = _l("This site cannot be brought back any more.")

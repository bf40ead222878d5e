"""What can go wrong with the catalogue, in the words of those who keep it."""

from collections.abc import Sequence

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

from portal.core.errors import Conflict, Invalid, NotFound


class PackageNotFound(NotFound):
    """No such package, or it is not published."""

    default = _l("We could not find that package.")


class InvalidPackage(Invalid):
    """A field of a package that cannot be kept; `field` names it."""

    code = "invalid_package"


class SlugTaken(InvalidPackage):
    """Another package already has this address."""

    code = "slug_taken"
    default = _l("Another package already uses this address.")


class InvalidBundle(Invalid):
    """Contents that a bundle cannot have."""

    code = "invalid_bundle"


class PackageInUse(Conflict):
    """Somebody ordered the package, or a bundle contains it: it can be unpublished, not deleted."""

    code = "package_in_use"
    default = _l("This package was ordered or is part of a bundle. Unpublish it instead of deleting it.")


class PackageChanged(Conflict):
    """Another person saved the package while this one was editing it."""

    code = "package_changed"
    default = _l("Somebody else changed this package in the meantime. Look at it again before you save.")


class ImportRefused(Invalid):
    """A data file with mistakes; nothing of it was taken. `problems` names row and field of each."""

    code = "import_refused"
    default = _l("The file has mistakes. Nothing was changed.")

    def __init__(self, problems: Sequence[str | LazyString]) -> None:
        super().__init__()
        self.problems = [str(problem) for problem in problems]

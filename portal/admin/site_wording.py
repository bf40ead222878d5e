"""What a deployment's log says, in words for staff."""

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

from portal.admin.blueprint import bp

_STEPS: dict[str, LazyString] = {
    "started": _l("The worker of the site host has begun."),
    "resumed": _l("Another worker takes over where the one before it stopped."),
    "written": _l("All files are written and checked."),
    "found": _l("This version is still on the disk, whole."),
    "configured": _l("nginx has tested and read its configuration."),
    "switched": _l("Visitors get the new version from now on."),
    "visited": _l("The page was fetched as a visitor does, and it is the right one."),
    "not_visited": _l("The page was not fetched: SITES_CHECK_URL is not set."),
    "live": _l("Done: the version is live."),
    "not_written": _l("The files could not be written. Nothing was changed for visitors."),
    "not_switched": _l("The version could not be switched on. Nothing was changed for visitors."),
    "content_missing": _l("A file of this version is missing from the storage. Nothing was changed for visitors."),
    "refused": _l("nginx refuses its configuration, so the one before is back. Nothing was changed for visitors."),
    "nginx_away": _l("nginx does not run here or cannot be told. Nothing was changed for visitors."),
    "not_served": _l("The page that visitors would get is not the right one."),
    "went_back": _l("Switched back to what was served before."),
}


@bp.app_template_global()
def step_words(step: str) -> str:
    """One line of a log."""
    known = _STEPS.get(step)
    return str(known) if known is not None else step.replace("_", " ")

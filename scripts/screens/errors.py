"""What somebody sees when it goes wrong."""

from scripts.screens.tour import Tour

_ERRORS = (403, 404, 409, 413, 429, 500, 503)


def show(tour: Tour) -> None:
    """Each page that names an error."""
    for status in _ERRORS:
        with tour.visit(f"error {status}") as person:
            tour.show(person, f"/dev/ui/errors/{status}", f"error-{status}")

"""Where quotes learn that a model is still needed. Production tells; quotes ask and know nothing of it."""

from collections.abc import Callable

# Says what needs a model, as its number ("SO-2026-014"), or None.
NeededBy = Callable[[int], str | None]

_told_by: list[NeededBy] = []


def tells_who_needs_a_model(function: NeededBy) -> NeededBy:
    """Register who knows which open orders are made from a model; the one registered last is asked."""
    _told_by[:] = [function]
    return function


def needed_by(model_file_id: int) -> str | None:
    """The number of an open order that is made from a model; none while nobody tells."""
    return _told_by[0](model_file_id) if _told_by else None

"""Routes that take more than a form of ordinary size: each says how much, and only those who may use it get it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from flask import Flask, current_app, request
from flask_login import current_user

from portal.core.access import Access, level_of

F = TypeVar("F", bound=Callable[..., Any])
_SPARE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Room:
    """How much a route takes: bytes in all, parts of the form, and bytes of typed text."""

    size: int
    parts: int = 100
    text: int = 500_000


def takes_uploads(size: int, *, parts: int = 100, text: int = 500_000) -> Callable[[F], F]:
    """Declare that a route for staff, or for customers with a proven address, takes `size` bytes and `parts` files."""

    def mark(view: F) -> F:
        cast("Any", view).room = Room(size + _SPARE, parts + 20, text)
        return view

    return mark


def init_app(app: Flask) -> None:
    """Make room before anything reads the form: the check of its token already does."""
    app.before_request(_make_room)


def _make_room() -> None:
    if request.method != "POST" or request.endpoint is None:
        return
    room: Room | None = getattr(current_app.view_functions.get(request.endpoint), "room", None)
    if room is None or not _may_use(request.endpoint):
        return
    request.max_content_length = room.size
    request.max_form_parts = room.parts
    request.max_form_memory_size = room.text


def _may_use(endpoint: str) -> bool:
    """Whether whoever asks gets past the door; everybody else's upload ends at the ordinary limit."""
    level = level_of(current_app, endpoint)
    if level is Access.VERIFIED:
        return bool(current_user.is_authenticated and current_user.is_verified)
    return level in (Access.STAFF, Access.ADMIN) and current_user.is_authenticated and current_user.is_staff

"""What can go wrong, in words that are safe to show; `create_app()` maps each to an answer, once."""

from typing import ClassVar, TypeAlias

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

Sentence: TypeAlias = str | LazyString


class PortalError(Exception):
    """A refusal a person can read. `message` never holds a secret, a path or a stack trace."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad_request"
    default: ClassVar[Sentence] = _l("That did not work. Check what you entered and try again.")

    def __init__(self, message: Sentence | None = None, *, field: str | None = None) -> None:
        self.message: Sentence = message if message is not None else self.default
        self.field = field
        super().__init__(message)

    def __str__(self) -> str:
        return str(self.message)


class Invalid(PortalError):
    """The input was understood and is not acceptable."""

    status = 422
    code = "invalid"


class Forbidden(PortalError):
    """The actor is known and may not do this."""

    status = 403
    code = "forbidden"
    default = _l("You are not allowed to do this.")


class NotFound(PortalError):
    """There is no such thing, or it belongs to somebody else: the two must look alike."""

    status = 404
    code = "not_found"
    default = _l("We could not find that page.")


class Conflict(PortalError):
    """The thing is no longer in the state this action needs."""

    status = 409
    code = "conflict"
    default = _l("This changed in the meantime. Look at the current state and try again.")


class TooMany(PortalError):
    """A rate limit was reached."""

    status = 429
    code = "too_many_requests"
    default = _l("Too many tries. Wait a moment and try again.")


class Unavailable(PortalError):
    """Something we depend on does not answer; trying again later is right."""

    status = 503
    code = "unavailable"
    default = _l("This is not available right now. Please try again in a moment.")

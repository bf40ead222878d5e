"""What can go wrong with accounts, in words that are safe to show."""

from datetime import timedelta
from typing import ClassVar

from flask_babel import lazy_gettext as _l
from flask_babel import lazy_ngettext as _ln

from portal.core.errors import Conflict, Forbidden, Invalid, NotFound, Sentence, TooMany, Unavailable


class WrongCredentials(Invalid):
    """Unknown address or wrong password: the two must look alike."""

    code = "wrong_credentials"
    default: ClassVar[Sentence] = _l("The e-mail address or the password is not right.")


class WrongPassword(Invalid):
    """A signed-in user did not repeat their password."""

    code = "wrong_password"
    default: ClassVar[Sentence] = _l("That is not your current password.")


class AccountClosed(Forbidden):
    """The password is right and staff have closed the account. Said only to who knows the password."""

    code = "account_closed"
    default: ClassVar[Sentence] = _l("This account is closed. Write to us if you think it should not be.")


class WrongCode(Invalid):
    """A second-factor or recovery code that does not count, or no longer does."""

    code = "wrong_code"
    default: ClassVar[Sentence] = _l("That code is not right, or it was used already. Wait for the next one.")


class SecondStepExpired(Conflict):
    """The password was given too long ago, or changed since: begin again."""

    code = "second_step_expired"
    default: ClassVar[Sentence] = _l("That took too long. Please log in again.")


class TooManyTries(TooMany):
    """Guessing is slowed down; `retry_after` says for how long."""

    code = "too_many_tries"

    def __init__(self, retry_after: timedelta) -> None:
        self.retry_after = max(1, round(retry_after.total_seconds()))
        super().__init__(_waiting_sentence(self.retry_after))


def _waiting_sentence(seconds: int) -> Sentence:
    if seconds < 60:
        return _ln(
            "Too many tries. Please wait %(num)d second.", "Too many tries. Please wait %(num)d seconds.", seconds
        )
    minutes = -(-seconds // 60)
    return _ln("Too many tries. Please wait %(num)d minute.", "Too many tries. Please wait %(num)d minutes.", minutes)


class TooBusy(Unavailable):
    """So many people log in at once that this one would wait too long."""

    code = "too_busy"
    default: ClassVar[Sentence] = _l("Very many people are logging in right now. Please try again in a moment.")


class SessionEnded(Conflict):
    """The session ended in another window while this one was still at work."""

    code = "session_ended"
    default: ClassVar[Sentence] = _l("You were logged out in the meantime. Log in and try again.")


class LinkDead(NotFound):
    """A mailed link that was used, is too old, or never was: the three look alike."""

    code = "link_dead"
    default: ClassVar[Sentence] = _l("This link was used already or is too old. Ask for a new one.")


class UserNotFound(NotFound):
    """There is no such user, or not one this actor may see."""

    default: ClassVar[Sentence] = _l("We could not find that customer.")


class LastAdmin(Conflict):
    """Without an administrator nobody could let anyone in again."""

    code = "last_admin"
    default: ClassVar[Sentence] = _l("This is the last administrator. Make somebody else one first.")


class OwnAccount(Conflict):
    """Nobody changes their own rights: a slip would lock them out."""

    code = "own_account"
    default: ClassVar[Sentence] = _l("You cannot do this to your own account. Ask another administrator.")

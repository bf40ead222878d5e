"""Which passwords are taken: long enough, a letter and a digit, not one of those that guessers try first."""

import unicodedata
from functools import cache
from pathlib import Path

from flask_babel import lazy_gettext as _l

from portal.core.errors import Sentence

SHORTEST = 8
LONGEST = 128
_COMMON = Path(__file__).with_name("common_passwords.txt")
# A local part such as "jo" is inside too many good passwords to mean anything.
_SHORTEST_NAME = 4


def normalise_password(password: str) -> str:
    """The form that is hashed: NFKC, so that "ó" typed on one keyboard is the "ó" of another (NIST SP 800-63B).

    Nothing is cut off and spaces stay: a space is a character like any other.
    """
    return unicodedata.normalize("NFKC", password)


def password_problem(password: str, *, email: str | None = None) -> Sentence | None:
    """What is wrong with a new password, in words for its owner; None when it is fine."""
    password = normalise_password(password)
    if len(password) < SHORTEST:
        return _l("Use at least %(count)d characters.", count=SHORTEST)
    if len(password) > LONGEST:
        return _l("Use at most %(count)d characters.", count=LONGEST)
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in password):
        return _l("This contains a character that cannot be typed again.")
    if not any(character.isalpha() for character in password) or not any(c.isdigit() for c in password):
        return _l("Use at least one letter and one digit.")
    folded = password.casefold()
    if folded in _common_passwords():
        return _l("This password is one of the first that are guessed. Choose another one.")
    name = (email or "").partition("@")[0].casefold()
    if len(name) >= _SHORTEST_NAME and name in folded:
        return _l("Leave your e-mail address out of your password.")
    return None


@cache
def _common_passwords() -> frozenset[str]:
    return frozenset(_COMMON.read_text(encoding="utf-8").split())

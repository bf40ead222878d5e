"""Password hashes: Argon2id, with imported bcrypt hashes understood until their owner signs in.

Every call here is slow on purpose and must stay outside a transaction: it would hold the database's locks. At most
`CONCURRENT_HASHES` run at once in a process (there is one process a core), so that a flood of log-ins cannot take the
processor from the shop; and at most `LONGEST_LINE` wait for their turn, so that it cannot take all threads either.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from portal.accounts.errors import TooBusy
from portal.accounts.password_rules import normalise_password

# OWASP's password storage cheat sheet: 19 MiB, two passes, one lane.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
CONCURRENT_HASHES = 1
# With the one at work three threads at most: the server has four or more, and the shop needs one.
LONGEST_LINE = 2
LONGEST_WAIT_SECONDS = 5.0
_slots = threading.BoundedSemaphore(CONCURRENT_HASHES)
_places = threading.BoundedSemaphore(CONCURRENT_HASHES + LONGEST_LINE)
_mine = threading.local()

_BCRYPT_PREFIX = "$2"
# bcrypt reads 72 bytes. The shop we import from cut longer passwords off; the library of today refuses them.
_BCRYPT_BYTES = 72
_IMPORTED_COST = 12
_NOBODYS_PASSWORD = "nobody's password"  # noqa: S105  # a stand-in that takes as long as a real one


@contextmanager
def place() -> Iterator[None]:
    """Have one of the few places for everything that goes with a hash, the transactions before and after it included:
    or a flood would hold the threads with those. Refuses before anything is done. Raises TooBusy."""
    if not _places.acquire(blocking=False):
        raise TooBusy
    _mine.is_held = True
    try:
        yield
    finally:
        _mine.is_held = False
        _places.release()


def hash_password(password: str) -> str:
    """The Argon2id hash to store. Raises TooBusy when too many are being made at once."""
    with _slot():
        return _hasher.hash(_to_hash(password))


def verify_password(password: str, stored: str | None, *, with_imported: bool = False) -> bool:
    """Whether the password is the stored one; takes as long for nobody's (None) as for somebody's.

    While imported hashes exist (`with_imported`) a wrong password costs one hash of each kind, whichever the account
    has, so that the time does not tell imported accounts from unknown ones. Raises TooBusy.
    """
    is_imported = stored is not None and stored.startswith(_BCRYPT_PREFIX)
    with _slot():
        is_right = _bcrypt_matches(password, stored) if is_imported else _argon2_matches(password, stored)
        if is_right or not with_imported:
            return is_right
        if is_imported:
            _argon2_matches(password, None)
        else:
            _bcrypt_matches(password, None)
        return False


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of a password: whether it is right, and a stronger hash of it when the stored one is too weak."""

    is_right: bool
    fresh_hash: str | None = None


def check_password(password: str, stored: str | None, *, with_imported: bool = False) -> Checked:
    """Verify a password, and hash it anew when the stored hash is imported or its parameters have risen since.

    Raises TooBusy.
    """
    if not verify_password(password, stored, with_imported=with_imported) or stored is None:
        return Checked(is_right=False)
    return Checked(is_right=True, fresh_hash=hash_password(password) if needs_rehash(stored) else None)


def needs_rehash(stored: str) -> bool:
    """Whether a fresh hash of the same password would be stronger: another scheme, or weaker parameters."""
    try:
        return _hasher.check_needs_rehash(stored)
    except InvalidHashError:
        return True


@contextmanager
def _slot() -> Iterator[None]:
    with nullcontext() if getattr(_mine, "is_held", False) else place():
        if not _slots.acquire(timeout=LONGEST_WAIT_SECONDS):
            raise TooBusy
        try:
            yield
        finally:
            _slots.release()


def _to_hash(password: str) -> bytes:
    # Lone surrogates are no text; no rule lets them into a new password, and as a guess they are simply wrong.
    return normalise_password(password).encode("utf-8", "surrogatepass")


def _argon2_matches(password: str, stored: str | None) -> bool:
    try:
        _hasher.verify(stored or _stand_in(), _to_hash(password))
    except (VerificationError, InvalidHashError):
        return False
    return stored is not None


def _bcrypt_matches(password: str, stored: str | None) -> bool:
    # Not normalised: the shop we import from hashed what was typed.
    typed = password.encode("utf-8", "surrogatepass")[:_BCRYPT_BYTES]
    try:
        matches = bcrypt.checkpw(typed, (stored or _imported_stand_in()).encode())
    except ValueError:
        return False
    return matches and stored is not None


@cache
def _stand_in() -> str:
    return _hasher.hash(_NOBODYS_PASSWORD)


@cache
def _imported_stand_in() -> str:
    return bcrypt.hashpw(_NOBODYS_PASSWORD.encode(), bcrypt.gensalt(_IMPORTED_COST)).decode()

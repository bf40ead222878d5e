"""Guessing passwords and codes is slowed down, never the owner locked out. Counted in the database.

A try is written as failed before the password is looked at, and corrected when it was right: a hundred guesses sent
at the same moment are a hundred failures, and one cut off by a crash counts too. Tries that were refused for coming
too soon are written for the history and count for nothing.

Three counters:
- `PAIR`, one account from one network, since the last right answer: the ordinary guesser, or an owner who forgot.
- `ACCOUNT`, one account from everywhere: guessers with many addresses. Networks from which this account was signed in
  to before, or is now, are not held up by it and not counted in it: that is how the owner still gets in.
- `NETWORK`, one network on all accounts: one list of stolen passwords tried on everybody.
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, select, text

from portal.accounts.errors import TooManyTries
from portal.accounts.models import LoginSession, SignIn, SignInOutcome, User
from portal.core import settings
from portal.core.db import db, is_postgresql
from portal.core.networks import network_of


@dataclass(frozen=True, slots=True)
class Limit:
    """So many failures within a window are free; from then on the wait doubles with each, up to the longest."""

    free: int
    window: timedelta
    first_wait: timedelta
    longest_wait: timedelta

    def wait(self, failures: int) -> timedelta:
        """How long after the last failure the next try may come."""
        if failures < self.free:
            return timedelta(0)
        seconds = self.first_wait.total_seconds() * 2 ** min(failures - self.free, 16)
        return min(timedelta(seconds=seconds), self.longest_wait)


PAIR = Limit(5, timedelta(minutes=15), timedelta(seconds=2), timedelta(minutes=15))
ACCOUNT = Limit(20, timedelta(hours=1), timedelta(seconds=30), timedelta(minutes=15))
NETWORK = Limit(40, timedelta(minutes=15), timedelta(seconds=5), timedelta(minutes=15))
# A network is the account's own for this long after it was signed in to from there.
KNOWN_FOR = timedelta(days=90)
KEPT_FOR = timedelta(days=180)
_REFUSALS_WRITTEN_EVERY = timedelta(minutes=1)
_LONGEST_AGENT = 255
_FAILURES = (SignInOutcome.WRONG_PASSWORD, SignInOutcome.WRONG_CODE)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a try comes from."""

    address: str | None
    user_agent: str

    @property
    def network(self) -> str | None:
        """The address as guessing is counted by."""
        return network_of(self.address)


def account_key(email: str) -> str:
    """A keyed hash of an address: tries on addresses that are nobody's are counted and not collected."""
    secret = f"account-key:{settings.current().secret_key}".encode()
    return hmac.new(secret, email.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class Reserved:
    """A try that was written down: its row's id, or the refusal when it came too soon."""

    id: int | None
    refusal: TooManyTries | None


def reserve_try(email: str, user: User | None, origin: Origin, *, outcome: SignInOutcome, at: datetime) -> Reserved:
    """Write a try as failed with `outcome`, or as refused when it comes too soon.

    Returned and not raised: the line must be committed. The caller raises the refusal after the commit, and looks at
    the password or code only without one.
    """
    key = account_key(email)
    _one_at_a_time(key, origin.network)
    wait = _wait(key, user, origin.network, at=at)
    if wait > timedelta(0):
        _write_refusal(key, user, origin, at=at)
        return Reserved(None, TooManyTries(wait))
    return Reserved(_write(key, user, origin, outcome, at=at).id, None)


def _wait(key: str, user: User | None, network: str | None, *, at: datetime) -> timedelta:
    waits = [_remaining(PAIR, _of_pair(key, network), at=at), _remaining(NETWORK, _of_network(network), at=at)]
    known = _known_networks(user, at=at)
    if network is None or network not in known:
        waits.append(_remaining(ACCOUNT, _of_account(key, known), at=at))
    return max(waits)


def _remaining(limit: Limit, which: ColumnElement[bool], *, at: datetime) -> timedelta:
    # SQLAlchemy types max() as never None.
    found: Any = db.session.execute(
        select(func.count(SignIn.id), func.max(SignIn.at)).where(
            which, SignIn.at > at - limit.window, SignIn.outcome.in_(_FAILURES)
        )
    ).one()
    failures, last = found
    if last is None:
        return timedelta(0)
    remaining: timedelta = last + limit.wait(failures) - at
    return max(timedelta(0), remaining)


def _of_pair(key: str, network: str | None) -> ColumnElement[bool]:
    last_success = (
        select(func.coalesce(func.max(SignIn.id), 0))
        .where(SignIn.account_key == key, SignIn.ip_address == network, SignIn.outcome == SignInOutcome.SUCCESS)
        .scalar_subquery()
    )
    return and_(SignIn.account_key == key, SignIn.ip_address == network, SignIn.id > last_success)


def _of_account(key: str, known: set[str]) -> ColumnElement[bool]:
    return and_(SignIn.account_key == key, func.coalesce(SignIn.ip_address, "").not_in(known))


def _of_network(network: str | None) -> ColumnElement[bool]:
    return SignIn.ip_address == network


def _known_networks(user: User | None, *, at: datetime) -> set[str]:
    if user is None:
        return set()
    signed_in_from = db.session.scalars(
        select(SignIn.ip_address)
        .where(
            SignIn.user_id == user.id,
            SignIn.outcome == SignInOutcome.SUCCESS,
            SignIn.at > at - KNOWN_FOR,
            SignIn.ip_address.is_not(None),
        )
        .distinct()
        .limit(100)
    )
    signed_in_at = db.session.scalars(select(LoginSession.ip_address).where(LoginSession.user_id == user.id))
    return {network for network in (*signed_in_from, *map(network_of, signed_in_at)) if network}


def _write(key: str, user: User | None, origin: Origin, outcome: SignInOutcome, *, at: datetime) -> SignIn:
    row = SignIn(
        user_id=user.id if user else None,
        account_key=key,
        ip_address=origin.network,
        user_agent=origin.user_agent[:_LONGEST_AGENT],
        outcome=outcome,
        at=at,
    )
    db.session.add(row)
    db.session.flush()
    return row


def write_try(user: User, origin: Origin, outcome: SignInOutcome, *, at: datetime) -> SignIn:
    """Write a try of a known user that needs no counting, such as one by a mailed link."""
    return _write(account_key(user.email), user, origin, outcome, at=at)


def _write_refusal(key: str, user: User | None, origin: Origin, *, at: datetime) -> None:
    # One line a minute says it; a flood must not fill the table.
    written = db.session.scalar(
        select(SignIn.id)
        .where(
            SignIn.account_key == key,
            SignIn.ip_address == origin.network,
            SignIn.outcome == SignInOutcome.THROTTLED,
            SignIn.at > at - _REFUSALS_WRITTEN_EVERY,
        )
        .limit(1)
    )
    if written is None:
        _write(key, user, origin, SignInOutcome.THROTTLED, at=at)


def _one_at_a_time(key: str, network: str | None) -> None:
    """Tries on one account, and from one network, count one after the other.

    The race: guesses that arrive together all read the counter before any of them has written. SQLite has one writer
    anyway; on PostgreSQL a lock for each counter, in one order, closes it. It is held for two short statements.
    """
    if not is_postgresql():
        return
    for name in sorted({f"account:{key}", f"network:{network}"}):
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
        db.session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})

"""What must always be true of the books, as a list that everybody who keeps some can add to.

An invariant finds its breaches, a bounded number of them, by an index; and mends one, if that needs no person, through
the same service that should have done it in the first place. The back office shows the list; a nightly job writes down
what it found.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l
from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column

from portal.core.db import Base, UTCDateTime
from portal.core.errors import Conflict, NotFound
from portal.core.money import Money

# So many breaches of one kind are listed; more than that is shown as 99+.
LIMIT = 100


class AlreadyRight(Conflict):
    """What should be mended is in order, or somebody has mended it."""

    code = "already_right"
    default = _l("This is in order by now. Nothing was changed.")


class UnknownInvariant(NotFound):
    """No invariant has that name, or it cannot be mended by a click."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back the newest rows of a table are looked at for what should have come with them.

    Such a gap is a bug and shows at once, so the live list looks at the newest; the nightly check looks much further.
    """

    at: datetime
    rows: int = 1_000


@dataclass(frozen=True, slots=True)
class Breach:
    """One thing that is not as it must be. `subject` is `<table>:<id>`, `name` what people call it, `reference` what
    its page is found by, if that is not the id: an order's number, a payment's public id."""

    subject: str
    name: str
    detail: str = ""
    amount: Money | None = None
    since: datetime | None = None
    reference: str = ""

    @property
    def subject_id(self) -> int:
        """The row's id."""
        return int(self.subject.rpartition(":")[2])


class Find(Protocol):
    """Finds the breaches of one invariant, LIMIT of them at most, with a constant number of statements."""

    def __call__(self, reach: Reach) -> Sequence[Breach]: ...


class Repair(Protocol):
    """Mends one breach in the caller's transaction, through the ordinary services; what is in order stays as it is.

    Raises AlreadyRight, or another Conflict when it cannot be mended like this.
    """

    def __call__(self, subject_id: int, /, *, by: str, at: datetime) -> None: ...


@dataclass(frozen=True, slots=True)
class Invariant:
    """One rule: what is wrong when it is broken, what to do, and the click that does it, if there is one."""

    name: str
    title: LazyString
    advice: LazyString
    find: Find
    repair: Repair | None = None
    action: LazyString | None = None


_invariants: dict[str, Invariant] = {}


def invariant(
    name: str, *, title: LazyString, advice: LazyString, repair: Repair | None = None, action: LazyString | None = None
) -> Callable[[Find], Find]:
    """Put a rule on the list; the function below it finds its breaches."""

    def register(find: Find) -> Find:
        known = _invariants.get(name)
        if known is not None and known.find.__module__ != find.__module__:
            raise ValueError(f"two invariants {name}")
        _invariants[name] = Invariant(name, title, advice, find, repair, action)
        return find

    return register


def invariants() -> list[Invariant]:
    """Every rule, in the order in which they were put on the list."""
    return list(_invariants.values())


def get_invariant(name: str) -> Invariant:
    """A rule by its name. Raises UnknownInvariant."""
    try:
        return _invariants[name]
    except KeyError:
        raise UnknownInvariant from None


class InvariantRun(Base):
    """What the nightly check found: breaches of each rule, and those of them that the night before did not have."""

    __tablename__ = "invariant_runs"

    id: Mapped[int] = mapped_column(primary_key=True)
    # The day in UTC: one run a day, however many tickers there are.
    day: Mapped[str] = mapped_column(String(10), unique=True)
    at: Mapped[datetime] = mapped_column(UTCDateTime)
    # By the rule's name: the subjects that broke it.
    found: Mapped[dict[str, list[str]]] = mapped_column(JSON)
    new: Mapped[dict[str, list[str]]] = mapped_column(JSON)

    @property
    def new_count(self) -> int:
        """How many breaches were not there the night before."""
        return sum(len(subjects) for subjects in self.new.values())


def subjects_of(breaches: Sequence[Breach]) -> list[str]:
    """What is written down of breaches."""
    return [breach.subject for breach in breaches]


def news(found: dict[str, list[str]], before: dict[str, Any]) -> dict[str, list[str]]:
    """The breaches that were not there before, by rule."""
    fresh = {
        name: [subject for subject in subjects if subject not in set(before.get(name, ()))]
        for name, subjects in found.items()
    }
    return {name: subjects for name, subjects in fresh.items() if subjects}

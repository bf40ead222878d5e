"""How a price book is written as JSON: kinds of fields that read, check and write one value each.

A record is a frozen dataclass whose fields are annotated with kinds; from them come reading and writing, and the
staff form, view and comparison as well, so that a new field is declared in one place. Numbers with a fraction are
texts such as "0.45" and never JSON's binary fractions: what staff typed is what is calculated with.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, ClassVar, TypeAlias, get_type_hints

from flask_babel import lazy_gettext as _l

from portal.core.errors import Sentence

_NUMBER = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,9})?")
_WHOLE = re.compile(r"-?[0-9]{1,12}")
_CODE = re.compile(r"[a-z0-9]([a-z0-9_-]{0,30}[a-z0-9])?")
_DAY = re.compile(r"([0-9]{4}-)?[0-9]{2}-[0-9]{2}")

Content: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; `path` names the field as in `materials[0].density`."""

    path: str
    message: Sentence

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class Refused(Exception):
    """A value that its field cannot take, in words; caught by whoever reads the record."""

    def __init__(self, message: Sentence) -> None:
        self.message = message
        super().__init__(str(message))


class Kind:
    """What one field holds."""

    def read(self, value: Any) -> Any:
        """The value as the program uses it. Raises Refused."""
        raise NotImplementedError

    def write(self, value: Any) -> Any:
        """The value as JSON holds it."""
        return value


@dataclass(frozen=True, slots=True)
class Text(Kind):
    """One line of words."""

    longest: int
    may_be_empty: bool = False

    def read(self, value: Any) -> str:
        if not isinstance(value, str) or not value.isprintable():
            raise Refused(_l("must be one line of text"))
        text = value.strip()
        if not text and not self.may_be_empty:
            raise Refused(_l("must not be empty"))
        if len(text) > self.longest:
            raise Refused(_l("must not be longer than %(count)s characters", count=self.longest))
        return text


@dataclass(frozen=True, slots=True)
class Code(Kind):
    """A short name by which other rows, quotes and orders find this one; it never changes its meaning."""

    def read(self, value: Any) -> str:
        if not isinstance(value, str) or not _CODE.fullmatch(value):
            raise Refused(_l("must be 1 to 32 small letters, digits, hyphens or underscores"))
        return value


@dataclass(frozen=True, slots=True)
class OneOf(Kind):
    """One of a few words."""

    values: tuple[str, ...]

    def read(self, value: Any) -> str:
        if value not in self.values:
            raise Refused(_l("must be one of: %(values)s", values=", ".join(self.values)))
        return str(value)


@dataclass(frozen=True, slots=True)
class YesNo(Kind):
    """True or false."""

    def read(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise Refused(_l("must be true or false"))
        return value


@dataclass(frozen=True, slots=True)
class Whole(Kind):
    """A whole number within limits, both included."""

    low: int
    high: int

    def read(self, value: Any) -> int:
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise Refused(_l("must be a whole number"))
        if not self.low <= value <= self.high:
            raise Refused(_l("must be from %(low)s to %(high)s", low=self.low, high=self.high))
        return value


@dataclass(frozen=True, slots=True)
class Number(Kind):
    """An exact decimal number within limits, both included; `places` is how many decimals it may have."""

    low: Decimal
    high: Decimal
    places: int

    def read(self, value: Any) -> Decimal:
        if isinstance(value, float):
            raise Refused(_l('must be written as text, such as "%(number)s"', number=value))
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not _NUMBER.fullmatch(value):
            raise Refused(_l('must be a number, such as "%(number)s"', number="1.25" if self.places else "1"))
        number = Decimal(value)
        if not self.low <= number <= self.high:
            raise Refused(_l("must be from %(low)s to %(high)s", low=plain(self.low), high=plain(self.high)))
        if places_of(number) > self.places:
            raise Refused(_l("must not have more than %(places)s decimals", places=self.places))
        return number

    def write(self, value: Decimal) -> str:
        return plain(value)


@dataclass(frozen=True, slots=True)
class Amount(Number):
    """An amount of money in the book's currency, in major units: "89.00"."""


@dataclass(frozen=True, slots=True)
class Box(Kind):
    """Three lengths in mm: across, deep, high; or nothing, where that is allowed."""

    may_be_absent: bool = False
    _LENGTH: ClassVar[Number] = Number(Decimal(1), Decimal(5000), 2)

    def read(self, value: Any) -> tuple[Decimal, Decimal, Decimal] | None:
        if value is None and self.may_be_absent:
            return None
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 3:
            raise Refused(_l("must be three lengths in mm"))
        across, deep, high = (self._LENGTH.read(length) for length in value)
        return across, deep, high

    def write(self, value: tuple[Decimal, ...] | None) -> list[str] | None:
        return None if value is None else [plain(length) for length in value]


@dataclass(frozen=True, slots=True)
class Codes(Kind):
    """Codes of other rows, each once, in any order."""

    def read(self, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise Refused(_l("must be a list of codes"))
        codes = tuple(Code().read(code) for code in value)
        if len(set(codes)) != len(codes):
            raise Refused(_l("must name each code once"))
        return codes

    def write(self, value: tuple[str, ...]) -> list[str]:
        return list(value)


@dataclass(frozen=True, slots=True)
class Days(Kind):
    """Days without work: "2027-03-29" once, "12-25" every year."""

    def read(self, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise Refused(_l("must be a list of days"))
        for day in value:
            if not isinstance(day, str) or not _DAY.fullmatch(day) or not _exists(day):
                raise Refused(_l('has "%(day)s", which is no day such as 2027-03-29 or 12-25', day=shown(day)))
        return tuple(sorted(set(value)))

    def write(self, value: tuple[str, ...]) -> list[str]:
        return list(value)


def _exists(day: str) -> bool:
    try:
        # 29 February is a day of the year as well.
        date.fromisoformat(day if len(day) == 10 else f"2000-{day}")
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Record(Kind):
    """A group of fields."""

    of: type


@dataclass(frozen=True, slots=True)
class Rows(Kind):
    """A table: any number of groups of fields."""

    of: type
    fewest: int = 1
    most: int = 50


def number(low: str, high: str, *, places: int) -> Number:
    """A number from `low` to `high` that may have decimals."""
    return Number(Decimal(low), Decimal(high), places)


def amount(high: str, *, low: str = "0") -> Amount:
    """Money up to `high`. Three decimals are the most that any currency has; the book checks its own."""
    return Amount(Decimal(low), Decimal(high), 3)


_seen: dict[type, Mapping[str, Kind]] = {}


def kinds(of: type) -> Mapping[str, Kind]:
    """The fields of a record with what each holds, in their order."""
    if of not in _seen:
        hints = get_type_hints(of, include_extras=True)
        _seen[of] = {name: hint.__metadata__[0] for name, hint in hints.items()}
    return _seen[of]


def read_record(of: type, content: Any, problems: list[Problem], path: str = "") -> Any:
    """A record from JSON; None when anything in it is wrong, which is then added to `problems`."""
    if not isinstance(content, Mapping):
        problems.append(Problem(path or "file", _l("must be a group of fields")))
        return None
    before = len(problems)
    known = kinds(of)
    values: dict[str, Any] = {}
    unknown = [shown(name) for name in content if name not in known]
    problems.extend(Problem(join(path, name), _l("is not a field of the price book")) for name in unknown)
    for name, kind in known.items():
        here = join(path, name)
        if name not in content:
            problems.append(Problem(here, _l("is missing")))
        else:
            values[name] = _read_value(kind, content[name], problems, here)
    return of(**values) if len(problems) == before else None


def _read_value(kind: Kind, value: Any, problems: list[Problem], path: str) -> Any:
    if isinstance(kind, Record):
        return read_record(kind.of, value, problems, path)
    if isinstance(kind, Rows):
        return _read_rows(kind, value, problems, path)
    try:
        return kind.read(value)
    except Refused as refused:
        problems.append(Problem(path, refused.message))
        return None


def _read_rows(kind: Rows, value: Any, problems: list[Problem], path: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        problems.append(Problem(path, _l("must be a list")))
        return ()
    if not kind.fewest <= len(value) <= kind.most:
        problems.append(Problem(path, _l("must have from %(low)s to %(high)s rows", low=kind.fewest, high=kind.most)))
        return ()
    return tuple(read_record(kind.of, row, problems, f"{path}[{index}]") for index, row in enumerate(value))


def write_record(value: Any) -> dict[str, Any]:
    """A record as JSON, which reads back as the same record."""
    return {name: _write_value(kind, getattr(value, name)) for name, kind in kinds(type(value)).items()}


def _write_value(kind: Kind, value: Any) -> Any:
    if isinstance(kind, Record):
        return write_record(value)
    if isinstance(kind, Rows):
        return [write_record(row) for row in value]
    return kind.write(value)


def shown(value: Any) -> str:
    """Something out of a file as a sentence may repeat it: short, and without what no page can hold."""
    return "".join(one if one.isprintable() else "\ufffd" for one in str(value)[:40])


def join(path: str, name: str) -> str:
    """The path of a field inside a group."""
    return f"{path}.{name}" if path else name


def places_of(value: Decimal) -> int:
    """How many decimals a number is written with. It asks no arithmetic context, which a caller may have changed."""
    exponent = value.as_tuple().exponent
    return -exponent if isinstance(exponent, int) and exponent < 0 else 0


def plain(value: Decimal) -> str:
    """A number as people write it, with the decimals it was given: never with an exponent."""
    return format(value, "f")

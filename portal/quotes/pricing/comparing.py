"""What differs between two versions of the price book, value by value.

Rows are matched by their code (breaks by their quantity), not by their place: moving a row is no change of prices.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_KEYS = ("code", "from_quantity")


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs; None where a version has no such value. `path` is as in `materials.pla.kg_price`."""

    path: str
    before: str | None
    after: str | None


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Every value that differs, in the order of the newer version; what is gone comes last."""
    old, new = dict(texts_of(before)), dict(texts_of(after))
    paths = [*new, *(path for path in old if path not in new)]
    return [Change(path, old.get(path), new.get(path)) for path in paths if old.get(path) != new.get(path)]


def texts_of(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every value of a book in its JSON form, with its path."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from texts_of(one, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for row in value:
            yield from texts_of(row, f"{path}.{next(row[key] for key in _KEYS if key in row)}")
    else:
        yield path, _words(value)


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(one) for one in value)
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)

"""Reading what a provider sent: strict JSON, and fields with the type that is expected or a clear refusal.

A signature proves who sent the bytes, not that they are sane, and what we accept ends up in a database. So anything
that two readers could understand differently, or that a text column cannot hold, is refused here.
"""

import json
import math
from datetime import UTC, datetime
from typing import Any, NoReturn

from portal.payments.providers.base import InvalidPayload

MAX_DEPTH = 64
# Provider ids are far shorter. With this limit a business key fits its column.
MAX_ID = 200
_MAX_WHOLE = 2**63 - 1


def parse_object(body: bytes) -> dict[str, Any]:
    """Read one JSON object. Raises InvalidPayload, whatever the bytes are."""
    try:
        # Explicitly UTF-8: json.loads() would also guess UTF-16 and UTF-32.
        text = body.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)
    except UnicodeDecodeError:
        raise InvalidPayload("not UTF-8") from None
    except RecursionError:
        raise InvalidPayload("nested too deeply") from None
    except ValueError:  # JSONDecodeError is one; so is a number with more than 4300 digits.
        raise InvalidPayload("not JSON") from None
    if not isinstance(value, dict):
        raise InvalidPayload("not a JSON object")
    has_escapes = "\\u" in text
    # This is the hot path of every webhook, and text with few brackets cannot be deep.
    if has_escapes or text.count("{") + text.count("[") > MAX_DEPTH:
        _check_tree(value, has_escapes=has_escapes)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidPayload("a key occurs twice")
    return fields


def _refuse_constant(_name: str) -> NoReturn:
    raise InvalidPayload("NaN and Infinity are not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise InvalidPayload("a number is too large")
    return number


def _check_tree(root: dict[str, Any], *, has_escapes: bool) -> None:
    """Bound the depth, and refuse characters that only an escape can smuggle in: NUL and halves of a surrogate pair."""
    level: list[Any] = [root]
    for _depth in range(MAX_DEPTH):
        below: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                below.extend(node.values())
                if has_escapes:
                    below.extend(node)
            elif isinstance(node, list):
                below.extend(node)
            elif has_escapes and isinstance(node, str):
                _check_text(node)
        if not below:
            return
        level = below
    raise InvalidPayload("nested too deeply")


def _check_text(text: str) -> None:
    if "\0" in text:
        raise InvalidPayload("a NUL character in a text")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidPayload("half of a surrogate pair in a text") from None


class Fields:
    """A JSON object whose fields are read with their type; a wrong one is named in the refusal."""

    __slots__ = ("_path", "_values")

    def __init__(self, values: dict[str, Any], path: str = "") -> None:
        self._values = values
        self._path = path

    def _name(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def _wrong(self, key: str, expected: str) -> InvalidPayload:
        problem = "is missing" if self._values.get(key) is None else f"is not {expected}"
        return InvalidPayload(f"{self._name(key)} {problem}")

    def text(self, key: str, *, longest: int = MAX_ID) -> str:
        """A text that must be there."""
        value = self.optional_text(key, longest=longest)
        if not value:
            raise self._wrong(key, "a text")
        return value

    def optional_text(self, key: str, *, longest: int = MAX_ID) -> str | None:
        """A text, or None when it is absent or null."""
        value = self._values.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self._wrong(key, "a text")
        if len(value) > longest:
            raise InvalidPayload(f"{self._name(key)} is too long")
        return value

    def whole(self, key: str) -> int:
        """A whole number that must be there and fits 64 bits."""
        value = self.optional_whole(key)
        if value is None:
            raise self._wrong(key, "a whole number")
        return value

    def optional_whole(self, key: str) -> int | None:
        """A whole number that fits 64 bits, or None when it is absent or null."""
        value = self._values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _MAX_WHOLE:
            raise self._wrong(key, "a whole number")
        return value

    def optional_flag(self, key: str) -> bool | None:
        """True or false, or None when it is absent or null."""
        value = self._values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def optional_time(self, key: str) -> datetime | None:
        """An instant given in seconds since 1970, or None when it is absent or null."""
        seconds = self.optional_whole(key)
        if seconds is None:
            return None
        try:
            return datetime.fromtimestamp(seconds, UTC)
        except (OverflowError, OSError, ValueError):
            raise self._wrong(key, "a time") from None

    def fields(self, key: str) -> "Fields":
        """An object that must be there."""
        found = self.optional_fields(key)
        if found is None:
            raise self._wrong(key, "an object")
        return found

    def optional_fields(self, key: str) -> "Fields | None":
        """An object, or None when it is absent or null."""
        value = self._values.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self._wrong(key, "an object")
        return Fields(value, self._name(key))

    def items(self, key: str) -> "list[Fields]":
        """A list of objects that must be there."""
        value = self._values.get(key)
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise self._wrong(key, "a list of objects")
        return [Fields(one, f"{self._name(key)}[{number}]") for number, one in enumerate(value)]

    def optional_reference(self, key: str) -> str | None:
        """The id of another object, which may stand here itself; None when it is absent or null."""
        value = self._values.get(key)
        if isinstance(value, dict):
            return Fields(value, self._name(key)).text("id")
        return self.optional_text(key)

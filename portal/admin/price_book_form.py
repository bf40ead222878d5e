"""The form of a price book, made from the declarations of its fields; what is typed is read back into JSON.

Rows of a table are form rows; a row that is emptied is removed, and empty rows at the end make room for new ones.
Lists of short things (colours, codes, holidays, the three lengths of a box) are one text field each.
"""

import re
from datetime import datetime
from typing import Any

from flask_babel import gettext as _
from werkzeug.datastructures import FileStorage
from wtforms import BooleanField, FieldList, FileField, Form, FormField, HiddenField, StringField, TextAreaField
from wtforms.validators import InputRequired, Length

from portal.core.forms import PageForm
from portal.quotes.pricing.book import Colour, PriceBook
from portal.quotes.pricing.labels import HINTS, LABELS, label
from portal.quotes.pricing.schema import (
    Box,
    Codes,
    Content,
    Days,
    Kind,
    Number,
    OneOf,
    Problem,
    Record,
    Rows,
    Whole,
    YesNo,
    kinds,
)
from portal.quotes.pricing.services import MAX_BYTES

_LONGEST = 4000
_BETWEEN_CODES = re.compile(r"[,;\s]+")
_BETWEEN_LENGTHS = re.compile(r"\s*[x×*;]\s*|\s+", re.IGNORECASE)
_STEP = re.compile(r"(?P<name>\w+)(?:\[(?P<index>\d+)\])?(?:\.(?P<rest>.+))?\Z")


class Group(Form):
    """A record's fields; `of` is the record, set by whoever makes the class."""

    of: type

    def fill(self, content: Content) -> None:
        """Show what a record says."""
        for name, kind in kinds(self.of).items():
            field = self._fields[name]
            if _is_table(kind):
                while field.entries:
                    field.pop_entry()
                for row in content[name]:
                    field.append_entry()
                    field.entries[-1].form.fill(row)
            elif isinstance(kind, Record):
                field.form.fill(content[name])
            else:
                field.data = _written(kind, content[name])

    def content(self) -> dict[str, Any]:
        """What was typed, as the record's JSON; whether it is right is for `read_book` to say."""
        found: dict[str, Any] = {}
        for name, kind in kinds(self.of).items():
            field = self._fields[name]
            if _is_table(kind):
                found[name] = [entry.form.content() for entry in _filled_rows(field)]
            elif isinstance(kind, Record):
                found[name] = field.form.content()
            else:
                found[name] = _typed(kind, field.data)
        return found

    def is_empty(self) -> bool:
        """Whether nothing was typed into the row; what is not typed says nothing."""
        typed = [one.data for name, one in self._fields.items() if not isinstance(kinds(self.of)[name], YesNo | OneOf)]
        return not any(str(one or "").strip() for one in typed)

    def blame(self, path: str, sentence: str) -> bool:
        """Show what is wrong at the field of a path; False when there is none to show it at."""
        step = _STEP.match(path)
        field = self._fields.get(step["name"]) if step else None
        if step is None or field is None:
            return False
        kind, rest = kinds(self.of)[step["name"]], step["rest"]
        if _is_table(kind) and step["index"]:
            return bool(_filled_rows(field)[int(step["index"])].form.blame(rest or "code", sentence))
        if isinstance(kind, Record) and rest:
            return bool(field.form.blame(rest, sentence))
        if isinstance(kind, Rows) and step["index"] and not _is_table(kind):
            sentence = _("Line %(number)s: %(problem)s", number=int(step["index"]) + 1, problem=sentence)
        if isinstance(field, FieldList | FormField):
            return False
        field.errors = [*field.errors, sentence]
        return True

    def add_rows(self) -> None:
        """Leave room for another row in each table that may have one."""
        for name, kind in kinds(self.of).items():
            field = self._fields[name]
            if _is_table(kind) and len(field.entries) < _most(kind) and len(_filled_rows(field)) == len(field.entries):
                field.append_entry()


def _is_table(kind: Kind) -> bool:
    return isinstance(kind, Rows) and kind.of is not Colour


def _most(kind: Kind) -> int:
    return kind.most if isinstance(kind, Rows) else 0


def _filled_rows(field: Any) -> list[Any]:
    return [entry for entry in field.entries if not entry.form.is_empty()]


def _group(of: type) -> type[Group]:
    fields = {name: _field(name, kind) for name, kind in kinds(of).items()}
    return type(f"{of.__name__}Group", (Group,), {"of": of, **fields})


def _field(name: str, kind: Kind) -> Any:
    title = LABELS[name]
    # The tables have the same names as the fields that refer to them, and need no hint.
    hint = "" if _is_table(kind) or isinstance(kind, Record) else HINTS.get(name, "")
    if isinstance(kind, Rows) and _is_table(kind):
        return FieldList(FormField(_group(kind.of), label=title), label=title, max_entries=kind.most)
    if isinstance(kind, Record):
        return FormField(_group(kind.of), label=title)
    if isinstance(kind, YesNo):
        return BooleanField(title)
    if isinstance(kind, OneOf):
        return HiddenField(title)
    if isinstance(kind, Days | Rows):
        return TextAreaField(title, [Length(max=_LONGEST)], description=hint, filters=[_readable])
    numeric = {"inputmode": "decimal", "autocomplete": "off"} if isinstance(kind, Number | Whole) else {}
    return StringField(title, [Length(max=_LONGEST)], description=hint, render_kw=numeric, filters=[_printable])


def _written(kind: Kind, value: Any) -> Any:
    """A value of the book as the form shows it."""
    if isinstance(kind, YesNo):
        return value
    if isinstance(kind, Rows):
        return "\n".join(f"{row['code']} {row['name']}" for row in value)
    if isinstance(kind, Days):
        return "\n".join(value)
    if isinstance(kind, Codes):
        return ", ".join(value)
    if isinstance(kind, Box):
        return " x ".join(value) if value else ""
    return str(value)


def _typed(kind: Kind, data: Any) -> Any:
    """What was typed as the value it is meant to be."""
    if isinstance(kind, YesNo):
        return bool(data)
    text = str(data or "").replace("\r\n", "\n").strip()
    if isinstance(kind, Rows):
        return [_colour(line) for line in text.split("\n") if line.strip()]
    if isinstance(kind, Days | Codes):
        return [one for one in _BETWEEN_CODES.split(text) if one]
    if isinstance(kind, Box):
        return [_decimal(one) for one in _BETWEEN_LENGTHS.split(text)] if text else None
    return _decimal(text) if isinstance(kind, Number) else text


def _colour(line: str) -> dict[str, str]:
    code, _space, name = line.strip().partition(" ")
    return {"code": code.rstrip(":"), "name": name.strip()}


def _printable(typed: str | None) -> str | None:
    """What was typed, without what no page and no database can hold."""
    return "".join(one for one in typed if one.isprintable()).strip() if typed else typed


def _readable(typed: str | None) -> str | None:
    """The same for several lines."""
    return "\n".join(_printable(line) or "" for line in typed.splitlines()) if typed else typed


def _decimal(text: str) -> str:
    """Half of Europe writes a comma where the other half writes a point."""
    return text.replace(" ", "").replace("\u00a0", "").replace(",", ".")


class _Sealed(PageForm):
    """What protects the form: the token, and the state it was made from."""

    seen_at = HiddenField()


class PriceBookForm:
    """The whole form: the book's fields beside the token. `problems` are those that no field could show."""

    def __init__(self, content: Content | None = None, *, posted: Any = None, seen_at: datetime | None = None) -> None:
        self.sealed = _Sealed(formdata=posted, data={"seen_at": seen_at.isoformat() if seen_at else ""})
        self.book = _BOOK(formdata=posted)
        self.problems: list[tuple[str, str]] = []
        if posted is None and content is not None:
            self.book.fill(content)

    def validate(self) -> bool:
        """Whether the form is one of ours and not absurdly long; the book itself is checked where it is saved."""
        return bool(self.sealed.validate()) and bool(self.book.validate())

    def content(self) -> dict[str, Any]:
        """What was typed, as a price book's JSON."""
        return self.book.content()

    def seen(self) -> datetime | None:
        """The state the form was made from."""
        try:
            return datetime.fromisoformat(self.sealed.seen_at.data or "")
        except ValueError:
            return None

    def blame(self, problems: tuple[Problem, ...]) -> None:
        """Show each problem at its field, and all of them together above the form."""
        for problem in problems:
            sentence = str(problem.message)
            self.book.blame(problem.path, sentence)
            self.problems.append((place_words(problem.path), sentence))

    def add_rows(self) -> None:
        """Leave room for new rows."""
        self.book.add_rows()


_BOOK = _group(PriceBook)


def place_words(path: str) -> str:
    """A path as people count: `materials[0].density` is "Materials 1, Density in g/cm³"."""
    parts = []
    for part in path.split("."):
        step = _STEP.match(part)
        if step:
            parts.append(f"{label(step['name'])} {int(step['index']) + 1}" if step["index"] else label(step["name"]))
    return ", ".join(parts) or path


class PublishForm(PageForm):
    """Why prices change, for the history."""

    note = StringField(LABELS["note"], [InputRequired(), Length(min=3, max=500)], filters=[_printable])
    seen_at = HiddenField()

    def seen(self) -> datetime | None:
        """The state of the draft that the publisher saw."""
        try:
            return datetime.fromisoformat(self.seen_at.data or "")
        except ValueError:
            return None


class ImportForm(PageForm):
    """A price book as a file."""

    file = FileField(LABELS["file"])

    def content(self) -> bytes:
        """The file's bytes, one more than allowed at most; empty without a file."""
        upload = self.file.data
        # A form without a file sends its name as text.
        return bytes(upload.read(MAX_BYTES + 1)) if isinstance(upload, FileStorage) else b""

"""What the money core notes about events has words for people, and what it notes about its own trouble has none."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask_babel import force_locale

import portal.payments.services
from portal.admin.wording import verdict_words
from portal.payments.wording import heard_words, known_words, way_words

_SERVICES = Path(portal.payments.services.__file__).parent


def _notes() -> Iterator[str]:
    """Every text that stands beside an `EventStatus` in the sources, as a verdict's reason."""
    for path in sorted(_SERVICES.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            pair = node.elts if isinstance(node, ast.Tuple) else node.args if isinstance(node, ast.Call) else ()
            match pair:
                case [ast.Attribute(value=ast.Name(id="EventStatus")), ast.Constant(value=str(note))]:
                    yield note


def test_every_note_has_a_sentence(app: Flask) -> None:
    notes = set(_notes())
    assert len(notes) > 30
    assert {part for note in notes for part, words in known_words(note) if words is None} == set()


def test_a_note_is_told_in_the_readers_language(app: Flask) -> None:
    with force_locale("pl"):
        assert heard_words("paid") == "Płatność jest rozliczona."
        assert way_words("webhook") == "Przyszło webhookiem, a podpis był prawidłowy"
    with force_locale("es"):
        assert heard_words("paid; overtaken: the session is paid").startswith("El pago está cobrado. ")


@pytest.mark.parametrize("note", [None, "", "OperationalError: no such table: payments"])
def test_trouble_of_ours_is_for_staff_alone(app: Flask, note: str | None) -> None:
    assert heard_words(note) == ""
    assert verdict_words(note) == (note or "Not looked at yet.")


def test_staff_read_besides_what_to_do(app: Flask) -> None:
    assert heard_words("disputed") == "The buyer disputes this payment at the provider."
    assert verdict_words("disputed") == "The buyer disputes this payment at the provider. Answer there in time."

"""Prices from a file: the command, the demo, and files that are none."""

import json
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import func, select

from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.demo import PRICE_BOOK
from portal.quotes.pricing import services
from portal.quotes.pricing.models import PriceBookVersion
from tests.quotes.books import book_content


def _count() -> int:
    db.session.rollback()
    return db.session.scalar(select(func.count()).select_from(PriceBookVersion)) or 0


def test_importing_puts_the_file_into_force_and_again_changes_nothing(app: Flask) -> None:
    run = app.test_cli_runner()
    first = run.invoke(args=["import-price-book", str(PRICE_BOOK)])
    assert (first.exit_code, first.output) == (0, f"{PRICE_BOOK}: version 1 is now in force\n")
    second = run.invoke(args=["import-price-book", str(PRICE_BOOK)])
    assert second.output == f"{PRICE_BOOK}: version 1 is already in force\n"
    assert _count() == 1
    version, book = services.current_book(clock.now())
    assert (version.note, version.published_by) == ("Imported price-book.json", "command:import-price-book")
    assert book.currency == "PLN"


def test_a_changed_file_becomes_the_next_version(app: Flask, tmp_path: Path) -> None:
    run = app.test_cli_runner()
    run.invoke(args=["import-price-book", str(PRICE_BOOK)])
    file = tmp_path / "new.json"
    file.write_text("\ufeff" + json.dumps(book_content(minimum="77.00")))
    result = run.invoke(args=["import-price-book", str(file), "--note", "Dearer"])
    assert result.output == f"{file}: version 2 is now in force\n"
    version, book = services.current_book(clock.now())
    assert (version.note, str(book.minimum)) == ("Dearer", "77.00")


def test_every_mistake_is_named_and_nothing_is_imported(app: Flask, tmp_path: Path) -> None:
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(book_content(minimum=40.5, validity_days=0)))
    result = app.test_cli_runner().invoke(args=["import-price-book", str(file)])
    assert result.exit_code == 1
    assert "2 to mend" in result.stderr
    assert 'minimum: must be written as text, such as "40.5"' in result.stderr
    assert "validity_days: must be from 1 to 365" in result.stderr
    assert _count() == 0


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"[]", b"null", b'{"minimum": NaN}', b" " * 1_048_577]
)
def test_a_file_that_is_no_price_book_is_refused_in_words(app: Flask, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "odd.json"
    file.write_bytes(content)
    result = app.test_cli_runner().invoke(args=["import-price-book", str(file)])
    assert result.exit_code == 1
    assert "nothing was imported" in result.stderr
    assert "Traceback" not in result.output


def test_a_file_that_is_not_there_is_named(app: Flask, tmp_path: Path) -> None:
    result = app.test_cli_runner().invoke(args=["import-price-book", str(tmp_path / "none.json")])
    assert result.exit_code == 1
    assert "cannot be read" in result.stderr


def test_the_demo_has_prices_and_keeps_those_that_somebody_tried_out(app: Flask) -> None:
    run = app.test_cli_runner()
    assert run.invoke(args=["load-demo"]).exit_code == 0
    version, _book = services.current_book(clock.now())
    assert version.content == json.loads(PRICE_BOOK.read_text())
    with unit_of_work():
        services.import_book(
            json.dumps(book_content()).encode(), note="Tried out", by="ada@example.com", at=clock.now()
        )
    run.invoke(args=["load-demo"])
    assert services.current_book(clock.now())[0].note == "Tried out"

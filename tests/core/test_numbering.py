"""Numbers without a gap and without a double, however many draw at once and whoever gives up."""

import time

import pytest
from flask import Flask
from sqlalchemy import select, update

from portal.core.db import db, unit_of_work
from portal.core.numbering import NumberSequence, next_number
from tests.crowd import all_at_once

CROWD = 50


def draw(prefix: str = "INV", year: int = 2026, width: int = 5) -> str:
    with unit_of_work():
        return next_number(prefix, year=year, width=width)


def test_the_first_number_is_one_and_they_follow_each_other(app: Flask) -> None:
    assert [draw() for _ in range(3)] == ["INV-2026-00001", "INV-2026-00002", "INV-2026-00003"]


def test_each_prefix_and_year_has_numbers_of_its_own(app: Flask) -> None:
    assert [draw("INV"), draw("CN"), draw("INV", 2027), draw("INV")] == [
        "INV-2026-00001",
        "CN-2026-00001",
        "INV-2027-00001",
        "INV-2026-00002",
    ]


def test_the_width_is_a_minimum(app: Flask) -> None:
    with unit_of_work():
        db.session.add(NumberSequence(series="Q-2026", value=998))
    assert [draw("Q", width=3), draw("Q", width=3)] == ["Q-2026-999", "Q-2026-1000"]


def test_who_gives_up_gives_the_number_back(app: Flask) -> None:
    draw()
    with pytest.raises(ValueError), unit_of_work():
        next_number("INV", year=2026, width=5)
        raise ValueError
    assert draw() == "INV-2026-00002"


def test_several_in_one_transaction_follow_each_other(app: Flask) -> None:
    with unit_of_work():
        assert [next_number("INV", year=2026, width=1) for _ in range(3)] == [f"INV-2026-{n}" for n in (1, 2, 3)]


def test_fifty_at_once_get_fifty_numbers_without_a_gap(app: Flask) -> None:
    """The first of a series too, which nobody has made a row for."""
    results = all_at_once(app, [draw] * CROWD)
    assert sorted(results) == [f"INV-2026-{number:05}" for number in range(1, CROWD + 1)]


def test_with_half_of_them_giving_up_there_is_no_gap_either(app: Flask) -> None:
    def give_up() -> None:
        with unit_of_work():
            next_number("INV", year=2026, width=5)
            time.sleep(0.005)
            raise ValueError

    results = all_at_once(app, [draw, give_up] * (CROWD // 2))
    drawn = sorted(result for result in results if isinstance(result, str))
    assert drawn == [f"INV-2026-{number:05}" for number in range(1, CROWD // 2 + 1)]
    assert {type(result) for result in results} == {str, ValueError}


# SQLite lets one writer in at a time and so cannot show what the row lock is for.
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_control_reading_and_then_writing_gives_one_number_to_many(app: Flask) -> None:
    draw()

    def careless() -> str:
        with unit_of_work():
            value = db.session.scalars(select(NumberSequence.value)).one() + 1
            time.sleep(0.05)
            db.session.execute(update(NumberSequence).values(value=value))
        return f"INV-2026-{value:05}"

    results = all_at_once(app, [careless] * 10)
    assert len(set(results)) < 10


def test_control_a_number_drawn_beforehand_leaves_a_gap(app: Flask) -> None:
    """What a sequence of the database does: it never gives a number back."""
    draw()
    drawn = draw()
    with pytest.raises(ValueError), unit_of_work():
        raise ValueError(f"the order for {drawn} failed")
    assert draw() == "INV-2026-00003"

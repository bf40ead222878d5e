"""The price-book rehearsal: what a draft would do to open quotes, side by side, without touching any."""

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from portal.accounts.models import User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.quotes.models import ModelFile, ModelFileStatus, Quote, QuoteItem, QuoteStatus
from portal.quotes.pricing import rehearsal
from portal.quotes.pricing.price import price_parts
from portal.quotes.pricing.rehearsal import Rehearsal, rehearse
from tests.quotes.books import book_content, cube, make_book, make_part

BIG = cube(60.5)


def keep_quote(
    owner: User,
    *,
    status: QuoteStatus = QuoteStatus.DRAFT,
    measures: dict[str, Any] | None = None,
    quantity: int = 12,
    number: str | None = None,
    expires_at: datetime | None = None,
    **changes: Any,
) -> Quote:
    """A quote of one part as it stands after it was priced with the book of the tests. Commits."""
    found, at = BIG if measures is None else measures, clock.now()
    price = price_parts(make_book(), [make_part(found, quantity=quantity)], rush="standard")
    file = ModelFile(
        public_id=str(uuid.uuid4()), user_id=owner.id, name="bracket.stl", format="stl", size_bytes=84, sha256="0" * 64,
        storage_name=uuid.uuid4().hex, status=ModelFileStatus.MEASURED, outcome="accept", measures=found,
        uploaded_at=at, measured_at=at,
    )  # fmt: skip
    item = QuoteItem(
        position=1, model_file=file, material="pla", colour="black", finish="standard", infill_percent=20,
        quantity=quantity, unit_price_minor=price.lines[0].unit_minor, total_minor=price.lines[0].total_minor,
    )  # fmt: skip
    values = {"currency": "PLN", "rush": "standard", "total_minor": price.total_minor, **changes}
    quote = Quote(
        user_id=owner.id, number=number, status=status, locale="en", pricing=price.to_json(),
        computed_total_minor=price.total_minor, review_reasons=[], created_at=at, updated_at=at, expires_at=expires_at,
        items=[item], **values,
    )  # fmt: skip
    with unit_of_work():
        db.session.add(quote)
    return quote


def _rehearse(**changes: Any) -> Rehearsal:
    db.session.rollback()
    return rehearse(make_book(**changes), make_book(), at=clock.now())


def test_the_same_prices_change_nothing(alice: User) -> None:
    keep_quote(alice)
    keep_quote(alice, status=QuoteStatus.PENDING, number="Q-2026-001")
    found = _rehearse()
    assert [one.difference_minor for one in found.effects] == [0, 0]
    assert (found.dearer, found.cheaper) == (0, 0)


def test_old_and_new_totals_stand_beside_each_other(alice: User) -> None:
    """Handling of 6.00 instead of 5.00 is 0.95 more for each of 12 pieces."""
    quote = keep_quote(alice)
    [effect] = _rehearse(handling_price="6.00").effects
    assert effect.old_minor == quote.total_minor
    assert effect.difference_minor == 12 * 95
    assert effect.new_minor == quote.total_minor + 12 * 95
    assert effect.follows


def test_a_submitted_quote_is_compared_with_what_it_was_computed_at_and_keeps_its_price(alice: User) -> None:
    quote = keep_quote(alice, status=QuoteStatus.PENDING, number="Q-2026-001", total_minor=1)
    [effect] = _rehearse(handling_price="4.00").effects
    assert effect.old_minor == quote.computed_total_minor
    assert effect.difference_minor == -12 * 95
    assert not effect.follows
    db.session.refresh(quote)
    assert quote.total_minor == 1


def test_what_would_make_staff_look_is_named(alice: User) -> None:
    keep_quote(alice)
    book, content = make_book(), book_content()
    for printer in content["printers"]:
        printer["build_mm"] = ["60", "60", "60"]
    db.session.rollback()
    [effect] = rehearse(make_book(**content), book, at=clock.now()).effects
    assert effect.gains == ("too_big", "no_price")
    assert not effect.is_complete
    [back] = rehearse(book, make_book(**content), at=clock.now()).effects
    assert back.loses == ("too_big", "no_price")


def test_only_open_quotes_that_still_hold_are_tried(alice: User) -> None:
    past, future = clock.now() - timedelta(days=1), clock.now() + timedelta(days=1)
    open_ones = [keep_quote(alice).id, keep_quote(alice, expires_at=future).id]
    keep_quote(alice, expires_at=past)
    keep_quote(alice, currency="EUR")
    for index, status in enumerate((QuoteStatus.ACCEPTED, QuoteStatus.REJECTED, QuoteStatus.CANCELLED)):
        keep_quote(alice, status=status, number=f"Q-2026-10{index}")
    with unit_of_work():
        db.session.add(Quote(user_id=alice.id, locale="en", currency="PLN", created_at=past, updated_at=past, items=[]))
    assert sorted(one.quote.id for one in _rehearse().effects) == open_ones


def test_the_newest_are_shown_and_the_rest_is_said(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "MOST_QUOTES", 2)
    quotes = [keep_quote(alice).id for _ in range(3)]
    found = _rehearse()
    assert [one.quote.id for one in found.effects] == [quotes[2], quotes[1]]
    assert found.has_more


def test_it_asks_the_database_as_often_for_many_quotes_as_for_one(
    alice: User, count_queries: Callable[[], int]
) -> None:
    keep_quote(alice)
    count_queries()
    _rehearse()
    one = count_queries()
    for _ in range(5):
        keep_quote(alice)
    count_queries()
    assert len(_rehearse().effects) == 6
    assert count_queries() == one <= 3


def test_a_rehearsal_writes_nothing(alice: User) -> None:
    quote = keep_quote(alice)
    before = (quote.total_minor, quote.pricing, quote.updated_at)
    _rehearse(minimum="9999.00")
    db.session.refresh(quote)
    assert (quote.total_minor, quote.pricing, quote.updated_at) == before

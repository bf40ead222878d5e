"""Sending a draft: below the limit it is accepted at once, all else waits for staff, and its prices are frozen."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from portal.accounts.models import User
from portal.core import clock
from portal.core.audit import AuditEvent
from portal.core.db import db, unit_of_work
from portal.core.mail import MailMessage
from portal.core.state import InvalidTransition, history
from portal.quotes.errors import (
    NothingToPrice,
    PricesChanged,
    QuoteNotFound,
    RushNotOffered,
    StillMeasuring,
    UnusableModel,
)
from portal.quotes.models import Quote, QuoteStatus
from portal.quotes.pricing.price import Price
from portal.quotes.services import deciding, editing
from portal.quotes.services.loading import DRAFT, QuoteOwner, get_quote
from tests.quotes.books import cube
from tests.quotes.factories import make_price_book, make_quote, quarantine, submit


def again(quote: Quote, user: User) -> Quote:
    return get_quote(quote.number or "", owner=QuoteOwner.of(user))


def test_a_small_quote_with_nothing_to_check_is_accepted_at_once(alice: User) -> None:
    quote = make_quote(alice)
    at = clock.now()
    submit(quote.number or "", QuoteOwner.of(alice), at=at)
    sent = again(quote, alice)
    assert sent.status is QuoteStatus.ACCEPTED
    assert sent.total_minor == sent.computed_total_minor > 0
    assert (sent.submitted_at, sent.approved_at, sent.accepted_at) == (at, at, at)
    assert sent.expires_at == at + timedelta(days=30)
    assert sent.promised_at is not None
    assert sent.promised_at > at
    assert sent.review_reasons == []
    assert [(change.was, change.became) for change in history(sent)] == [("draft", "accepted")]


@pytest.mark.parametrize(
    ("total", "status", "reasons"),
    [
        ("499.99", QuoteStatus.ACCEPTED, []),
        ("500.00", QuoteStatus.PENDING, ["limit"]),
        ("500.01", QuoteStatus.PENDING, ["limit"]),
    ],
)
def test_the_limit_itself_waits_for_staff(alice: User, total: str, status: QuoteStatus, reasons: list[str]) -> None:
    make_price_book(minimum=total)
    quote = make_quote(alice)
    assert quote.total_minor == int(total.replace(".", ""))
    submit(quote.number or "", QuoteOwner.of(alice))
    sent = again(quote, alice)
    assert (sent.status, sent.review_reasons) == (status, reasons)
    if status is QuoteStatus.PENDING:
        assert (sent.approved_at, sent.accepted_at, sent.expires_at) == (None, None, None)


def test_the_rush_surcharge_counts_towards_the_limit(alice: User) -> None:
    make_price_book(minimum="420.00")
    quote = make_quote(alice, rush="rush")
    assert quote.total_minor == 50400
    submit(quote.number or "", QuoteOwner.of(alice))
    assert again(quote, alice).status is QuoteStatus.PENDING


def test_a_note_waits_for_staff(alice: User) -> None:
    quote = make_quote(alice, note="Please print it upright.")
    submit(quote.number or "", QuoteOwner.of(alice))
    sent = again(quote, alice)
    assert (sent.status, sent.review_reasons) == (QuoteStatus.PENDING, ["note"])


def test_a_note_of_spaces_is_none(alice: User) -> None:
    quote = make_quote(alice)
    with unit_of_work():
        editing.set_note(quote.number or "", QuoteOwner.of(alice), " \n\x00 ", at=clock.now())
    submit(quote.number or "", QuoteOwner.of(alice))
    assert again(quote, alice).status is QuoteStatus.ACCEPTED


@pytest.mark.parametrize(
    ("measures", "reason"),
    [
        (cube(bbox_mm=[396.0, 20.0, 20.0]), "near_limits"),
        (cube(outcome="manual", code="not_watertight"), "no_price"),
    ],
)
def test_a_part_that_needs_a_look_waits_for_staff(alice: User, measures: dict[str, object], reason: str) -> None:
    make_price_book(auto_approve_below="100000.00")
    quote = make_quote(alice, items=[{"measures": measures}, {}])
    submit(quote.number or "", QuoteOwner.of(alice))
    sent = again(quote, alice)
    assert sent.status is QuoteStatus.PENDING
    assert reason in sent.review_reasons


def test_a_tiny_model_without_a_unit_waits_until_somebody_says_what_it_is(alice: User) -> None:
    tiny = cube(1.0, outcome="warn", code="too_small", codes=["too_small"], unit=None)
    quote = make_quote(alice, items=[{"measures": tiny}])
    submit(quote.number or "", QuoteOwner.of(alice))
    sent = again(quote, alice)
    assert sent.status is QuoteStatus.PENDING
    assert "unit" in sent.review_reasons


def test_sending_twice_is_sending_once(alice: User) -> None:
    quote, owner = make_quote(alice), QuoteOwner.of(alice)
    submit(quote.number or "", owner)
    with unit_of_work():
        same = deciding.submit_quote(quote.number or "", owner, seen="whatever", at=clock.now())
    assert same.status is QuoteStatus.ACCEPTED
    assert [mail.template for mail in db.session.scalars(select(MailMessage))] == ["quote_received"]
    events = select(AuditEvent.event).where(AuditEvent.subject == f"quotes:{quote.id}")
    assert list(db.session.scalars(events)).count("quote.accepted") == 1


def test_prices_are_frozen_when_a_quote_is_sent(alice: User) -> None:
    quote = make_quote(alice, note="Hello")
    submit(quote.number or "", QuoteOwner.of(alice))
    before = again(quote, alice)
    frozen = (before.total_minor, before.price_book_id, before.pricing, before.items[0].unit_price_minor)
    make_price_book(minimum="900.00")
    after = again(quote, alice)
    assert (after.total_minor, after.price_book_id, after.pricing, after.items[0].unit_price_minor) == frozen
    assert Price.from_json(after.pricing).to_json() == after.pricing


def test_a_page_with_yesterdays_prices_cannot_send(alice: User) -> None:
    quote, owner = make_quote(alice), QuoteOwner.of(alice)
    seen = deciding.seen_mark(quote.price_book_id or 0, quote.total_minor)
    make_price_book(minimum="77.00")
    with pytest.raises(PricesChanged), unit_of_work():
        deciding.submit_quote(quote.number or "", owner, seen=seen, at=clock.now())
    assert again(quote, alice).status is QuoteStatus.DRAFT
    submit(quote.number or "", owner)
    assert again(quote, alice).total_minor == 7700


@pytest.mark.parametrize("seen", ["", "0-0", "1-1", "1-99999999999999999999", "x"])
def test_a_made_up_price_is_refused(alice: User, seen: str) -> None:
    quote = make_quote(alice)
    with pytest.raises(PricesChanged), unit_of_work():
        deciding.submit_quote(quote.number or "", QuoteOwner.of(alice), seen=seen, at=clock.now())


def test_an_empty_quote_cannot_be_sent(alice: User) -> None:
    quote = make_quote(alice, items=[])
    with pytest.raises(NothingToPrice):
        submit(quote.number or "", QuoteOwner.of(alice))


def test_nothing_is_sent_before_it_is_measured(alice: User) -> None:
    quote = make_quote(alice, items=[{"is_measured": False}])
    with pytest.raises(StillMeasuring):
        submit(quote.number or "", QuoteOwner.of(alice))


def test_a_model_that_cannot_be_made_has_to_leave_first(alice: User) -> None:
    owner = QuoteOwner.of(alice)
    quote = make_quote(alice, items=[{"measures": {"outcome": "reject", "code": "no_model"}}, {}])
    with pytest.raises(UnusableModel):
        submit(quote.number or "", owner)
    with unit_of_work():
        editing.remove_item(quote.number or "", owner, quote.items[0].id, at=clock.now())
    assert submit(quote.number or "", owner).status is QuoteStatus.ACCEPTED


def test_a_model_in_quarantine_is_not_sent(alice: User) -> None:
    quote = make_quote(alice)
    quarantine(quote.items[0].model_file)
    with pytest.raises(UnusableModel):
        submit(quote.number or "", QuoteOwner.of(alice))


def test_a_level_without_hours_is_not_sold(alice: User) -> None:
    quote = make_quote(alice, items=[{"quantity": 100}], rush="emergency")
    with pytest.raises(RushNotOffered):
        submit(quote.number or "", QuoteOwner.of(alice))
    assert again(quote, alice).status is QuoteStatus.DRAFT


def test_a_visitor_cannot_send(app: object) -> None:
    make_quote(None, token="t" * 43)
    with pytest.raises(QuoteNotFound), unit_of_work():
        deciding.submit_quote(DRAFT, QuoteOwner(token="t" * 43), seen="", at=clock.now())


def test_a_strangers_quote_is_not_found(alice: User, mallory: User) -> None:
    quote = make_quote(alice)
    with pytest.raises(QuoteNotFound), unit_of_work():
        deciding.submit_quote(quote.number or "", QuoteOwner.of(mallory), seen="", at=clock.now())


@pytest.mark.parametrize("status", [QuoteStatus.CANCELLED, QuoteStatus.REJECTED])
def test_a_quote_that_is_over_cannot_be_sent(alice: User, status: QuoteStatus) -> None:
    quote = make_quote(alice, status=status, note="x")
    with pytest.raises(InvalidTransition), unit_of_work():
        deciding.submit_quote(quote.number or "", QuoteOwner.of(alice), seen="", at=clock.now())

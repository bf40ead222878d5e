"""Accepting, rejecting, cancelling, confirming, converting: each arrow once, from where it starts, whoever races."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.faults import arm
from portal.core.mail import MailMessage
from portal.core.state import InvalidTransition, history
from portal.payments.services.sales import day_of
from portal.quotes.errors import (
    AlreadyConverted,
    ExpiredBeforeOrder,
    InvalidPrice,
    NotAccepted,
    NotApproved,
    NotRequotable,
    PriceMissing,
    QuoteExpired,
    QuoteNotFound,
    ReasonMissing,
)
from portal.quotes.models import QUOTE_TRANSITIONS, Quote, QuoteStatus
from portal.quotes.services import converting, deciding, drafting, reviewing
from portal.quotes.services.loading import DRAFT, QuoteOwner, get_quote
from portal.quotes.services.requoting import requote
from tests.browser_like import post_form
from tests.crowd import all_at_once
from tests.quotes.books import cube
from tests.quotes.factories import make_price_book, make_quote

STAFF = "staff@example.com"
S = QuoteStatus


def now_of(quote: Quote) -> Quote:
    db.session.rollback()
    return db.session.get_one(Quote, quote.id, populate_existing=True)


def waiting(user: User, **values: Any) -> Quote:
    """A quote that waits for staff."""
    return make_quote(user, status=S.PENDING, is_approved=False, note=values.pop("note", "Please look."), **values)


def do(action: str, quote: Quote, user: User, *, at: datetime | None = None) -> Quote:
    """One of the arrows, in a unit of work of its own."""
    at, owner, number = at or clock.now(), QuoteOwner.of(user), quote.number or DRAFT
    with unit_of_work():
        return {
            "accept": lambda: deciding.accept_quote(number, owner, at=at),
            "reject": lambda: deciding.reject_quote(number, owner, reason="too expensive", at=at),
            "cancel": lambda: deciding.cancel_quote(number, owner, at=at),
            "approve": lambda: reviewing.approve_quote(quote.id, by=STAFF, at=at),
            "override": lambda: reviewing.override_price(quote.id, 12345, reason="a friend", by=STAFF, at=at),
            "turn down": lambda: reviewing.reject_quote(quote.id, reason="cannot be printed", by=STAFF, at=at),
        }[action]()


def test_only_a_confirmed_price_can_be_accepted(alice: User) -> None:
    quote = waiting(alice)
    with pytest.raises(NotApproved):
        do("accept", quote, alice)
    assert now_of(quote).status is S.PENDING
    at = clock.now()
    do("approve", quote, alice, at=at)
    assert now_of(quote).expires_at == at + timedelta(days=30)
    do("accept", quote, alice)
    accepted = now_of(quote)
    assert accepted.status is S.ACCEPTED
    assert accepted.accepted_at is not None
    assert [(change.was, change.became, change.actor) for change in history(accepted)] == [
        ("draft", "pending", alice.email), ("pending", "accepted", alice.email),
    ]  # fmt: skip


def test_a_price_ends_at_the_very_moment_it_says(alice: User) -> None:
    quote = make_quote(alice, status=S.PENDING, note="x")
    ends_at = quote.expires_at
    assert ends_at is not None
    with pytest.raises(QuoteExpired):
        do("accept", quote, alice, at=ends_at)
    do("accept", quote, alice, at=ends_at - timedelta(microseconds=1))
    assert now_of(quote).status is S.ACCEPTED


def test_it_expires_while_it_is_being_accepted(alice: User) -> None:
    """Who came in time is served, whenever the transaction ends: the time is the one of the decision."""
    quote = make_quote(alice, status=S.PENDING, note="x")
    ends_at = quote.expires_at
    assert ends_at is not None
    with arm("accept-quote-after-check", lambda: None), clock.shifted(timedelta(days=31)):
        do("accept", quote, alice, at=ends_at - timedelta(seconds=1))
    assert now_of(quote).status is S.ACCEPTED


def test_a_waiting_quote_does_not_expire_before_we_have_looked(alice: User) -> None:
    quote = waiting(alice)
    with clock.shifted(timedelta(days=90)):
        do("approve", quote, alice)
        do("accept", quote, alice)
    assert now_of(quote).status is S.ACCEPTED


# What each action does to a quote in each state: the new state, or what it is refused with.
PENDING_NOT_CONFIRMED = "waiting"
OUTCOMES: dict[str, dict[str, Any]] = {
    "accept": {"draft": InvalidTransition, "waiting": NotApproved, "pending": S.ACCEPTED, "accepted": S.ACCEPTED,
               "rejected": InvalidTransition, "cancelled": InvalidTransition},
    "reject": {"draft": InvalidTransition, "waiting": S.REJECTED, "pending": S.REJECTED, "accepted": InvalidTransition,
               "rejected": S.REJECTED, "cancelled": InvalidTransition},
    "cancel": {"draft": S.CANCELLED, "waiting": S.CANCELLED, "pending": S.CANCELLED, "accepted": S.CANCELLED,
               "rejected": InvalidTransition, "cancelled": S.CANCELLED},
    "approve": {"draft": InvalidTransition, "waiting": S.PENDING, "pending": S.PENDING, "accepted": InvalidTransition,
                "rejected": InvalidTransition, "cancelled": InvalidTransition},
    "override": {"draft": InvalidTransition, "waiting": S.PENDING, "pending": S.PENDING, "accepted": InvalidTransition,
                 "rejected": InvalidTransition, "cancelled": InvalidTransition},
    "turn down": {"draft": InvalidTransition, "waiting": S.REJECTED, "pending": S.REJECTED,
                  "accepted": InvalidTransition, "rejected": S.REJECTED, "cancelled": InvalidTransition},
}  # fmt: skip


@pytest.mark.parametrize("state", ["draft", "waiting", "pending", "accepted", "rejected", "cancelled"])
@pytest.mark.parametrize("action", list(OUTCOMES))
def test_every_action_in_every_state(alice: User, action: str, state: str) -> None:
    if state == PENDING_NOT_CONFIRMED:
        quote = waiting(alice)
    else:
        quote = make_quote(alice, status=S(state), note="x" if state in ("pending", "rejected") else "")
    before = now_of(quote).status
    wanted = OUTCOMES[action][state]
    if isinstance(wanted, QuoteStatus):
        do(action, quote, alice)
        assert now_of(quote).status is wanted
        changes = len(history(now_of(quote)))
        do(action, quote, alice)
        assert now_of(quote).status is wanted
        assert len(history(now_of(quote))) == changes
    else:
        with pytest.raises(wanted):
            do(action, quote, alice)
        assert now_of(quote).status is before


def test_the_table_is_the_designs() -> None:
    assert {
        S.DRAFT: {S.PENDING, S.ACCEPTED, S.CANCELLED},
        S.PENDING: {S.ACCEPTED, S.REJECTED, S.CANCELLED},
        S.ACCEPTED: {S.CANCELLED},
    } == QUOTE_TRANSITIONS


@pytest.mark.parametrize("action", ["accept", "reject", "cancel"])
def test_a_stranger_decides_nothing(alice: User, mallory: User, action: str) -> None:
    quote = make_quote(alice, status=S.PENDING, note="x")
    with pytest.raises(QuoteNotFound):
        do(action, quote, mallory)
    assert now_of(quote).status is S.PENDING


@pytest.mark.parametrize("reason", ["", "  \n", "\x00"])
def test_a_rejection_says_why(alice: User, reason: str) -> None:
    quote = make_quote(alice, status=S.PENDING, note="x")
    for work in (
        lambda: deciding.reject_quote(quote.number or "", QuoteOwner.of(alice), reason=reason, at=clock.now()),
        lambda: reviewing.reject_quote(quote.id, reason=reason, by=STAFF, at=clock.now()),
        lambda: reviewing.override_price(quote.id, 100, reason=reason, by=STAFF, at=clock.now()),
    ):
        with pytest.raises(ReasonMissing), unit_of_work():
            work()
    assert now_of(quote).status is S.PENDING
    do("reject", quote, alice)
    assert now_of(quote).reject_reason == "too expensive"


def test_staff_set_another_price_and_the_computed_one_stays(alice: User) -> None:
    quote = waiting(alice)
    computed = quote.total_minor
    do("override", quote, alice)
    priced = now_of(quote)
    assert (priced.total_minor, priced.computed_total_minor, priced.override_reason) == (12345, computed, "a friend")
    assert priced.is_approved
    with unit_of_work():
        reviewing.override_price(quote.id, 9900, reason="a slip", by=STAFF, at=clock.now())
    assert now_of(quote).total_minor == 9900
    mails = list(db.session.scalars(select(MailMessage.template).order_by(MailMessage.id)))
    assert mails == ["quote_received", "quote_priced", "quote_priced"]


@pytest.mark.parametrize("total", [0, -1, 10**11 + 1])
def test_an_impossible_price_is_refused(alice: User, total: int) -> None:
    quote = waiting(alice)
    with pytest.raises(InvalidPrice), unit_of_work():
        reviewing.override_price(quote.id, total, reason="x", by=STAFF, at=clock.now())
    assert not now_of(quote).is_approved


def test_a_part_without_a_price_needs_one_set(alice: User) -> None:
    quote = waiting(alice, items=[{"measures": cube(outcome="manual", code="not_watertight")}, {}])
    with pytest.raises(PriceMissing):
        do("approve", quote, alice)
    do("override", quote, alice)
    assert now_of(quote).total_minor == 12345


# --- races ---


def test_of_approving_and_cancelling_at_once_both_are_told_the_truth(app: Flask, alice: User) -> None:
    for _round in range(5):
        quote = waiting(alice)
        results = all_at_once(app, [lambda: do("approve", quote, alice), lambda: do("cancel", quote, alice)])  # noqa: B023  # run before the next round
        approved, cancelled = (not isinstance(result, Exception) for result in results)
        assert cancelled
        assert now_of(quote).status is S.CANCELLED
        assert approved or isinstance(results[0], InvalidTransition)


def test_of_accepting_and_rejecting_at_once_one_wins(app: Flask, alice: User) -> None:
    for _round in range(5):
        quote = make_quote(alice, status=S.PENDING, note="x")
        results = all_at_once(app, [lambda: do("accept", quote, alice), lambda: do("turn down", quote, alice)])  # noqa: B023  # run before the next round
        losers = [result for result in results if isinstance(result, Exception)]
        assert [type(loser) for loser in losers] == [InvalidTransition]
        changes = [change.became for change in history(now_of(quote))]
        assert len(changes) == 2


def test_accepted_ten_times_at_once_it_is_accepted_once(app: Flask, alice: User) -> None:
    quote = make_quote(alice, status=S.PENDING, note="x")
    results = all_at_once(app, [lambda: do("accept", quote, alice)] * 10)
    assert not [result for result in results if isinstance(result, Exception)]
    assert [change.became for change in history(now_of(quote))] == ["pending", "accepted"]


def test_twenty_quotes_at_once_have_twenty_numbers_without_a_gap(app: Flask, alice: User) -> None:
    make_price_book()
    owner = QuoteOwner.of(alice)

    def start() -> str:
        with unit_of_work():
            return drafting.start_quote(owner, [], locale="en", at=clock.now()).number or ""

    numbers = all_at_once(app, [start] * 20)
    assert sorted(int(number.rpartition("-")[2]) for number in numbers) == list(range(1, 21))


def test_a_draft_that_fails_gives_its_number_back(alice: User) -> None:
    make_price_book()
    owner = QuoteOwner.of(alice)
    with pytest.raises(RuntimeError), unit_of_work():
        drafting.start_quote(owner, [], locale="en", at=clock.now())
        raise RuntimeError
    assert make_quote(alice).number == f"Q-{day_of(clock.now())[:4]}-001"


def test_numbers_begin_anew_each_year_and_grow_beyond_three_digits(alice: User) -> None:
    from portal.core.numbering import next_number

    at = datetime.fromisoformat("2027-12-31T23:30:00+01:00")
    make_price_book(at=at - timedelta(days=1))
    with unit_of_work():
        for _ in range(999):
            next_number("Q", year=2027, width=3)
    assert make_quote(alice, at=at).number == "Q-2027-1000"
    assert make_quote(alice, at=at + timedelta(hours=1)).number == "Q-2028-001"


# --- converting ---


def convert(quote: Quote, user: User, *, at: datetime | None = None) -> None:
    at = at or clock.now()
    with unit_of_work():
        locked = converting.lock_to_convert(quote.number or "", QuoteOwner.of(user), at=at)
        converting.mark_converted(locked, at=at)


def test_an_accepted_quote_is_converted_once(alice: User) -> None:
    quote = make_quote(alice, status=S.ACCEPTED)
    convert(quote, alice)
    assert now_of(quote).converted_at is not None
    with pytest.raises(AlreadyConverted):
        convert(quote, alice)
    with pytest.raises(AlreadyConverted):
        do("cancel", quote, alice)


def test_what_cannot_be_converted(alice: User, mallory: User) -> None:
    with pytest.raises(NotAccepted):
        convert(waiting(alice), alice)
    accepted = make_quote(alice, status=S.ACCEPTED)
    with pytest.raises(QuoteNotFound):
        convert(accepted, mallory)
    ends_at = accepted.expires_at
    assert ends_at is not None
    with pytest.raises(ExpiredBeforeOrder):
        convert(accepted, alice, at=ends_at)
    convert(accepted, alice, at=ends_at - timedelta(seconds=1))


def test_two_people_convert_one_quote_at_once(app: Flask, alice: User) -> None:
    quote = make_quote(alice, status=S.ACCEPTED)
    results = all_at_once(app, [lambda: convert(quote, alice)] * 8)
    assert [type(result) for result in results if result is not None] == [AlreadyConverted] * 7


def test_the_stamp_holds_even_without_the_lock(alice: User) -> None:
    """Between the check and the stamp somebody else stamps it: the second order must not come about."""
    quote = make_quote(alice, status=S.ACCEPTED)

    def somebody_else() -> None:
        db.session.connection().exec_driver_sql(
            f"UPDATE quotes SET converted_at = '2026-01-01 00:00:00' WHERE id = {quote.id}"
        )

    with arm("convert-after-check", somebody_else), pytest.raises(AlreadyConverted):
        convert(quote, alice)


# --- a new one from an old one ---


def test_an_expired_quote_is_made_anew_at_todays_prices(alice: User) -> None:
    quote = make_quote(alice, status=S.PENDING, note="x", items=[{"quantity": 3, "material": "petg"}], rush="rush")
    with pytest.raises(NotRequotable), unit_of_work():
        requote(quote.number or "", QuoteOwner.of(alice), at=clock.now())
    with clock.shifted(timedelta(days=31)):
        book = make_price_book(minimum="400.00")
        with unit_of_work():
            made = requote(quote.number or "", QuoteOwner.of(alice), at=clock.now())
        with unit_of_work():
            again = requote(quote.number or "", QuoteOwner.of(alice), at=clock.now())
    assert again.id == made.id
    new = get_quote(made.number or "", owner=QuoteOwner.of(alice))
    assert (new.status, new.rush, new.note, new.price_book_id) == (S.DRAFT, "rush", "", book.id)
    assert new.total_minor == 48000
    assert [(item.material, item.quantity) for item in new.items] == [("petg", 3)]
    assert new.items[0].model_file_id == quote.items[0].model_file_id
    assert now_of(quote).status is S.PENDING


def test_two_clicks_at_once_make_one_new_quote(app: Flask, alice: User) -> None:
    quote = make_quote(alice, status=S.CANCELLED)

    def again() -> str:
        with unit_of_work():
            return requote(quote.number or "", QuoteOwner.of(alice), at=clock.now()).number or ""

    assert len(set(all_at_once(app, [again] * 6))) == 1


# --- through the pages ---


def test_the_whole_way_in_the_browser(alice: User, login: Callable[[User], FlaskClient]) -> None:
    browser, quote = login(alice), make_quote(alice, note="Hello", items=[{}, {}])
    page = f"/quotes/{quote.number}"
    seen = browser.get(page).get_data(as_text=True).partition('name="seen" value="')[2].partition('"')[0]
    assert post_form(browser, f"{page}/submit", {"seen": seen}, page=page).location == page
    assert "We are checking this price" in browser.get(page).get_data(as_text=True)
    refused = post_form(browser, f"{page}/accept", page=page)
    assert refused.status_code == 409
    assert "still checking this price" in refused.get_data(as_text=True)
    do("approve", quote, alice)
    answer = post_form(browser, f"{page}/accept", page=page, htmx=True)
    assert answer.status_code == 200
    assert 'id="quote"' in answer.get_data(as_text=True)
    assert now_of(quote).status is S.ACCEPTED
    assert post_form(browser, f"{page}/cancel", page=page).status_code == 303
    assert now_of(quote).status is S.CANCELLED
    made = post_form(browser, f"{page}/requote", page=page)
    assert made.status_code == 303
    assert made.location != page


def test_deciding_needs_an_account(client: FlaskClient, alice: User) -> None:
    quote = make_quote(alice, status=S.PENDING, note="x")
    make_quote(None, token="t" * 43)
    with client.session_transaction() as cookie:
        cookie["quote_token"] = "t" * 43
    for action in ("accept", "reject", "cancel", "requote"):
        answer = post_form(client, f"/quotes/{quote.number}/{action}", page="/quotes/draft")
        assert answer.location.startswith("/login")
    sent = post_form(client, "/quotes/draft/submit", page="/quotes/draft")
    assert sent.location == "/login?next=/quotes/draft"
    assert now_of(quote).status is S.PENDING

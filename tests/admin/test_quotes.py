"""Quotes at the back office: the queue, one quote with its arithmetic and margin, and what staff decide."""

import csv
import io
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from portal.accounts.models import Role, User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.mail import MailMessage
from portal.quotes.errors import MessageMissing, QuoteMoved
from portal.quotes.margin import margin_of, margin_of_quote
from portal.quotes.models import ModelAccess, Quote, QuoteStatus
from portal.quotes.pricing.price import Price
from portal.quotes.services import reviewing
from tests import factories
from tests.admin.reading import FRAGMENT, audited, page, rows, words
from tests.browser_like import csrf_token, post_form
from tests.crowd import all_at_once
from tests.quotes.books import cube
from tests.quotes.factories import draw, make_price_book, make_quote

_SEEN = re.compile(r'name="(\w+-seen)"[^>]*value="([^"]*)"')


@pytest.fixture(autouse=True)
def book(app: Flask) -> None:
    make_price_book(at=clock.now() - timedelta(days=30))


def waiting(user: User, **values: Any) -> Quote:
    """A quote that waits for staff."""
    note = values.pop("note", "Please look at the holes.")
    return make_quote(user, status=QuoteStatus.PENDING, is_approved=False, note=note, **values)


def now_of(quote: Quote) -> Quote:
    db.session.rollback()
    return db.session.get_one(Quote, quote.id, populate_existing=True)


def mails(template: str) -> int:
    db.session.rollback()
    return db.session.scalar(select(func.count()).where(MailMessage.template == template)) or 0


def seen_of(browser: FlaskClient, quote: Quote) -> dict[str, str]:
    """The hidden fields of the page's forms, as a browser keeps them while others decide."""
    return dict(_SEEN.findall(browser.get(f"/admin/quotes/{quote.number}").get_data(as_text=True)))


def decide(browser: FlaskClient, quote: Quote, action: str, *, htmx: bool = False, **fields: str) -> Any:
    address = f"/admin/quotes/{quote.number}"
    values = {**seen_of(browser, quote), **{f"{action}-{name}": value for name, value in fields.items()}}
    return post_form(browser, f"{address}/{action}", values, page=address, htmx=htmx)


def test_the_queue_shows_the_longest_waiting_first_in_pages(office: FlaskClient, alice: User) -> None:
    at = clock.now() - timedelta(days=3)
    numbers = [waiting(alice, at=at + timedelta(minutes=step)).number for step in range(28)]
    first = office.get("/admin/quotes")
    assert rows(first) == numbers[:25]
    older = re.search(r'rel="next" href="([^"]+)"', first.get_data(as_text=True))
    assert older is not None
    second = office.get(older.group(1).replace("&amp;", "&"))
    assert rows(second) == numbers[25:]
    newer = re.search(r'rel="prev" href="([^"]+)"', second.get_data(as_text=True))
    assert newer is not None
    assert rows(office.get(newer.group(1).replace("&amp;", "&"))) == numbers[:25]


def test_the_queue_shows_the_most_money_first_when_asked(office: FlaskClient, alice: User) -> None:
    numbers = [waiting(alice, items=[{"quantity": pieces}]).number for pieces in (5, 40, 1)]
    assert rows(office.get("/admin/quotes?sort=value")) == [numbers[1], numbers[0], numbers[2]]
    assert rows(office.get("/admin/quotes")) == numbers


@pytest.mark.parametrize("cursor", ["x", "1-", "-1", "9999999999999999999-1", "999999999999999999-1", "1-2-3", "٣-1"])
def test_a_cursor_that_is_none_does_no_harm(office: FlaskClient, alice: User, cursor: str) -> None:
    waiting(alice)
    for sort in ("", "value"):
        answer = office.get("/admin/quotes", query_string={"before": cursor, "sort": sort})
        assert answer.status_code == 200


def test_other_states_are_a_filter_away(office: FlaskClient, alice: User) -> None:
    queued = waiting(alice).number
    priced = make_quote(alice, status=QuoteStatus.PENDING, note="x").number
    draft = make_quote(alice).number
    accepted = make_quote(alice, status=QuoteStatus.ACCEPTED).number
    assert rows(office.get("/admin/quotes")) == [queued]
    assert rows(office.get("/admin/quotes?state=priced")) == [priced]
    assert rows(office.get("/admin/quotes?state=draft")) == [draft]
    assert rows(office.get("/admin/quotes?state=accepted")) == [accepted]
    assert rows(office.get("/admin/quotes?state=all")) == [accepted, draft, priced, queued]


def test_a_quote_is_found_by_number_address_and_name(office: FlaskClient, alice: User) -> None:
    other = factories.make_user(email="zoe@example.com", name="Zoë Żak")
    found, hidden = make_quote(other).number, make_quote(alice).number
    assert found is not None
    for query in (found, found.lower(), "zoe@example.com", "żak"):
        assert rows(office.get("/admin/quotes", query_string={"q": query})) == [found], query
    assert rows(office.get("/admin/quotes", query_string={"q": "%"})) == []
    assert hidden != found


def test_a_visitors_draft_is_nobodys_yet(office: FlaskClient, app: Flask) -> None:
    make_quote(None, token="t" * 43)
    assert rows(office.get("/admin/quotes?state=all")) == []


def test_the_list_costs_the_same_with_one_row_and_with_many(
    office: FlaskClient, alice: User, count_queries: Callable[[], int]
) -> None:
    waiting(alice)
    count_queries()
    office.get("/admin/quotes")
    with_one = count_queries()
    for step in range(12):
        waiting(factories.make_user(email=f"c{step}@example.com"), items=[{}, {}])
    count_queries()
    office.get("/admin/quotes")
    assert count_queries() == with_one <= 5


def test_a_quote_costs_the_same_with_one_part_and_with_many(
    office: FlaskClient, alice: User, count_queries: Callable[[], int]
) -> None:
    one, many = waiting(alice), waiting(alice, items=[{}] * 12)
    costs = []
    for quote in (one, many):
        count_queries()
        office.get(f"/admin/quotes/{quote.number}")
        costs.append(count_queries())
    assert costs[0] == costs[1] <= 12


def test_the_page_says_everything_about_a_quote(office: FlaskClient, alice: User) -> None:
    quote = waiting(alice, items=[{"name": "bracket.stl", "quantity": 3}])
    text = page(office, f"/admin/quotes/{quote.number}")
    price = Price.from_json(quote.pricing)
    for part in (
        alice.email, "bracket.stl", "Please look at the holes.", "The customer wrote a note", "20 × 20 × 20 mm",
        "8 cm³", "PLA", "Black", "Machine time of a piece", "rounded half up", "g/cm³", "Costs us", "Margin",
    ):  # fmt: skip
        assert part in text, part
    margin = margin_of(price, quote.total_minor)
    assert f"{margin.percent} %" in text
    panel = office.get(f"/admin/quotes/{quote.number}", headers=FRAGMENT)
    assert panel.get_data(as_text=True).lstrip().startswith("<article")
    assert "rounded half up" in words(panel)


def test_the_margin_is_what_is_left_of_the_price_without_tax(app: Flask, alice: User) -> None:
    quote = waiting(alice, items=[{"quantity": 10}])
    price = Price.from_json(quote.pricing)
    margin = margin_of_quote(quote)
    assert margin is not None
    assert margin.cost_minor == price.cost_minor > 0
    assert margin.net_minor == quote.total_minor - price.tax_minor
    assert margin.left_minor == margin.net_minor - price.cost_minor
    assert margin_of(price, 123).left_minor < 0


def test_confirming_sends_the_price_once(office: FlaskClient, alice: User, staff: User) -> None:
    quote = waiting(alice)
    answer = decide(office, quote, "approve", message="The holes are fine.")
    assert (answer.status_code, answer.location) == (303, f"/admin/quotes/{quote.number}")
    after = now_of(quote)
    assert after.is_approved
    assert after.staff_message == "The holes are fine."
    assert mails("quote_priced") == 1
    [line] = audited("quote.approved")
    assert line.actor == staff.email
    assert rows(office.get("/admin/quotes")) == []


def test_another_price_shows_old_new_difference_and_margin(office: FlaskClient, alice: User, staff: User) -> None:
    quote = waiting(alice)
    before = quote.total_minor
    preview = office.get(f"/admin/quotes/{quote.number}/margin?override-total=99.90", headers=FRAGMENT)
    assert "PLN 99.90" in words(preview)
    assert "Left after tax and cost" in words(preview)
    assert now_of(quote).total_minor == before
    assert decide(office, quote, "override", total="99,90", reason="A regular customer").status_code == 303
    after = now_of(quote)
    assert (after.total_minor, after.computed_total_minor, after.override_reason) == (
        9990,
        before,
        "A regular customer",
    )
    text = page(office, f"/admin/quotes/{quote.number}")
    for part in ("A regular customer", "PLN 99.90", "Computed", "Difference"):
        assert part in text
    assert mails("quote_priced") == 1
    [line] = audited("quote.price_set")
    assert (line.actor, line.before) == (staff.email, {"total_minor": before, "reason": None})


@pytest.mark.parametrize("typed", ["", "x", "-5", "1e9", "0", "99.999", "9" * 13])
def test_a_price_that_is_none_is_refused_at_its_field(office: FlaskClient, alice: User, typed: str) -> None:
    quote = waiting(alice)
    answer = decide(office, quote, "override", total=typed, reason="because")
    assert answer.status_code == 422
    assert 'id="override-total-error"' in answer.get_data(as_text=True)
    assert not now_of(quote).is_approved
    assert office.get(f"/admin/quotes/{quote.number}/margin", query_string={"override-total": typed}).status_code == 200


def test_turning_down_needs_a_reason_and_tells_the_customer(office: FlaskClient, alice: User) -> None:
    quote = waiting(alice)
    assert decide(office, quote, "reject", reason=" ").status_code == 422
    assert now_of(quote).status is QuoteStatus.PENDING
    assert decide(office, quote, "reject", reason="Too thin to print.").status_code == 303
    assert (now_of(quote).status, now_of(quote).reject_reason) == (QuoteStatus.REJECTED, "Too thin to print.")
    assert mails("quote_declined") == 1


def test_a_message_decides_nothing(office: FlaskClient, alice: User) -> None:
    quote = waiting(alice)
    assert decide(office, quote, "message", message="").status_code == 422
    assert decide(office, quote, "message", message="Which colour is the lid?").status_code == 303
    after = now_of(quote)
    assert (after.staff_message, after.is_approved, after.status) == (
        "Which colour is the lid?", False, QuoteStatus.PENDING,
    )  # fmt: skip
    assert mails("quote_message") == 1
    with pytest.raises(MessageMissing), unit_of_work():
        reviewing.write_to_customer(quote.id, " \x00", by="staff", at=clock.now())


@pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])
@pytest.mark.parametrize("action", ["approve", "override", "reject", "message"])
def test_who_decides_second_is_told_how_it_stands(
    office: FlaskClient, alice: User, login: Callable[[User], FlaskClient], action: str, htmx: bool
) -> None:
    quote = waiting(alice)
    colleague = login(factories.make_user(email="second@example.com", role=Role.STAFF))
    address = f"/admin/quotes/{quote.number}"
    stale = {"csrf_token": csrf_token(colleague, address), **seen_of(colleague, quote)}
    decide(office, quote, "approve")
    fields = {"total": "12.00", "reason": "late", "message": "late"}
    answer = colleague.post(
        f"{address}/{action}",
        data={**stale, **{f"{action}-{name}": value for name, value in fields.items()}},
        headers=FRAGMENT if htmx else {},
    )
    assert answer.status_code == 409
    assert "Somebody else was faster" in words(answer)
    assert "Price confirmed" in words(answer)
    after = now_of(quote)
    assert (after.status, after.override_reason, after.staff_message) == (QuoteStatus.PENDING, None, "")
    assert (mails("quote_priced"), mails("quote_declined"), mails("quote_message")) == (1, 0, 0)


def test_of_two_who_decide_at_once_one_wins(app: Flask, alice: User) -> None:
    quote = waiting(alice)
    quote_id, seen = quote.id, reviewing.review_mark(quote)

    def decide_as(name: str, total: int) -> Callable[[], Any]:
        def work() -> int:
            with unit_of_work():
                at = clock.now()
                return reviewing.override_price(quote_id, total, reason=name, by=name, seen=seen, at=at).total_minor

        return work

    found = all_at_once(app, [decide_as("one", 1000), decide_as("two", 2000)])
    assert sorted(type(one).__name__ for one in found) == ["QuoteMoved", "int"]
    [winner] = [one for one in found if isinstance(one, int)]
    assert now_of(quote).total_minor == winner
    assert mails("quote_priced") == 1


def test_without_the_mark_the_second_would_overwrite_the_first(app: Flask, alice: User) -> None:
    """The control: what `seen` is for."""
    quote = waiting(alice)
    for total in (1000, 2000):
        with unit_of_work():
            reviewing.override_price(quote.id, total, reason="x", by="x", at=clock.now())
    assert (now_of(quote).total_minor, mails("quote_priced")) == (2000, 2)
    with pytest.raises(QuoteMoved), unit_of_work():
        reviewing.override_price(quote.id, 3000, reason="x", by="x", seen="pending-1000-", at=clock.now())


def test_nothing_can_be_decided_about_what_does_not_wait(office: FlaskClient, alice: User) -> None:
    quote = make_quote(alice, status=QuoteStatus.ACCEPTED)
    text = page(office, f"/admin/quotes/{quote.number}")
    assert "it does not wait for us" in text
    address = f"/admin/quotes/{quote.number}"
    answer = post_form(
        office, f"{address}/approve", {"approve-seen": reviewing.review_mark(quote)}, page="/admin/audit"
    )
    assert answer.status_code == 409


def test_a_part_without_a_price_needs_a_total_by_hand(office: FlaskClient, alice: User) -> None:
    odd = {"outcome": "manual", "code": "open_mesh", "codes": ["open_mesh"], "message": "x", "problems": []}
    quote = waiting(alice, items=[{"measures": {**cube(), **odd, "volume_mm3": None}}, {}])
    text = page(office, f"/admin/quotes/{quote.number}")
    assert "Set the price" in text
    assert "and send" not in text.replace("Set this price and send", "")
    answer = decide(office, quote, "approve")
    assert answer.status_code == 409
    assert "no price yet" in words(answer)
    assert decide(office, quote, "override", total="80", reason="Looked at it").status_code == 303
    assert now_of(quote).total_minor == 8000


def test_customers_and_strangers_stay_outside(app: Flask, alice: User, login: Callable[[User], FlaskClient]) -> None:
    quote = waiting(alice)
    for address in ("/admin/quotes", f"/admin/quotes/{quote.number}", "/admin/quotes.csv"):
        assert login(alice).get(address).status_code == 403
        assert app.test_client().get(address).status_code in (302, 303)
    assert (
        login(factories.make_user(email="s@example.com", role=Role.STAFF)).get("/admin/quotes/Q-1").status_code == 404
    )


def test_every_form_needs_its_token(office: FlaskClient, alice: User) -> None:
    quote = waiting(alice)
    for action in ("approve", "override", "reject", "message"):
        assert office.post(f"/admin/quotes/{quote.number}/{action}", data={}).status_code == 400
    assert not now_of(quote).is_approved


def test_staff_looks_at_models_are_written_down(office: FlaskClient, alice: User, staff: User) -> None:
    model = draw(waiting(alice, items=[{"name": 'Gehäuse "v2".stl'}]).items[0].model_file)
    answer = office.get(f"/admin/models/{model.public_id}/file")
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert "filename*=UTF-8''Geh%C3%A4use" in answer.headers["Content-Disposition"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert len(answer.data) == model.size_bytes
    assert office.get(f"/admin/models/{model.public_id}/mesh").status_code == 200
    assert office.get(f"/admin/models/{model.public_id}/picture").status_code == 200
    db.session.rollback()
    found = db.session.execute(select(ModelAccess.actor, ModelAccess.action).order_by(ModelAccess.id)).all()
    assert [tuple(one) for one in found] == [
        (staff.email, "downloaded"), (staff.email, "viewed"), (staff.email, "pictured"),
    ]  # fmt: skip
    text = page(office, f"/admin/models/{model.public_id}")
    for part in ("Downloaded the file", staff.email, "Looked at it in 3D", model.sha256[:12]):
        assert part in text


def test_the_list_is_exported_with_cost_and_margin(office: FlaskClient, alice: User) -> None:
    quote = waiting(alice)
    lines = list(csv.DictReader(io.StringIO(office.get("/admin/quotes.csv").get_data(as_text=True).lstrip("\ufeff"))))
    margin = margin_of_quote(quote)
    assert margin is not None
    [line] = lines
    assert (line["number"], line["email"], line["review_reasons"]) == (quote.number, alice.email, "note")
    assert line["cost"] == f"{margin.cost_minor / 100:.2f}"
    assert line["margin"].lstrip("'") == f"{margin.left_minor / 100:.2f}"


def test_what_waits_is_on_the_work_list(office: FlaskClient, alice: User) -> None:
    quote = waiting(alice)
    text = page(office, "/admin?kind=quote")
    assert quote.number is not None
    assert quote.number in text
    assert f"{alice.email} waits for a price" in text
    decide(office, quote, "approve")
    assert quote.number not in page(office, "/admin?kind=quote")

"""Changing a draft: options, rows, delivery time, note; with and without script; what is made up is refused."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, update

from portal.accounts.models import User
from portal.core import clock, outbox
from portal.core.db import db, unit_of_work
from portal.core.outbox import OutboxMessage
from portal.quotes.errors import ItemGone, ModelIsShared, NotADraft, QuoteFull
from portal.quotes.models import ModelAccess, ModelFile, ModelFileStatus, Quote, QuoteItem, QuoteStatus
from portal.quotes.services import editing
from portal.quotes.services.editing import Wish
from portal.quotes.services.loading import QuoteOwner, get_quote
from portal.quotes.services.requoting import requote
from tests.browser_like import csrf_token, post_form
from tests.crowd import all_at_once
from tests.quotes.factories import make_price_book, make_quote
from tests.quotes.uploading import stored

Login = Callable[[User], FlaskClient]


def again(quote: Quote, user: User) -> Quote:
    db.session.rollback()
    return get_quote(quote.number or "", owner=QuoteOwner.of(user))


def fields(quote: Quote, **changes: Any) -> dict[str, Any]:
    """The form of the first row, with changes."""
    item = quote.items[0]
    values = {
        "material": item.material, "colour": item.colour, "finish": item.finish,
        "infill_percent": item.infill_percent, "quantity": item.quantity, **changes,
    }  # fmt: skip
    return {f"item{item.id}-{name}": value for name, value in values.items()}


def change(browser: FlaskClient, quote: Quote, *, htmx: bool = False, **changes: Any) -> Any:
    address = f"/quotes/{quote.number}/items/{quote.items[0].id}"
    return post_form(browser, address, fields(quote, **changes), page=f"/quotes/{quote.number}", htmx=htmx)


def test_options_change_the_price_at_once(alice: User, login: Login) -> None:
    quote, browser = make_quote(alice), login(alice)
    before = quote.total_minor
    answer = change(
        browser, quote, material="petg", colour="white", finish="painted", infill_percent="80", quantity="25"
    )
    assert (answer.status_code, answer.location) == (303, f"/quotes/{quote.number}")
    item = again(quote, alice).items[0]
    assert (item.material, item.colour, item.finish, item.infill_percent, item.quantity) == (
        "petg", "white", "painted", 80, 25,
    )  # fmt: skip
    assert item.total_minor == (item.unit_price_minor or 0) * 25
    assert again(quote, alice).total_minor > before


def test_with_htmx_the_row_comes_back_and_the_price_is_told(alice: User, login: Login) -> None:
    quote, browser = make_quote(alice), login(alice)
    answer = change(browser, quote, htmx=True, quantity="3")
    text = answer.get_data(as_text=True)
    assert answer.status_code == 200
    assert answer.headers["HX-Trigger"] == "quote-changed"
    assert text.lstrip().startswith("<li")
    assert "<html" not in text
    price = browser.get(f"/quotes/{quote.number}/price", headers={"HX-Request": "true"}).get_data(as_text=True)
    assert price.lstrip().startswith("<div")
    assert 'id="quote-price"' in price


def test_another_material_brings_its_own_colour_and_finish(alice: User, login: Login) -> None:
    make_price_book()
    quote, browser = make_quote(alice, items=[{"finish": "smooth"}]), login(alice)
    assert change(browser, quote, material="tpu").status_code == 303
    item = again(quote, alice).items[0]
    assert (item.material, item.finish) == ("tpu", "standard")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"material": "gold"}, "We do not offer that"),
        ({"colour": "gold"}, "We do not offer that"),
        ({"finish": "gold"}, "We do not offer that"),
        ({"quantity": "0"}, "between 1 and 10,000 pieces"),
        ({"quantity": "-1"}, "between 1 and 10,000 pieces"),
        ({"quantity": "10001"}, "between 1 and 10,000 pieces"),
        ({"quantity": "1e3"}, "Check what you entered"),
        ({"quantity": "0.5"}, "Check what you entered"),
        ({"quantity": "NaN"}, "Check what you entered"),
        ({"quantity": ""}, "Please fill this in"),
        ({"infill_percent": "5"}, "from 10 to 100 %"),
        ({"infill_percent": "101"}, "Enter a number from 0 to 100"),
        ({"unit": "parsec"}, "We do not offer that"),
    ],
)
@pytest.mark.parametrize("htmx", [False, True])
def test_what_is_made_up_is_refused_and_what_was_entered_stays(
    alice: User, login: Login, changes: dict[str, str], words: str, htmx: bool
) -> None:
    quote, browser = make_quote(alice, items=[{"quantity": 7}]), login(alice)
    before = (quote.total_minor, quote.items[0].material, quote.items[0].quantity)
    answer = change(browser, quote, htmx=htmx, **changes)
    text = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert words in text
    item = again(quote, alice).items[0]
    assert (again(quote, alice).total_minor, item.material, item.quantity) == before
    if changes.get("quantity"):
        assert f'value="{changes["quantity"]}"' in text


def test_a_price_in_the_form_is_nothing(alice: User, login: Login) -> None:
    quote, browser = make_quote(alice), login(alice)
    before = quote.total_minor
    item = quote.items[0]
    extra = {
        f"item{item.id}-unit_price_minor": "1", "total_minor": "1", "unit_price_minor": "1", "status": "accepted",
        "user_id": "1", "approved_at": "2026-01-01", "quote_id": "99",
    }  # fmt: skip
    address = f"/quotes/{quote.number}/items/{item.id}"
    post_form(browser, address, {**fields(quote), **extra}, page=f"/quotes/{quote.number}")
    after = again(quote, alice)
    assert (after.total_minor, after.status, after.approved_at) == (before, QuoteStatus.DRAFT, None)


def test_a_cell_of_the_table_chooses_how_soon_and_how_many(alice: User, login: Login) -> None:
    single, several, browser = make_quote(alice), make_quote(alice, items=[{"quantity": 2}, {}]), login(alice)
    page = f"/quotes/{single.number}"
    post_form(browser, f"{page}/rush", {"choose": "rush:25", "counts": "pieces"}, page=page)
    assert (again(single, alice).rush, again(single, alice).items[0].quantity) == ("rush", 25)
    page = f"/quotes/{several.number}"
    answer = post_form(browser, f"{page}/rush", {"choose": "super_rush:5", "counts": "sets"}, page=page, htmx=True)
    assert 'id="quote"' in answer.get_data(as_text=True)
    assert [item.quantity for item in again(several, alice).items] == [10, 5]
    assert again(several, alice).rush == "super_rush"


@pytest.mark.parametrize(
    "sent", ["", "rush", "rush:", "rush:0", "rush:-1", "rush:99999", "rush:1e3", "tomorrow:1", "free:1", ":1"]
)
def test_a_made_up_cell_is_refused(alice: User, login: Login, sent: str) -> None:
    quote, browser = make_quote(alice), login(alice)
    page = f"/quotes/{quote.number}"
    for counts in ("pieces", "sets"):
        assert post_form(browser, f"{page}/rush", {"choose": sent, "counts": counts}, page=page).status_code == 422
    assert (again(quote, alice).rush, again(quote, alice).items[0].quantity) == ("standard", 1)


def test_the_table_says_what_would_be_paid(alice: User, login: Login) -> None:
    quote, browser = make_quote(alice), login(alice)
    page = browser.get(f"/quotes/{quote.number}").get_data(as_text=True)
    assert page.count('name="choose"') >= 12
    post_form(
        browser,
        f"/quotes/{quote.number}/rush",
        {"choose": "rush:50", "counts": "pieces"},
        page=f"/quotes/{quote.number}",
    )
    after = again(quote, alice)
    cell = page.partition('value="rush:50"')[2].partition("</button>")[0]
    assert f"{after.total_minor / 100:,.2f}".removesuffix(".00") in cell


def test_rows_can_be_doubled_and_removed(app: Any, alice: User, login: Login) -> None:
    quote, browser = make_quote(alice), login(alice)
    page, item = f"/quotes/{quote.number}", quote.items[0]
    post_form(browser, f"{page}/items/{item.id}/duplicate", page=page)
    rows = again(quote, alice).items
    assert [row.model_file_id for row in rows] == [item.model_file_id] * 2
    post_form(browser, f"{page}/items/{item.id}/remove", page=page)
    outbox.drain("files")
    assert db.session.get_one(ModelFile, item.model_file_id).status is ModelFileStatus.MEASURED
    left = again(quote, alice).items[0]
    for _twice in range(2):
        answer = post_form(browser, f"{page}/items/{left.id}/remove", page=page, htmx=True)
        assert "No models yet" in answer.get_data(as_text=True)
    outbox.drain("files")
    db.session.expire_all()
    gone = db.session.get_one(ModelFile, item.model_file_id)
    assert gone.status is ModelFileStatus.DESTROYED
    assert gone.destroyed_at is not None
    assert stored(app) == []
    assert [row.action for row in db.session.scalars(select(ModelAccess))] == ["destroyed"]
    assert again(quote, alice).total_minor == 0


def test_fifty_rows_are_enough(alice: User) -> None:
    quote, owner = make_quote(alice, items=[{}] * 50), QuoteOwner.of(alice)
    with pytest.raises(QuoteFull), unit_of_work():
        editing.duplicate_item(quote.number or "", owner, quote.items[0].id, at=clock.now())


def test_a_row_that_is_gone_says_so(alice: User, login: Login) -> None:
    quote, browser = make_quote(alice), login(alice)
    page = f"/quotes/{quote.number}"
    other = make_quote(alice).items[0]
    for item_id in (other.id, 999_999):
        answer = post_form(browser, f"{page}/items/{item_id}/duplicate", page=page)
        assert answer.status_code == 409
        assert "already removed" in answer.get_data(as_text=True)
        answer = post_form(browser, f"{page}/items/{item_id}", fields(quote), page=page)
        assert answer.status_code == 409
    assert len(again(quote, alice).items) == 1


@pytest.mark.parametrize("status", [QuoteStatus.PENDING, QuoteStatus.ACCEPTED, QuoteStatus.CANCELLED])
def test_a_sent_quote_cannot_be_changed(alice: User, login: Login, status: QuoteStatus) -> None:
    quote = make_quote(alice, status=status, note="x" if status is QuoteStatus.PENDING else "")
    browser, item = login(alice), quote.items[0]
    before = (quote.pricing, quote.note, quote.rush, item.quantity)
    token = csrf_token(browser, "/quotes/new")
    for action in (f"items/{item.id}", f"items/{item.id}/remove", f"items/{item.id}/duplicate", "rush", "note"):
        data = {"csrf_token": token, "note": "y", "choose": "rush:2", "counts": "pieces", **fields(quote, quantity=9)}
        answer = browser.post(f"/quotes/{quote.number}/{action}", data=data)
        assert answer.status_code == 409, action
        assert "already sent" in answer.get_data(as_text=True)
    after = again(quote, alice)
    assert (after.pricing, after.note, after.rush, after.items[0].quantity) == before
    with pytest.raises(NotADraft), unit_of_work():
        editing.set_note(quote.number or "", QuoteOwner.of(alice), "x", at=clock.now())


def test_the_note_is_saved_while_it_is_typed(alice: User, login: Login) -> None:
    quote, browser = make_quote(alice), login(alice)
    page = f"/quotes/{quote.number}"
    answer = post_form(browser, f"{page}/note", {"note": "<b>Upright</b>\x00 please"}, page=page, htmx=True)
    assert "Saved." in answer.get_data(as_text=True)
    assert again(quote, alice).note == "<b>Upright</b> please"
    text = browser.get(page).get_data(as_text=True)
    assert "&lt;b&gt;Upright&lt;/b&gt; please" in text
    assert "A person confirms this price" in text
    post_form(browser, f"{page}/note", {"note": "x" * 5_000}, page=page)
    assert len(again(quote, alice).note) == 2_000


def test_the_unit_of_a_model_that_another_quote_rests_on_stays(alice: User) -> None:
    quote, owner = make_quote(alice, status=QuoteStatus.CANCELLED), QuoteOwner.of(alice)
    with unit_of_work():
        new = requote(quote.number or "", owner, at=clock.now())
    item = get_quote(new.number or "", owner=owner).items[0]
    wish = Wish("pla", "black", "standard", 20, 1, unit="inch")
    with pytest.raises(ModelIsShared), unit_of_work():
        editing.change_item(new.number or "", owner, item.id, wish, at=clock.now())
    assert db.session.get_one(ModelFile, item.model_file_id).unit is None


def test_a_new_price_book_shows_in_a_draft_before_it_counts(alice: User, login: Login) -> None:
    quote, browser = make_quote(alice), login(alice)
    was = quote.total_minor
    make_price_book(minimum="123.00")
    page = browser.get(f"/quotes/{quote.number}").get_data(as_text=True)
    assert "Our prices have changed" in page
    assert f"{was / 100:.2f}" in page
    assert again(quote, alice).total_minor == was
    change(browser, quote, quantity="1")
    assert again(quote, alice).total_minor == 12300
    assert "Our prices have changed" not in browser.get(f"/quotes/{quote.number}").get_data(as_text=True)


def test_an_option_that_is_no_longer_sold_is_pointed_out(alice: User, login: Login) -> None:
    from tests.quotes.books import book_content

    quote, browser = make_quote(alice, items=[{"colour": "white"}]), login(alice)
    materials = book_content()["materials"]
    materials[0]["colours"] = [{"code": "black", "name": "Black"}]
    make_price_book(materials=materials)
    page = browser.get(f"/quotes/{quote.number}").get_data(as_text=True)
    assert "no longer offer" in page
    assert '<option selected value="white">white</option>' in page
    change(browser, quote, colour="black")
    assert again(quote, alice).items[0].unit_price_minor


def test_two_windows_change_two_rows_and_both_count(app: Any, alice: User) -> None:
    quote, owner = make_quote(alice, items=[{}, {}]), QuoteOwner.of(alice)
    ids = [item.id for item in quote.items]

    def more(item_id: int) -> None:
        with unit_of_work():
            wish = Wish("pla", "black", "standard", 20, 10)
            editing.change_item(quote.number or "", owner, item_id, wish, at=clock.now())

    assert all_at_once(app, [lambda: more(ids[0]), lambda: more(ids[1])]) == [None, None]
    after = again(quote, alice)
    assert [item.quantity for item in after.items] == [10, 10]
    charges = sum(charge["amount_minor"] for charge in after.pricing["charges"])
    assert after.total_minor == sum(item.total_minor or 0 for item in after.items) + charges


def test_rows_added_at_once_get_places_of_their_own(app: Any, alice: User) -> None:
    quote, owner = make_quote(alice), QuoteOwner.of(alice)

    def double() -> None:
        with unit_of_work():
            editing.duplicate_item(quote.number or "", owner, quote.items[0].id, at=clock.now())

    assert all_at_once(app, [double] * 8) == [None] * 8
    assert sorted(item.position for item in again(quote, alice).items) == list(range(1, 10))


def test_an_item_of_another_quote_is_out_of_reach(alice: User, bob: User) -> None:
    mine, theirs = make_quote(alice), make_quote(bob)
    with pytest.raises(ItemGone), unit_of_work():
        wish = Wish("pla", "black", "standard", 20, 9)
        editing.change_item(mine.number or "", QuoteOwner.of(alice), theirs.items[0].id, wish, at=clock.now())
    assert db.session.get_one(QuoteItem, theirs.items[0].id).quantity == 1


def test_the_page_of_fifty_models_asks_no_more_than_that_of_one(
    alice: User, login: Login, count_queries: Callable[[], int]
) -> None:
    small, large, browser = make_quote(alice), make_quote(alice, items=[{}] * 50), login(alice)
    counts = []
    for quote in (small, large):
        count_queries()
        assert browser.get(f"/quotes/{quote.number}").status_code == 200
        counts.append(count_queries())
    assert counts[0] == counts[1] <= 7


def test_the_list_asks_the_same_for_one_quote_and_for_many(
    alice: User, login: Login, count_queries: Callable[[], int]
) -> None:
    make_quote(alice)
    browser = login(alice)
    count_queries()
    assert browser.get("/quotes").status_code == 200
    one = count_queries()
    for _number in range(12):
        make_quote(alice, items=[{}, {}])
    count_queries()
    page = browser.get("/quotes").get_data(as_text=True)
    assert count_queries() == one <= 5
    assert page.count("Q-20") >= 13


def test_nothing_is_priced_without_a_price_book(client: FlaskClient, alice: User, login: Login) -> None:
    from portal.quotes.pricing.models import PriceBookVersion

    quote = make_quote(alice)
    with unit_of_work():
        db.session.execute(update(PriceBookVersion).values(published_at=None))
    assert login(alice).get(f"/quotes/{quote.number}").status_code == 503
    assert db.session.scalars(select(OutboxMessage)).all() == []

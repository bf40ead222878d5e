"""What the customer sees of printed parts: ordering a quote, the order's page, its photos, and calling it off."""

from collections.abc import Callable
from datetime import timedelta

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import Address, AddressKind, User
from portal.core import clock
from portal.core.db import db
from portal.orders.models import Order, PaymentStatus
from portal.payments.models import PaymentSession
from portal.production.models import SalesOrder, SalesOrderStatus
from portal.quotes.models import Quote, QuoteStatus
from tests import sandbox
from tests.admin.reading import words
from tests.browser_like import csrf_token, post_form
from tests.orders import shop
from tests.production import factories
from tests.production.factories import Item, make_photo, make_quote, make_sales_order, reloaded
from tests.quotes import factories as priced

_S = SalesOrderStatus
ADDRESS = {
    "name": "Alice Nowak", "line1": "ul. Prosta 1", "postal_code": "00-850", "city": "Warszawa", "country": "PL",
    "phone": "+48 600 100 200", "pays": "full",
}  # fmt: skip


def sales_orders() -> list[SalesOrder]:
    factories.look_again()
    return list(db.session.scalars(select(SalesOrder).order_by(SalesOrder.id)))


def test_ordering_a_quote_leads_to_its_order(app: Flask, alice: User, hers: FlaskClient) -> None:
    quote = make_quote(alice)
    address = f"/quotes/{quote.number}/convert"
    page = words(hers.get(address))
    assert "bracket.stl · PETG, black, standard, 20 % infill × 2" in page
    assert "Everything: PLN 60.00" in page
    assert "A deposit: PLN 30.00" in page
    answer = post_form(hers, address, {**ADDRESS, "pays": "deposit"})
    [made] = sales_orders()
    assert (answer.status_code, answer.location) == (303, f"/orders/{made.order.number}")
    assert made.deposit_basis_points == 5000
    assert made.shipping_address == {
        "name": "Alice Nowak", "company": "", "line1": "ul. Prosta 1", "line2": "", "city": "Warszawa", "state": "",
        "zip": "00-850", "country": "PL", "phone": "+48 600 100 200", "email": alice.email,
    }  # fmt: skip
    shown = words(hers.get(answer.location))
    assert "Pay the deposit" in shown
    assert "Pay PLN 30.00" in shown
    # Whoever comes back finds the order.
    assert hers.get(address).location == answer.location


def test_the_same_form_sent_twice_is_one_order(app: Flask, alice: User, hers: FlaskClient) -> None:
    address = f"/quotes/{make_quote(alice).number}/convert"
    values = {**ADDRESS, "csrf_token": csrf_token(hers, address)}
    first, second = hers.post(address, data=values), hers.post(address, data=values)
    assert first.location == second.location
    assert len(sales_orders()) == 1
    # Also by htmx, and whatever it says the second time.
    third = hers.post(address, data={"csrf_token": values["csrf_token"]}, headers={"HX-Request": "true"})
    assert third.headers["HX-Redirect"] == first.location


def test_the_address_of_the_account_is_the_first_guess(app: Flask, alice: User, hers: FlaskClient) -> None:
    values = {"user_id": alice.id, "name": "Alice", "city": "Gdańsk", "postal_code": "80-001", "country": "PL"}
    factories.keep(Address(kind=AddressKind.BILLING, line1="ul. Biurowa 7", **values))
    factories.keep(Address(kind=AddressKind.SHIPPING, line1="ul. Domowa 9", **values))
    page = hers.get(f"/quotes/{make_quote(alice).number}/convert").get_data(as_text=True)
    assert "ul. Domowa 9" in page
    assert "ul. Biurowa 7" not in page


def test_what_is_missing_is_said_and_nothing_is_ordered(app: Flask, alice: User, hers: FlaskClient) -> None:
    address = f"/quotes/{make_quote(alice).number}/convert"
    for changes in ({"line1": ""}, {"postal_code": "1"}, {"country": "XX"}, {"phone": "call me"}, {"pays": "later"}):
        answer = post_form(hers, address, {**ADDRESS, **changes})
        assert answer.status_code == 422, changes
    assert sales_orders() == []


def test_a_quote_that_cannot_be_ordered_says_why(app: Flask, alice: User, hers: FlaskClient) -> None:
    expired = make_quote(alice, expires_at=clock.now() - timedelta(minutes=1))
    pending = make_quote(alice, status=QuoteStatus.PENDING)
    for quote, why in ((expired, "has expired"), (pending, "Accept the quote first")):
        address = f"/quotes/{quote.number}/convert"
        assert hers.get(address).status_code == 409
        answer = hers.post(address, data={**ADDRESS, "csrf_token": csrf_token(hers, "/account")})
        assert answer.status_code == 409
        assert why in words(answer)
    assert sales_orders() == []


def test_strangers_find_neither_quote_nor_order_nor_photo(
    app: Flask, alice: User, mallory: User, login: Callable[[User], FlaskClient]
) -> None:
    one = make_sales_order(alice, app=app, paid=1, status=_S.QUALITY_CHECK)
    photo = make_photo(one)
    number = one.order.number
    theirs = login(mallory)
    for address in (f"/quotes/{make_quote(alice).number}/convert", f"/orders/{number}", f"/orders/{number}/progress",
                    f"/orders/{number}/photos/{photo.public_id}"):  # fmt: skip
        assert theirs.get(address).status_code == 404, address
    answer = theirs.post(f"/orders/{number}/cancel", data={"csrf_token": csrf_token(theirs, "/account")})
    assert answer.status_code == 404
    assert app.test_client().get(f"/orders/{number}").location.startswith("/login?next=")


def test_two_payments_through_the_pages(app: Flask, alice: User, hers: FlaskClient) -> None:
    one = make_sales_order(alice, pays_deposit=True)
    number = one.order.number
    for expected in ("Pay the deposit", "Pay the rest"):
        assert expected in words(hers.get(f"/orders/{number}"))
        sent = post_form(hers, f"/orders/{number}/pay", {"provider": "sandbox"}, page=f"/orders/{number}")
        assert sent.status_code == 303
        sandbox.press(app.test_client(), sent.location, "pay_card")
        shop.work(app)
        back = words(hers.get(f"/orders/{number}/return"))
        assert "Your part payment is here" in back or "Paid. Thank you!" in back
        assert "unlocked" not in back
    order = db.session.get_one(Order, one.order_id)
    assert (order.payment_status, order.paid_minor) == (PaymentStatus.PAID, 6000)
    page = words(hers.get(f"/orders/{number}"))
    assert page.count("Invoice INV-") == 2
    assert "Pay the" not in page
    assert len(db.session.scalars(select(PaymentSession)).all()) == 2


def test_the_list_shows_how_far_parts_are(
    app: Flask, alice: User, hers: FlaskClient, count_queries: Callable[[], int]
) -> None:
    make_sales_order(alice, app=app, paid=1, status=_S.IN_PRODUCTION)
    count_queries()
    page = words(hers.get("/orders"))
    few = count_queries()
    assert "SO-" in page
    assert "In production" in page
    for _more in range(4):
        make_sales_order(alice)
    count_queries()
    assert words(hers.get("/orders")).count("SO-") == 5
    assert count_queries() == few <= 4


def test_the_page_asks_again_only_while_parts_move(app: Flask, alice: User, hers: FlaskClient) -> None:
    one = make_sales_order(alice, app=app)
    address = f"/orders/{one.order.number}"
    fragment = {"HX-Request": "true"}
    assert "hx-trigger" not in hers.get(f"{address}/progress", headers=fragment).get_data(as_text=True)
    factories.pay_next(app, one)
    for status in (_S.CONFIRMED, _S.IN_PRODUCTION, _S.QUALITY_CHECK, _S.SHIPPED):
        factories.bring_to(one, status)
        assert 'hx-trigger="every 20s"' in hers.get(f"{address}/progress", headers=fragment).get_data(as_text=True)
    factories.bring_to(one, _S.DELIVERED)
    assert "hx-trigger" not in hers.get(f"{address}/progress", headers=fragment).get_data(as_text=True)
    assert hers.get(f"{address}/progress").location == address


def test_photos_are_shown_to_their_customer(app: Flask, alice: User, hers: FlaskClient) -> None:
    one = make_sales_order(alice, app=app, paid=1, status=_S.QUALITY_CHECK)
    photo = make_photo(one, "The bracket, <b>from the left</b>")
    address = f"/orders/{one.order.number}/photos/{photo.public_id}"
    page = hers.get(f"/orders/{one.order.number}").get_data(as_text=True)
    assert address in page
    assert "&lt;b&gt;from the left" in page
    answer = hers.get(address)
    assert (answer.status_code, answer.mimetype) == (200, "image/jpeg")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "private" in answer.headers["Cache-Control"]
    other = make_sales_order(alice)
    assert hers.get(f"/orders/{other.order.number}/photos/{photo.public_id}").status_code == 404


def test_the_customer_calls_it_off_and_the_money_goes_back(app: Flask, alice: User, hers: FlaskClient) -> None:
    one = make_sales_order(alice, app=app, paid=1)
    page = f"/orders/{one.order.number}"
    assert "What you paid goes back the way it came: PLN 60.00." in words(hers.get(page))
    answer = post_form(hers, f"{page}/cancel", {"reason": ""}, page=page)
    assert answer.status_code == 303
    shop.work(app)
    assert reloaded(one).status is _S.CANCELLED
    shown = words(hers.get(page))
    assert "Cancelled" in shown
    assert "Given back" in shown
    assert "Cancel the order" not in shown


def test_what_is_being_made_cannot_be_called_off(app: Flask, alice: User, hers: FlaskClient) -> None:
    one = make_sales_order(alice, app=app, paid=1)
    page = f"/orders/{one.order.number}"
    token = csrf_token(hers, page)
    factories.bring_to(one, _S.IN_PRODUCTION)
    answer = hers.post(f"{page}/cancel", data={"csrf_token": token})
    assert answer.status_code == 409
    assert "can no longer be cancelled" in words(answer)
    assert reloaded(one).status is _S.IN_PRODUCTION
    assert "Cancel the order" not in words(hers.get(page))


def test_the_way_is_told_step_by_step(app: Flask, alice: User, hers: FlaskClient) -> None:
    one = make_sales_order(alice, Item(), pays_deposit=True)
    page = f"/orders/{one.order.number}"
    assert "Waits for its payment" in words(hers.get(page))
    factories.pay_next(app, one)
    assert "Waits for a free machine" in words(hers.get(page))
    factories.bring_to(one, _S.ON_HOLD)
    shown = words(hers.get(page))
    assert "On hold: we get in touch with you" in shown
    # Why it was stopped is for colleagues.
    assert "Waiting for filament" not in shown


def test_a_real_quote_becomes_an_order_of_the_same_total(
    app: Flask, alice: User, hers: FlaskClient, login: Callable[[User], FlaskClient], staff: User
) -> None:
    """From the price book's own arithmetic to the order's lines, rush and minimum included."""
    quote = priced.make_quote(
        alice, items=[{"quantity": 3}, {"material": "pla"}], rush="rush", status=QuoteStatus.ACCEPTED
    )
    answer = post_form(hers, f"/quotes/{quote.number}/convert", ADDRESS)
    assert answer.status_code == 303, words(answer)
    [made] = sales_orders()
    assert made.order.total_minor == quote.total_minor
    assert sum(line.total_minor for line in made.order.lines) == quote.total_minor
    assert [line.quantity for line in made.order.lines[:2]] == [3, 1]
    assert "PLA, Black, As printed, 20 % infill" in made.order.lines[0].description
    assert made.machine_minutes > 0
    assert made.frozen["pricing"] == quote.pricing
    # The workshop reads the same words, and no codes.
    office = login(staff).get(f"/admin/production/{made.order.number}")
    assert words(office).count("PLA, Black, As printed, 20 % infill") == 2


def test_ordering_again_begins_one_draft(app: Flask, alice: User, hers: FlaskClient) -> None:
    quote = priced.make_quote(alice, items=[{"quantity": 3}], status=QuoteStatus.ACCEPTED)
    post_form(hers, f"/quotes/{quote.number}/convert", ADDRESS)
    page = f"/orders/{sales_orders()[0].order.number}"
    first = post_form(hers, f"{page}/reorder", page=page)
    second = post_form(hers, f"{page}/reorder", page=page)
    assert (first.status_code, first.location) == (303, second.location)
    draft = db.session.scalars(select(Quote).where(Quote.status == QuoteStatus.DRAFT)).one()
    assert first.location == f"/quotes/{draft.number}"
    assert [(item.quantity, item.material) for item in draft.items] == [(3, "pla")]

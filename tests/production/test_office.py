"""The production room: the board, the next step, stopping, cancelling, photos; and what the other rooms say."""

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import select

from portal.accounts.models import User
from portal.core import clock, files, pictures
from portal.core.db import db, unit_of_work
from portal.core.invariants import Reach, get_invariant
from portal.core.state import history
from portal.orders.models import Order, OrderStatus, PaymentStatus
from portal.payments.refund_models import Refund
from portal.production import queries
from portal.production.models import ProductionPhoto, SalesOrder, SalesOrderStatus
from portal.production.services import photographing
from portal.quotes import capacity
from portal.quotes.models import Quote
from tests.admin.reading import FRAGMENT, words
from tests.browser_like import csrf_token, post_form
from tests.orders import shop
from tests.production import factories
from tests.production.factories import make_photo, make_sales_order, picture_bytes, reloaded

_S = SalesOrderStatus
BOARD = "/admin/production"


def room(one: SalesOrder) -> str:
    return f"{BOARD}/{one.order.number}"


def press(browser: FlaskClient, one: SalesOrder, action: str, *, htmx: bool = False, **values: str) -> Any:
    return post_form(browser, f"{room(one)}/{action}", values, page=room(one), htmx=htmx)


def test_each_card_has_its_next_step_and_what_is_missing(app: Flask, alice: User, office: FlaskClient) -> None:
    make_sales_order(alice)
    make_sales_order(alice, status=_S.CONFIRMED)
    make_sales_order(alice, app=app, paid=1)
    make_sales_order(alice, app=app, paid=1, status=_S.IN_PRODUCTION)
    make_sales_order(alice, app=app, pays_deposit=True, paid=1, status=_S.QUALITY_CHECK)
    make_sales_order(alice, app=app, paid=1, status=_S.ON_HOLD)
    make_sales_order(alice, app=app, paid=1, status=_S.SHIPPED)
    make_sales_order(alice, app=app, paid=1, status=_S.COMPLETED)
    page = words(office.get(BOARD))
    for text in ("Confirm", "Not paid yet", "PLN 60.00 are missing", "Start production",
                 "Printed: to the quality check", "PLN 30.00 have to be paid before it is sent", "Resume",
                 "Waiting for filament", "Mark as delivered"):  # fmt: skip
        assert text in page, text
    # What is completed is off the board.
    assert page.count("SO-") == 7


def test_urgent_cards_are_marked_and_come_first(app: Flask, alice: User, office: FlaskClient) -> None:
    make_sales_order(alice, promised_at=clock.now() + timedelta(days=9))
    late = make_sales_order(alice, promised_at=clock.now() - timedelta(hours=1), rush="super_rush")
    page = words(office.get(BOARD))
    assert page.index(late.order.number) < page.index("-001")
    assert "Overdue" in page
    assert "Super rush" in page


def test_the_board_costs_the_same_however_much_is_on_it(
    app: Flask, alice: User, office: FlaskClient, count_queries: Callable[[], int]
) -> None:
    for status in (_S.PENDING, _S.ON_HOLD):
        make_sales_order(alice, status=status)
    count_queries()
    office.get(BOARD)
    few = count_queries()
    for _more in range(14):
        make_sales_order(alice)
    for _more in range(2):
        make_sales_order(alice, status=_S.ON_HOLD)
    count_queries()
    page = office.get(BOARD)
    assert count_queries() == few <= 4
    assert words(page).count("SO-") == 12 + 3
    # The rest is behind a link.
    assert "/admin/production?state=pending" in page.get_data(as_text=True)
    listed = words(office.get(f"{BOARD}?state=pending"))
    assert listed.count("SO-") == 15


def test_the_list_is_searched_and_filtered(app: Flask, alice: User, bob: User, office: FlaskClient) -> None:
    one, other = make_sales_order(alice), make_sales_order(bob, status=_S.ON_HOLD)
    assert other.order.number in words(office.get(f"{BOARD}?q=bob@example.com"))
    assert one.order.number not in words(office.get(f"{BOARD}?q=bob@example.com"))
    assert one.order.number in words(office.get(f"{BOARD}?q={one.order.number.lower()}"))
    assert one.order.number in words(office.get(f"{BOARD}?q=Alice"))
    assert one.order.number not in words(office.get(f"{BOARD}?state=on_hold"))
    assert "Nothing fits" in words(office.get(f"{BOARD}?q=nobody"))
    for odd in ("state=nonsense", "before=x&state=", "q=%00%27", "after=99999999999999999999&state="):
        assert office.get(f"{BOARD}?{odd}").status_code == 200


def test_the_whole_way_by_buttons(app: Flask, alice: User, office: FlaskClient, staff: User) -> None:
    one = make_sales_order(alice)
    assert press(office, one, "confirm").location == room(one)
    factories.pay_next(app, one)
    assert press(office, one, "start").status_code == 303
    assert press(office, one, "finish").status_code == 303
    assert press(office, one, "rework", reason="Warped at a corner").status_code == 303
    assert press(office, one, "finish").status_code == 303
    factories.bring_to(one, _S.SHIPPED)
    assert press(office, one, "deliver").status_code == 303
    assert press(office, one, "complete").status_code == 303
    assert reloaded(one).status is _S.COMPLETED
    assert {change.actor for change in history(reloaded(one))} == {staff.email, factories.BY}
    page = words(office.get(room(one)))
    assert "Warped at a corner" in page
    assert "Nothing: this order is finished." in page


def test_from_the_board_the_board_is_shown_again(app: Flask, alice: User, office: FlaskClient) -> None:
    one = make_sales_order(alice)
    plain = post_form(office, f"{room(one)}/confirm", {"back": "board"}, page=BOARD)
    assert plain.location == BOARD
    again = post_form(office, f"{room(one)}/confirm", {"back": "board"}, page=room(one), htmx=True)
    assert again.status_code == 409
    text = again.get_data(as_text=True)
    assert text.lstrip().startswith('<div id="board">')
    assert "not possible in the current state" in text


def test_a_step_that_somebody_else_took_shows_the_new_state(app: Flask, alice: User, office: FlaskClient) -> None:
    one = make_sales_order(alice, app=app, paid=1)
    token = csrf_token(office, room(one))
    factories.bring_to(one, _S.IN_PRODUCTION)
    for headers in ({}, FRAGMENT):
        answer = office.post(f"{room(one)}/start", data={"csrf_token": token}, headers=headers)
        assert answer.status_code == 409
        assert "In production" in words(answer)
        assert "not possible in the current state" in words(answer)


def test_production_without_its_share_is_refused(app: Flask, alice: User, office: FlaskClient) -> None:
    one = make_sales_order(alice, status=_S.CONFIRMED)
    answer = press(office, one, "start")
    assert answer.status_code == 409
    assert "is not here yet" in words(answer)
    assert reloaded(one).status is _S.CONFIRMED


def test_stopping_needs_a_reason(app: Flask, alice: User, office: FlaskClient) -> None:
    one = make_sales_order(alice)
    assert press(office, one, "hold", reason="").status_code == 422
    assert press(office, one, "hold", reason="Which colour?").status_code == 303
    assert "Which colour?" in words(office.get(room(one)))
    assert press(office, one, "resume").status_code == 303
    assert reloaded(one).status is _S.PENDING


def test_there_is_no_button_and_no_address_for_shipping_here(app: Flask, alice: User, office: FlaskClient) -> None:
    one = make_sales_order(alice, app=app, paid=1, status=_S.QUALITY_CHECK)
    for action in ("ship", "shipped", "cancelled", "quality_check"):
        answer = office.post(f"{room(one)}/{action}", data={"csrf_token": csrf_token(office, room(one))})
        assert answer.status_code in (404, 405), action


def test_staff_call_off_what_nobody_paid_for(app: Flask, alice: User, office: FlaskClient) -> None:
    one = make_sales_order(alice)
    assert press(office, one, "call-off", reason="x").status_code == 422
    assert press(office, one, "call-off", reason="The customer called").status_code == 303
    assert reloaded(one).status is _S.CANCELLED


def test_money_goes_back_by_an_administrator_alone(app: Flask, alice: User, office: FlaskClient) -> None:
    one = make_sales_order(alice, app=app, paid=1)
    assert "An administrator can cancel this order" in words(office.get(room(one)))
    answer = press(office, one, "call-off", reason="The customer called")
    assert answer.status_code == 409
    assert "has to cancel it" in words(answer)
    assert office.get(f"{room(one)}/cancel").status_code == 403
    assert reloaded(one).status is _S.CONFIRMED


def test_cancelling_shows_what_goes_back_and_does_it(app: Flask, alice: User, owner: FlaskClient) -> None:
    one = make_sales_order(alice, pays_deposit=True, app=app, paid=2)
    address = f"{room(one)}/cancel"
    assert words(owner.get(address)).count("PLN 30.00") == 2
    assert post_form(owner, address, {"reason": ""}).status_code == 422
    assert post_form(owner, address, {"reason": "The customer called"}).location == room(one)
    shop.work(app)
    order = db.session.get_one(Order, one.order_id)
    assert (order.status, order.payment_status) == (OrderStatus.CANCELLED, PaymentStatus.REFUNDED)
    assert len(db.session.scalars(select(Refund)).all()) == 2
    token = csrf_token(owner, "/account")
    answer = owner.post(address, data={"reason": "The customer called", "csrf_token": token})
    assert answer.status_code == 409
    assert len(db.session.scalars(select(Refund)).all()) == 2


# --- photos ---


def upload(browser: FlaskClient, one: SalesOrder, content: bytes, name: str = "photo.jpg", **values: str) -> Any:
    token = csrf_token(browser, room(one))
    data = {"csrf_token": token, "picture": (io.BytesIO(content), name), **values}
    return browser.post(f"{room(one)}/photos", data=data, content_type="multipart/form-data")


def photos() -> list[ProductionPhoto]:
    factories.look_again()
    return list(db.session.scalars(select(ProductionPhoto)))


@pytest.fixture
def checked(app: Flask, alice: User) -> SalesOrder:
    """Parts at their quality check."""
    return make_sales_order(alice, app=app, paid=1, status=_S.QUALITY_CHECK)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_photo_is_written_anew(checked: SalesOrder, office: FlaskClient, staff: User, kind: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    answer = upload(office, checked, picture_bytes((3000, 1500), kind, exif=exif), f"x.{kind}", caption=" From  above ")
    assert answer.status_code == 303
    [photo] = photos()
    assert (photo.caption, photo.taken_by) == ("From above", staff.email)
    content = files.get(photo.storage_name)
    assert b"taken at home" not in content
    with Image.open(io.BytesIO(content)) as kept:
        assert (kept.format, kept.size) == ("JPEG", (2000, 1000))
        assert not kept.getexif()


def test_a_photo_is_turned_upright(checked: SalesOrder, office: FlaskClient) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    upload(office, checked, picture_bytes((40, 20), exif=exif))
    with Image.open(io.BytesIO(files.get(photos()[0].storage_name))) as kept:
        assert kept.size == (20, 40)


HOSTILE = {
    "empty": b"",
    "text": b"not a picture",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "gif": picture_bytes(format_name="GIF"),
    "cut short": picture_bytes((200, 200), "PNG")[:60],
    "html behind the magic": b"\xff\xd8\xff<script>alert(1)</script>",
    "tiff": picture_bytes(format_name="TIFF"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_picture_is_refused(checked: SalesOrder, office: FlaskClient, name: str) -> None:
    answer = upload(office, checked, HOSTILE[name])
    assert answer.status_code == 422
    assert photos() == []


def test_what_hides_behind_a_picture_does_not_survive(checked: SalesOrder, office: FlaskClient) -> None:
    upload(office, checked, picture_bytes() + b"<script>alert(1)</script>")
    assert b"<script>" not in files.get(photos()[0].storage_name)


def test_a_picture_that_unpacks_to_far_too_much_is_refused() -> None:
    bomb = picture_bytes((12_000, 12_000), "PNG")
    assert len(bomb) < 1_000_000
    with pytest.raises(pictures.OversizedPicture):
        pictures.cleaned(bomb)
    with pytest.raises(pictures.OversizedPicture):
        pictures.cleaned(b"x" * (pictures.MOST_BYTES + 1))


def test_a_large_photo_of_a_telephone_is_taken(checked: SalesOrder, office: FlaskClient) -> None:
    """More bytes than any other form may have."""
    content = picture_bytes((64, 64)) + b"0" * (3 * 1024 * 1024)
    assert upload(office, checked, content).status_code == 303
    too_much = upload(office, checked, content + b"0" * pictures.MOST_BYTES)
    assert too_much.status_code in (413, 422)
    assert len(photos()) == 1


def test_photos_belong_to_the_quality_check(app: Flask, alice: User, office: FlaskClient) -> None:
    one = make_sales_order(alice)
    answer = upload(office, one, picture_bytes())
    assert answer.status_code == 409
    assert photos() == []


def test_there_is_an_end_to_photos(checked: SalesOrder, office: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photographing, "MOST_PHOTOS", 1)
    assert upload(office, checked, picture_bytes()).status_code == 303
    assert upload(office, checked, picture_bytes()).status_code == 409
    assert len(photos()) == 1


def test_a_photo_can_be_taken_away(checked: SalesOrder, office: FlaskClient) -> None:
    photo = make_photo(checked)
    name = photo.storage_name
    assert office.get(f"{room(checked)}/photos/{photo.public_id}").mimetype == "image/jpeg"
    answer = post_form(office, f"{room(checked)}/photos/{photo.public_id}/remove", page=room(checked))
    assert answer.status_code == 303
    assert photos() == []
    with pytest.raises(FileNotFoundError):
        files.get(name)
    assert office.get(f"{room(checked)}/photos/{photo.public_id}").status_code == 404


# --- other rooms ---


def test_the_work_list_has_what_is_stopped_or_late(app: Flask, alice: User, office: FlaskClient) -> None:
    fine = make_sales_order(alice, app=app, paid=1)
    late = make_sales_order(alice, promised_at=clock.now() - timedelta(days=1))
    held = make_sales_order(alice, app=app, paid=1, status=_S.ON_HOLD)
    make_sales_order(alice, app=app, paid=1, promised_at=clock.now() - timedelta(days=1), status=_S.SHIPPED)
    page = words(office.get("/admin?kind=production"))
    assert late.order.number in page
    assert "the promised day is over" in page
    assert held.order.number in page
    assert "on hold" in page
    assert fine.order.number not in page
    # A paid order that is being made is no undelivered one.
    assert fine.order.number not in words(office.get("/admin?kind=unfulfilled"))


def test_the_orders_room_leads_to_production(app: Flask, alice: User, office: FlaskClient) -> None:
    one = make_sales_order(alice)
    page = office.get(f"/admin/orders/{one.order.number}").get_data(as_text=True)
    assert f'href="{room(one)}"' in page
    assert "Cancel the order" not in page
    token = csrf_token(office, "/account")
    answer = office.post(f"/admin/orders/{one.order.number}/cancel", data={"csrf_token": token})
    assert answer.status_code == 409
    assert reloaded(one).status is _S.PENDING


def found(name: str) -> list[str]:
    factories.look_again()
    return [breach.name for breach in get_invariant(name).find(Reach(clock.now()))]


def set_by_hand(model: Any, row_id: int, **values: Any) -> None:
    with unit_of_work():
        db.session.execute(db.update(model).where(model.id == row_id).values(**values))


RULES = (
    "shipped_without_payment", "made_without_payment", "sales_order_and_order_differ", "parts_without_sales_order",
    "converted_without_order", "paid_not_delivered", "paid_without_receipt",
)  # fmt: skip


def test_sound_orders_break_no_rule(app: Flask, alice: User) -> None:
    for status in (_S.CONFIRMED, _S.IN_PRODUCTION, _S.SHIPPED, _S.COMPLETED, _S.CANCELLED):
        make_sales_order(alice, app=app, paid=1, status=status)
    assert {name: found(name) for name in RULES} == {name: [] for name in RULES}


def test_the_rules_find_what_is_wrong(app: Flask, alice: User, office: FlaskClient) -> None:
    sent = make_sales_order(alice, app=app, paid=1, status=_S.SHIPPED)
    made = make_sales_order(alice, app=app, paid=1, status=_S.IN_PRODUCTION)
    gone = make_sales_order(alice)
    set_by_hand(Order, sent.order_id, paid_minor=1)
    set_by_hand(Order, made.order_id, payment_status=PaymentStatus.PENDING)
    set_by_hand(Order, gone.order_id, status=OrderStatus.CANCELLED)
    assert found("shipped_without_payment") == [reloaded(sent).order.number]
    assert found("made_without_payment") == [reloaded(made).order.number]
    assert found("sales_order_and_order_differ") == [reloaded(gone).order.number]
    number, quote_number = gone.order.number, db.session.get_one(Quote, gone.quote_id).number
    with unit_of_work():
        db.session.execute(db.delete(SalesOrder).where(SalesOrder.id == gone.id))
    assert found("parts_without_sales_order") == [number]
    assert found("converted_without_order") == [quote_number]
    page = words(office.get("/admin/invariants"))
    assert "Sent without payment" in page
    assert "Ordered parts that nobody makes" in page


def test_booked_hours_are_of_what_is_not_made_yet(app: Flask, alice: User) -> None:
    make_sales_order(alice, hours="2.5")
    make_sales_order(alice, app=app, paid=1, hours="1", status=_S.IN_PRODUCTION)
    make_sales_order(alice, app=app, paid=1, hours="9", status=_S.QUALITY_CHECK)
    make_sales_order(alice, hours="0.25", rush="emergency")
    make_sales_order(alice, hours="7", status=_S.CANCELLED)
    assert {rush: float(hours) for rush, hours in queries.booked_hours().items()} == {
        "standard": 3.5,
        "emergency": 0.25,
    }
    assert capacity.booked_hours() == queries.booked_hours()

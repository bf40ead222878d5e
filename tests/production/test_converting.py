"""A quote becomes an order: once, whole, and for its owner only."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from portal.accounts.models import User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.faults import arm
from portal.core.money import tax_included
from portal.orders.models import LineKind, Order, OrderStatus, PaymentStatus
from portal.payments.services.sales import day_of
from portal.production.errors import DepositNotOffered
from portal.production.models import SalesOrder, SalesOrderStatus
from portal.production.services import converting, freezing
from portal.production.services.converting import convert_quote
from portal.quotes.errors import AlreadyConverted, ExpiredBeforeOrder, NotAccepted, QuoteNotFound
from portal.quotes.models import Quote, QuoteStatus
from tests import invariants
from tests.crowd import all_at_once
from tests.production.factories import ADDRESS, Item, look_again, make_quote


def convert(quote: Quote, user: User, *, pays_deposit: bool = False) -> SalesOrder:
    assert quote.number is not None
    with unit_of_work():
        return convert_quote(quote.number, user=user, address=ADDRESS, pays_deposit=pays_deposit, at=clock.now())


def orders() -> list[Order]:
    look_again()
    return list(db.session.scalars(select(Order).order_by(Order.id)))


def test_an_accepted_quote_becomes_an_order_with_everything_frozen(app: Flask, alice: User) -> None:
    quote = make_quote(alice, Item("bracket.stl", 2, 2500), Item("cover.3mf", 1, 4000), note="Blue, if you can")
    made = convert(quote, alice)
    order = made.order
    assert order.number == f"SO-{day_of(clock.now())[:4]}-001"
    assert (order.status, order.payment_status) == (OrderStatus.OPEN, PaymentStatus.PENDING)
    assert (order.user_id, order.email, order.currency, order.total_minor) == (alice.id, alice.email, "PLN", 10000)
    assert [(line.kind, line.quantity, line.unit_price_minor) for line in order.lines] == [
        (LineKind.PRINT, 2, 2500),
        (LineKind.PRINT, 1, 4000),
        (LineKind.PRINT, 1, 1000),
    ]
    assert order.lines[0].description == "bracket.stl · PETG, black, standard, 20 % infill"
    assert order.lines[2].description == "Set-up"
    assert order.tax_minor == sum(tax_included(line.total_minor, 2300) for line in order.lines)
    assert made.status is SalesOrderStatus.PENDING
    assert made.shipping_address == ADDRESS
    assert (made.rush, made.note, made.machine_minutes) == ("standard", "Blue, if you can", 210)
    assert made.promised_at == quote.promised_at
    assert made.frozen["number"] == quote.number
    assert [item["name"] for item in made.frozen["items"]] == ["bracket.stl", "cover.3mf"]
    assert made.frozen["items"][0]["measures"]["volume_mm3"] == 8000.0
    assert db.session.get_one(Quote, quote.id).converted_at is not None
    assert invariants.check(db.session()) == []


def test_what_was_frozen_stays_when_the_quote_changes(app: Flask, alice: User) -> None:
    quote = make_quote(alice)
    made = convert(quote, alice)
    before = dict(made.frozen)
    with unit_of_work():
        again = db.session.get_one(Quote, quote.id)
        again.items[0].material = "PLA"
        again.pricing = {}
    look_again()
    assert db.session.get_one(SalesOrder, made.id).frozen == before


def test_ordering_twice_finds_the_first_order(app: Flask, alice: User) -> None:
    quote = make_quote(alice)
    first = convert(quote, alice)
    second = convert(quote, alice, pays_deposit=True)
    assert first.id == second.id
    assert second.deposit_basis_points == 10_000
    assert len(orders()) == 1


def test_numbers_follow_one_another(app: Flask, alice: User) -> None:
    numbers = [convert(make_quote(alice), alice).order.number for _ in range(3)]
    assert [number.rpartition("-")[2] for number in numbers] == ["001", "002", "003"]


def test_a_refused_order_takes_no_number(app: Flask, alice: User) -> None:
    with pytest.raises(ExpiredBeforeOrder):
        convert(make_quote(alice, expires_at=clock.now() - timedelta(seconds=1)), alice)
    assert convert(make_quote(alice), alice).order.number.endswith("-001")


@pytest.mark.parametrize("status", [one for one in QuoteStatus if one is not QuoteStatus.ACCEPTED])
def test_only_accepted_quotes_can_be_ordered(app: Flask, alice: User, status: QuoteStatus) -> None:
    quote = make_quote(alice, status=status)
    with pytest.raises(NotAccepted):
        convert(quote, alice)
    assert orders() == []
    assert db.session.get_one(Quote, quote.id).converted_at is None


def test_an_order_of_a_quote_that_expired_since_is_still_found(app: Flask, alice: User) -> None:
    quote = make_quote(alice)
    first = convert(quote, alice)
    with unit_of_work():
        db.session.get_one(Quote, quote.id).expires_at = clock.now() - timedelta(days=1)
    assert convert(quote, alice).id == first.id


def test_a_strangers_quote_is_not_found(app: Flask, alice: User, mallory: User) -> None:
    quote = make_quote(alice)
    with pytest.raises(QuoteNotFound):
        convert(quote, mallory)
    convert(quote, alice)
    with pytest.raises(QuoteNotFound):
        convert(quote, mallory)


def test_a_deposit_is_half_unless_the_business_says_otherwise(
    app: Flask, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert convert(make_quote(alice), alice, pays_deposit=True).deposit_basis_points == 5_000
    from dataclasses import replace

    monkeypatch.setitem(app.config, "SETTINGS", replace(app.config["SETTINGS"], deposit_percent=0))
    quote = make_quote(alice)
    with pytest.raises(DepositNotOffered):
        convert(quote, alice, pays_deposit=True)
    assert db.session.get_one(Quote, quote.id, populate_existing=True).converted_at is None


def at_once(app: Flask, quote: Quote, user: User, count: int) -> list[Any]:
    number, user_id = quote.number, user.id
    assert number is not None

    def order() -> int:
        with unit_of_work():
            owner = db.session.get_one(User, user_id)
            made = convert_quote(number, user=owner, address=ADDRESS, pays_deposit=False, at=clock.now())
            return made.id

    work: list[Callable[[], Any]] = [order] * count
    return all_at_once(app, work)


def test_twenty_at_once_make_one_order(app: Flask, alice: User) -> None:
    found = at_once(app, make_quote(alice), alice, 20)
    assert len(set(found)) == 1
    assert isinstance(found[0], int), found[0]
    assert len(orders()) == 1


def test_without_the_lock_two_at_once_get_as_far_as_the_table(
    app: Flask, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: what the row's lock takes care of. The quote's stamp and the unique keys are then what is left."""
    quote = make_quote(alice)

    def careless(number: str, user: User) -> Quote:
        return db.session.scalars(select(Quote).where(Quote.number == number, Quote.user_id == user.id)).one()

    monkeypatch.setattr(converting, "_locked_quote", careless)
    with arm("convert-before-insert", "sleep:0.3"):
        found = at_once(app, quote, alice, 2)
    refused = [one for one in found if isinstance(one, IntegrityError | AlreadyConverted)]
    # SQLite has one writer at a time by itself: there is nothing to take away.
    assert len(refused) == (1 if db.engine.dialect.name == "postgresql" else 0), found
    assert len(orders()) == 1


PRICED = [
    pytest.param((Item(quantity=3, unit_minor=3333),), (), None, id="as computed"),
    pytest.param((Item(quantity=3, unit_minor=3333),), (("setup", 1000),), 10000, id="lowered"),
    pytest.param((Item(quantity=7, unit_minor=1234), Item(quantity=1, unit_minor=99)), (), 20001, id="raised"),
    pytest.param((Item(quantity=10_000, unit_minor=3),), (), 25_001, id="many cheap pieces"),
    pytest.param((Item(quantity=3, unit_minor=None),), (), 10_000, id="no price at all"),
    pytest.param((Item(quantity=2, unit_minor=500), Item(quantity=3, unit_minor=None)), (), 5_000, id="one unpriced"),
    pytest.param((Item(quantity=2, unit_minor=500), Item(quantity=3, unit_minor=None)), (), 700, id="less than known"),
    pytest.param((Item(quantity=2, unit_minor=500),), (("setup", 0), ("rush", 200)), 1, id="nearly a gift"),
]


@pytest.mark.parametrize(("items", "charges", "total_minor"), PRICED)
def test_the_lines_add_up_to_what_was_agreed(
    app: Flask, alice: User, items: tuple[Item, ...], charges: Any, total_minor: int | None
) -> None:
    quote = make_quote(alice, *items, charges=charges, total_minor=total_minor)
    lines = freezing.order_lines(quote)
    assert sum(line["total_minor"] for line in lines) == quote.total_minor
    for line in lines:
        assert line["total_minor"] == line["unit_price_minor"] * line["quantity"]
        assert line["unit_price_minor"] >= 0
        assert line["quantity"] > 0
    pieces = sum(line["quantity"] for line in lines)
    assert pieces == sum(item.quantity for item in items) + sum(1 for _code, amount in charges if amount)
    order = convert(quote, alice).order
    assert order.total_minor == quote.total_minor
    assert invariants.check(db.session()) == []


def test_a_price_that_does_not_divide_becomes_two_lines_a_cent_apart(app: Flask, alice: User) -> None:
    quote = make_quote(alice, Item(quantity=3, unit_minor=5000), charges=(), total_minor=10000)
    assert [(line["quantity"], line["unit_price_minor"]) for line in freezing.order_lines(quote)] == [
        (1, 3334),
        (2, 3333),
    ]


def test_what_was_computed_stays_beside_a_part_that_staff_priced(app: Flask, alice: User) -> None:
    quote = make_quote(alice, Item("a.stl", 2, 500), Item("b.stl", 3, None), charges=(), total_minor=4000)
    assert [(line["quantity"], line["unit_price_minor"]) for line in freezing.order_lines(quote)] == [
        (2, 500),
        (3, 1000),
    ]


def test_a_long_file_name_leaves_room_for_the_options(app: Flask, alice: User) -> None:
    quote = make_quote(alice, Item("x" * 251 + ".stl"))
    [description, _setup] = [line["description"] for line in freezing.order_lines(quote)]
    assert description.endswith("xxxxxx.stl · PETG, black, standard, 20 % infill")
    assert len(description) <= 200


def test_charges_are_named_in_the_customers_language(app: Flask, alice: User) -> None:
    quote = make_quote(alice, charges=(("setup", 100), ("minimum", 200), ("rush", 300)), locale="pl")
    names = [line["description"] for line in freezing.order_lines(quote)][1:]
    assert len(names) == 3
    assert not set(names) & {"Set-up", "Up to the minimum order", "Faster production"}

"""A model is destroyed while its quote is sent or ordered: one of the two comes second, and what that is good for."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from portal.accounts.models import User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.faults import arm
from portal.production.services import converting
from portal.quotes import holds
from portal.quotes.models import ModelFile, ModelFileStatus, Quote, QuoteStatus
from portal.quotes.presenting import view_of
from portal.quotes.services import deciding, destroying
from portal.quotes.services.deciding import submit_quote
from portal.quotes.services.loading import DRAFT, QuoteOwner, get_quote
from tests.crowd import all_at_once
from tests.production import factories as production
from tests.quotes.factories import make_quote

pytestmark = pytest.mark.usefixtures("book")
POSTGRESQL = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


def ending(model: ModelFile, owner: User) -> Callable[[], str]:
    """A press of "destroy"."""
    public_id, who = model.public_id, QuoteOwner.of(owner)

    def press() -> str:
        with unit_of_work():
            destroying.destroy_model(public_id, who, at=clock.now())
        return "destroyed"

    return press


def ordering(quote: Quote, owner: User) -> Callable[[], str]:
    """A press of "order"."""
    number, owner_id = quote.number or "", owner.id

    def press() -> str:
        user = db.session.get_one(User, owner_id)
        with unit_of_work():
            converting.convert_quote(number, user=user, address=production.ADDRESS, pays_deposit=False, at=clock.now())
        return "ordered"

    return press


def sending(quote: Quote, owner: User) -> Callable[[], str]:
    """A press of "send this quote" on a page that shows its price."""
    number, who = quote.number or DRAFT, QuoteOwner.of(owner)
    seen = view_of(get_quote(number, owner=who), at=clock.now()).seen

    def press() -> str:
        with unit_of_work():
            submit_quote(number, who, seen=seen, at=clock.now())
        return "sent"

    return press


def now(quote_id: int) -> Quote:
    db.session.rollback()
    db.session.expire_all()
    return db.session.get_one(Quote, quote_id)


@POSTGRESQL
def test_without_the_locks_an_order_is_left_without_its_model(
    app: Flask, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of `test_ordered_and_destroyed_at_once_one_comes_second`: each looks before the other writes."""
    quote = production.make_quote(alice)
    model_id = quote.items[0].model_file_id
    both_have_looked = threading.Barrier(2)

    def unlocked(number: str, user: User) -> Quote:
        return db.session.scalars(db.select(Quote).where(Quote.number == number, Quote.user_id == user.id)).one()

    monkeypatch.setattr(converting, "_locked_quote", unlocked)
    monkeypatch.setattr(destroying, "lock_by_id", lambda quote_id: db.session.get_one(Quote, quote_id))
    presses = [ordering(quote, alice), ending(quote.items[0].model_file, alice)]
    with (
        arm("convert-after-check", lambda: both_have_looked.wait(10)),
        arm("destroy-after-check", lambda: both_have_looked.wait(10)),
    ):
        assert all_at_once(app, presses) == ["ordered", "destroyed"]
    now(quote.id)
    assert db.session.get_one(ModelFile, model_id).status is ModelFileStatus.DESTROYED
    assert holds.needed_by(model_id) is not None


def test_what_was_sent_keeps_its_price_when_a_model_is_destroyed_meanwhile(app: Flask, alice: User) -> None:
    for _round in range(3):
        quote = make_quote(alice)
        quote_id, total_minor = quote.id, quote.total_minor
        assert total_minor > 0
        with arm("destroy-after-check", "sleep:0.1"):
            found = all_at_once(app, [sending(quote, alice), ending(quote.items[0].model_file, alice)])
        assert found[1] == "destroyed"
        after = now(quote_id)
        is_sent = after.status is not QuoteStatus.DRAFT
        assert (found[0] == "sent") is is_sent, found
        assert (after.total_minor == total_minor) is is_sent


@POSTGRESQL
def test_without_the_lock_a_sent_price_changes(app: Flask, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the destruction still takes it for a draft, and prices it anew after it was sent."""
    quote = make_quote(alice)
    quote_id, total_minor = quote.id, quote.total_minor
    both_have_read = threading.Barrier(2)

    def read(wanted: Any) -> Quote:
        found = db.session.scalars(db.select(Quote).where(wanted)).one()
        assert [item.model_file.status for item in found.items] == [ModelFileStatus.MEASURED]
        both_have_read.wait(10)
        return found

    monkeypatch.setattr(deciding, "lock_quote", lambda _number, owner: read(Quote.id == quote_id))  # as it is called
    monkeypatch.setattr(destroying, "lock_by_id", lambda wanted: read(Quote.id == wanted))
    found = all_at_once(app, [sending(quote, alice), ending(quote.items[0].model_file, alice)])
    assert found == ["sent", "destroyed"]
    after = now(quote_id)
    assert after.status is not QuoteStatus.DRAFT
    assert after.total_minor != total_minor

"""A changed model for a row of a draft: it takes the row over, and the one before stands beside it."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import User
from portal.core.db import db
from portal.quotes.models import ModelFile, ModelFileStatus, Quote, QuoteItem, QuoteStatus
from tests.browser_like import csrf_token
from tests.quotes import models
from tests.quotes.factories import destroy, draw, make_quote
from tests.quotes.uploading import form, measure, stored, upload

pytestmark = pytest.mark.usefixtures("book")


@pytest.fixture
def hers(login: Callable[[User], FlaskClient], alice: User) -> FlaskClient:
    return login(alice)


def address_of(quote: Quote, item: QuoteItem | None = None) -> str:
    return f"/quotes/{quote.number}/items/{(item or quote.items[0]).id}/revision"


def row_of(quote: Quote) -> QuoteItem:
    db.session.rollback()
    return db.session.get_one(Quote, quote.id, populate_existing=True).items[0]


def test_a_changed_model_takes_the_row_over_and_is_made_the_same_way(
    app: Flask, hers: FlaskClient, alice: User
) -> None:
    quote = make_quote(alice, items=[{"name": "old.stl", "quantity": 7, "colour": "white"}])
    old_id, before = quote.items[0].model_file_id, quote.total_minor
    answer = upload(hers, ("new.stl", models.stl(40)), to=address_of(quote))
    assert (answer.status_code, answer.location) == (303, address_of(quote))
    item = row_of(quote)
    assert (item.model_file.name, item.revision_of_id, item.quantity, item.colour) == ("new.stl", old_id, 7, "white")
    assert "Measuring this model" in hers.get(address_of(quote)).get_data(as_text=True)
    measure(app)
    assert db.session.get_one(Quote, quote.id).total_minor > before
    assert db.session.get_one(ModelFile, old_id).status is ModelFileStatus.MEASURED


def test_old_and_new_are_compared_in_numbers_and_in_one_view(app: Flask, hers: FlaskClient, alice: User) -> None:
    quote = make_quote(alice, items=[{"name": "old.stl", "quantity": 2}])
    old = draw(quote.items[0].model_file)
    upload(hers, ("new.stl", models.stl(40)), to=address_of(quote))
    measure(app)
    new = row_of(quote).model_file
    text = hers.get(address_of(quote)).get_data(as_text=True)
    for part in ("old.stl", "new.stl", "20 × 20 × 20 mm", "40 × 40 × 40 mm", "8 cm³", "64 cm³", "+700 %", "+300 %"):
        assert part in text, part
    assert f'data-mesh="/models/{new.public_id}/mesh"' in text
    assert f'data-old-mesh="/models/{old.public_id}/mesh"' in text
    assert "+PLN" in text


def test_only_the_model_just_before_is_kept(app: Flask, hers: FlaskClient, alice: User) -> None:
    quote = make_quote(alice, items=[{"name": "one.stl"}])
    first_id = quote.items[0].model_file_id
    for name, side in (("two.stl", 30), ("three.stl", 35)):
        upload(hers, (name, models.stl(side)), to=address_of(quote))
        measure(app)
    item = row_of(quote)
    assert item.model_file.name == "three.stl"
    assert db.session.get_one(ModelFile, item.revision_of_id).name == "two.stl"
    assert db.session.get_one(ModelFile, first_id).status is ModelFileStatus.DESTROYED


def test_the_model_before_can_be_destroyed_and_leaves_only_its_numbers(
    app: Flask, hers: FlaskClient, alice: User
) -> None:
    quote = make_quote(alice, items=[{"name": "old.stl"}])
    old = draw(quote.items[0].model_file)
    upload(hers, ("new.stl", models.stl(40)), to=address_of(quote))
    measure(app)
    destroy(old, alice)
    measure(app)
    text = hers.get(address_of(quote)).get_data(as_text=True)
    assert "data-old-mesh" not in text
    assert "old.stl" in text


def test_what_is_no_model_is_refused_and_nothing_of_it_is_kept(app: Flask, hers: FlaskClient, alice: User) -> None:
    quote = make_quote(alice)
    before, kept = quote.items[0].model_file_id, stored(app)
    for files in ([("x.txt", b"hello")], [("x.stl", b"")], []):
        answer = upload(hers, *files, to=address_of(quote))
        assert answer.status_code == 422
    assert (row_of(quote).model_file_id, stored(app)) == (before, kept)


def test_a_sent_quote_is_not_changed(app: Flask, hers: FlaskClient, alice: User) -> None:
    quote = make_quote(alice, status=QuoteStatus.PENDING, note="x")
    kept = stored(app)
    answer = upload(hers, ("new.stl", models.stl()), to=address_of(quote), page="/quotes/new")
    assert answer.status_code == 409
    assert row_of(quote).revision_of_id is None
    assert stored(app) == kept


def test_strangers_and_unknown_rows(
    app: Flask, login: Callable[[User], FlaskClient], alice: User, mallory: User
) -> None:
    quote = make_quote(alice)
    kept = stored(app)
    for browser, page in ((login(mallory), "/quotes/new"), (app.test_client(), "/quote")):
        assert browser.get(address_of(quote)).status_code == 404
        answer = upload(browser, ("new.stl", models.stl()), to=address_of(quote), page=page)
        assert answer.status_code == 404
    hers = login(alice)
    gone = f"/quotes/{quote.number}/items/{quote.items[0].id + 1}/revision"
    assert hers.get(gone).status_code == 404
    assert upload(hers, ("new.stl", models.stl()), to=gone, page="/quotes/new").status_code == 409
    assert stored(app) == kept
    assert row_of(quote).revision_of_id is None


def test_the_form_needs_its_token(app: Flask, hers: FlaskClient, alice: User) -> None:
    quote = make_quote(alice)
    kept = stored(app)
    answer = hers.post(address_of(quote), **form([("new.stl", models.stl())], csrf_token="wrong"))
    assert answer.status_code == 400
    assert csrf_token(hers, address_of(quote))
    assert stored(app) == kept


def test_a_visitor_may_change_a_model_of_their_draft(app: Flask) -> None:
    browser = app.test_client()
    upload(browser, ("old.stl", models.stl()))
    measure(app)
    item = db.session.scalars(select(QuoteItem)).one()
    page = f"/quotes/draft/items/{item.id}/revision"
    old_id = item.model_file_id
    assert upload(browser, ("new.stl", models.stl(40)), to=page).status_code == 303
    measure(app)
    assert browser.get(page).status_code == 200
    old = db.session.get_one(ModelFile, old_id)
    # The model before is theirs as well: the overlay needs its mesh.
    assert browser.get(f"/models/{old.public_id}/mesh").status_code == 200

"""What happens to an uploaded file: measured once, in the unit that was said, never left hanging."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update

from portal.accounts.models import User
from portal.core import clock, files, outbox
from portal.core.db import db, unit_of_work
from portal.core.outbox import MessageStatus, OutboxMessage
from portal.quotes import inspecting, jobs
from portal.quotes.measuring import isolation
from portal.quotes.measuring.limits import Limits
from portal.quotes.models import ModelFile, ModelFileStatus, Quote
from portal.quotes.services import editing
from portal.quotes.services.editing import Wish
from portal.quotes.services.loading import QuoteOwner
from tests.quotes import models
from tests.quotes.factories import make_model_file, make_quote
from tests.quotes.uploading import measure, stored, upload

pytestmark = pytest.mark.usefixtures("book")


def only() -> ModelFile:
    db.session.rollback()
    return db.session.scalars(select(ModelFile).execution_options(populate_existing=True)).one()


def inspected(content: bytes, name: str, user: User, app: Flask) -> ModelFile:
    quote = make_quote(user, items=[{"content": content, "name": name, "is_measured": False}])
    with unit_of_work():
        outbox.publish("model_file.uploaded", model_file_id=quote.items[0].model_file_id)
    measure(app)
    return db.session.get_one(ModelFile, quote.items[0].model_file_id)


def test_a_model_is_measured_pictured_and_priced(app: Flask, alice: User) -> None:
    model = inspected(models.three_mf(20), "cube.3mf", alice, app)
    assert (model.status, model.outcome) == (ModelFileStatus.MEASURED, "accept")
    assert model.measures["volume_mm3"] == pytest.approx(8000)
    assert model.measures["bbox_mm"] == [20.0, 20.0, 20.0]
    assert files.get(model.picture_name or "").startswith(b"\x89PNG")
    assert len(files.get(model.mesh_name or "")) == 84 + 12 * 50
    quote = db.session.scalars(select(Quote)).one()
    assert quote.items[0].unit_price_minor
    assert quote.total_minor == quote.computed_total_minor > 0


@pytest.mark.parametrize(
    ("content", "name", "outcome", "code"),
    [
        (models.open_stl(), "open.stl", "manual", "not_watertight"),
        (b"solid nothing\nendsolid\n", "none.stl", "reject", None),
        (models.three_mf()[:-40], "cut.3mf", "reject", "zip_damaged"),
        (b"PK\x03\x04" + bytes(200), "zip.3mf", "reject", "zip_damaged"),
        (models.obj().replace(b"v 0", b"v nan", 1), "nan.obj", "reject", "bad_number"),
    ],
)
def test_what_cannot_be_priced_says_why(
    app: Flask, alice: User, login: Callable[[User], FlaskClient], content: bytes, name: str, outcome: str,
    code: str | None,
) -> None:  # fmt: skip
    model = inspected(content, name, alice, app)
    assert (model.status, model.outcome) == (ModelFileStatus.MEASURED, outcome)
    assert code in (None, model.measures["code"])
    quote = db.session.scalars(select(Quote)).one()
    assert quote.items[0].unit_price_minor is None
    page = login(alice).get(f"/quotes/{quote.number}").get_data(as_text=True)
    assert model.measures["message"].split("(")[0].split("%")[0][:30] in page


def test_a_killed_child_leaves_a_sentence(
    app: Flask, alice: User, login: Callable[[User], FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child gets no memory to speak of, and dies of it."""
    starved = Limits(memory_bytes=1024 * 1024, cpu_seconds=1, wall_seconds=5)
    real = isolation.measure_isolated
    monkeypatch.setattr(isolation, "measure_isolated", lambda path, unit=None: real(path, unit=unit, limits=starved))
    model = inspected(models.stl(), "cube.stl", alice, app)
    assert (model.status, model.outcome, model.measures["code"]) == (ModelFileStatus.MEASURED, "manual", "internal")
    quote = db.session.scalars(select(Quote)).one()
    page = login(alice).get(f"/quotes/{quote.number}").get_data(as_text=True)
    assert "We could not price this automatically. A person will look at it" in page
    assert 'hx-trigger="load' not in page


def test_the_same_file_is_measured_once(app: Flask, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []
    real = isolation.measure_isolated

    def counted(path: str, unit: str | None = None) -> dict[str, object]:
        seen.append(unit)
        return real(path, unit=unit)

    monkeypatch.setattr(isolation, "measure_isolated", counted)
    first = inspected(models.stl(33), "a.stl", alice, app)
    again = inspected(models.stl(33), "b.stl", alice, app)
    assert again.measures == first.measures
    assert again.picture_name != first.picture_name
    assert len(seen) == 1
    inspected(models.stl(34), "other.stl", alice, app)
    assert len(seen) == 2
    # Another unit, another version of the reader and a try that failed are measured anew.
    others: tuple[dict[str, Any], ...] = ({"unit": "inch"}, {"version": 0}, {"code": "internal"})
    for number, values in enumerate(others):
        content = models.stl(40 + number)
        twin = inspected(content, "twin.stl", alice, app)
        with unit_of_work():
            changed = {**twin.measures}
            changed["reader_version"] = values.get("version", changed["reader_version"])
            changed["code"] = values.get("code", changed["code"])
            db.session.execute(
                update(ModelFile).where(ModelFile.id == twin.id).values(measures=changed, unit=values.get("unit"))
            )
        count = len(seen)
        inspected(content, "again.stl", alice, app)
        assert len(seen) == count + 1, values


def test_run_twice_it_finds_its_work_done(app: Flask, alice: User) -> None:
    model = inspected(models.stl(), "a.stl", alice, app)
    before = (model.picture_name, model.mesh_name, stored(app))
    inspecting.inspect(model.id)
    inspecting.picture(model.id)
    db.session.expire_all()
    assert (model.picture_name, model.mesh_name, stored(app)) == before


def wish(unit: str | None) -> Wish:
    return Wish(material="pla", colour="black", finish="standard", infill_percent=20, quantity=1, unit=unit)


def test_the_customer_says_what_it_was_drawn_in(app: Flask, alice: User) -> None:
    model = inspected(models.stl(1), "tiny.stl", alice, app)
    assert model.measures["code"] == "too_small"
    pictures = {model.picture_name, model.mesh_name}
    quote, owner = db.session.scalars(select(Quote)).one(), QuoteOwner.of(alice)
    with unit_of_work():
        editing.change_item(quote.number or "", owner, quote.items[0].id, wish("inch"), at=clock.now())
    assert only().status is ModelFileStatus.UPLOADED
    measure(app)
    model = only()
    assert (model.unit, model.status) == ("inch", ModelFileStatus.MEASURED)
    assert model.measures["bbox_mm"] == [25.4, 25.4, 25.4]
    assert {model.picture_name, model.mesh_name}.isdisjoint(pictures)
    assert len(stored(app)) == 3
    with unit_of_work():
        editing.change_item(quote.number or "", owner, quote.items[0].id, wish("inch"), at=clock.now())
    assert only().status is ModelFileStatus.MEASURED


def test_an_answer_about_another_unit_is_not_kept(app: Flask, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unit is changed while the file is being measured in the one before."""
    quote = make_quote(alice, items=[{"content": models.stl(1), "name": "a.stl", "is_measured": False}])
    real, owner = isolation.measure_isolated, QuoteOwner.of(alice)

    def changed_meanwhile(path: str, unit: str | None = None) -> dict[str, object]:
        if unit is None:
            with unit_of_work():
                editing.change_item(quote.number or "", owner, quote.items[0].id, wish("inch"), at=clock.now())
        return real(path, unit=unit)

    monkeypatch.setattr(isolation, "measure_isolated", changed_meanwhile)
    inspecting.inspect(quote.items[0].model_file_id)
    assert only().status is ModelFileStatus.UPLOADED
    measure(app)
    assert only().measures["bbox_mm"] == [25.4, 25.4, 25.4]


def test_a_file_whose_turn_never_came_is_found(app: Flask, alice: User) -> None:
    model = make_model_file(alice, is_measured=False)
    jobs.find_unmeasured()
    assert db.session.scalars(select(OutboxMessage)).all() == []
    with clock.shifted(timedelta(minutes=16)):
        jobs.find_unmeasured()
        jobs.find_unmeasured()
        assert [row.topic for row in db.session.scalars(select(OutboxMessage))] == ["model_file.uploaded"]
        measure(app)
    assert db.session.get_one(ModelFile, model.id).status is ModelFileStatus.MEASURED


def test_a_picture_whose_turn_never_came_is_found(app: Flask, alice: User) -> None:
    model = make_model_file(alice)
    with unit_of_work():
        db.session.execute(update(ModelFile).values(picture_name=None, mesh_name=None))
    with clock.shifted(timedelta(minutes=16)):
        jobs.find_unmeasured()
        measure(app)
    assert db.session.get_one(ModelFile, model.id).picture_name


def test_when_every_try_has_failed_a_person_prices_it(app: Flask, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    quote = make_quote(alice, items=[{"is_measured": False}])

    def broken(_path: str, unit: str | None = None) -> dict[str, object]:
        raise OSError("the disk is gone")

    monkeypatch.setattr(isolation, "measure_isolated", broken)
    with unit_of_work():
        outbox.publish("model_file.uploaded", model_file_id=quote.items[0].model_file_id)
    for _try in range(outbox.MAX_ATTEMPTS):
        with unit_of_work():
            db.session.execute(update(OutboxMessage).values(available_at=clock.now()))
        outbox.drain("files")
    message = db.session.scalars(select(OutboxMessage)).one()
    db.session.refresh(message)
    assert message.status is MessageStatus.FAILED
    assert (only().status, only().outcome) == (ModelFileStatus.MEASURED, "manual")


def test_nothing_unscanned_is_opened_after_the_last_try(app: Flask, alice: User) -> None:
    from dataclasses import replace

    model = make_model_file(alice, is_measured=False)
    usual = app.config["SETTINGS"]
    app.config["SETTINGS"] = replace(usual, clamd_address="127.0.0.1:9")
    try:
        with unit_of_work():
            inspecting._gave_up(model.id)
    finally:
        app.config["SETTINGS"] = usual
    assert only().status is ModelFileStatus.UPLOADED


def test_the_page_asks_again_only_while_something_is_to_come(app: Flask, client: FlaskClient) -> None:
    upload(client, ("cube.stl", models.stl()))
    page = client.get("/quotes/draft").get_data(as_text=True)
    assert page.count('hx-trigger="load delay:2s"') == 1
    measure(app)
    page = client.get("/quotes/draft").get_data(as_text=True)
    assert 'hx-trigger="load delay:2s"' not in page
    item = db.session.scalars(select(Quote)).one().items[0]
    row = client.get(f"/quotes/draft/items/{item.id}", headers={"HX-Request": "true"})
    assert row.headers["HX-Trigger"] == "quote-changed"
    assert f"/models/{item.model_file.public_id}/picture" in row.get_data(as_text=True)


def test_measuring_needs_no_open_transaction(app: Flask, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[bool] = []
    real = isolation.measure_isolated

    def looking(path: str, unit: str | None = None) -> dict[str, object]:
        held.append(db.session().in_transaction())
        return real(path, unit=unit)

    monkeypatch.setattr(isolation, "measure_isolated", looking)
    inspected(models.stl(77), "a.stl", alice, app)
    assert held == [False]

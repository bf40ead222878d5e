"""A model's page: what it says, who opened it; destroying it with a receipt; and nobody else's business."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from portal.accounts.models import User
from portal.core import clock, outbox
from portal.core.db import db, unit_of_work
from portal.core.faults import arm
from portal.core.mail import MailMessage
from portal.core.outbox import OutboxMessage
from portal.production.models import SalesOrder, SalesOrderStatus
from portal.production.services.converting import convert_quote
from portal.quotes import describing
from portal.quotes.errors import ModelDestroyed, ModelGone, ModelIsNeeded, ModelNotFound
from portal.quotes.models import ModelAccess, ModelFile, ModelFileStatus, Quote, QuoteStatus
from portal.quotes.services import converting, destroying, reviewing
from portal.quotes.services.loading import QuoteOwner
from portal.quotes.serving import saved_as
from tests.browser_like import post_form
from tests.crowd import all_at_once
from tests.production import factories as production
from tests.quotes.books import cube
from tests.quotes.factories import destroy, draw, make_model_file, make_quote
from tests.quotes.uploading import stored

pytestmark = pytest.mark.usefixtures("book")


def now_of(model: ModelFile) -> ModelFile:
    db.session.rollback()
    return db.session.get_one(ModelFile, model.id, populate_existing=True)


def actions(model: ModelFile) -> list[tuple[str, str]]:
    db.session.rollback()
    found = select(ModelAccess.actor, ModelAccess.action).where(ModelAccess.model_file_id == model.id)
    return [(actor, action) for actor, action in db.session.execute(found.order_by(ModelAccess.id))]


def work_off(queue: str = "files") -> None:
    while outbox.drain(queue):
        pass
    db.session.rollback()
    db.session.expire_all()


def receipts() -> list[MailMessage]:
    db.session.rollback()
    return list(db.session.scalars(select(MailMessage).where(MailMessage.template == "model_destroyed")))


@pytest.fixture
def model(alice: User) -> ModelFile:
    """A model with picture and mesh, in a draft of alice's."""
    return draw(make_quote(alice, items=[{"name": "bracket.stl"}]).items[0].model_file)


@pytest.fixture
def hers(login: Callable[[User], FlaskClient], alice: User) -> FlaskClient:
    return login(alice)


def test_the_page_shows_the_model_in_words_and_who_opened_it(hers: FlaskClient, model: ModelFile) -> None:
    hers.get(f"/models/{model.public_id}/file")
    with unit_of_work():
        db.session.add(
            ModelAccess(model_file_id=model.id, actor="eve@staff.example", action="downloaded", at=clock.now())
        )
    text = hers.get(f"/models/{model.public_id}").get_data(as_text=True)
    for part in (
        "bracket.stl",
        "20 × 20 × 20 mm",
        "8 cm³",
        "like a block",
        "no larger than a die",
        "Downloaded the file",
    ):
        assert part in text, part
    assert f'data-mesh="/models/{model.public_id}/mesh"' in text
    assert "Our staff" in text
    assert "eve@staff.example" not in text
    assert ">You<" in text.replace(" ", "").replace("\n", "")


def test_a_model_without_a_mesh_is_shown_as_its_picture_alone(hers: FlaskClient, alice: User) -> None:
    model = make_model_file(alice)
    text = hers.get(f"/models/{model.public_id}").get_data(as_text=True)
    assert "data-mesh" not in text
    assert "viewer.js" not in text


@pytest.mark.parametrize("path", ["", "/destroy", "/receipt", "/file", "/mesh", "/picture"])
def test_a_strangers_model_is_not_found(
    login: Callable[[User], FlaskClient], mallory: User, app: Flask, model: ModelFile, path: str
) -> None:
    for browser in (login(mallory), app.test_client()):
        assert browser.get(f"/models/{model.public_id}{path}").status_code == 404
    with pytest.raises(ModelNotFound), unit_of_work():
        destroying.destroy_model(model.public_id, QuoteOwner.of(mallory), at=clock.now())
    assert now_of(model).status is ModelFileStatus.MEASURED


def test_destroying_deletes_the_bytes_and_sends_a_receipt(
    app: Flask, hers: FlaskClient, alice: User, model: ModelFile
) -> None:
    assert len(stored(app)) == 3
    address = f"/models/{model.public_id}/destroy"
    answer = post_form(hers, address)
    assert (answer.status_code, answer.location) == (303, f"/models/{model.public_id}/receipt")
    assert "within the next minutes" in hers.get(answer.location).get_data(as_text=True)
    assert receipts() == []
    work_off()
    assert stored(app) == []
    gone = now_of(model)
    assert (gone.status, gone.measures["volume_mm3"]) == (ModelFileStatus.DESTROYED, cube()["volume_mm3"])
    assert actions(model) == [(alice.email, "destroyed"), ("job:files", "erased")]
    text = hers.get(answer.location).get_data(as_text=True)
    for part in ("bracket.stl", model.sha256, alice.email):
        assert part in text
    [letter] = receipts()
    assert letter.to == alice.email
    outbox.drain("mail")
    [sent] = receipts()
    for part in ("bracket.stl", model.sha256, alice.email):
        assert part in (sent.text_body or "")


def test_a_destroyed_model_says_so_everywhere(hers: FlaskClient, alice: User) -> None:
    quote = make_quote(alice, status=QuoteStatus.PENDING, note="x")
    model = draw(quote.items[0].model_file)
    destroy(model, alice)
    work_off()
    for path in ("/file", "/mesh", "/picture"):
        assert hers.get(f"/models/{model.public_id}{path}").status_code == 404
    assert "This model is destroyed" in hers.get(f"/models/{model.public_id}").get_data(as_text=True)
    page = hers.get(f"/quotes/{quote.number}").get_data(as_text=True)
    assert "no longer stored" in page
    assert f"/models/{model.public_id}/picture" not in page
    assert hers.get(f"/models/{model.public_id}/destroy").status_code == 303


def test_destroying_again_changes_nothing(hers: FlaskClient, alice: User, model: ModelFile) -> None:
    for _time in range(2):
        destroy(model, alice)
        work_off()
    with unit_of_work():
        outbox.publish("model_file.destroyed", model_file_id=model.id)
    work_off()
    assert [action for _actor, action in actions(model)] == ["destroyed", "erased"]
    assert len(receipts()) == 1


def test_destroyed_by_many_at_once_is_destroyed_once(app: Flask, alice: User, model: ModelFile) -> None:
    owner, public_id = QuoteOwner.of(alice), model.public_id

    def work() -> str:
        with unit_of_work():
            return destroying.destroy_model(public_id, owner, at=clock.now()).status.value

    assert all_at_once(app, [work] * 4) == ["destroyed"] * 4
    assert [action for _actor, action in actions(model)] == ["destroyed"]
    db.session.rollback()
    published = select(func.count()).where(OutboxMessage.topic == "model_file.destroyed")
    assert db.session.scalar(published) == 1


def test_a_model_of_an_open_order_stays(app: Flask, hers: FlaskClient, alice: User) -> None:
    sales_order = production.make_sales_order(alice, app=app, paid=1)
    model = db.session.get_one(Quote, sales_order.quote_id).items[0].model_file
    number = sales_order.order.number
    with pytest.raises(ModelIsNeeded, match=number), unit_of_work():
        destroying.destroy_model(model.public_id, QuoteOwner.of(alice), at=clock.now())
    page = hers.get(f"/models/{model.public_id}/destroy").get_data(as_text=True)
    assert number in page
    assert "Destroy it for good" not in page
    answer = post_form(hers, f"/models/{model.public_id}/destroy", page="/quotes/new")
    assert answer.status_code == 409
    assert now_of(model).status is ModelFileStatus.MEASURED
    with unit_of_work():
        db.session.get_one(SalesOrder, sales_order.id).status = SalesOrderStatus.DELIVERED
    destroy(model, alice)
    assert now_of(model).status is ModelFileStatus.DESTROYED


def test_a_quote_without_its_model_can_neither_be_confirmed_accepted_nor_ordered(alice: User) -> None:
    quote = make_quote(alice, status=QuoteStatus.PENDING, is_approved=False, note="x")
    destroy(quote.items[0].model_file, alice)
    with pytest.raises(ModelDestroyed), unit_of_work():
        reviewing.approve_quote(quote.id, by="staff", at=clock.now())
    accepted = make_quote(alice, status=QuoteStatus.ACCEPTED)
    destroy(accepted.items[0].model_file, alice)
    with pytest.raises(ModelGone), unit_of_work():
        converting.lock_to_convert(accepted.number or "", QuoteOwner.of(alice), at=clock.now())


def test_ordered_and_destroyed_at_once_one_comes_second(app: Flask, alice: User) -> None:
    alice_id = alice.id
    for _round in range(3):
        quote = production.make_quote(alice)
        model = quote.items[0].model_file
        number, public_id, owner = quote.number or "", model.public_id, QuoteOwner.of(alice)

        def order(number: str = number) -> str:
            user = db.session.get_one(User, alice_id)
            with unit_of_work():
                convert_quote(number, user=user, address=production.ADDRESS, pays_deposit=False, at=clock.now())
            return "ordered"

        def remove(public_id: str = public_id, owner: QuoteOwner = owner) -> str:
            with unit_of_work():
                destroying.destroy_model(public_id, owner, at=clock.now())
            return "destroyed"

        found = all_at_once(app, [order, remove])
        names = sorted(one if isinstance(one, str) else type(one).__name__ for one in found)
        assert names in (["ModelIsNeeded", "ordered"], ["ModelGone", "destroyed"]), found


def test_a_broken_off_destruction_leaves_everything(app: Flask, alice: User, model: ModelFile) -> None:
    def fail() -> None:
        raise RuntimeError("power cut")

    with arm("destroy-after-check", fail), pytest.raises(RuntimeError):
        destroy(model, alice)
    assert now_of(model).status is ModelFileStatus.MEASURED
    work_off()
    assert len(stored(app)) == 3


def test_a_visitor_destroys_what_they_uploaded(app: Flask) -> None:
    token = "t" * 43
    model = draw(make_quote(None, token=token).items[0].model_file)
    with unit_of_work():
        destroying.destroy_model(model.public_id, QuoteOwner(token=token), at=clock.now())
    work_off()
    assert stored(app) == []
    assert receipts() == []


def test_the_form_needs_its_token(hers: FlaskClient, model: ModelFile) -> None:
    assert hers.post(f"/models/{model.public_id}/destroy").status_code == 400
    assert now_of(model).status is ModelFileStatus.MEASURED


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("part.stl", 'attachment; filename="part.stl"'),
        ("Żółw.stl", "attachment; filename=\"Zow.stl\"; filename*=UTF-8''%C5%BB%C3%B3%C5%82w.stl"),
        ('a"b;c.stl', "attachment; filename=\"a_b_c.stl\"; filename*=UTF-8''a%22b%3Bc.stl"),
        ("模型", "attachment; filename=\"model\"; filename*=UTF-8''%E6%A8%A1%E5%9E%8B"),
    ],
)
def test_a_file_is_saved_under_its_own_name(name: str, header: str) -> None:
    assert saved_as(name) == header
    header.encode("latin-1")


@pytest.mark.parametrize(
    ("sides", "words"),
    [
        ([20, 20, 20], "as wide as deep and high"),
        ([100, 80, 4], "flat part, lying down"),
        ([4, 80, 100], "flat part, standing"),
        ([10, 10, 200], "tall, slim"),
        ([200, 10, 10], "long, slim"),
        ([50, 50, 90], "higher than wide"),
        ([90, 60, 50], "wider than high"),
    ],
)
def test_proportions_are_told_in_words(app: Flask, sides: list[float], words: str) -> None:
    model = ModelFile(measures={"bbox_mm": sides, "volume_mm3": 1.0, "parts": 3})
    assert words in describing.looks(model)
    assert "3 separate pieces" in describing.looks(model)
    assert describing.looks(ModelFile(measures={})) == "We know nothing of its shape."


def test_the_log_is_paged_at_the_same_cost(
    hers: FlaskClient, model: ModelFile, count_queries: Callable[[], int]
) -> None:
    counts = []
    for lines in (1, 60):
        with unit_of_work():
            db.session.add_all(
                ModelAccess(model_file_id=model.id, actor="a@b.example", action="viewed", at=clock.now())
                for _line in range(lines)
            )
        count_queries()
        answer = hers.get(f"/models/{model.public_id}")
        counts.append(count_queries())
    assert counts[0] == counts[1] <= 6
    assert 'rel="next"' in answer.get_data(as_text=True)

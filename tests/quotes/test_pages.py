"""The list, the files with their custody log, the PDF and the mails: for the owner, and for nobody else."""

from collections.abc import Callable
from datetime import timedelta
from io import BytesIO

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pypdf import PdfReader
from sqlalchemy import select, update

from portal.accounts.models import User
from portal.core import clock, files, outbox
from portal.core.db import db, unit_of_work
from portal.core.mail import MailMessage
from portal.quotes import jobs
from portal.quotes.models import ModelAccess, ModelFile, Quote, QuoteStatus
from portal.quotes.pricing.models import PriceBookVersion
from portal.quotes.services import deciding, reviewing
from portal.quotes.services.loading import QuoteOwner
from tests.quotes import models
from tests.quotes.factories import draw, make_model_file, make_quote, quarantine
from tests.quotes.uploading import stored, upload

Login = Callable[[User], FlaskClient]
S = QuoteStatus


def accesses() -> list[tuple[str, str]]:
    db.session.rollback()
    return [(row.actor, row.action) for row in db.session.scalars(select(ModelAccess).order_by(ModelAccess.id))]


# --- files ---


def test_the_owner_gets_the_file_as_it_was_and_it_is_written_down(alice: User, login: Login) -> None:
    name = "żółw \u202e\"<b>'.stl".replace("\u202e", "")
    model = draw(make_model_file(alice, name=name))
    browser = login(alice)
    answer = browser.get(f"/models/{model.public_id}/file")
    assert answer.get_data() == models.stl()
    assert answer.mimetype == "application/octet-stream"
    disposition = answer.headers["Content-Disposition"]
    assert disposition.startswith("attachment;")
    assert "filename*=UTF-8''" in disposition
    assert "\n" not in disposition
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    for _twice in range(2):
        assert browser.get(f"/models/{model.public_id}/picture").mimetype == "image/png"
    assert browser.get(f"/models/{model.public_id}/mesh").get_data() == models.stl()
    assert accesses() == [(alice.email, "downloaded"), (alice.email, "pictured"), (alice.email, "viewed")]
    with clock.shifted(timedelta(hours=2)):
        login(alice).get(f"/models/{model.public_id}/picture")
    assert accesses()[-1] == (alice.email, "pictured")


@pytest.mark.parametrize("what", ["file", "picture", "mesh"])
def test_a_strangers_model_does_not_exist(
    alice: User, mallory: User, staff: User, client: FlaskClient, login: Login, what: str
) -> None:
    model = draw(make_model_file(alice))
    for browser in (client, login(mallory), login(staff)):
        assert browser.get(f"/models/{model.public_id}/{what}").status_code == 404
        assert browser.get(f"/models/no-such-model/{what}").status_code == 404
    assert accesses() == []


def test_a_visitor_sees_what_this_browser_uploaded_and_nothing_else(
    app: Flask, client: FlaskClient, book: PriceBookVersion
) -> None:
    upload(client, ("cube.stl", models.stl()))
    model = db.session.scalars(select(ModelFile)).one()
    assert client.get(f"/models/{model.public_id}/file").get_data() == models.stl()
    assert accesses() == [("visitor", "downloaded")]
    other = app.test_client()
    assert other.get(f"/models/{model.public_id}/file").status_code == 404
    assert other.get("/quotes/draft").status_code == 404
    upload(other, ("own.stl", models.stl()))
    assert other.get(f"/models/{model.public_id}/file").status_code == 404
    assert "cube.stl" not in other.get("/quotes/draft").get_data(as_text=True)


def test_what_is_locked_away_destroyed_or_never_drawn_is_not_given_out(alice: User, login: Login) -> None:
    browser, locked, plain = login(alice), draw(make_model_file(alice)), make_model_file(alice)
    quarantine(locked)
    for what in ("file", "picture", "mesh"):
        assert browser.get(f"/models/{locked.public_id}/{what}").status_code == 404
    assert browser.get(f"/models/{plain.public_id}/picture").status_code == 404
    files.delete(plain.storage_name)
    assert browser.get(f"/models/{plain.public_id}/file").status_code == 404


def test_a_picture_that_is_none_is_not_shown(alice: User, login: Login) -> None:
    model = draw(make_model_file(alice))
    files.delete(model.picture_name or "")
    files.put(model.picture_name or "", b"<svg onload=alert(1)>")
    assert login(alice).get(f"/models/{model.public_id}/picture").status_code == 404


# --- pages ---


def test_the_list_says_where_each_quote_stands(alice: User, bob: User, login: Login) -> None:
    assert "No quotes yet" in login(alice).get("/quotes").get_data(as_text=True)
    make_quote(alice, items=[{"name": "bracket.stl"}])
    make_quote(alice, status=S.PENDING, is_approved=False, note="x")
    make_quote(alice, status=S.PENDING, note="x")
    make_quote(alice, status=S.ACCEPTED)
    make_quote(bob, items=[{"name": "secret.stl"}])
    page = login(alice).get("/quotes").get_data(as_text=True)
    for words in ("bracket.stl", "Draft", "Being checked", "Price confirmed", "Accepted"):
        assert words in page
    assert "secret.stl" not in page
    with clock.shifted(timedelta(days=31)):
        page = login(alice).get("/quotes").get_data(as_text=True)
    assert page.count("Expired") == 2


def test_an_expired_quote_offers_a_new_one_and_nothing_else(alice: User, login: Login) -> None:
    quote = make_quote(alice, status=S.PENDING, note="x")
    with clock.shifted(timedelta(days=31)):
        page = login(alice).get(f"/quotes/{quote.number}").get_data(as_text=True)
    assert "New quote from this one" in page
    assert "Accept this price" not in page


# --- paper ---


def text_of(content: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(BytesIO(content)).pages)


def test_the_pdf_says_what_the_page_says(alice: User, login: Login) -> None:
    quote = make_quote(
        alice,
        status=S.PENDING,
        note="x",
        rush="rush",
        items=[{"name": "bracket.stl", "quantity": 3}, {"name": "a.obj"}],
    )
    answer = login(alice).get(f"/quotes/{quote.number}.pdf")
    assert answer.mimetype == "application/pdf"
    text = text_of(answer.get_data())
    for words in ("Quote", quote.number, "bracket.stl: PLA, Black, As printed, 20 % infill", "a.obj", "Alice Nowak"):
        assert str(words) in " ".join(text.split())
    assert f"{quote.total_minor / 100:,.2f}" in text
    assert "still checking" not in text


def test_a_set_price_stands_on_the_paper_as_a_line(alice: User, login: Login) -> None:
    quote = make_quote(alice, status=S.PENDING, is_approved=False, note="x")
    with unit_of_work():
        reviewing.override_price(quote.id, 123456, reason="secret reason", by="staff@example.com", at=clock.now())
    text = text_of(login(alice).get(f"/quotes/{quote.number}.pdf").get_data())
    assert "1,234.56" in text
    assert "Price agreed with us" in text
    assert "secret reason" not in text


def test_a_hostile_name_stays_text_on_paper(alice: User, login: Login) -> None:
    quote = make_quote(alice, items=[{"name": '#read("/etc/passwd") $x$ *b* <img>.stl'}])
    text = text_of(login(alice).get(f"/quotes/{quote.number}.pdf").get_data())
    assert "root:" not in text
    assert "<img>.stl" in "".join(text.split("\n"))


def test_a_strangers_paper_does_not_exist(alice: User, mallory: User, login: Login, client: FlaskClient) -> None:
    quote = make_quote(alice)
    for browser in (login(mallory), client):
        assert browser.get(f"/quotes/{quote.number}.pdf").status_code == 404
        assert browser.get("/quotes/draft.pdf").status_code == 404


# --- mails ---


def sent(app: Flask) -> list[MailMessage]:
    outbox.drain("mail")
    db.session.rollback()
    return list(
        db.session.scalars(select(MailMessage).order_by(MailMessage.id).execution_options(populate_existing=True))
    )


@pytest.mark.parametrize(
    ("locale", "words"), [("en", "is confirmed"), ("pl", "jest potwierdzona"), ("es", "está confirmado")]
)
def test_the_mails_of_a_quote_are_in_its_language(app: Flask, alice: User, locale: str, words: str) -> None:
    quote = make_quote(alice, note="x", items=[{"name": "<b>.stl"}])
    with unit_of_work():
        db.session.execute(update(Quote).values(locale=locale))
    seen = deciding.seen_mark(quote.price_book_id or 0, quote.total_minor)
    with unit_of_work():
        deciding.submit_quote(quote.number or "", QuoteOwner.of(alice), seen=seen, at=clock.now())
    with unit_of_work():
        reviewing.approve_quote(quote.id, by="staff@example.com", message="We print it upright.", at=clock.now())
    received, priced = sent(app)
    assert [mail.template for mail in (received, priced)] == ["quote_received", "quote_priced"]
    assert {mail.to for mail in (received, priced)} == {alice.email}
    assert words in str(priced.subject)
    for text in (str(received.text_body), str(priced.text_body)):
        assert f"http://localhost/quotes/{quote.number}" in text
        assert "<b>.stl × 1" in text
    assert "We print it upright." in str(priced.text_body)


def test_a_declined_quote_is_told_with_its_reason(app: Flask, alice: User) -> None:
    quote = make_quote(alice, status=S.PENDING, note="x")
    with unit_of_work():
        reviewing.reject_quote(quote.id, reason="The walls are too thin.", by="staff@example.com", at=clock.now())
    assert "The walls are too thin." in str(sent(app)[-1].text_body)


def test_customers_hear_three_days_before_a_price_ends_and_once(app: Flask, alice: User, bob: User) -> None:
    confirmed = make_quote(alice, status=S.PENDING, note="x")
    accepted = make_quote(bob, status=S.ACCEPTED)
    waiting = make_quote(bob, status=S.PENDING, is_approved=False, note="x")
    ordered = make_quote(bob, status=S.ACCEPTED)
    make_quote(bob, status=S.CANCELLED)
    with unit_of_work():
        db.session.execute(update(Quote).where(Quote.id == ordered.id).values(converted_at=clock.now()))

    def expiring() -> list[int]:
        found = db.session.scalars(select(MailMessage).where(MailMessage.template == "quote_expiring"))
        return [mail.params["quote_id"] for mail in found.all()]

    with clock.shifted(timedelta(days=26, hours=23)):
        jobs.announce_expiring()
        assert expiring() == []
    with clock.shifted(timedelta(days=27, minutes=1)):
        jobs.announce_expiring()
        jobs.announce_expiring()
        assert expiring() == [confirmed.id, accepted.id]
    with clock.shifted(timedelta(days=31)):
        jobs.announce_expiring()
        assert expiring() == [confirmed.id, accepted.id]
    assert waiting.expires_at is None


# --- tidying ---


def test_drafts_nobody_came_back_to_leave_nothing(
    app: Flask, client: FlaskClient, book: PriceBookVersion, alice: User
) -> None:
    upload(client, ("cube.stl", models.stl()))
    kept = make_quote(alice)
    with clock.shifted(timedelta(days=29)):
        jobs.tidy_up()
        assert len(db.session.scalars(select(Quote)).all()) == 2
    with clock.shifted(timedelta(days=31)):
        jobs.tidy_up()
        outbox.drain("files")
    db.session.rollback()
    assert [quote.id for quote in db.session.scalars(select(Quote))] == [kept.id]
    assert len(stored(app)) == 1


def test_files_of_requests_that_never_ended_are_deleted(app: Flask, alice: User) -> None:
    quote = make_quote(alice)
    draw(quote.items[0].model_file)
    files.put("models/orphan.stl", b"x")
    jobs.tidy_up()
    assert len(stored(app)) == 4
    with clock.shifted(timedelta(days=2)):
        jobs.tidy_up()
    assert len(stored(app)) == 3
    assert "orphan.stl" not in stored(app)

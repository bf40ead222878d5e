"""Uploading models: with an account and without, several at once, with script and without; what is refused leaves
nothing behind."""

import hashlib
import io
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import User
from portal.core import files
from portal.core.db import db
from portal.core.outbox import OutboxMessage
from portal.quotes.models import ModelFile, Quote
from portal.quotes.services import receiving
from tests import factories
from tests.browser_like import csrf_token, post_form
from tests.quotes import models
from tests.quotes.factories import make_quote
from tests.quotes.uploading import form, measure, send, stored, upload

pytestmark = pytest.mark.usefixtures("book")


def rows() -> list[ModelFile]:
    db.session.rollback()
    return list(db.session.scalars(select(ModelFile).order_by(ModelFile.id)))


def test_a_visitor_uploads_several_models_at_once(app: Flask, client: FlaskClient) -> None:
    answer = upload(client, ("cube.stl", models.stl()), ("box.3MF", models.three_mf()), ("handle.obj", models.obj()))
    assert (answer.status_code, answer.location) == (303, "/quotes/draft")
    found = rows()
    assert [(row.name, row.format, row.user_id) for row in found] == [
        ("cube.stl", "stl", None), ("box.3MF", "3mf", None), ("handle.obj", "obj", None),
    ]  # fmt: skip
    assert [files.get(row.storage_name) for row in found] == [models.stl(), models.three_mf(), models.obj()]
    assert found[0].sha256 == hashlib.sha256(models.stl()).hexdigest()
    assert [row.size_bytes for row in found] == [len(models.stl()), len(models.three_mf()), len(models.obj())]
    assert all(row.name not in row.storage_name and "/" not in row.storage_name[7:] for row in found)
    assert [row.topic for row in db.session.scalars(select(OutboxMessage))] == ["model_file.uploaded"] * 3
    page = client.get("/quotes/draft").get_data(as_text=True)
    assert "cube.stl" in page
    assert "Measuring this model" in page


def test_it_is_measured_and_priced(app: Flask, client: FlaskClient) -> None:
    upload(client, ("cube.stl", models.stl(20)))
    measure(app)
    page = client.get("/quotes/draft").get_data(as_text=True)
    assert "20 × 20 × 20 mm" in page
    assert "Measuring" not in page
    quote = db.session.scalars(select(Quote)).one()
    assert quote.total_minor > 0
    assert quote.number is None


def test_an_accounts_quote_has_its_number_at_once(alice: User, login: object) -> None:
    browser = login(alice)  # type: ignore[operator]  # a fixture
    answer = upload(browser, ("cube.stl", models.stl()), page="/quotes/new")
    assert re.fullmatch(r"/quotes/Q-\d{4}-001", answer.location)
    assert rows()[0].user_id == alice.id
    assert "cube.stl" in browser.get(answer.location).get_data(as_text=True)


def test_the_script_sends_one_file_at_a_time(app: Flask, client: FlaskClient) -> None:
    first = send(client, "a.stl", models.stl())
    assert first.status_code == 200
    assert first.get_json() == {"refused": [], "url": "/quotes/draft", "upload_url": "/quotes/draft/files"}
    second = send(client, "b.stl", models.stl(), to="/quotes/draft/files", page="/quotes/draft")
    assert second.get_json()["url"] == "/quotes/draft"
    assert len(db.session.scalars(select(Quote)).all()) == 1
    assert [item.model_file.name for item in db.session.scalars(select(Quote)).one().items] == ["a.stl", "b.stl"]


def test_a_visitors_second_form_goes_into_the_same_draft(client: FlaskClient) -> None:
    upload(client, ("a.stl", models.stl()))
    assert client.get("/quote").location == "/quotes/draft"
    upload(client, ("b.stl", models.stl()), to="/quotes/draft/files", page="/quotes/draft")
    assert len(db.session.scalars(select(Quote)).all()) == 1


REFUSED = [
    ("empty.stl", b"", "is empty (0 bytes)"),
    ("text.txt", b"hello", "as 3MF, STL or OBJ"),
    ("noending", b"hello", "as 3MF, STL or OBJ"),
    (".stl.exe", models.stl(), "as 3MF, STL or OBJ"),
    ("cube.stl\x00.exe", models.stl(), "as 3MF, STL or OBJ"),
    ("model\u202elts.exe", models.stl(), "as 3MF, STL or OBJ"),
    ("cube.3mf", models.stl(), "is not a 3MF file, although its name says so"),
    ("box.stl", models.three_mf(), "is not what its name says"),
    ("picture.obj", b"\x89PNG\r\n\x1a\n" + bytes(100), "is not what its name says"),
    ("paper.stl", b"%PDF-1.7 /JS (alert(1))", "is not what its name says"),
    ("gif.obj", b"GIF89a/*" + bytes(100), "is not what its name says"),
    ("k.3mf", b"PK", "is not a 3MF file"),
]


@pytest.mark.parametrize(("name", "content", "words"), REFUSED)
def test_what_is_no_model_is_refused_in_words(
    app: Flask, client: FlaskClient, name: str, content: bytes, words: str
) -> None:
    answer = upload(client, (name, content))
    assert answer.status_code == 422
    assert words in answer.get_data(as_text=True)
    assert (rows(), stored(app)) == ([], [])
    assert db.session.scalars(select(Quote)).all() == []
    told = send(client, name, content)
    assert told.status_code == 422
    assert words in told.get_json()["refused"][0]
    assert stored(app) == []


def test_what_is_good_is_kept_beside_what_is_refused(app: Flask, client: FlaskClient) -> None:
    answer = upload(client, ("good.stl", models.stl()), ("bad.txt", b"x"), ("empty.obj", b""))
    assert answer.status_code == 422
    page = answer.get_data(as_text=True)
    assert "bad.txt: we take models as 3MF, STL or OBJ" in page
    assert "empty.obj: this file is empty" in page
    assert 'id="item-' in page
    assert [row.name for row in rows()] == ["good.stl"]
    assert len(stored(app)) == 1


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("a'b\"c.stl", "a'b\"c.stl"),
        ("<img src=x onerror=alert(1)>.stl", "<img src=x onerror=alert(1)>.stl"),
        ("{{7*7}}.stl", "{{7*7}}.stl"),
        ("../../etc/passwd.stl", "passwd.stl"),
        ("C:\\Users\\jan\\cube.stl", "cube.stl"),
        ("evil\u202elts.stl", "evillts.stl"),
        ("a\x07b\u200bc\u2028d.stl", "abcd.stl"),
        ("x" * 300 + ".stl", "x" * 115 + "….stl"),
        ("  two   spaces .stl", "two spaces .stl"),
        ("CUBE.STL", "CUBE.STL"),
    ],
)
def test_names_are_shown_as_text_and_nothing_else(client: FlaskClient, sent: str, shown: str) -> None:
    assert receiving.clean_name(sent) == shown
    answer = upload(client, (sent, models.stl()))
    assert answer.status_code == 303
    (row,) = rows()
    assert len(row.name) <= 120
    page = client.get("/quotes/draft").get_data(as_text=True)
    assert "<img src=x" not in page
    assert "49.stl" not in page


def test_exactly_the_limit_is_taken_and_a_byte_more_is_not(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "MAX_BYTES", 300_000)
    content = models.stl() + bytes(300_000 - len(models.stl()))
    answer = upload(client, ("big.stl", content), ("bigger.stl", content + b"x"))
    assert answer.status_code == 422
    assert "bigger.stl: this file is larger than 100 MB" in answer.get_data(as_text=True)
    assert [row.size_bytes for row in rows()] == [300_000]
    assert len(stored(app)) == 1


def test_the_limit_is_100_mib(app: Flask, client: FlaskClient) -> None:
    """With the real limit, and a sender who makes the bytes up as they go."""
    token = csrf_token(client, "/quote")
    size = 100 * 1024 * 1024
    for extra, status in ((0, 200), (1, 422)):
        content = models.stl() + bytes(size + extra - len(models.stl()))
        answer = client.post(
            "/quote", **form([("big.stl", content)]), headers={"Accept": "application/json", "X-CSRFToken": token}
        )
        assert answer.status_code == status
    assert [row.size_bytes for row in rows()] == [size]
    assert len(stored(app)) == 1


def test_a_request_beyond_all_limits_is_not_read(app: Flask, client: FlaskClient) -> None:
    token = csrf_token(client, "/quote")
    stream = io.BytesIO(b"--x\r\n")
    answer = client.post(
        "/quote",
        input_stream=stream,
        content_type="multipart/form-data; boundary=x",
        environ_overrides={"CONTENT_LENGTH": str(300 * 1024 * 1024)},
        headers={"X-CSRFToken": token},
    )
    assert answer.status_code == 413
    assert stream.tell() == 0


def test_an_aborted_upload_leaves_nothing(app: Flask, client: FlaskClient) -> None:
    """One file has come in whole, and the sender goes away in the second."""
    token = csrf_token(client, "/quote")
    head = b'--x\r\nContent-Disposition: form-data; name="models"; filename="%s.stl"\r\n\r\n'
    body = head % b"a" + models.stl() + b"\r\n" + head % b"b" + bytes(200_000)
    answer = client.post(
        "/quote",
        input_stream=io.BytesIO(body),
        content_type="multipart/form-data; boundary=x",
        environ_overrides={"CONTENT_LENGTH": str(len(body) + 100_000)},
        headers={"X-CSRFToken": token},
    )
    assert answer.status_code == 400
    assert (rows(), stored(app)) == ([], [])


def test_a_form_with_nothing_chosen_says_so(app: Flask, client: FlaskClient) -> None:
    answer = upload(client, ("", b""))
    assert answer.status_code == 422
    assert "Choose one or more files first." in answer.get_data(as_text=True)


def test_fifty_models_and_no_more(app: Flask, client: FlaskClient) -> None:
    answer = upload(client, *((f"{number}.stl", models.stl()) for number in range(52)))
    assert answer.status_code == 422
    assert answer.get_data(as_text=True).count("A quote holds up to 50 models") == 1
    assert len(rows()) == 50
    assert len(stored(app)) == 50
    again = upload(client, ("one-more.stl", models.stl()), to="/quotes/draft/files", page="/quotes/draft")
    assert again.status_code == 422
    assert len(stored(app)) == 50


def test_without_the_token_nothing_is_stored(app: Flask, client: FlaskClient) -> None:
    for headers in ({}, {"X-CSRFToken": "x" * 90}):
        answer = client.post("/quote", **form([("a.stl", models.stl())]), headers=headers)
        assert answer.status_code == 400
        assert "open for too long" in answer.get_data(as_text=True)
    assert (rows(), stored(app)) == ([], [])


def test_a_stranger_puts_nothing_into_somebody_elses_quote(
    app: Flask, alice: User, mallory: User, login: object
) -> None:
    quote = make_quote(alice, items=[])
    browser = login(mallory)  # type: ignore[operator]  # a fixture
    token = csrf_token(browser, "/quotes/new")
    for number in (quote.number, "draft", "Q-2026-999"):
        answer = browser.post(f"/quotes/{number}/files", **form([("a.stl", models.stl())], csrf_token=token))
        assert answer.status_code == 404
    assert (rows(), stored(app)) == ([], [])


def test_a_sent_quote_takes_no_more_models(app: Flask, alice: User, login: object) -> None:
    from portal.quotes.models import QuoteStatus

    quote = make_quote(alice, status=QuoteStatus.ACCEPTED)
    browser = login(alice)  # type: ignore[operator]  # a fixture
    before = stored(app)
    token = csrf_token(browser, "/quotes/new")
    answer = browser.post(f"/quotes/{quote.number}/files", **form([("a.stl", models.stl())], csrf_token=token))
    assert answer.status_code == 409
    assert stored(app) == before


def test_other_fields_are_ignored(app: Flask, client: FlaskClient) -> None:
    token = csrf_token(client, "/quote")
    client.post(
        "/quote",
        data={
            "csrf_token": token, "user_id": "1", "status": "accepted", "total_minor": "1", "number": "Q-2026-777",
            "other": (io.BytesIO(models.stl()), "b.stl"), "models": (io.BytesIO(models.stl()), "a.stl"),
        },
        content_type="multipart/form-data",
    )  # fmt: skip
    quote = db.session.scalars(select(Quote)).one()
    assert (quote.user_id, quote.status.value, quote.number) == (None, "draft", None)
    assert [row.name for row in rows()] == ["a.stl"]
    assert len(stored(app)) == 1


def test_a_full_store_is_said_in_words(app: Flask, client: FlaskClient, full_disk: None) -> None:
    answer = upload(client, ("small.stl", models.stl()), ("large.stl", models.stl() + bytes(20_000_000)))
    assert answer.status_code == 503
    page = answer.get_data(as_text=True)
    assert "could not store your file" in page
    assert "No space left" not in page
    assert [row.name for row in rows()] == ["small.stl"]


def test_a_volume_a_day_is_enough(app: Flask, client: FlaskClient) -> None:
    token = csrf_token(client, "/quote")
    statuses = set()
    for _number in range(30):
        answer = client.post(
            "/quote",
            input_stream=io.BytesIO(b""),
            content_type="multipart/form-data; boundary=x",
            environ_overrides={"CONTENT_LENGTH": str(250 * 1024 * 1024)},
            headers={"X-CSRFToken": token},
        )
        statuses.add(answer.status_code)
    assert statuses == {400, 429}


def test_logging_in_keeps_the_draft(client: FlaskClient, alice: User) -> None:
    upload(client, ("a.stl", models.stl()))
    post_form(client, "/login", {"email": alice.email, "password": factories.PASSWORD})
    quote = db.session.scalars(select(Quote)).one()
    assert (quote.user_id, quote.token_hash) == (alice.id, None)
    assert re.fullmatch(r"Q-\d{4}-001", quote.number or "")
    assert [row.user_id for row in rows()] == [alice.id]
    assert client.get("/quotes/draft").location == f"/quotes/{quote.number}"
    assert "a.stl" in client.get(f"/quotes/{quote.number}").get_data(as_text=True)

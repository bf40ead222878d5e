"""The virus scan, against a real clamd: what is found is locked away, and nothing unscanned is ever opened."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, update

from portal.accounts.models import User
from portal.core import clock, outbox
from portal.core.audit import AuditEvent
from portal.core.db import db, unit_of_work
from portal.core.outbox import MessageStatus, OutboxMessage
from portal.quotes import scanning
from portal.quotes.measuring import isolation
from portal.quotes.models import ModelFile, ModelFileStatus, Quote
from tests.quotes import models
from tests.quotes.uploading import measure, upload
from tests.servers import clamd, processes

pytestmark = pytest.mark.usefixtures("book")


@pytest.fixture(scope="module")
def addresses() -> Iterator[tuple[str, str]]:
    with clamd.running() as found:
        yield found


@pytest.fixture
def scanner(app: Flask) -> Iterator[Callable[[str], None]]:
    """Says where clamd is."""
    usual = app.config["SETTINGS"]

    def use(address: str) -> None:
        app.config["SETTINGS"] = replace(usual, clamd_address=address)

    yield use
    app.config["SETTINGS"] = usual


def infected() -> bytes:
    return models.three_mf() + clamd.EICAR


def only() -> ModelFile:
    db.session.rollback()
    return db.session.scalars(select(ModelFile).execution_options(populate_existing=True)).one()


def test_clamd_is_asked_over_its_socket_and_over_tcp(addresses: tuple[str, str]) -> None:
    for address in addresses:
        assert scanning.find_virus(iter([models.stl()]), address) is None
        assert scanning.find_virus(iter([]), address) is None
        assert scanning.find_virus(iter([clamd.EICAR]), address) == f"{clamd.SIGNATURE}.UNOFFICIAL"
        halves = iter([models.stl() + clamd.EICAR[:30], b"", clamd.EICAR[30:]])
        assert scanning.find_virus(halves, address) == f"{clamd.SIGNATURE}.UNOFFICIAL"


def test_a_large_file_is_scanned_to_its_end(addresses: tuple[str, str]) -> None:
    pieces = [bytes(1024 * 1024)] * 100
    assert scanning.find_virus(iter(pieces), addresses[0]) is None
    assert scanning.find_virus(iter([*pieces[:90], clamd.EICAR]), addresses[0]) is not None


def test_what_is_too_large_for_clamd_is_not_called_clean(addresses: tuple[str, str]) -> None:
    with pytest.raises(scanning.ScannerAway):
        scanning.find_virus(iter([bytes(1024 * 1024)] * 130), addresses[0])


def test_nobody_there_is_no_answer() -> None:
    for address in (f"127.0.0.1:{processes.free_port()}", "/nowhere/clamd.sock"):
        with pytest.raises(scanning.ScannerAway):
            scanning.find_virus(iter([b"x"]), address)


@pytest.mark.parametrize("answer", [b"", b"stream: OK and more\0", b"UNKNOWN COMMAND\0", b"stream: \0", b"\xff" * 2000])
def test_a_strange_answer_is_not_clean(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _address = server.accept()
            with connection:
                heard = connection.recv(100)
                while not heard.endswith(struct.pack("!L", 0)):
                    heard = connection.recv(100) or struct.pack("!L", 0)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(scanning.ScannerAway):
            scanning.find_virus(iter([b"abc"]), f"127.0.0.1:{server.getsockname()[1]}")
        thread.join()


def test_a_clean_model_is_scanned_and_then_measured(
    app: Flask, client: FlaskClient, addresses: tuple[str, str], scanner: Callable[[str], None]
) -> None:
    scanner(addresses[0])
    upload(client, ("cube.3mf", models.three_mf()))
    assert "Waiting for the virus scan" in client.get("/quotes/draft").get_data(as_text=True)
    measure(app)
    model = only()
    assert model.status is ModelFileStatus.MEASURED
    assert model.scanned_at is not None
    assert model.virus is None


def test_a_virus_is_locked_away(
    app: Flask, client: FlaskClient, addresses: tuple[str, str], scanner: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    scanner(addresses[1])

    def never(*_: object, **__: object) -> None:
        raise AssertionError("an infected file was opened")

    for name in ("measure_isolated", "render_picture", "extract_thumbnail", "write_viewer_mesh"):
        monkeypatch.setattr(isolation, name, never)
    upload(client, ("cube.3mf", infected()))
    measure(app)
    model = only()
    assert (model.status, model.virus) == (ModelFileStatus.QUARANTINED, f"{clamd.SIGNATURE}.UNOFFICIAL")
    assert db.session.scalars(select(AuditEvent.event).where(AuditEvent.event.like("model_file.%"))).all() == [
        "model_file.quarantined"
    ]
    page = client.get("/quotes/draft").get_data(as_text=True)
    assert "Our virus scanner found something in this file" in page
    assert "EICAR" not in page
    assert 'hx-trigger="load' not in page
    assert 'name="seen"' not in page
    assert client.get(f"/models/{model.public_id}/file").status_code == 404
    assert db.session.scalars(select(Quote)).one().items[0].unit_price_minor is None


def test_while_the_scanner_is_away_the_file_waits(
    app: Flask, client: FlaskClient, addresses: tuple[str, str], scanner: Callable[[str], None]
) -> None:
    scanner(f"127.0.0.1:{processes.free_port()}")
    upload(client, ("cube.3mf", models.three_mf()))
    measure(app)
    message = db.session.scalars(select(OutboxMessage)).one()
    assert message.status is MessageStatus.PENDING
    assert only().status is ModelFileStatus.UPLOADED
    assert "Waiting for the virus scan" in client.get("/quotes/draft").get_data(as_text=True)
    scanner(addresses[0])
    with unit_of_work():
        db.session.execute(update(OutboxMessage).values(available_at=clock.now()))
    outbox.drain("files")
    assert only().status is ModelFileStatus.MEASURED


def test_without_a_scanner_nothing_is_waited_for(app: Flask, client: FlaskClient, alice: User) -> None:
    upload(client, ("cube.3mf", infected()))
    assert "virus" not in client.get("/quotes/draft").get_data(as_text=True)
    measure(app)
    assert only().status is ModelFileStatus.MEASURED
    assert only().scanned_at is None

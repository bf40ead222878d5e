"""Liveness, readiness and metrics: what a load balancer and a monitor are told, and who is told."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal import create_app
from portal.core import clock, outbox
from portal.core.db import dispose, unit_of_work
from tests.conftest import settings_for


@outbox.handles("test.measured")
def _measured() -> None:
    """Nothing to do."""


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[FlaskClient]:
    """A portal whose database and Redis do not answer."""
    app = create_app(settings_for("postgresql+psycopg://x@127.0.0.1:9/x", "redis://127.0.0.1:9/0", tmp_path))
    yield app.test_client()
    dispose(app)


@pytest.fixture
def with_token(app: Flask) -> Iterator[str]:
    app.config["METRICS_TOKEN"] = "a-long-token"
    yield "a-long-token"
    app.config["METRICS_TOKEN"] = ""


def test_alive_asks_nobody(alone: FlaskClient, client: FlaskClient, count_queries: Callable[[], int]) -> None:
    assert alone.get("/healthz").get_json() == {"status": "ok"}
    count_queries()
    assert client.get("/healthz").status_code == 200
    assert count_queries() == 0


def test_ready_says_what_answers(client: FlaskClient) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.get_json()) == (200, {"status": "ok", "database": "ok", "redis": "ok"})


def test_without_a_database_it_is_not_ready(alone: FlaskClient) -> None:
    answer = alone.get("/readyz")
    expected = {"status": "unavailable", "database": "unavailable", "redis": "unavailable"}
    assert (answer.status_code, answer.get_json()) == (503, expected)


def test_without_redis_it_stays_ready(app: Flask, client: FlaskClient) -> None:
    """The shop keeps taking orders; taking it off the load balancer would make a small trouble a large one."""
    from redis import Redis

    before = app.extensions["redis"]
    app.extensions["redis"] = Redis(port=9, socket_connect_timeout=1)
    try:
        answer = client.get("/readyz")
    finally:
        app.extensions["redis"] = before
    assert (answer.status_code, answer.get_json()["redis"]) == (200, "unavailable")


def test_metrics_count_requests_by_route_and_never_by_address(client: FlaskClient) -> None:
    client.get("/packages/no-such-package-at-all")
    text = client.get("/metrics").get_data(as_text=True)
    assert 'portal_request_seconds_count{endpoint="catalogue.detail",method="GET",status="4xx"}' in text
    assert "no-such-package" not in text


def test_metrics_know_what_waits(client: FlaskClient) -> None:
    assert "portal_outbox_pending{" not in client.get("/metrics").get_data(as_text=True)
    with unit_of_work():
        outbox.publish("test.measured")
        outbox.publish("test.measured")
    with clock.shifted(timedelta(seconds=90)):
        text = client.get("/metrics").get_data(as_text=True)
    assert 'portal_outbox_pending{queue="default"} 2' in text
    age = float(text.split('portal_outbox_oldest_seconds{queue="default"} ')[1].split()[0])
    assert 90 <= age < 120


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_without_a_token_metrics_are_for_this_host(client: FlaskClient, address: str) -> None:
    assert client.get("/metrics", environ_base={"REMOTE_ADDR": address}).status_code == 200


@pytest.mark.parametrize("address", ["10.0.0.5", "127.0.0.2", "::ffff:127.0.0.1", "192.168.1.1", ""])
def test_for_others_there_is_no_such_page(client: FlaskClient, address: str) -> None:
    assert client.get("/metrics", environ_base={"REMOTE_ADDR": address}).status_code == 404


def test_a_forwarded_header_makes_nobody_local(client: FlaskClient) -> None:
    forged = {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"}
    answer = client.get("/metrics", environ_base={"REMOTE_ADDR": "10.0.0.5"}, headers=forged)
    assert answer.status_code == 404


def test_with_a_token_only_its_holder_gets_in(client: FlaskClient, with_token: str) -> None:
    far = {"REMOTE_ADDR": "10.0.0.5"}
    right = {"Authorization": f"Bearer {with_token}"}
    assert client.get("/metrics", environ_base=far, headers=right).status_code == 200
    for wrong in ("", "Bearer ", "Bearer a-long-toke", "Bearer A-LONG-TOKEN", "Basic a-long-token", "Bearer \xff"):
        assert client.get("/metrics", headers={"Authorization": wrong}).status_code == 404, wrong


def test_health_checks_leave_no_cookie(client: FlaskClient) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert "Set-Cookie" not in client.get(path).headers

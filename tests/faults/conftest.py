"""Fixtures for breaking things: an installation for each module on both databases, with servers of its own."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.both_databases import DATABASES
from tests.faults.portal import Portal, installed
from tests.servers import postgres, redis


@pytest.fixture(scope="module")
def own_redis() -> Iterator[redis.RedisServer]:
    """A Redis that may be killed."""
    with redis.running() as server:
        yield server


@pytest.fixture(scope="module", params=DATABASES)
def own_database(request: pytest.FixtureRequest, memory: Path) -> str:
    """An empty database of the module's own, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tempfile.mkdtemp(dir=memory)}/portal.db"
    server: postgres.Postgres = request.getfixturevalue("postgres_server")
    return server.create_database(request.module.__name__.rpartition(".")[2])


@pytest.fixture(scope="module")
def portal(own_database: str, own_redis: redis.RedisServer) -> Iterator[Portal]:
    """The installation; its processes are started by the tests."""
    own_redis.client().flushall()
    with installed(own_database, own_redis) as one:
        yield one


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """Where processes leave a file before they kill themselves."""
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder

"""Many at one moment: what a race test needs."""

import threading
import time
from collections.abc import Callable
from typing import Any

from flask import Flask
from sqlalchemy import text

from portal.core.db import db


def all_at_once(app: Flask, work: list[Callable[[], Any]]) -> list[Any]:
    """Run everything in a thread of its own, released by one barrier: what each returned or raised, in order."""
    barrier = threading.Barrier(len(work))
    results: list[Any] = [None] * len(work)

    def run(number: int) -> None:
        with app.app_context():
            barrier.wait()
            try:
                results[number] = work[number]()
            except Exception as error:  # noqa: BLE001  # told to whoever asked, by position
                results[number] = error
            finally:
                db.session.remove()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def wait_until(ready: Callable[[], bool], *, seconds: float = 20) -> None:
    """Look again and again until it is so. Raises AssertionError when it is never so."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def somebody_waits() -> bool:
    """Whether a transaction waits for what another one holds. Only PostgreSQL can be asked."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with db.engine.connect() as connection:
        return bool(connection.execute(waiting).scalar())

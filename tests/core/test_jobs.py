"""RQ entry points: each runs in the application, with an id of its own, and leaves nothing behind."""

import threading
from typing import Any

import pytest
from flask import Flask, current_app

from portal.core import context, queues
from portal.core.db import db


def run_apart(function: Any, *arguments: Any) -> list[Any]:
    """Call it where no application context is, as a worker's process does."""
    results: list[Any] = []

    def work() -> None:
        try:
            results.append(function(*arguments))
        except Exception as error:  # noqa: BLE001  # handed to the test
            results.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return results


@queues.job
def look(word: str) -> tuple[str, str, str | None]:
    db.session.execute(db.text("SELECT 1"))
    return word, current_app.import_name, context.request_id()


def test_a_job_has_the_application_and_an_id(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "_app", app)
    first, second = run_apart(look, "a")[0], run_apart(look, "b")[0]
    assert (first[:2], second[:2]) == (("a", "portal"), ("b", "portal"))
    assert first[2]
    assert first[2] != second[2]


def test_without_an_application_a_job_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "_app", None)
    (error,) = run_apart(look, "a")
    assert isinstance(error, RuntimeError)
    assert "no application" in str(error)


def test_a_job_keeps_its_name_and_is_marked() -> None:
    assert look.__name__ == "look"
    assert look.is_job is True  # type: ignore[attr-defined]  # set by the decorator

"""What is published is handled, what is enqueued is listened to, what is mailed can be written."""

import ast
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pytest
from flask import Flask

import worker
from portal.core import mail, outbox
from portal.core.db import unit_of_work
from portal.core.queues import DRAIN_INBOX, DRAIN_OUTBOX, QueueName
from tests.structure import source
from tests.structure.source import Source, called_name, dotted

# In a process of its own: what other tests have imported must not hide what create_app() forgets to import.
_TELL = """
import json, sys
from pathlib import Path
from portal import config, create_app
from portal.core import mail, outbox, periodic
from portal.payments import hooks
create_app(config.Settings(portal_env="testing", database_url="sqlite://", redis_url="redis://127.0.0.1:9/0",
                           storage_url="file://" + sys.argv[1]))
json.dump({
    "subscriptions": {s.topic: {"queue": s.queue, "handler": s.handler.__module__ + "." + s.handler.__qualname__,
                                "lease": s.lease.total_seconds()} for s in outbox.subscriptions().values()},
    "periodic": [{"job": p.job, "queue": p.queue, "seconds": p.every.total_seconds()} for p in periodic.jobs()],
    "mails": sorted(mail.templates()),
    "settled": sorted(hooks._settled), "failed": sorted(hooks._failed), "describes": sorted(hooks._describes),
}, sys.stdout)
"""


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a fresh process knows once create_app() has run."""
    folder = str(tmp_path_factory.mktemp("wiring"))
    done = subprocess.run(
        [sys.executable, "-c", _TELL, folder], cwd=source.ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


@lru_cache
def literals(function: str) -> tuple[tuple[Source, int, str | None], ...]:
    """The first argument of every call of a function such as "outbox.publish"; None when it is not written out."""
    return tuple(
        (file, line, name) for file in source.product() for line, name in first_arguments(file, function.split(".")[-1])
    )


def first_arguments(file: Source, function: str) -> Iterator[tuple[int, str | None]]:
    """The first arguments of the calls in one file; a constant's name is looked up in the module itself."""
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Call) and called_name(node) == function and node.args:
            first = node.args[0]
            yield node.lineno, str(first.value) if isinstance(first, ast.Constant) else constant(file, dotted(first))


def constant(file: Source, name: str) -> str | None:
    """What a name such as `books.EVENT_CREATED` stands for in a module; None when it is no text."""
    value: object = importlib.import_module(file.module)
    for part in name.split("."):
        value = getattr(value, part, None)
    return value if isinstance(value, str) else None


def is_outbox(file: Source) -> bool:
    return file.path == "portal/core/outbox.py"


def test_every_published_topic_has_a_handler(wired: dict[str, Any]) -> None:
    published = [(file, line, topic) for file, line, topic in literals("publish") if not is_outbox(file)]
    assert len(published) >= 3
    missing = [
        str(file.at(line, f"publishes {topic!r}, which nobody handles"))
        for file, line, topic in published
        if topic not in wired["subscriptions"]
    ]
    assert missing == []


def test_every_handler_is_known_to_a_fresh_application(wired: dict[str, Any]) -> None:
    handled = [(file, line, topic) for file, line, topic in literals("handles") if not is_outbox(file)]
    missing = [
        str(file.at(line, f"handles {topic!r}, but create_app() does not import it"))
        for file, line, topic in handled
        if topic not in wired["subscriptions"]
    ]
    assert missing == []
    assert len(handled) == len(wired["subscriptions"])


def test_every_handled_topic_is_published_by_somebody(wired: dict[str, Any]) -> None:
    published = {topic for _file, _line, topic in literals("publish")}
    assert sorted(set(wired["subscriptions"]) - published) == []


def test_every_queue_is_listened_to(wired: dict[str, Any]) -> None:
    listened = {queue for group in worker.GROUPS for queue in group}
    assert listened == set(QueueName)
    assert {entry["queue"] for entry in wired["subscriptions"].values()} <= listened
    assert {entry["queue"] for entry in wired["periodic"]} <= listened


def test_the_units_of_a_host_listen_to_every_queue() -> None:
    units = (source.ROOT / "deploy" / "systemd").glob("*.service")
    named = [re.findall(r"^ExecStart=.* --queues ([a-z ]+)$", unit.read_text(), re.MULTILINE) for unit in units]
    assert sorted(" ".join(queues for unit in named for queues in unit).split()) == sorted(QueueName)


def test_every_job_that_redis_is_told_of_exists(wired: dict[str, Any]) -> None:
    paths = [entry["job"] for entry in wired["periodic"]] + [DRAIN_OUTBOX, DRAIN_INBOX]
    for path in paths:
        module, _, name = path.rpartition(".")
        job = getattr(importlib.import_module(module), name)
        assert getattr(job, "is_job", False), f"{path} is no @queues.job: it would have no application context"
    assert len(paths) == len(set(paths))


def test_every_periodic_job_has_room_to_finish(wired: dict[str, Any]) -> None:
    assert [entry for entry in wired["periodic"] if entry["seconds"] < 10] == []


def test_every_job_function_is_used(wired: dict[str, Any]) -> None:
    """A @queues.job that nothing wakes is forgotten work."""
    woken = {entry["job"] for entry in wired["periodic"]} | {DRAIN_OUTBOX, DRAIN_INBOX}
    found = {
        f"{file.module}.{node.name}"
        for file in source.product()
        for node in ast.walk(file.tree)
        if isinstance(node, ast.FunctionDef)
        and any(dotted(decorator) == "queues.job" for decorator in node.decorator_list)
    }
    assert found == woken


def test_every_mail_can_be_written(wired: dict[str, Any]) -> None:
    named = [
        (file, line, name) for file, line, name in literals("send") if name and "mail.send(" in line_of(file, line)
    ]
    unknown = [
        str(file.at(line, f"mail {name!r} has no context function that create_app() imports"))
        for file, line, name in named
        if name not in wired["mails"]
    ]
    assert unknown == []
    folder = source.ROOT / "templates" / "emails"
    parts = ("subject.txt", "body.txt", "body.mjml")
    assert [f"{name}/{part}" for name in wired["mails"] for part in parts if not (folder / name / part).is_file()] == []


def test_every_mail_is_sent_by_somebody(wired: dict[str, Any]) -> None:
    folders = {path.name for path in (source.ROOT / "templates" / "emails").iterdir() if path.is_dir()} - {"_layout"}
    assert folders == set(wired["mails"])
    text = "\n".join(file.text for file in source.files("portal"))
    assert [name for name in wired["mails"] if text.count(f'"{name}"') < 2] == []


def line_of(file: Source, line: int) -> str:
    return file.lines[line - 1]


def test_a_mail_that_nobody_can_write_is_refused_where_it_is_sent(app: Flask) -> None:
    """A template's name in a variable cannot be followed by the tests above; the call itself refuses it."""
    with pytest.raises(LookupError, match="no_such_mail"), unit_of_work():
        mail.send("no_such_mail", to="alice@example.com", locale="en")


def test_whoever_sells_is_told_everything(wired: dict[str, Any]) -> None:
    assert wired["settled"] == wired["describes"]
    assert set(wired["failed"]) <= set(wired["settled"])
    assert "order" in wired["settled"]


def test_the_reading_of_calls_can_fail() -> None:
    text = 'outbox.publish(DRAIN_INBOX)\npublish("c.d", key=1)\npublish(unknown)\n'
    file = Source("portal/core/queues.py", text)
    assert list(first_arguments(file, "publish")) == [(1, DRAIN_INBOX), (2, "c.d"), (3, None)]


def test_an_unknown_topic_is_refused_where_it_is_published() -> None:
    with pytest.raises(outbox.UnknownTopic):
        outbox.publish("nobody.listens", order_id=1)

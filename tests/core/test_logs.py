"""Logs: one line an event, with the request's id, and nothing that opens a door."""

import json
import logging
import subprocess
import sys

import pytest
from flask.testing import FlaskClient

from tests.structure.source import ROOT

_PROGRAM = """
import logging, structlog
from portal.core import context, logs
logs.configure(json_lines=True, level="INFO")
context.begin(request_id="request-1", client_address="10.0.0.5")
log = structlog.get_logger("portal.test")
log.info("order_placed", number="ORD-1", note="two\\nlines \\u2028 and {braces}")
try:
    1 / 0
except ZeroDivisionError as error:
    log.error("broken", exc_info=error)
logging.getLogger("werkzeug").warning("from %s", "the library")
log.debug("quiet")
"""


def test_each_event_is_one_json_line_with_the_requests_id() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.split("\n") if line]
    assert [line["event"] for line in lines] == ["order_placed", "broken", "from the library"]
    assert {line["request_id"] for line in lines} == {"request-1"}
    assert lines[0]["note"] == "two\nlines \u2028 and {braces}"
    assert [line["level"] for line in lines] == ["info", "error", "warning"]
    assert "ZeroDivisionError" in lines[1]["exception"]
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_a_link_with_a_token_reaches_no_log(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        client.get("/verify/a-very-secret-token")
        client.get("/password/reset/a-very-secret-token")
        client.get("/packages?key=a-very-secret-token")
    assert "a-very-secret-token" not in caplog.text

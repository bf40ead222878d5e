"""A merchant is integrated with curl alone, on a real server; the examples of /docs are run as well."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import processes, redis, web

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An installation of its own with the demo's log-ins."""
    folder = tmp_path_factory.mktemp("integrate")
    with redis.running() as server:
        values = {
            "PORTAL_ENV": "development",
            "DATABASE_URL": f"sqlite:///{folder / 'portal.db'}",
            "REDIS_URL": server.url,
            "STORAGE_URL": f"file://{folder / 'storage'}",
            "MAILBOX_PATH": str(folder / "mailbox"),
        }
        web.flask(values, "db", "upgrade")
        web.flask(values, "load-demo")
        yield values


def test_a_merchant_is_integrated_with_curl_alone(settings: dict[str, str]) -> None:
    port = processes.free_port()
    with_url = {**settings, "PORTAL_URL": f"http://localhost:{port}"}
    with web.web(with_url, port=port) as site, web.worker(with_url):
        for _time in range(2):  # A second time there is a merchant already, and it works as well.
            done = run(["bash", "docs/integrate.sh", site.url])
            assert done.returncode == 0, done.stdout + done.stderr
            assert '"status":"paid"' in done.stdout
            assert '"amount_minor":1000' in done.stdout
        check_examples(site.url)


def check_examples(url: str) -> None:
    """The commands of /docs, copied as they stand, with a key and an id filled in."""
    script = (ROOT / "docs" / "integrate.sh").read_text().split('say "4.')[0] + '\necho "KEY=$KEY"\n'
    made = run(["bash", "-c", script, "integrate.sh", url])
    key = next(line.partition("=")[2] for line in made.stdout.splitlines() if line.startswith("KEY="))
    told = run([str(ROOT / ".venv/bin/python"), "-c", _TELL, url])
    examples: dict[str, str] = json.loads(told.stdout)
    environment = {"KEY": key, "ID": ""}
    opened = json.loads(run(["bash", "-c", examples["createSession"]], **environment).stdout)
    assert opened["status"] == "created"
    environment["ID"] = opened["id"]
    assert json.loads(run(["bash", "-c", examples["getSession"]], **environment).stdout) == opened
    assert json.loads(run(["bash", "-c", examples["getStatus"]], **environment).stdout)["status"] == "created"
    listed = json.loads(run(["bash", "-c", examples["listSessions"]], **environment).stdout)["data"]
    assert len(listed) == 2
    environment["ID"] = listed[0]["id"]
    given = json.loads(run(["bash", "-c", examples["createRefund"]], **environment).stdout)
    assert (given["amount_minor"], given["session_id"]) == (1000, listed[0]["id"])
    [newest, before] = json.loads(run(["bash", "-c", examples["listRefunds"]], **environment).stdout)["data"]
    assert (newest["id"], before["status"]) == (given["id"], "succeeded")


# What stands on the page, for an installation with this address.
_TELL = """
import json, sys
from portal import config, create_app
from portal.merchants.api import docs
app = create_app(config.Settings(portal_env="testing", database_url="sqlite://", redis_url="redis://127.0.0.1:9/0",
                                 portal_url=sys.argv[1]))
with app.app_context():
    print(json.dumps(docs.examples()))
"""


def run(command: list[str], **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=180, check=False
    )

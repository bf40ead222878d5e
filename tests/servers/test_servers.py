"""The servers that other tests stand on: they work, break when told to, come back, and leave nothing behind."""

import http.client
import os
import signal
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import psycopg
import pytest
from redis.exceptions import RedisError

from portal.dev import processes as children
from tests.servers import browser, certificates, nginx, postgres, processes, redis, smtp, web

pytestmark = pytest.mark.xdist_group("servers")


def letter(subject: str = "Zażółć gęślą jaźń") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@example.com", "alice@example.com", subject
    message.set_content("Dzień dobry")
    message.add_alternative("<p>Dzień dobry</p>", subtype="html")
    return message


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: set[int]) -> Callable[[], bool]:
    return lambda: not any(is_alive(pid) for pid in pids)


@pytest.fixture(scope="module")
def postgresql():
    with postgres.running() as server:
        yield server


def test_postgres_databases_are_apart_and_can_be_copied(postgresql):
    postgresql.create_database("first")
    with postgresql.connect("first") as connection:
        connection.execute("CREATE TABLE things (name text)")
        connection.execute("INSERT INTO things VALUES ('lamp')")
    url = postgresql.create_database("second", template="first")
    postgresql.create_database("third")
    assert url == f"postgresql+psycopg://portal@127.0.0.1:{postgresql.port}/second"
    with postgresql.connect("second") as connection:
        assert connection.execute("SELECT name FROM things").fetchall() == [("lamp",)]
    with postgresql.connect("third") as connection, pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT name FROM things")


def test_postgres_comes_back_with_its_data_after_a_crash(postgresql):
    postgresql.create_database("crash")
    with postgresql.connect("crash") as connection:
        connection.execute("CREATE TABLE things (name text)")
    postgresql.stop()
    with pytest.raises(psycopg.OperationalError):
        postgresql.connect("crash")
    postgresql.start()
    with postgresql.connect("crash") as connection:
        assert connection.execute("SELECT count(*) FROM things").fetchone() == (0,)


def test_postgres_read_only_refuses_writes_until_it_is_lifted(postgresql):
    postgresql.create_database("shut")
    postgresql.set_read_only("shut", read_only=True)
    with postgresql.connect("shut") as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("CREATE TABLE things (name text)")
    postgresql.set_read_only("shut", read_only=False)
    with postgresql.connect("shut") as connection:
        connection.execute("CREATE TABLE things (name text)")


@pytest.mark.parametrize("kind", list(redis.Kind))
def test_redis_keeps_its_data_over_a_kill_and_can_be_down(kind):
    with redis.running(kind) as server:
        client = server.client()
        client.set("key", "value")
        time.sleep(1.1)  # The append-only file is written to disk every second.
        server.kill()
        with pytest.raises(RedisError):
            server.client().ping()
        server.start()
        assert server.client().get("key") == b"value"
        client.close()


@pytest.mark.parametrize("kind", list(redis.Kind))
def test_redis_ends_with_the_process_that_started_it(kind):
    program = (
        "import sys, time; from tests.servers import redis\n"
        f"with redis.running(redis.Kind({kind.value!r})) as server:\n"
        "    print(server.process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=web.ROOT)
    assert parent.stdout is not None
    with parent.stdout:
        server = int(parent.stdout.readline())
        assert is_alive(server)
        parent.kill()
        parent.wait()
    processes.wait_until(gone({server}), what="the server's end")


def test_postgres_ends_with_the_process_that_started_it():
    program = (
        "import time; from tests.servers import postgres\n"
        "with postgres.running() as server:\n"
        "    print(server.process.pid, server.folder, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=web.ROOT)
    assert parent.stdout is not None
    with parent.stdout:
        pid, folder = parent.stdout.readline().split()
        server = {int(pid), *children.descendants(int(pid))}
        assert len(server) > 1
        parent.kill()
        parent.wait()
    processes.wait_until(gone(server), what="the server's end")
    subprocess.run(["rm", "-rf", folder.decode()], check=True)


def test_smtp_keeps_letters_refuses_and_goes_away():
    with smtp.running() as server:
        with smtplib.SMTP("localhost", server.port, timeout=5) as client:
            client.send_message(letter())
            server.refuse(smtp.LATER)
            with pytest.raises(smtplib.SMTPDataError, match="451"):
                client.send_message(letter("twice"))
            server.refuse(smtp.NEVER)
            with pytest.raises(smtplib.SMTPDataError, match="550"):
                client.send_message(letter("never"))
        [kept] = server.letters
        assert (kept.message["subject"], kept.recipients) == ("Zażółć gęślą jaźń", ["alice@example.com"])
        assert (kept.text.strip(), kept.html.strip()) == ("Dzień dobry", "<p>Dzień dobry</p>")
        assert server.attempts == 3
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            smtplib.SMTP("localhost", server.port, timeout=5)
        server.accept()
        server.start()
        with smtplib.SMTP("localhost", server.port, timeout=5) as client:
            client.send_message(letter("back"))
        assert [kept.message["subject"] for kept in server.letters] == ["Zażółć gęślą jaźń", "back"]


def test_smtp_demands_encryption_and_a_log_in(tmp_path):
    certificate = certificates.make(tmp_path)
    with smtp.running(certificate=certificate, login=("portal", "secret")) as server:
        with smtplib.SMTP("localhost", server.port, timeout=5) as client:
            with pytest.raises(smtplib.SMTPSenderRefused, match="STARTTLS"):
                client.send_message(letter())
            client.starttls(context=certificate.client_context())
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.login("portal", "wrong")
            client.login("portal", "secret")
            client.send_message(letter())
        assert len(server.letters) == 1
        assert server.settings()["SMTP_STARTTLS"] == "true"


def test_nginx_serves_reloads_and_refuses_a_wrong_configuration():
    with nginx.prepared() as server:
        server.configure(f"server {{ listen 127.0.0.1:{server.port}; return 200 'one'; }}")
        server.start()
        assert fetch(server.port) == (200, b"one")
        server.configure("server { lisssten 80; }")
        with pytest.raises(nginx.Refused, match="lisssten"):
            server.reload()
        assert fetch(server.port) == (200, b"one")
        server.configure(f"server {{ listen 127.0.0.1:{server.port}; return 200 'two'; }}")
        server.reload()
        processes.wait_until(lambda: fetch(server.port) == (200, b"two"), what="the new configuration")
        assert server.process is not None
        pids = {server.process.pid, *children.descendants(server.process.pid)}
    processes.wait_until(gone(pids), what="nginx's end")


def fetch(port: int, path: str = "/") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.fixture
def portal_settings(tmp_path):
    with redis.running(redis.Kind.EMBEDDED) as server:
        yield {
            "DATABASE_URL": f"sqlite:///{tmp_path / 'portal.db'}",
            "REDIS_URL": server.url,
            "STORAGE_URL": f"file://{tmp_path / 'storage'}",
            "MAILBOX_PATH": str(tmp_path / "mailbox"),
            "SECRET_KEY": "a-secret-for-tests-only-0123456789abcdef",
        }


def test_what_shares_servers_is_kept_together(request):
    """xdist tells its workers' groups by the names of tests. Once it had stopped, without a word, and every server of a
    group was started by both processes."""
    assert "workerinput" not in vars(request.config) or request.node.nodeid.endswith("@servers")


def test_web_and_worker_run_are_killed_and_come_back(portal_settings):
    web.flask(portal_settings, "db", "upgrade")
    with web.web(portal_settings) as site, web.worker(portal_settings) as worker:
        assert fetch(site.port, "/readyz")[0] == 200
        before = site.pids() | worker.pids()
        assert len(before) >= 8  # granian and its worker; the supervisor and its five workers.
        site.kill()
        worker.kill()
        processes.wait_until(gone(before), seconds=5, what="the end of what was killed")
        with pytest.raises(ConnectionRefusedError):
            fetch(site.port)
        site.start()
        worker.start()
        assert fetch(site.port, "/healthz")[0] == 200
        after = site.pids() | worker.pids()
    processes.wait_until(gone(after), what="the end of web and worker")


def test_each_part_of_the_worker_that_dies_is_started_again_and_all_end_in_order(portal_settings):
    """Five RQ workers and the ticker, killed one after the other."""
    web.flask(portal_settings, "db", "upgrade")
    with web.worker(portal_settings) as worker:
        parent = worker.process

        def parts() -> set[int]:
            return {int(pid) for pid in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()}

        before = parts()
        assert len(before) == 6
        for pid in before:
            os.kill(pid, signal.SIGKILL)
            processes.wait_until(lambda pid=pid: pid not in parts() and len(parts()) == 6, what="another one")
        assert not parts() & before
        assert worker.output().count("worker_died") == 6
        everybody = worker.pids()
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(15) == 0
    processes.wait_until(gone(everybody), seconds=5, what="the end of the worker's parts")


def test_a_server_that_cannot_start_says_why(portal_settings):
    with pytest.raises(RuntimeError, match="PORTAL_ENV"), web.web({**portal_settings, "PORTAL_ENV": "nonsense"}):
        pytest.fail("it started")


@pytest.mark.browser
def test_browser_takes_pictures_and_notices_problems(tmp_path):
    with browser.running() as chromium:
        page = chromium.new_page()
        problems = browser.Problems(page)
        page.set_content("<h1>Zażółć</h1><script>undefinedFunction()</script>")
        pictures = browser.screenshot(page, tmp_path / "page.png")
        assert [picture.name for picture in pictures] == [
            "page-390-light.png",
            "page-390-dark.png",
            "page-1280-light.png",
            "page-1280-dark.png",
        ]
        assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)
        assert len(problems.found) == 1
        assert "undefinedFunction" in problems.found[0]


def test_kill_descendants_reaches_an_orphan(tmp_path):
    """What a killed child leaves behind comes to us and can be ended."""
    program = (
        "import subprocess, sys, time; from portal.dev import processes; processes.adopt_orphans()\n"
        "child = processes.start(['sh', '-c', 'sleep 60 & echo $!; wait'], output=subprocess.PIPE)\n"
        "orphan = child.stdout.readline().decode().strip(); child.send_signal(9); child.wait()\n"
        "print(orphan, flush=True); print(processes.kill_descendants(), flush=True)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=web.ROOT, check=True)
    orphan, count = (int(line) for line in done.stdout.split())
    assert count == 1
    assert not is_alive(orphan)


def test_a_server_that_ignores_its_end_is_killed(tmp_path):
    log = tmp_path / "log"
    process = processes.start(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"], log=log)
    processes.wait_for_server(process, lambda: "ready" in log.read_text(), what="the shell", log=log)
    processes.stop(process, seconds=0.3)
    assert process.returncode == -signal.SIGKILL

"""`make run`: what a newcomer sees, and that nothing is left when it ends."""

import fcntl
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from portal.dev.processes import descendants
from tests.servers import processes

ROOT = Path(__file__).resolve().parent.parent.parent


class Run:
    """One `python -m portal.dev`, with its output in a file."""

    def __init__(self, data: Path, log: Path, port: int | None = None) -> None:
        self.port = port or processes.free_port()
        self.log = log
        command = [sys.executable, "-m", "portal.dev", "--port", str(self.port)]
        self.sites_port = processes.free_port()
        command += ["--sites-port", str(self.sites_port), "--data", str(data)]
        # PORTAL_ENV and the like from the outside must not reach it: it shows its own defaults.
        self.process = processes.start(
            command, log=log, environment=processes.clean_environment(), cwd=ROOT, death_signal=signal.SIGTERM
        )

    def wait_until_ready(self) -> None:
        processes.wait_for_server(
            self.process, lambda: "The portal is ready" in self.output(), seconds=90, what="make run", log=self.log
        )

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def pids(self) -> set[int]:
        return {self.process.pid, *descendants(self.process.pid)}

    def part(self, name: str) -> int:
        """The process id of the child that is listed under this name."""
        children = {pid for pid in descendants(self.process.pid) if parent(pid) == self.process.pid}
        [pid] = [pid for pid in children if name in Path(f"/proc/{pid}/comm").read_text()]
        return pid


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def alive(pids: set[int]) -> set[int]:
    def runs(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    return {pid for pid in pids if runs(pid)}


def get(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": f"localhost:{port}"})
        return connection.getresponse().status
    finally:
        connection.close()


@contextmanager
def running(data: Path, log: Path) -> Iterator[Run]:
    run = Run(data, log)
    try:
        run.wait_until_ready()
        yield run
    finally:
        processes.kill(run.process)


@pytest.fixture(scope="module")
def shared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the first start fills, and in which the others find what was left when the one before died."""
    return tmp_path_factory.mktemp("data") / "var"


@pytest.mark.slow_fault
@pytest.mark.timeout(300)  # Two whole starts, each of which may take its 90 s on a busy machine.
def test_it_serves_ends_with_ctrl_c_and_starts_again_on_its_data(tmp_path: Path) -> None:
    data = tmp_path / "var"
    with running(data, tmp_path / "first") as first:
        assert get(first.port, "/readyz") == 200
        assert get(first.port, "/packages") == 200
        processes.wait_until(
            lambda: get(first.sites_port, "/la-plumbing-pros/") == 200, seconds=60, what="a demo site", log=first.log
        )
        assert f"http://localhost:{first.port}" in first.output()
        assert re.search(r"^ +\S+@\S+", first.output(), re.MULTILINE), "no demo log-in is named"
        everybody = first.pids()
        assert len(everybody) >= 12  # Us, granian and its two, the sites' and its one, the worker and its five, Redis.

        second = Run(data, tmp_path / "second")
        assert second.process.wait(30) == 1
        assert f"already runs on {data}/ (process {first.process.pid}" in second.output()

        first.process.send_signal(signal.SIGINT)
        assert first.process.wait(40) == 0
        assert not alive(everybody)
        assert first.output().endswith("Stopped.\n")
        assert "was killed" not in first.output()
    secret = (data / "secret_key").read_text()
    with running(data, tmp_path / "third") as third:
        assert get(third.port, "/packages") == 200
        assert (data / "secret_key").read_text() == secret
        third.process.terminate()
        assert third.process.wait(40) == 0


@pytest.mark.slow_fault
def test_killed_it_leaves_nothing_running(shared_data: Path, tmp_path: Path) -> None:
    with running(shared_data, tmp_path / "log") as run:
        everybody = run.pids()
        os.kill(run.process.pid, signal.SIGKILL)
        run.process.wait()
        # Started again at once, it waits for what is still ending instead of meeting its sockets and files.
        with running(shared_data, tmp_path / "log again") as again:
            assert not alive(everybody)
            assert get(again.port, "/readyz") == 200


@pytest.mark.slow_fault
@pytest.mark.parametrize(
    ("part", "name"), [("worker", "worker"), ("web", "web"), ("sites", "sites"), ("valkey", "redis")]
)
def test_when_a_part_dies_it_says_so_and_ends_the_rest(shared_data: Path, tmp_path: Path, part: str, name: str) -> None:
    with running(shared_data, tmp_path / "log") as run:
        everybody = run.pids()
        os.kill(run.part(part), signal.SIGKILL)
        assert run.process.wait(40) == 1
        assert f"{name} ended by signal SIGKILL. Stopping the rest" in run.output()
        assert not alive(everybody)


def test_a_port_in_use_is_named_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = Run(tmp_path / "var", tmp_path / "log", port=port)
        assert run.process.wait(30) == 1
        assert f"port {port} is in use" in run.output()
        assert "Redis" not in run.output()


def test_a_folder_in_use_is_refused_with_the_name_of_its_user(tmp_path: Path) -> None:
    data = tmp_path / "var"
    data.mkdir()
    with (data / "running").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f"process {os.getpid()}, http://localhost:1")
        lock.flush()
        run = Run(data, tmp_path / "log")
        assert run.process.wait(30) == 1
    assert "already runs on" in run.output()
    assert f"(process {os.getpid()}, http://localhost:1)" in run.output()


def test_a_database_that_cannot_be_opened_stops_the_start_and_is_told(tmp_path: Path) -> None:
    data = tmp_path / "var"
    (data / "portal.db").mkdir(parents=True)
    run = Run(data, tmp_path / "log")
    assert run.process.wait(60) == 1
    assert "`flask db upgrade` failed" in run.output()
    assert "unable to open database file" in run.output()
    assert run.output().endswith("Stopped.\n")


@pytest.mark.parametrize("ports", [("8000", "8000"), ("0", "8001"), ("http", "8001"), ("70000", "8001")])
def test_wrong_ports_are_refused(ports: tuple[str, str]) -> None:
    command = [sys.executable, "-m", "portal.dev", "--port", ports[0], "--sites-port", ports[1]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "port" in done.stderr


@pytest.mark.slow_fault
def test_two_signals_end_it_at_once_even_when_a_part_hangs(shared_data: Path, tmp_path: Path) -> None:
    with running(shared_data, tmp_path / "log") as run:
        everybody = run.pids()
        os.kill(run.part("worker"), signal.SIGSTOP)
        run.process.send_signal(signal.SIGINT)
        processes.wait_until(lambda: "Stopping" in run.output(), what="the first signal's effect")
        other = Run(shared_data, tmp_path / "other")
        assert other.process.wait(15) == 1, "the folder was free before everything had ended"
        began = time.monotonic()
        run.process.send_signal(signal.SIGINT)
        assert run.process.wait(20) == 0
        assert time.monotonic() - began < 10
        assert not alive(everybody)

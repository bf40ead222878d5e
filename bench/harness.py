"""What the measurements share: servers of their own, CPU per process tree, load by wrk, and the verdict lines."""

import json
import os
import re
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flask import Flask

from portal import create_app
from portal.core.db import dispose
from tests.conftest import NO_CHAINS, forget_last_request, settings_for
from tests.migrating import upgrade
from tests.servers import postgres, processes, redis

_TICKS = os.sysconf("SC_CLK_TCK")
_REQUESTS = re.compile(r"(\d+) requests in ([\d.]+)(ms|s|m)")
_LATENCY_99 = re.compile(r"99%\s+([\d.]+)(us|ms|s)")
_ERRORS = re.compile(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)")


@dataclass
class Report:
    """The lines of one run."""

    failed: list[str] = field(default_factory=list)

    def ratio(self, what: str, measured: float, *, at_least: float | None = None, at_most: float | None = None) -> None:
        """Print one ratio beside its target and remember a miss."""
        holds = (at_least is None or measured >= at_least) and (at_most is None or measured <= at_most)
        target = f">= {at_least:g}" if at_least is not None else f"<= {at_most:g}"
        print(f"  {'ok  ' if holds else 'MISS'} {what}: {measured:.2f} (target {target})", flush=True)
        if not holds:
            self.failed.append(what)

    def fact(self, what: str, value: str) -> None:
        """Print something measured that has no target."""
        print(f"       {what}: {value}", flush=True)

    def section(self, title: str) -> None:
        """Begin a group of lines."""
        print(f"\n{title}", flush=True)


@dataclass
class Bench:
    """The servers one measurement runs on."""

    postgres: postgres.Postgres
    redis: redis.RedisServer
    folder: Path

    @contextmanager
    def app(self, database: str) -> Iterator[Flask]:
        """A migrated application on a fresh database, in its context."""
        settings = settings_for(self.postgres.create_database(database), self.redis.url, self.folder, **NO_CHAINS)
        app = create_app(settings)
        # One context is held around many requests; nothing of one may reach the next.
        app.before_request_funcs.setdefault(None, []).insert(0, forget_last_request)
        with app.app_context():
            upgrade()
            yield app
        dispose(app)

    def environment(self, app: Flask, **extra: str) -> dict[str, str]:
        """The variables with which a server process is the same application."""
        settings = app.config["SETTINGS"]
        names = list(type(settings).__dataclass_fields__)
        values = {name.upper(): str(getattr(settings, name)) for name in names}
        return processes.clean_environment(**{**values, **extra})


@contextmanager
def servers() -> Iterator[Bench]:
    """PostgreSQL that writes to the disk as in production, and Redis."""
    with (
        postgres.running(is_durable=True) as database,
        redis.running() as queue,
        tempfile.TemporaryDirectory(prefix="portal-bench-") as folder,
    ):
        yield Bench(database, queue, Path(folder))


def cpu_seconds(pids: set[int]) -> float:
    """User and system time of the processes so far; one that has ended counts nothing."""
    total = 0.0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        # 14th to 17th field of proc(5): own and waited-for children's time.
        total += sum(int(value) for value in fields[11:15]) / _TICKS
    return total


def tree(pid: int) -> set[int]:
    """A process and everything below it."""
    found = {pid}
    grew = True
    while grew:
        grew = False
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) in found:
                continue
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent in found:
                found.add(int(entry.name))
                grew = True
    return found


@dataclass(frozen=True)
class Load:
    """What wrk saw."""

    requests: int
    seconds: float
    errors: int
    p99_seconds: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def wrk(
    url: str,
    *,
    seconds: int,
    script: Path | None = None,
    connections: int = 16,
    start: int = 0,
    headers: Mapping[str, str] | None = None,
) -> Load:
    """Load one loopback address for some seconds."""
    if "://127.0.0.1:" not in url:
        raise ValueError("load goes to the loopback address only")
    command = ["wrk", "--latency", "-t1", f"-c{connections}", f"-d{seconds}s"]
    if script is not None:
        command += ["-s", str(script)]
    for name, value in (headers or {}).items():
        command += ["-H", f"{name}: {value}"]
    output = subprocess.run([*command, url, "--", str(start)], check=True, capture_output=True, text=True).stdout
    found = _REQUESTS.search(output)
    if found is None:
        raise RuntimeError(output)
    unit = {"ms": 0.001, "s": 1.0, "m": 60.0}[found.group(3)]
    errors = sum(int(count or 0) for count, _sockets in _ERRORS.findall(output))
    slow = _LATENCY_99.search(output)
    p99 = float(slow.group(1)) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[slow.group(2)] if slow else 0.0
    return Load(int(found.group(1)), float(found.group(2)) * unit, errors, p99)


def requests(folder: Path, name: str, bodies: list[tuple[str, dict[str, str]]], *, method: str = "POST") -> Path:
    """A wrk script that sends each prepared body once, from the one that `wrk(start=...)` names."""
    data = folder / f"{name}.tsv"
    headers = sorted({header for _body, given in bodies for header in given})
    with data.open("w") as file:
        for body, given in bodies:
            file.write("\t".join([body, *(given[header] for header in headers)]) + "\n")
    script = folder / f"{name}.lua"
    fields = "".join(f'["{header}"]=parts[{index}], ' for index, header in enumerate(headers, start=2))
    script.write_text(
        "local requests = {}\n"
        f"for line in io.lines({json.dumps(str(data))}) do\n"
        "  local parts = {}\n"
        '  for part in string.gmatch(line, "[^\\t]+") do parts[#parts + 1] = part end\n'
        f'  local headers = {{{fields}["Content-Type"]="application/json"}}\n'
        '  requests[#requests + 1] = wrk.format("' + method + '", nil, headers, parts[1])\n'
        "end\n"
        "local at = 0\n"
        "function init(arguments) at = tonumber(arguments[1]) or 0 end\n"
        "function request()\n"
        "  at = at % #requests + 1\n"
        "  return requests[at]\n"
        "end\n"
    )
    return script


def alternate(rounds: int, first: Callable[[], float], second: Callable[[], float]) -> tuple[float, float]:
    """Measure two things in turn, so that a busy moment hits both; the medians."""
    pairs = [(first(), second()) for _ in range(rounds)]
    return statistics.median(one for one, _ in pairs), statistics.median(two for _, two in pairs)

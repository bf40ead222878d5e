"""Accepting a webhook beside the bare route; both behind the same server, on the same database."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.harness import Bench, Report, alternate, cpu_seconds, requests, tree, wrk
from portal.dev.launcher import web_command
from tests.payments import signed
from tests.servers import processes

_SECONDS = 4
_ROUNDS = 3
_SESSIONS = 200
_EVENTS = 40_000
# wrk may have sent more than it counted: one a connection.
_IN_FLIGHT = 100


@contextmanager
def served(bench: Bench, environment: dict[str, str], app: str, *, workers: int = 1) -> Iterator[tuple[str, int]]:
    """A web server, with one worker process unless told otherwise; its address and process id."""
    port = processes.free_port()
    command = web_command(port=port, workers=workers, app=app)
    process = processes.start(command, log=bench.folder / f"{app.replace(':', '-')}.log", environment=environment)
    try:
        processes.wait_until(lambda: processes.accepts_connections(port), what=app)
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        processes.stop(process)


def run(bench: Bench, report: Report) -> None:
    """Rate and CPU of both, measured in turn."""
    report.section("Accepting a signed webhook, against bare Flask + HMAC + INSERT + COMMIT")
    assert bench.redis.process is not None
    stores = [int((bench.postgres.folder / "data" / "postmaster.pid").read_text().split()[0]), bench.redis.process.pid]
    with bench.app("webhooks") as app:
        sessions = [signed.make_session() for _ in range(_SESSIONS)]
        bodies = []
        for number in range(_EVENTS):
            event = signed.checkout_event(sessions[number % _SESSIONS], payment=f"pi_{number}")
            body = json.dumps(event)
            bodies.append((body, {"Stripe-Signature": signed.signature(body)}))
        script = requests(bench.folder, "webhooks", bodies)
        environment = bench.environment(app)
        with (
            served(bench, environment, "wsgi:app") as (portal_url, portal_pid),
            served(bench, environment, "bench.bare:app") as (bare_url, bare_pid),
        ):
            cpu: dict[str, list[float]] = {"portal": [], "bare": []}
            portal = _measure(f"{portal_url}/webhooks/stripe", [portal_pid, *stores], script, cpu["portal"])
            bare = _measure(f"{bare_url}/webhook", [bare_pid, *stores], script, cpu["bare"])
            portal_rate, bare_rate = alternate(_ROUNDS, portal, bare)
    report.fact("portal, bare", f"{portal_rate:.0f}/s, {bare_rate:.0f}/s")
    report.ratio("rate, portal / bare", portal_rate / bare_rate, at_least=0.6)
    portal_cpu, bare_cpu = (sorted(cpu[name])[len(cpu[name]) // 2] for name in ("portal", "bare"))
    report.fact("CPU per request (web + PostgreSQL + Redis)", f"{portal_cpu * 1000:.2f} ms, {bare_cpu * 1000:.2f} ms")
    report.ratio("CPU, portal / bare", portal_cpu / bare_cpu, at_most=1.5)


def _measure(url: str, roots: list[int], script: Path, cpu: list[float]) -> Callable[[], float]:
    """One round of load; each round goes on in the prepared events where the last one ended."""
    warm_up = wrk(url, seconds=1, script=script)
    at = warm_up.requests + _IN_FLIGHT

    def once() -> float:
        nonlocal at
        pids = {pid for root in roots for pid in tree(root)}
        before = cpu_seconds(pids)
        load = wrk(url, seconds=_SECONDS, script=script, start=at)
        cpu.append((cpu_seconds(pids) - before) / load.requests)
        at += load.requests + _IN_FLIGHT
        if load.errors:
            raise RuntimeError(f"{load.errors} requests to {url} failed")
        return load.rate

    return once

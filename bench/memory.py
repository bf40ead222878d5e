"""Memory of a web process, beside the bare one and over many requests."""

from pathlib import Path

from bench.harness import Bench, Report, tree, wrk
from bench.pages import cookie_of
from bench.webhooks import served
from tests import factories

_REQUESTS = 10_000
# As in production: one for each core.
_WORKERS = 2


def proportional_set_size(pids: set[int]) -> float:
    """MiB that the processes would free, shared pages counted by their share (PSS)."""
    kib = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kib / 1024


def run(bench: Bench, report: Report) -> None:
    """After a warm-up, against bare Flask with the same libraries; then over ten thousand catalogue pages.

    Decision 0008 says why the libraries are part of what it is measured against.
    """
    report.section("Memory of the web processes")
    with bench.app("memory") as app:
        for _ in range(24):
            factories.make_package()
        headers = {"Cookie": cookie_of(app, factories.make_user())}
        environment = bench.environment(app)
        with (
            served(bench, environment, "wsgi:app", workers=_WORKERS) as (portal_url, portal_pid),
            served(bench, environment, "bench.bare:app", workers=_WORKERS) as (bare_url, bare_pid),
            served(bench, environment, "bench.bare_with_libraries:app", workers=_WORKERS) as (
                lib_url,
                lib_pid,
            ),
        ):
            for url in (portal_url, bare_url, lib_url):
                wrk(f"{url}/packages", seconds=5, headers=headers)
            before, bare, libraries = (proportional_set_size(tree(pid)) for pid in (portal_pid, bare_pid, lib_pid))
            done = 0
            while done < _REQUESTS:
                done += wrk(f"{portal_url}/packages", seconds=5, headers=headers).requests
            after = proportional_set_size(tree(portal_pid))
    report.fact("portal, bare, bare with the libraries", f"{before:.0f}, {bare:.0f}, {libraries:.0f} MiB")
    report.ratio("PSS, portal / bare Flask with the same libraries", before / libraries, at_most=1.25)
    report.ratio(f"PSS after {_REQUESTS:,} requests / before", after / before, at_most=1.03)

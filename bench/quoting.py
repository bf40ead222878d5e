"""How long a customer waits for a price: from the end of an upload to the measured model, through web and worker."""

import re
import secrets
import statistics
import tempfile
import time
import zipfile
from pathlib import Path

import httpx
from sqlalchemy import select

from bench.harness import Bench, Report, wrk
from bench.pages import cookie_of
from portal.core.db import db
from portal.quotes.models import ModelFile, ModelFileStatus
from tests import factories
from tests.quotes.books import publish_book
from tests.quotes.measuring import models
from tests.servers import web

_PROMISED_SECONDS = {100_000: 1.0, 1_000_000: 5.0}
_ROUNDS = 5
_PATIENCE = 60.0
_TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


def run(bench: Bench, report: Report) -> None:
    """Both sizes of quoting.md, one file after the other, and what the largest does to everybody else's pages."""
    report.section("A model through the site, from the end of its upload to its measures")
    with bench.app("quoting") as app, tempfile.TemporaryDirectory(prefix="portal-bench-quoting-") as folder:
        publish_book()
        cookie = cookie_of(app, factories.make_user())
        environment = bench.environment(app)
        with (
            web.web(environment) as server,
            web.worker(environment),
            httpx.Client(base_url=server.url, timeout=_PATIENCE) as browser,
        ):
            # For this host only, as a server sets it: its own answers replace it.
            browser.cookies.set(*cookie.split("=", 1), domain="localhost.local")
            for triangles, promised in _PROMISED_SECONDS.items():
                path = models.write_torus(Path(folder), triangles)["3mf"]
                seconds = [_measured_after(browser, path) for _ in range(_ROUNDS)]
                what = f"{triangles:,} triangles"
                report.fact(f"{what}: median, slowest", f"{statistics.median(seconds):.2f} s, {max(seconds):.2f} s")
                report.ratio(f"{what}: median seconds / promised", statistics.median(seconds) / promised, at_most=1)
            _others(report, browser, path, cookie, server.url)


def _measured_after(browser: httpx.Client, path: Path) -> float:
    last = _send(browser, path)
    started = time.perf_counter()
    while not _is_measured(last):
        if time.perf_counter() - started > _PATIENCE:
            raise RuntimeError(f"{path.name} was not measured")
        time.sleep(0.01)
    return time.perf_counter() - started


def _send(browser: httpx.Client, path: Path) -> int:
    """Upload as the page's script does, a file that nobody has sent before; the row of the model."""
    with zipfile.ZipFile(path, "a") as package:
        package.comment = secrets.token_bytes(8)
    token = _TOKEN.search(browser.get("/quotes/new").text)
    if token is None:
        raise RuntimeError("the upload page has no form")
    with path.open("rb") as file:
        answer = browser.post(
            "/quote",
            files={"models": (path.name, file)},
            headers={"X-CSRFToken": token[1], "Accept": "application/json"},
        )
    answer.raise_for_status()
    db.session.rollback()
    return db.session.scalars(select(ModelFile.id).order_by(ModelFile.id.desc())).first() or 0


def _is_measured(model_id: int) -> bool:
    db.session.rollback()
    status = db.session.scalar(select(ModelFile.status).where(ModelFile.id == model_id))
    return status is ModelFileStatus.MEASURED


def _others(report: Report, browser: httpx.Client, path: Path, cookie: str, url: str) -> None:
    """Somebody else's catalogue page, while a million triangles are measured."""

    pages = f"{url.replace('localhost', '127.0.0.1')}/packages"

    def p99() -> float:
        return wrk(pages, seconds=4, headers={"Cookie": cookie}, connections=1).p99_seconds

    p99()
    quiet = p99()
    _send(browser, path)
    busy = p99()
    report.fact("p99 of the catalogue quiet, while measuring", f"{quiet * 1000:.0f} ms, {busy * 1000:.0f} ms")
    report.ratio("p99 of the catalogue, while measuring / quiet", busy / quiet, at_most=3)

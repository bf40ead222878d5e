"""Lists at 1,000 and at 1,000,000 orders on PostgreSQL: what they read must not grow with the table."""

import re
import time
from collections.abc import Callable
from typing import Any

from flask import Flask
from sqlalchemy import event, text

from bench.harness import Bench, Report
from portal.accounts.models import Role
from portal.core.db import db
from tests import factories

_SMALL, _LARGE = 1_000, 1_000_000
_HIT = re.compile(r"Buffers: shared(?: hit=(\d+))?(?: read=(\d+))?")
_ROUNDS = 15

_FILL = """
INSERT INTO orders (number, idempotency_key, user_id, cart_id, email, name, billing, locale, currency, total_minor,
    tax_minor, paid_minor, refunded_minor, status, payment_status, placed_at, paid_at)
SELECT 'ORD-BENCH-' || n, 'bench-' || n, CASE WHEN n % 25 = 0 THEN :user_id END, NULL,
    'buyer' || n || '@example.com', 'Buyer ' || n, '{}', 'en', 'PLN', 6900, 1290,
    CASE WHEN n % 10 = 0 THEN 0 ELSE 6900 END, 0,
    CASE WHEN n % 10 = 0 THEN 'open' ELSE 'fulfilled' END,
    CASE WHEN n % 10 = 0 THEN 'pending' ELSE 'paid' END,
    now() - n * interval '1 second', CASE WHEN n % 10 = 0 THEN NULL ELSE now() - n * interval '1 second' END
FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS n
"""


def run(bench: Bench, report: Report) -> None:
    """Pages of the database touched, and time, of each list at both sizes."""
    report.section(f"Growth from {_SMALL:,} to {_LARGE:,} orders (PostgreSQL)")
    with bench.app("growth") as app:
        customer = factories.make_user()
        staff = factories.make_user(role=Role.STAFF)
        for _ in range(24):
            factories.make_package()
        pages = {
            "catalogue": (customer, "/packages"),
            "order list": (customer, "/orders"),
            "admin list": (staff, "/admin/orders"),
            "admin list, unpaid": (staff, "/admin/orders?payment=pending"),
            "admin work list": (staff, "/admin"),
        }
        _fill(customer.id, 1, _SMALL)
        small = {name: _measure(app, user, url) for name, (user, url) in pages.items()}
        _fill(customer.id, _SMALL + 1, _LARGE)
        large = {name: _measure(app, user, url) for name, (user, url) in pages.items()}
    for name in pages:
        (touched_before, seconds_before), (touched, seconds) = small[name], large[name]
        report.fact(
            name, f"{touched_before} -> {touched} pages, {seconds_before * 1000:.1f} -> {seconds * 1000:.1f} ms"
        )
        report.ratio(f"{name}: most pages touched by one query", touched, at_most=60)
        report.ratio(f"{name}: growth of pages touched", touched / max(touched_before, 1), at_most=2)


def _fill(user_id: int, first: int, last: int) -> None:
    with db.engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text(_FILL), {"user_id": user_id, "first": first, "last": last})
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE orders"))


def _measure(app: Flask, user: Any, url: str) -> tuple[int, float]:
    """The most pages one of a page's queries touches, and the median time of the whole page."""
    browser = app.test_client()
    factories.sign_in(browser, user)
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if statement.lstrip().startswith("SELECT"):
            statements.append((statement, parameters))

    event.listen(db.engine, "before_cursor_execute", note)
    answer = browser.get(url)
    event.remove(db.engine, "before_cursor_execute", note)
    assert answer.status_code == 200, (url, answer.status_code)
    touched = max(_pages_touched(statement, parameters) for statement, parameters in statements)
    return touched, _median(lambda: browser.get(url))


def _pages_touched(statement: str, parameters: Any) -> int:
    """Shared buffers hit or read by the whole plan, the second time, when nothing is looked up for planning."""
    with db.engine.connect() as connection:
        for _ in range(2):
            plan = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", parameters).scalars().all()
    # The first line with buffers belongs to the top of the plan, which counts everything below it.
    found = next((_HIT.search(line) for line in plan if "Buffers: shared" in line), None)
    return sum(int(part or 0) for part in found.groups()) if found else 0


def _median(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]

"""Every test runs on SQLite and on PostgreSQL; of its cases, each runs on one of them in turn.

A test of one case runs twice. What happens at the same time is decided by the database, so there each case runs twice
as well. Decision 0027.
"""

import re
from collections import defaultdict
from typing import Any

import pytest

DATABASES = ("sqlite", "postgresql")
# Tells a test on PostgreSQL that SQLite runs the same case, where its pages are read with all care.
HAS_TWIN = pytest.StashKey[bool]()
# What tests call to have things happen at once; `race` is a helper of some that does.
_AT_ONCE = {"all_at_once", "race", "Thread", "ThreadPoolExecutor", "Barrier"}


def share_out(items: list[pytest.Item]) -> list[pytest.Item]:
    """The tests that are left out, because another of the same function's cases runs on their database."""
    functions: dict[Any, dict[str, dict[str, pytest.Function]]] = defaultdict(lambda: defaultdict(dict))
    for item in items:
        if isinstance(item, pytest.Function) and (found := _database_and_case(item)):
            database, case = found
            functions[item.path, item.parent, item.originalname][case][database] = item
    left_out: list[pytest.Item] = []
    for cases in functions.values():
        pairs = [pair for pair in cases.values() if len(pair) == len(DATABASES)]
        for number, pair in enumerate(pairs):
            if len(pairs) == 1 or _is_about_races(pair["sqlite"]):
                pair["postgresql"].stash[HAS_TWIN] = True
            else:
                left_out.append(pair[DATABASES[(number + 1) % len(DATABASES)]])
    return left_out


def _database_and_case(item: pytest.Function) -> tuple[str, str] | None:
    """Where a test runs, and how it is told from the other tests of its function there."""
    callspec = getattr(item, "callspec", None)
    found = [value for value in callspec.params.values() if value in DATABASES] if callspec else []
    if len(found) != 1:
        return None
    [database] = found
    return database, re.sub(rf"(^|-){database}(?=-|$)", "", callspec.id, count=1)


def _is_about_races(item: pytest.Function) -> bool:
    return bool(_AT_ONCE & set(item.function.__code__.co_names))

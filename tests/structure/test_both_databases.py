"""Which database a test runs on."""

import subprocess
import sys
from pathlib import Path

CONFTEST = """
import pytest
from tests import both_databases

@pytest.fixture(params=both_databases.DATABASES)
def database(request): pass

@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    left_out = both_databases.share_out(items)
    items[:] = [item for item in items if item not in left_out]
    for item in items:
        item._nodeid += " twin" * item.stash.get(both_databases.HAS_TWIN, False)
"""
TESTS = """
import pytest
from threading import Thread

def test_no_database(): pass
def test_one_case(database): pass
@pytest.mark.parametrize("x", ["a", "b", "c"])
def test_three(database, x): pass
@pytest.mark.parametrize("x", ["a", "b"])
@pytest.mark.parametrize("y", ["k", "l"])
def test_four(x, database, y): pass
@pytest.mark.parametrize("x", ["a", "b"])
def test_races(database, x): Thread(target=print)
@pytest.mark.parametrize("x", ["a", "b"])
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_only_there(database, x): pass
class TestOther:
    @pytest.mark.parametrize("x", ["a", "b"])
    def test_three(self, database, x): pass
"""


def collected(folder: Path, *arguments: str) -> list[str]:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
         f"--rootdir={folder}", "-c", "/dev/null", *arguments],
        cwd=folder, env={"PYTHONPATH": str(Path(__file__).parents[2])}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [line.split("::", 1)[1] for line in done.stdout.splitlines() if "::" in line]


def test_of_several_cases_each_runs_on_one_and_both_are_run_on(tmp_path: Path) -> None:
    assert sorted(collected(tmp_path)) == sorted([
        "test_no_database",
        "test_one_case[sqlite]", "test_one_case[postgresql] twin",
        "test_three[sqlite-a]", "test_three[postgresql-b]", "test_three[sqlite-c]",
        "test_four[sqlite-k-a]", "test_four[postgresql-k-b]", "test_four[sqlite-l-a]", "test_four[postgresql-l-b]",
        "test_races[sqlite-a]", "test_races[postgresql-a] twin",
        "test_races[sqlite-b]", "test_races[postgresql-b] twin",
        "test_only_there[postgresql-a]", "test_only_there[postgresql-b]",
        "TestOther::test_three[sqlite-a]", "TestOther::test_three[postgresql-b]",
    ])  # fmt: skip


def test_a_case_that_is_asked_for_runs_where_it_is_asked_for(tmp_path: Path) -> None:
    assert collected(tmp_path, "test_it.py::test_three[postgresql-a]") == ["test_three[postgresql-a]"]

"""Password hashes: strong, imported ones upgraded, and never more at once than the machine can take."""

import threading
import unicodedata
from collections.abc import Callable

import bcrypt
import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.low_level import Type
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts import hashing
from portal.accounts.errors import TooBusy
from portal.accounts.models import SignIn, User
from portal.core.db import db, unit_of_work
from portal.dev import launcher
from tests import factories
from tests.accounts import support
from tests.accounts.support import log_in
from tests.servers import processes

LONG = "a1" * 50
# The parameters before the fixture of these tests makes them cheap.
REAL = hashing._hasher


def imported(password: str, *, rounds: int = 4) -> str:
    """A hash as the shop we import from made it: it cut passwords off at 72 bytes."""
    return bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(rounds)).decode()


def give(user: User, password_hash: str | None) -> None:
    """Store a hash for a user."""
    with unit_of_work():
        user.password_hash = password_hash


def test_the_parameters_are_those_of_the_cheat_sheet() -> None:
    parameters = extract_parameters(REAL.hash("a password 1"))
    assert parameters.type is Type.ID
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (19 * 1024, 2, 1)


@pytest.mark.parametrize(
    "password", ["zażółć gęślą jaźń 1", "パスワード1234567", "  spaces at both ends 1  ", LONG, "🔑" * 20]
)
def test_what_was_hashed_verifies_and_nothing_else_does(password: str) -> None:
    stored = hashing.hash_password(password)
    assert hashing.verify_password(password, stored)
    assert not hashing.verify_password(password + "x", stored)
    assert not hashing.verify_password(password[:-1], stored)
    assert not hashing.verify_password("", stored)


def test_a_letter_typed_in_two_ways_is_one_letter() -> None:
    composed = "żółw 123"
    combining = unicodedata.normalize("NFD", composed)
    assert composed != combining
    assert hashing.verify_password(combining, hashing.hash_password(composed))


@pytest.mark.parametrize("stored", ["", "x", "$argon2id$broken", "$2b$12$broken", "$2b$", "plain text 1"])
def test_a_broken_hash_opens_nothing(stored: str) -> None:
    assert not hashing.verify_password("plain text 1", stored)
    assert not hashing.verify_password("", stored)


def test_nobodys_hash_opens_nothing() -> None:
    assert not hashing.verify_password("nobody's password", None)
    assert not hashing.verify_password("nobody's password", None, with_imported=True)


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$"])
def test_an_imported_hash_opens_the_account_and_is_upgraded(client: FlaskClient, alice: User, prefix: str) -> None:
    give(alice, imported(factories.PASSWORD).replace("$2b$", prefix, 1))
    assert log_in(client, "alice@example.com", "not it 1").status_code == 422
    assert log_in(client, "alice@example.com").status_code == 303
    upgraded = support.fresh(alice).password_hash
    assert upgraded is not None
    assert upgraded.startswith("$argon2id$")
    assert log_in(client.application.test_client(), "alice@example.com").status_code == 303
    assert support.fresh(alice).password_hash == upgraded


def test_the_72_byte_trap() -> None:
    stored = imported(LONG)
    assert hashing.verify_password(LONG, stored)
    assert hashing.verify_password(LONG[:72], stored)
    assert not hashing.verify_password(LONG[:71], stored)
    # Once upgraded every character counts.
    upgraded = hashing.check_password(LONG, stored).fresh_hash
    assert upgraded is not None
    assert hashing.verify_password(LONG, upgraded)
    assert not hashing.verify_password(LONG[:72], upgraded)


def test_a_letter_cut_in_two_by_the_72_bytes_still_matches() -> None:
    password = "a" * 71 + "ż1"
    assert hashing.verify_password(password, bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).decode())


@pytest.mark.parametrize("password", ["nul\x00inside 1", "\x00", "\ud800 lone surrogate 1"])
def test_characters_no_library_likes_are_wrong_and_nothing_worse(password: str) -> None:
    assert not hashing.verify_password(password, imported("another 1"))
    assert not hashing.verify_password(password, hashing.hash_password("another 1"))


def test_weaker_parameters_are_raised_at_log_in(
    client: FlaskClient, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = alice.password_hash
    monkeypatch.setattr(hashing, "_hasher", PasswordHasher(time_cost=2, memory_cost=16, parallelism=1))
    log_in(client, "alice@example.com")
    after = support.fresh(alice).password_hash
    assert after is not None
    assert after != before
    assert extract_parameters(after).memory_cost == 16


def test_a_wrong_password_upgrades_nothing(client: FlaskClient, alice: User) -> None:
    stored = imported("the right 1")
    give(alice, stored)
    log_in(client, "alice@example.com", "the wrong 1")
    assert support.fresh(alice).password_hash == stored


# --- Time tells nothing: the same slow work whatever the address (R10) -----------------------------------------------

CASES = {
    "unknown": lambda _alice: "nobody@example.com",
    "wrong password": lambda _alice: "alice@example.com",
    "no password yet": lambda alice: give(alice, None) or "alice@example.com",
    "closed account": lambda alice: close(alice) or "alice@example.com",
    "unverified account": lambda alice: unprove(alice) or "alice@example.com",
}


def close(user: User) -> None:
    with unit_of_work():
        user.is_active = False


def unprove(user: User) -> None:
    with unit_of_work():
        user.email_verified_at = None


@pytest.mark.parametrize("case", CASES)
def test_a_failed_try_costs_one_hash(client: FlaskClient, alice: User, hash_calls: list[str], case: str) -> None:
    email = CASES[case](alice)
    log_in(client, email, "wrong 1")
    assert hash_calls == ["argon2"]


@pytest.mark.parametrize("case", [*CASES, "imported"])
def test_while_imported_hashes_exist_a_failed_try_costs_one_of_each(
    client: FlaskClient, alice: User, bob: User, hash_calls: list[str], case: str
) -> None:
    give(bob, imported("something 1"))
    email = "bob@example.com" if case == "imported" else CASES[case](alice)
    log_in(client, email, "wrong 1")
    assert sorted(hash_calls) == ["argon2", "bcrypt"]


def test_the_question_for_imported_hashes_uses_the_index(alice: User, count_queries: Callable[[], int]) -> None:
    from portal.accounts.services import signing_in

    give(alice, imported("something 1"))
    assert signing_in._imported_hashes_exist()
    give(alice, hashing.hash_password("something 1"))
    assert not signing_in._imported_hashes_exist()


# --- So many at once and no more ------------------------------------------------------------------------------------


def test_no_more_hashes_run_at_once_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve come at once: one is at work, two wait, and the rest hear at once that it is too busy."""
    running, most, refused, guard = 0, 0, 0, threading.Lock()
    all_here = threading.Event()

    class Slow:
        def hash(self, password: str) -> str:
            nonlocal running, most
            with guard:
                running += 1
                most = max(most, running)
            assert all_here.wait(10)
            with guard:
                running -= 1
            return "hash"

    def come() -> None:
        nonlocal refused
        try:
            hashing.hash_password("a 1")
        except TooBusy:
            with guard:
                refused += 1

    monkeypatch.setattr(hashing, "_hasher", Slow())
    threads = [threading.Thread(target=come) for _ in range(12)]
    for thread in threads:
        thread.start()
    staying = hashing.CONCURRENT_HASHES + hashing.LONGEST_LINE
    # Whoever is refused is so while the others still wait: no thread of the server is held for it.
    processes.wait_until(lambda: refused == 12 - staying, what="the refusals")
    all_here.set()
    for thread in threads:
        thread.join()
    assert (most, refused) == (hashing.CONCURRENT_HASHES, 12 - staying)


def test_the_line_for_hashes_leaves_a_thread_for_the_shop() -> None:
    """Counted against the smallest number of threads that a web process is started with."""
    command = launcher.web_command(port=1)
    threads = int(command[command.index("--blocking-threads") + 1])
    assert threads > hashing.CONCURRENT_HASHES + hashing.LONGEST_LINE


def test_who_would_wait_too_long_is_told_so(client: FlaskClient, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "LONGEST_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(hashing, "_slots", threading.BoundedSemaphore(1))
    with hashing._slot():
        with pytest.raises(TooBusy):
            hashing.hash_password("a 1")
        response = log_in(client, "alice@example.com")
    assert response.status_code == 503
    assert "Very many people are logging in right now" in response.get_data(as_text=True)
    # Nobody has looked at the password: such a try is none of the five that are free.
    assert db.session.scalars(select(SignIn)).all() == []
    assert log_in(client, "alice@example.com").status_code == 303


def test_in_a_flood_nothing_is_written_for_whom_there_is_no_room(
    client: FlaskClient, alice: User, monkeypatch: pytest.MonkeyPatch, count_queries: Callable[[], int]
) -> None:
    monkeypatch.setattr(hashing, "_places", threading.BoundedSemaphore(1))
    client.get("/login")
    with hashing._slot():
        count_queries()
        response = log_in(client, "alice@example.com")
        assert (response.status_code, count_queries()) == (503, 0)
    assert log_in(client, "alice@example.com").status_code == 303

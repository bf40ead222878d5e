"""Cheap hashes for the tests of accounts; the real parameters have a test of their own."""

import dataclasses
from collections.abc import Iterator
from datetime import timedelta

import bcrypt
import pytest
from argon2 import PasswordHasher

from portal.accounts import hashing
from portal.accounts.services import throttling
from tests import factories


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Argon2id with next to no work: each real hash would cost the suite a twentieth of a second."""
    monkeypatch.setattr(hashing, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    hashing._stand_in.cache_clear()
    factories.password_hash()
    yield
    hashing._stand_in.cache_clear()


@pytest.fixture(autouse=True)
def long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first wait that no slow machine sits out by accident between two guesses of a test."""
    for name in ("PAIR", "ACCOUNT", "NETWORK"):
        limit = getattr(throttling, name)
        monkeypatch.setattr(throttling, name, dataclasses.replace(limit, first_wait=timedelta(minutes=2)))


@pytest.fixture
def hash_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What slow work was done: "argon2" for each Argon2 hash made or checked, "bcrypt" for each of bcrypt's."""
    calls: list[str] = []
    hasher, checkpw = hashing._hasher, bcrypt.checkpw
    hashing._stand_in()
    hashing._imported_stand_in()

    class Counting:
        def hash(self, password: bytes) -> str:
            calls.append("argon2")
            return hasher.hash(password)

        def verify(self, stored: str, password: bytes) -> bool:
            calls.append("argon2")
            return hasher.verify(stored, password)

        def check_needs_rehash(self, stored: str) -> bool:
            return hasher.check_needs_rehash(stored)

    def checking(password: bytes, stored: bytes) -> bool:
        calls.append("bcrypt")
        return checkpw(password, stored)

    monkeypatch.setattr(hashing, "_hasher", Counting())
    monkeypatch.setattr(hashing.bcrypt, "checkpw", checking)
    return calls

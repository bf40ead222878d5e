"""Tokens, sealed values and signed references: what cannot be guessed, read or made up."""

from collections.abc import Iterator

import pytest
from flask import Flask

from portal import create_app
from portal.core import sealed
from tests.conftest import settings_for


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    app = create_app(settings_for("sqlite://", "redis://127.0.0.1:9/0", tmp_path_factory.mktemp("sealed")))
    with app.app_context():
        yield app


def test_tokens_are_long_and_never_the_same() -> None:
    tokens = {sealed.new_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert min(len(token) for token in tokens) >= 43


def test_only_a_tokens_hash_is_kept_and_any_text_has_one() -> None:
    token = sealed.new_token()
    assert token not in sealed.token_hash(token)
    assert sealed.token_hash(token) == sealed.token_hash(token) != sealed.token_hash(token + "x")
    for hostile in ("", "ą", "\ud800", "x" * 100_000, "\x00"):
        assert len(sealed.token_hash(hostile)) == 64


def test_what_is_sealed_can_be_read_with_the_same_key_and_purpose_only(site: Flask) -> None:
    closed = sealed.seal("JBSWY3DP", purpose="totp")
    assert "JBSWY3DP" not in closed
    assert closed != sealed.seal("JBSWY3DP", purpose="totp")
    assert sealed.unseal(closed, purpose="totp") == "JBSWY3DP"
    with pytest.raises(ValueError, match="another key"):
        sealed.unseal(closed, purpose="other")
    site.config["SECRET_KEY"] = "another-secret-of-more-than-thirty-two-letters"
    with pytest.raises(ValueError, match="another key"):
        sealed.unseal(closed, purpose="totp")


@pytest.mark.parametrize("broken", ["", "x", "gAAAA", "é"])
def test_what_was_never_sealed_cannot_be_read(site: Flask, broken: str) -> None:
    with pytest.raises(ValueError):
        sealed.unseal(broken, purpose="totp")


@pytest.mark.parametrize("value", [17, "ORD-20260121-A3F9", "", 0])
def test_a_signed_reference_can_be_read_and_not_made_up(site: Flask, value: int | str) -> None:
    signed = sealed.sign(value, purpose="order")
    assert sealed.read_signed(signed, purpose="order") == value
    assert sealed.read_signed(signed, purpose="invoice") is None
    assert sealed.read_signed(signed[:-1] + ("A" if signed[-1] != "A" else "B"), purpose="order") is None
    payload, _dot, signature = signed.rpartition(".")
    assert sealed.read_signed(f"{payload}x.{signature}", purpose="order") is None


@pytest.mark.parametrize("forged", ["", ".", "..", "a.b", "17", "\x00", "é.é", "x" * 10_000])
def test_nonsense_is_no_reference(site: Flask, forged: str) -> None:
    assert sealed.read_signed(forged, purpose="order") is None

"""Calling another company: whatever comes back, it is a whole answer or none, and never too much of it."""

from collections.abc import Callable
from decimal import Decimal

import pytest

from portal.payments.providers import calling
from portal.payments.providers.calling import Answer, Caller, NoAnswer

Start = Callable[[int, bytes], str]


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 0.1}', {"a": Decimal("0.1")}),
        (b"[1]", [1]),
        (b"", None),
        (b"<html>", None),
        (b'{"a"', None),
        (b"\xff", None),
        (b"[" * 100_000, None),
    ],
)
def test_an_answer_is_its_json_with_every_digit_or_nothing(raw_server: Start, body: bytes, value: object) -> None:
    assert Caller(raw_server(200, body)).call("GET", "x") == Answer(200, value)


@pytest.mark.parametrize(("status", "is_success"), [(200, True), (204, True), (302, False), (404, False), (500, False)])
def test_only_2xx_is_success_and_no_redirect_is_followed(raw_server: Start, status: int, is_success: bool) -> None:
    answer = Caller(raw_server(status, b"")).call("POST", "x", body={})
    assert (answer.status, answer.is_success) == (status, is_success)


def test_an_answer_without_end_is_cut_off(raw_server: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "LARGEST_ANSWER", 1_000)
    address = raw_server(200, b"1" * 1_001)
    with pytest.raises(NoAnswer, match="too long"):
        Caller(address).call("GET", "x")
    monkeypatch.setattr(calling, "LARGEST_ANSWER", 1_001)
    assert Caller(address).call("GET", "x").status == 200


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "http://127.0.0.1:99999", "nowhere://x", "http://["])
def test_nobody_there_is_no_answer(address: str) -> None:
    with pytest.raises(NoAnswer):
        Caller("").call("POST", address, body={})

"""Which passwords are taken."""

import pytest

from portal.accounts.password_rules import LONGEST, _common_passwords, password_problem

GOOD = ["correct horse 7", "żółw-w-7-rzekach", "パスワードabc1", "12345678901234567 x", "a1" * 64, "🔑🔑🔑🔑🔑🔑a1"]
BAD = {
    "short": "abc1234",
    "long": "a1" * 64 + "x",
    "no digit": "correct horse battery",
    "no letter": "8273645918273",
    "common": "password1",
    "common in capitals": "PassWord123",
    "common in wide letters": "ｐａｓｓｗｏｒｄ１",  # the point of the case
    "keyboard walk": "1q2w3e4r5t",
    "control character": "abcdefg\x07 1",
    "NUL": "abcdefgh\x001",
    "lone surrogate": "abcdefgh\ud8001",
    "its owner's name": "Kowalska-2026!",
}


@pytest.mark.parametrize("password", GOOD)
def test_good_passwords_are_taken(password: str) -> None:
    assert password_problem(password, email="kowalska@example.com") is None


@pytest.mark.parametrize("name", BAD)
def test_bad_passwords_are_refused_with_a_reason(app: object, name: str) -> None:
    problem = password_problem(BAD[name], email="Kowalska@example.com")
    assert problem is not None
    assert len(str(problem)) > 10


def test_a_very_short_name_in_a_password_means_nothing() -> None:
    assert password_problem("major figure 7", email="jo@example.com") is None


def test_the_length_is_counted_in_characters() -> None:
    assert password_problem("ż1" * (LONGEST // 2)) is None
    assert password_problem("ż1" * (LONGEST // 2) + "x") is not None


def test_the_list_of_common_passwords_is_long_and_to_the_point() -> None:
    common = _common_passwords()
    assert len(common) >= 3_000
    assert {
        "password1",
        "qwerty123",
        "haslo123",
        "iloveyou1",
        "p@ssw0rd1",
        "1qaz2wsx",
        "zaq12wsx",
        "letmein1",
    } <= common
    # An entry the other rules refuse anyway would only take room.
    assert all(len(entry) >= 8 and entry == entry.casefold() for entry in common)

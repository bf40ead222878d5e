"""The second factor: switched on and off, asked for at log-in, and recovery codes for when it is lost."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts import totp
from portal.accounts.models import LoginSession, RecoveryCode, SignIn, SignInOutcome, User
from portal.accounts.services import second_factor
from portal.accounts.services.signing_in import SignedIn
from portal.accounts.services.throttling import ACCOUNT, PAIR, Origin
from portal.core import clock
from portal.core.db import db, unit_of_work
from tests import factories
from tests.accounts import support
from tests.accounts.support import GOOD_PASSWORD, app_code, enter_code, is_signed_in, log_in
from tests.browser_like import post_form

Login = Callable[[User], FlaskClient]
WRONG = "That code is not right, or it was used already."


# --- Logging in -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [-1, 0, 1])
def test_a_code_of_now_or_next_to_it_signs_in(client: FlaskClient, alice: User, steps: int) -> None:
    secret = support.with_second_factor(alice)
    assert log_in(client, "alice@example.com").location == "/login/code"
    assert not is_signed_in(client)
    assert enter_code(client, app_code(secret, steps=steps)).status_code == 303
    assert is_signed_in(client)
    assert [row.outcome for row in db.session.scalars(select(SignIn))] == [SignInOutcome.SUCCESS]


@pytest.mark.parametrize("steps", [-3, 3])
def test_a_code_of_another_time_does_not(client: FlaskClient, alice: User, steps: int) -> None:
    secret = support.with_second_factor(alice)
    log_in(client, "alice@example.com")
    assert enter_code(client, app_code(secret, steps=steps)).status_code == 422
    assert not is_signed_in(client)


def test_the_password_alone_opens_nothing(client: FlaskClient, alice: User) -> None:
    support.with_second_factor(alice)
    log_in(client, "alice@example.com")
    assert client.get("/account").location == "/login?next=/account"
    assert db.session.scalars(select(LoginSession)).all() == []


def test_a_code_works_once(client: FlaskClient, alice: User) -> None:
    secret = support.with_second_factor(alice)
    code = app_code(secret)
    log_in(client, "alice@example.com")
    enter_code(client, code)
    thief = client.application.test_client()
    log_in(thief, "alice@example.com")
    response = enter_code(thief, code)
    assert response.status_code == 422
    assert WRONG in response.get_data(as_text=True)
    # Nor does an older one, still within the tolerance.
    assert enter_code(thief, app_code(secret, steps=-1)).status_code == 422
    assert enter_code(thief, app_code(secret, steps=1)).status_code == 303


def test_a_code_sent_twice_at_one_moment_works_once(app: Flask, alice: User) -> None:
    code = app_code(support.with_second_factor(alice))

    def use() -> bool:
        with unit_of_work():
            user = db.session.get_one(User, alice.id)
            tried = second_factor.try_code(user, code, origin=Origin(None, ""), is_remembered=False, at=clock.now())
        return isinstance(tried, SignedIn)

    assert sum(support.all_at_once(app, 5, use)) == 1


@pytest.mark.parametrize(
    "code", ["", "12345", "1234567", "abcdef", "000 000", "٣٤٥٦٧٨", "12345\x00", "x" * 64, "' OR 1=1"]
)
def test_what_is_no_code_is_refused(client: FlaskClient, alice: User, code: str) -> None:
    support.with_second_factor(alice)
    log_in(client, "alice@example.com")
    assert enter_code(client, code).status_code == 422


def test_spaces_in_a_code_do_not_matter(client: FlaskClient, alice: User) -> None:
    secret = support.with_second_factor(alice)
    log_in(client, "alice@example.com")
    code = app_code(secret)
    assert enter_code(client, f" {code[:3]} {code[3:]} ").status_code == 303


def test_guessing_codes_is_slowed(client: FlaskClient, alice: User) -> None:
    secret = support.with_second_factor(alice)
    log_in(client, "alice@example.com")
    answers = [enter_code(client, f"{number:06}") for number in range(PAIR.free + 2)]
    assert [answer.status_code for answer in answers] == [422] * PAIR.free + [429] * 2
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert enter_code(client, app_code(secret)).status_code == 429


def test_the_password_given_again_does_not_buy_more_guesses(client: FlaskClient, alice: User) -> None:
    support.with_second_factor(alice)
    looked_at = 0
    for number in range(30):
        browser = client.application.test_client()
        if log_in(browser, "alice@example.com").status_code == 303:
            looked_at += enter_code(browser, f"{number:06}").status_code == 422
    assert looked_at == PAIR.free


def test_guessing_codes_from_everywhere_is_slowed(app: Flask, alice: User) -> None:
    support.with_second_factor(alice)
    looked_at = 0
    for number in range(ACCOUNT.free + 10):
        with unit_of_work():
            tried = second_factor.try_code(
                alice, "000000", origin=Origin(f"192.0.2.{number}", ""), is_remembered=False, at=clock.now()
            )
        looked_at += getattr(tried, "error", None).__class__.__name__ == "WrongCode"
    assert looked_at == ACCOUNT.free


def test_the_half_finished_log_in_ends_after_ten_minutes(client: FlaskClient, alice: User) -> None:
    secret = support.with_second_factor(alice)
    log_in(client, "alice@example.com")
    page = client.get("/login/code")
    assert page.status_code == 200
    with clock.shifted(timedelta(minutes=10)):
        assert client.get("/login/code").location == "/login"
        response = post_form(client, "/login/code", {"code": app_code(secret)}, page="/login")
        assert response.location == "/login"
        assert not is_signed_in(client)


def test_it_ends_when_the_password_changes(client: FlaskClient, login: Login, alice: User) -> None:
    secret = support.with_second_factor(alice)
    log_in(client, "alice@example.com")
    post_form(login(alice), "/account/password", {"current": factories.PASSWORD, "password": GOOD_PASSWORD})
    assert enter_code(client, app_code(secret)).location == "/login"
    assert "That took too long." in client.get("/login").get_data(as_text=True)
    assert not is_signed_in(client)


def test_it_ends_when_the_account_is_closed(client: FlaskClient, alice: User) -> None:
    secret = support.with_second_factor(alice)
    log_in(client, "alice@example.com")
    with unit_of_work():
        alice.is_active = False
    assert enter_code(client, app_code(secret)).location == "/login"
    assert not is_signed_in(client)


@pytest.mark.parametrize("planted", ["x", "", {"user_id": 1}, None])
def test_a_made_up_first_step_is_none(client: FlaskClient, alice: User, planted: object) -> None:
    support.with_second_factor(alice)
    with client.session_transaction() as kept:
        kept["second_step"] = planted
    assert client.get("/login/code").location == "/login"


def test_without_a_token_no_code_counts(client: FlaskClient, alice: User) -> None:
    secret = support.with_second_factor(alice)
    log_in(client, "alice@example.com")
    assert client.post("/login/code", data={"code": app_code(secret)}).status_code == 400
    assert not is_signed_in(client)


def test_remember_me_survives_the_second_step(client: FlaskClient, alice: User) -> None:
    secret = support.with_second_factor(alice)
    log_in(client, "alice@example.com", remember="y")
    enter_code(client, app_code(secret))
    assert db.session.scalars(select(LoginSession)).one().is_remembered


# --- Switching it on and off ------------------------------------------------------------------------------------------


def key_on(browser: FlaskClient) -> str:
    """The secret that the set-up page shows."""
    found = re.search(r"<code>([A-Z2-7 ]{30,})</code>", browser.get("/account/security/totp").get_data(as_text=True))
    assert found is not None
    return found.group(1).replace(" ", "")


def codes_on(page: str) -> list[str]:
    """The recovery codes that a page shows."""
    return re.findall(r"<li><code>([A-Z2-9-]{14})</code></li>", page)


def test_switching_it_on_shows_ten_codes_once(client: FlaskClient, login: Login, alice: User) -> None:
    other = login(alice)
    log_in(client, "alice@example.com")
    page = client.get("/account/security/totp").get_data(as_text=True)
    assert 'src="data:image/svg+xml' in page
    secret = key_on(client)
    assert len(secret) == 32
    response = post_form(client, "/account/security/totp", {"code": app_code(secret)})
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    codes = codes_on(response.get_data(as_text=True))
    assert len(set(codes)) == totp.RECOVERY_CODES
    assert not any(code in client.get("/account/security").get_data(as_text=True) for code in codes)
    stored = support.fresh(alice)
    assert stored.has_second_factor
    assert secret not in str(stored.totp_secret_sealed)
    hashes = set(db.session.scalars(select(RecoveryCode.code_hash)))
    assert not hashes & set(codes)
    assert is_signed_in(client)
    assert not is_signed_in(other)
    assert support.subjects() == ["Two-step login was switched on"]
    assert ("second_factor.turned_on", "alice@example.com") in support.audit_lines()


def test_the_code_that_switched_it_on_does_not_sign_in(client: FlaskClient, alice: User) -> None:
    log_in(client, "alice@example.com")
    secret = key_on(client)
    code = app_code(secret)
    post_form(client, "/account/security/totp", {"code": code})
    other = client.application.test_client()
    log_in(other, "alice@example.com")
    assert enter_code(other, code).status_code == 422


def test_a_wrong_first_code_leaves_it_off_and_the_key_as_it_was(client: FlaskClient, alice: User) -> None:
    log_in(client, "alice@example.com")
    secret = key_on(client)
    response = post_form(client, "/account/security/totp", {"code": "000000"})
    assert response.status_code == 422
    assert not support.fresh(alice).has_second_factor
    assert key_on(client) == secret
    assert post_form(client, "/account/security/totp", {"code": app_code(secret)}).status_code == 200


def test_the_key_of_one_user_is_not_offered_to_the_next(client: FlaskClient, alice: User, bob: User) -> None:
    log_in(client, "alice@example.com")
    first = key_on(client)
    with client.session_transaction() as kept:
        waiting = kept["totp_set_up"]
    assert first not in waiting
    post_form(client, "/logout", page="/account")
    log_in(client, "bob@example.com")
    with client.session_transaction() as kept:
        kept["totp_set_up"] = waiting
    assert key_on(client) != first


def test_switching_it_on_twice_changes_nothing(client: FlaskClient, alice: User) -> None:
    log_in(client, "alice@example.com")
    secret = key_on(client)
    post_form(client, "/account/security/totp", {"code": app_code(secret)})
    assert client.get("/account/security/totp").location == "/account/security"
    again = post_form(client, "/account/security/totp", {"code": app_code(secret)}, page="/account")
    assert again.status_code == 303
    assert len(db.session.scalars(select(RecoveryCode)).all()) == totp.RECOVERY_CODES


@pytest.mark.parametrize("action", ["totp/off", "recovery-codes", "totp"])
def test_sensitive_actions_want_a_fresh_password_a_proven_address_and_a_token(
    client: FlaskClient, login: Login, alice: User, action: str
) -> None:
    support.with_second_factor(alice)
    address = f"/account/security/{action}"
    assert post_form(client, address, page="/login").location == "/login"
    stale = client.application.test_client()
    factories.sign_in(stale, alice, at=clock.now() - timedelta(minutes=20))
    assert post_form(stale, address, page="/account").location == "/confirm-password"
    unproven = login(factories.make_user(is_verified=False))
    assert post_form(unproven, address, page="/account").location == "/verify"
    assert login(alice).post(address, data={}).status_code == 400
    assert support.fresh(alice).has_second_factor
    assert db.session.scalars(select(RecoveryCode)).all() == []


def test_switching_it_off_forgets_everything(client: FlaskClient, login: Login, alice: User) -> None:
    support.with_second_factor(alice)
    support.with_recovery_codes(alice, "AAAA-BBBB-CCCC")
    other, browser = login(alice), login(alice)
    response = post_form(browser, "/account/security/totp/off", page="/account/security")
    assert response.location == "/account/security"
    user = support.fresh(alice)
    assert (user.totp_secret_sealed, user.totp_confirmed_at, user.totp_last_step) == (None, None, None)
    assert db.session.scalars(select(RecoveryCode)).all() == []
    assert is_signed_in(browser)
    assert not is_signed_in(other)
    assert log_in(client, "alice@example.com").location != "/login/code"
    assert post_form(browser, "/account/security/totp/off", page="/account/security").status_code == 303
    assert support.subjects() == ["Two-step login was switched off"]


# --- Recovery codes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", ["AAAA-BBBB-CCCC", "aaaabbbbcccc", " aaaa bbbb cccc "])
def test_a_recovery_code_signs_in_once_and_its_owner_hears_of_it(client: FlaskClient, alice: User, typed: str) -> None:
    support.with_second_factor(alice)
    support.with_recovery_codes(alice, "AAAA-BBBB-CCCC", "DDDD-EEEE-FFFF")
    log_in(client, "alice@example.com")
    assert enter_code(client, typed).status_code == 303
    assert is_signed_in(client)
    assert support.subjects() == ["A recovery code was used"]
    other = client.application.test_client()
    log_in(other, "alice@example.com")
    assert enter_code(other, typed).status_code == 422
    assert enter_code(other, "DDDD-EEEE-FFFF").status_code == 303


def test_a_recovery_code_of_somebody_else_is_wrong(client: FlaskClient, alice: User, mallory: User) -> None:
    support.with_second_factor(alice)
    support.with_recovery_codes(mallory, "AAAA-BBBB-CCCC")
    log_in(client, "alice@example.com")
    assert enter_code(client, "AAAA-BBBB-CCCC").status_code == 422


def test_one_recovery_code_sent_twice_at_one_moment_works_once(app: Flask, alice: User) -> None:
    support.with_second_factor(alice)
    support.with_recovery_codes(alice, "AAAA-BBBB-CCCC")

    def use() -> bool:
        with unit_of_work():
            user = db.session.get_one(User, alice.id)
            tried = second_factor.try_code(
                user, "AAAA-BBBB-CCCC", origin=Origin(None, ""), is_remembered=False, at=clock.now()
            )
        return isinstance(tried, SignedIn)

    assert sum(support.all_at_once(app, 5, use)) == 1


def test_new_codes_kill_the_old_ones(client: FlaskClient, login: Login, alice: User) -> None:
    support.with_second_factor(alice)
    support.with_recovery_codes(alice, "AAAA-BBBB-CCCC")
    response = post_form(login(alice), "/account/security/recovery-codes", page="/account/security")
    codes = codes_on(response.get_data(as_text=True))
    assert len(codes) == totp.RECOVERY_CODES
    log_in(client, "alice@example.com")
    assert enter_code(client, "AAAA-BBBB-CCCC").status_code == 422
    assert enter_code(client, codes[0]).status_code == 303


def test_there_are_no_codes_without_a_second_factor(login: Login, alice: User) -> None:
    response = post_form(login(alice), "/account/security/recovery-codes", page="/account/security")
    assert response.status_code == 409
    assert db.session.scalars(select(RecoveryCode)).all() == []


def test_the_page_warns_when_few_codes_are_left(login: Login, alice: User) -> None:
    support.with_second_factor(alice)
    support.with_recovery_codes(alice, "AAAA-BBBB-CCCC", "DDDD-EEEE-FFFF")
    page = login(alice).get("/account/security").get_data(as_text=True)
    assert "2 recovery codes left" in page
    assert "Make new ones before you lose your phone." in page


# --- The arithmetic ---------------------------------------------------------------------------------------------------


def test_the_codes_are_those_of_the_standard() -> None:
    """RFC 6238, appendix B, shortened to six digits."""
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # "12345678901234567890" in base 32.
    for seconds, code in ((59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")):
        at = datetime.fromtimestamp(seconds, UTC)
        assert totp.matching_step(secret, code, at=at, last_step=None) == seconds // 30


def test_recovery_codes_are_hard_to_guess_and_easy_to_read() -> None:
    codes = [code for _ in range(100) for code in totp.new_recovery_codes()]
    assert len(set(codes)) == 1_000
    assert all(re.fullmatch(r"[A-HJKMNP-TV-Z2-9]{4}(-[A-HJKMNP-TV-Z2-9]{4}){2}", code) for code in codes)


# --- Staff ------------------------------------------------------------------------------------------------------------


def test_staff_without_one_are_asked_to_switch_it_on_when_configured(
    login: Login, staff: User, alice: User, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = login(staff)
    assert "Please switch two-step login on" not in browser.get("/account/security").get_data(as_text=True)
    monkeypatch.setitem(app.config, "SETTINGS", support.changed(app, staff_second_factor=True))
    assert "Please switch two-step login on" in browser.get("/account/security").get_data(as_text=True)
    assert "Please switch two-step login on" not in login(alice).get("/account/security").get_data(as_text=True)
    secret = key_on(browser)
    post_form(browser, "/account/security/totp", {"code": app_code(secret)})
    assert "Please switch two-step login on" not in browser.get("/account/security").get_data(as_text=True)

"""Sessions on the server: how long they live, who ends them, and what the owner sees of them."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, select, update

from portal.accounts import loader
from portal.accounts.models import LoginSession, Role, SignIn, SignInOutcome, User
from portal.accounts.services import sessions
from portal.core import clock
from portal.core.db import db, unit_of_work
from tests import factories
from tests.accounts import support
from tests.accounts.support import is_signed_in, log_in
from tests.browser_like import post_form

Login = Callable[[User], FlaskClient]


@pytest.mark.parametrize(
    ("role", "remember", "alive", "dead"),
    [
        (Role.CUSTOMER, False, timedelta(hours=23, minutes=59), timedelta(hours=24)),
        (Role.PAID, False, timedelta(hours=23, minutes=59), timedelta(hours=24)),
        (Role.CUSTOMER, True, timedelta(days=6, hours=23), timedelta(days=7)),
        (Role.STAFF, False, timedelta(minutes=29), timedelta(minutes=30)),
        (Role.ADMIN, True, timedelta(minutes=29), timedelta(minutes=30)),
    ],
)
def test_an_idle_session_ends(
    client: FlaskClient, role: Role, remember: bool, alive: timedelta, dead: timedelta
) -> None:
    user = factories.make_user(role=role)
    log_in(client, user.email, **({"remember": "y"} if remember else {}))
    began = db.session.scalars(select(LoginSession)).one().last_seen_at
    with unit_of_work():
        db.session.execute(update(LoginSession).values(last_seen_at=began - alive))
    # At the edge the page itself would count as use, so look without leaving a mark.
    assert sessions.find_session(cookie_of(client), at=began) is not None
    assert sessions.find_session(cookie_of(client), at=began - alive + dead) is None
    with unit_of_work():
        db.session.execute(update(LoginSession).values(last_seen_at=began - dead))
    assert not is_signed_in(client)


@pytest.mark.parametrize(("role", "longest"), [(Role.CUSTOMER, timedelta(days=7)), (Role.STAFF, timedelta(hours=12))])
def test_a_session_in_use_ends_too(client: FlaskClient, role: Role, longest: timedelta) -> None:
    user = factories.make_user(role=role)
    log_in(client, user.email)
    with unit_of_work():
        db.session.execute(update(LoginSession).values(created_at=clock.now() - longest + timedelta(minutes=1)))
    assert is_signed_in(client)
    with unit_of_work():
        db.session.execute(update(LoginSession).values(created_at=clock.now() - longest))
    assert not is_signed_in(client)


def test_a_closed_user_is_out_at_the_next_request(login: Login, alice: User) -> None:
    browser = login(alice)
    assert is_signed_in(browser)
    with unit_of_work():
        db.session.execute(update(User).where(User.id == alice.id).values(is_active=False))
    assert not is_signed_in(browser)


@pytest.mark.parametrize("value", ["", "x", "x" * 5_000, "1", "\x00", "ü"])
def test_a_made_up_cookie_is_nobodys(client: FlaskClient, alice: User, value: str) -> None:
    with client.session_transaction() as kept:
        kept["_user_id"] = value
    assert not is_signed_in(client)


def test_who_is_there_costs_one_query(login: Login, alice: User, count_queries: Callable[[], int]) -> None:
    browser = login(alice)
    count_queries()
    assert browser.get("/confirm-password").status_code == 200
    assert count_queries() == 1


def test_last_seen_is_written_once_a_minute(login: Login, alice: User) -> None:
    browser = login(alice)
    began = seen_at()
    is_signed_in(browser)
    assert seen_at() == began
    with clock.shifted(timedelta(seconds=61)):
        is_signed_in(browser)
        second = seen_at()
        assert second >= began + timedelta(seconds=61)
        is_signed_in(browser)
        assert seen_at() == second


def test_a_read_only_database_does_not_keep_anyone_out(login: Login, alice: User) -> None:
    browser = login(alice)
    began = seen_at()
    with clock.shifted(timedelta(minutes=5)), read_only():
        assert is_signed_in(browser)
        # What must write says so, and that nothing was lost.
        response = post_form(browser, "/account", {"name": "Alice", "locale": "en"})
        assert response.status_code == 503
    assert seen_at() == began
    with clock.shifted(timedelta(minutes=5)):
        assert is_signed_in(browser)
    assert seen_at() > began


def test_a_locked_database_does_not_hold_up_the_answer(
    app: Flask, login: Login, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "_PATIENCE_MS", 20)
    browser = login(alice)
    began = seen_at()
    with db.engine.connect() as other:
        if db.engine.dialect.name == "sqlite":
            other.exec_driver_sql("ROLLBACK")
            other.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            other.execute(select(LoginSession).with_for_update())
        with clock.shifted(timedelta(minutes=5)):
            assert is_signed_in(browser)
        other.rollback()
    assert seen_at() == began


def test_the_page_lists_live_sessions_this_one_first(login: Login, client: FlaskClient, alice: User, bob: User) -> None:
    log_in(client, "alice@example.com")
    with unit_of_work():
        db.session.add(make_session(alice, user_agent="Mozilla/5.0 (iPhone) Version/17 Safari/604"))
        db.session.add(
            make_session(alice, last_seen_at=clock.now() - timedelta(days=2), user_agent="Firefox/1 Windows")
        )
        db.session.add(make_session(bob, user_agent="Mozilla/5.0 (Windows) Edg/120"))
    page = client.get("/account/security").get_data(as_text=True)
    assert page.index("This browser") < page.index("Safari on iPhone")
    assert "Firefox on Windows" not in page
    assert "Edge on Windows" not in page


def test_end_one_session(client: FlaskClient, login: Login, alice: User) -> None:
    other = login(alice)
    other_id = db.session.scalars(select(LoginSession.id)).one()
    log_in(client, "alice@example.com")
    response = post_form(client, f"/account/security/sessions/{other_id}/end", page="/account/security")
    assert response.status_code == 303
    assert response.location == "/account/security"
    assert not is_signed_in(other)
    assert is_signed_in(client)
    assert ("session.ended", "alice@example.com") in support.audit_lines()


def test_end_one_session_with_htmx_gives_the_list_and_a_message(client: FlaskClient, login: Login, alice: User) -> None:
    login(alice)
    other_id = db.session.scalars(select(LoginSession.id)).one()
    log_in(client, "alice@example.com")
    address = f"/account/security/sessions/{other_id}/end"
    response = post_form(client, address, page="/account/security", htmx=True)
    page = response.get_data(as_text=True)
    assert response.status_code == 200
    assert page.lstrip().startswith('<section class="card-box card-flush" id="sessions">')
    assert "That browser is logged out." in page
    assert f"session-{other_id}" not in page


def test_end_a_session_twice(client: FlaskClient, login: Login, alice: User) -> None:
    login(alice)
    other_id = db.session.scalars(select(LoginSession.id)).one()
    log_in(client, "alice@example.com")
    address = f"/account/security/sessions/{other_id}/end"
    assert post_form(client, address, page="/account/security").status_code == 303
    assert post_form(client, address, page="/account/security").status_code == 404


def test_a_strangers_session_looks_like_none(client: FlaskClient, login: Login, alice: User, mallory: User) -> None:
    alices = login(alice)
    hers = db.session.scalars(select(LoginSession.id)).one()
    log_in(client, "mallory@example.com")
    strangers = post_form(client, f"/account/security/sessions/{hers}/end", page="/account/security")
    nobodys = post_form(client, "/account/security/sessions/999999/end", page="/account/security")
    assert strangers.status_code == nobodys.status_code == 404
    assert support.without_tokens(strangers.get_data(as_text=True)) == support.without_tokens(
        nobodys.get_data(as_text=True)
    )
    assert is_signed_in(alices)


def test_ending_ones_own_session_logs_out(client: FlaskClient, alice: User) -> None:
    log_in(client, "alice@example.com")
    own = db.session.scalars(select(LoginSession.id)).one()
    response = post_form(client, f"/account/security/sessions/{own}/end", page="/account/security")
    assert response.location == "/login"
    assert not is_signed_in(client)


@pytest.mark.parametrize("htmx", [False, True])
def test_end_all_others(client: FlaskClient, login: Login, alice: User, bob: User, htmx: bool) -> None:
    others, bobs = [login(alice), login(alice)], login(bob)
    log_in(client, "alice@example.com")
    address = "/account/security/sessions/end-others"
    response = post_form(client, address, page="/account/security", htmx=htmx)
    assert response.status_code == (200 if htmx else 303)
    assert [is_signed_in(browser) for browser in (*others, client, bobs)] == [False, False, True, True]


@pytest.mark.parametrize("htmx", [False, True])
def test_sign_out_everywhere(client: FlaskClient, login: Login, alice: User, bob: User, htmx: bool) -> None:
    other, bobs = login(alice), login(bob)
    log_in(client, "alice@example.com")
    address = "/account/security/sessions/end-all"
    response = post_form(client, address, page="/account/security", htmx=htmx)
    assert (response.headers["HX-Redirect"] if htmx else response.location) == "/login"
    assert [is_signed_in(browser) for browser in (other, client, bobs)] == [False, False, True]
    assert ("session.all_ended", "alice@example.com") in support.audit_lines()


@pytest.mark.parametrize("address", ["1/end", "end-others", "end-all"])
def test_logged_out_visitors_end_nothing(client: FlaskClient, login: Login, alice: User, address: str) -> None:
    browser = login(alice)
    response = post_form(client, f"/account/security/sessions/{address}", page="/login")
    assert response.location == "/login"
    assert is_signed_in(browser)


def test_the_history_is_paged_and_the_users_own(client: FlaskClient, alice: User, mallory: User) -> None:
    with unit_of_work():
        for number in range(30):
            tried = SignIn(
                user_id=alice.id if number % 2 else mallory.id,
                account_key="key",
                ip_address=f"192.0.2.{number}",
                outcome=SignInOutcome.WRONG_PASSWORD,
                at=clock.now() - timedelta(days=1),
            )
            db.session.add(tried)
            db.session.flush()
    log_in(client, "alice@example.com")
    shown = addresses_shown(client, "/account/security")
    assert shown == [f"192.0.2.{number}" for number in range(29, 11, -2)]
    older = re.findall(
        r'href="(/account/security\?before=\d+)"', client.get("/account/security").get_data(as_text=True)
    )
    assert addresses_shown(client, older[0]) == [f"192.0.2.{number}" for number in range(11, 0, -2)]


@pytest.mark.parametrize(
    "query", ["before=-1", "after=1e9", "before=x&after=y", "before=" + "9" * 40, "before=1&before=2"]
)
def test_odd_pages_of_the_history_are_pages(login: Login, alice: User, query: str) -> None:
    assert login(alice).get(f"/account/security?{query}").status_code == 200


def addresses_shown(browser: FlaskClient, page: str) -> list[str]:
    """The network addresses of the history on a page, in order."""
    return re.findall(r"192\.0\.2\.\d+", browser.get(page).get_data(as_text=True))


def seen_at() -> datetime:
    """When the only session was last used, as the database has it."""
    db.session.rollback()
    return db.session.scalars(select(LoginSession.last_seen_at)).one()


def cookie_of(browser: FlaskClient) -> str:
    """The session token in a browser's cookie."""
    with browser.session_transaction() as kept:
        return str(kept["_user_id"])


def make_session(user: User, *, user_agent: str, last_seen_at: datetime | None = None) -> LoginSession:
    """Another browser of a user."""
    at = last_seen_at or clock.now()
    return LoginSession(
        token_hash=f"{user.id}-{user_agent}-{at}"[:64], user_id=user.id, user_agent=user_agent,
        created_at=at, authenticated_at=at, last_seen_at=at,
    )  # fmt: skip


@contextmanager
def read_only() -> Iterator[None]:
    """The database takes no writes, as a replica or a full disk would not."""
    statement = (
        "PRAGMA query_only=ON"
        if db.engine.dialect.name == "sqlite"
        else "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"
    )

    def forbid(connection: object, _record: object, _proxy: object = None) -> None:
        connection.execute(statement)  # type: ignore[attr-defined]  # any driver's connection
        if db.engine.dialect.name != "sqlite":
            connection.commit()  # type: ignore[attr-defined]  # any driver's connection

    db.session.remove()
    db.engine.dispose()
    event.listen(db.engine, "connect", forbid)
    try:
        yield
    finally:
        event.remove(db.engine, "connect", forbid)
        db.session.remove()
        db.engine.dispose()

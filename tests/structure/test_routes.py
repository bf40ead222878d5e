"""Who may use which address: the whole table, and each of its rows tried by everybody."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal import create_app
from portal.core import clock
from portal.core.access import Access, public
from tests.browser_like import token_of
from tests.conftest import settings_for
from tests.structure import keeping, routes, world
from tests.structure.routes import Route
from tests.structure.world import World

pytestmark = pytest.mark.xdist_group("house")

ROLES = ("anonymous", "unverified", "mallory", "alice", "staff", "admin")
MAY = {
    Access.PUBLIC: set(ROLES),
    Access.LOGGED_IN: set(ROLES) - {"anonymous"},
    Access.VERIFIED: set(ROLES) - {"anonymous", "unverified"},
    Access.STAFF: {"staff", "admin"},
    Access.ADMIN: {"admin"},
}
# Pages that send everybody, or these people, elsewhere although they may see them; or that need something first.
ELSEWHERE: dict[str, dict[str, int]] = {
    "site.set_locale": dict.fromkeys(ROLES, 303),
    # Nobody logs in or registers twice, and nobody has just given a password.
    "accounts.log_in": dict.fromkeys(set(ROLES) - {"anonymous"}, 302),
    "accounts.register": dict.fromkeys(set(ROLES) - {"anonymous"}, 302),
    "accounts.second_step": dict.fromkeys(ROLES, 302),
    "accounts.verify_pending": dict.fromkeys(set(ROLES) - {"anonymous", "unverified"}, 302),
    "accounts.verify_resend": dict.fromkeys(ROLES, 302),
    # No such link.
    "accounts.verify": dict.fromkeys(ROLES, 404),
    "accounts.reset_password": dict.fromkeys(ROLES, 404),
    "accounts.set_up": dict.fromkeys(ROLES, 404),
    "dev_ui.error_page": dict.fromkeys(ROLES, 404),
    # An empty cart has nothing to pay for; alice's is full.
    "checkout.start": {role: 303 for role in ROLES if role != "alice"},
    "checkout.review": {role: 303 for role in ROLES if role != "alice"},
    # Whoever has an account begins a quote there.
    "quotes.start": dict.fromkeys(set(ROLES) - {"anonymous"}, 303),
    "devtools.attachment": dict.fromkeys(ROLES, 404),
    # The form for buying a site stands on the site's page.
    "sites.purchase_form": dict.fromkeys(ROLES, 303),
    # A customer's link leads to the purchase, for whoever has it.
    "purchases.open_link": dict.fromkeys(ROLES, 303),
    # A part of the order's page, which is shown to whoever asks for it alone.
    "production.progress": {"alice": 303},
    # This one is paid.
    "pay.cancelled": dict.fromkeys(ROLES, 303),
}
# Addresses about alice's things that staff may open as themselves.
FOR_STAFF_TOO = {"invoices.show", "invoices.pdf", "credit_notes.show", "credit_notes.pdf"}
# Taking away what is not there is done already.
NOTHING_TO_DO = {"cart.remove"}
DATABASE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def house(app: Flask) -> World:
    return keeping.house(app)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """An application that nobody connects to a database."""
    return create_app(settings_for("sqlite://", "redis://127.0.0.1:9/0", tmp_path_factory.mktemp("routes")))


def test_every_route_is_listed_and_every_listed_route_exists(site: Flask) -> None:
    listed, existing = {str(route) for route in routes.listed()}, {str(route) for route in routes.existing(site)}
    assert sorted(existing - listed) == [], "decide who may use these, in tests/structure/routes.txt"
    assert sorted(listed - existing) == [], "these have vanished or changed"


def test_production_has_the_same_routes_without_the_developers(tmp_path: object, site: Flask) -> None:
    settings = settings_for(
        "sqlite://", "redis://127.0.0.1:9/0", tmp_path, portal_env="production", sandbox_enabled=False,
        portal_url="https://portal.example.com",
    )  # fmt: skip
    there = {route.address for route in routes.existing(create_app(settings))}
    gone = {route.address for route in routes.listed()} - there
    assert all(address.startswith(("/dev/", "/sandbox/")) for address in gone)
    assert not [address for address in there if address.startswith(("/dev/", "/sandbox/"))]


def test_an_undecided_route_stops_the_start(tmp_path: object) -> None:
    from portal.core import access

    app = create_app(settings_for("sqlite://", "redis://127.0.0.1:9/0", tmp_path))
    app.view_functions["forgotten"] = lambda: "x"
    with pytest.raises(RuntimeError, match="forgotten"):
        access.check_all_declared(app)
    app.view_functions["forgotten"] = public(lambda: "x")
    access.check_all_declared(app)


def expected(route: Route, role: str) -> int:
    """How a GET by somebody must be answered when alice's things are asked for."""
    if "key" in route.marks:
        return 401
    if role not in MAY[route.level]:
        return 403 if route.level in (Access.STAFF, Access.ADMIN) and role != "anonymous" else 303
    if route.is_owned and role != "alice" and not (role in ("staff", "admin") and route.endpoint in FOR_STAFF_TOO):
        return 404
    return ELSEWHERE.get(route.endpoint, {}).get(role, 200)


@DATABASE
def test_every_page_opens_for_whom_it_is_meant_and_for_nobody_else(house: World) -> None:
    wrong = []
    for role in ROLES:
        browser = house.browser(role)
        for route in routes.listed():
            if route.method != "GET":
                continue
            path = route.path(house.values)
            answer = browser.get(path, buffered=True)
            if answer.status_code != expected(route, role):
                wrong.append(f"{role}: {path} gave {answer.status_code}, not {expected(route, role)}")
            if role not in MAY[route.level] and answer.status_code == 303:
                goal = "/login?next=" if role == "anonymous" else "/verify"
                assert answer.location.startswith(goal), f"{role}: {path} leads to {answer.location}"
    assert not wrong, "\n".join(wrong)


@DATABASE
def test_a_strangers_thing_looks_like_one_that_does_not_exist(house: World) -> None:
    """Same status, same words: nobody learns which numbers exist."""
    browser = house.browser("mallory")
    for route in routes.listed():
        if route.method == "GET" and route.is_owned:
            theirs = browser.get(route.path(house.values))
            unknown = browser.get(route.path({}))
            assert theirs.status_code == unknown.status_code == 404
            assert _words(theirs, route.path(house.values)) == _words(unknown, route.path({})), route


def _words(answer: object, path: str) -> str:
    text: str = answer.get_data(as_text=True).replace(path, "")  # type: ignore[attr-defined]  # a test answer
    for name in ("X-Request-ID",):
        text = text.replace(answer.headers[name], "")  # type: ignore[attr-defined]  # a test answer
    return text


def forms(house: World, wants: Callable[[Route, str], bool]) -> list[tuple[Route, str, FlaskClient]]:
    """Every form address with everybody who is wanted to try it."""
    browsers = {role: house.browser(role) for role in ROLES}
    return [
        (route, role, browser)
        for role, browser in browsers.items()
        for route in routes.listed()
        if route.method != "GET" and not route.marks & {"signed", "key"} and wants(route, role)
    ]


@DATABASE
def test_forms_of_others_change_nothing(house: World) -> None:
    """With a good token, from somebody who may not: refused before anything is read."""
    trials = forms(house, lambda route, role: role not in MAY[route.level])
    before = world.everything()
    for route, role, browser in trials:
        answer = browser.post(route.path(house.values), data={"csrf_token": token_of(browser)})
        is_closed = route.level in (Access.STAFF, Access.ADMIN) and role != "anonymous"
        assert answer.status_code == (403 if is_closed else 303), f"{role}: {route} gave {answer.status_code}"
    assert world.everything() == before
    assert len(trials) > 60


@DATABASE
def test_forms_about_anothers_things_change_nothing(house: World) -> None:
    trials = forms(house, lambda route, role: route.is_owned and role != "alice" and role in MAY[route.level])
    before = world.everything()
    for route, role, browser in trials:
        values = {"csrf_token": token_of(browser), "quantity": "5", "provider": "sandbox"}
        answer = browser.post(route.path(house.values), data=values)
        allowed = (303,) if route.endpoint in NOTHING_TO_DO else (404, 409)
        assert answer.status_code in allowed, f"{role}: {route} gave {answer.status_code}"
    assert world.everything() == before
    assert len(trials) > 10


@DATABASE
def test_what_needs_the_password_again_asks_for_it(house: World) -> None:
    before = None
    for role in ("alice", "admin"):
        browser = house.browser(role, at=clock.now() - timedelta(minutes=16))
        before = before or world.everything()
        for route in routes.listed():
            if "recent" in route.marks and role in MAY[route.level]:
                values = {"csrf_token": token_of(browser)} if route.method == "POST" else None
                answer = browser.open(route.path(house.values), method=route.method, data=values)
                assert answer.status_code == 303, f"{role}: {route} gave {answer.status_code}"
                assert answer.location.startswith("/confirm-password")
    assert before is not None


@DATABASE
def test_staff_who_owe_their_second_factor_get_no_further(house: World) -> None:
    from dataclasses import replace

    usual = house.app.config["SETTINGS"]
    house.app.config["SETTINGS"] = replace(usual, staff_second_factor=True)
    try:
        browser = house.browser("staff")
        before = world.everything()
        for route in routes.listed():
            if route.level is Access.STAFF:
                values = {"csrf_token": token_of(browser)} if route.method == "POST" else None
                answer = browser.open(route.path(house.values), method=route.method, data=values)
                assert (answer.status_code, answer.location) == (303, "/account/security"), str(route)
        assert world.everything() == before
    finally:
        house.app.config["SETTINGS"] = usual


def test_the_table_can_fail(site: Flask) -> None:
    """A route without a row, one with another level, and a row without a route are all seen."""
    view = site.view_functions["customer.dashboard"]
    site.view_functions["customer.dashboard"] = public(lambda: "x")
    try:
        changed = {str(route) for route in routes.existing(site)} ^ {str(route) for route in routes.listed()}
    finally:
        site.view_functions["customer.dashboard"] = view
    assert changed == {
        "GET /dashboard customer.dashboard public",
        "GET /dashboard customer.dashboard logged_in",
    }

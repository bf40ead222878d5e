"""No form of the portal works without the token of the page it stood on, whoever sends it and however."""

import json

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.browser_like import token_of
from tests.structure import keeping, routes, world
from tests.structure.routes import Route
from tests.structure.world import World

pytestmark = [pytest.mark.parametrize("database", ["sqlite"], indirect=True), pytest.mark.xdist_group("house")]
FORMS = [route for route in routes.listed() if route.method != "GET" and not route.marks & {"signed", "key"}]
WHO = {"public": "alice", "logged_in": "alice", "verified": "alice", "staff": "admin", "admin": "admin"}


@pytest.fixture
def house(app: Flask) -> World:
    return keeping.house(app)


def is_refused(answer: TestResponse) -> bool:
    """Answered 400 with the words about an old page."""
    return answer.status_code == 400 and "open for too long" in answer.get_data(as_text=True)


@pytest.mark.parametrize("who", ["anonymous", "the right one"])
def test_without_a_token_nothing_happens(house: World, who: str) -> None:
    browsers = {role: house.browser(role) for role in ("anonymous", "alice", "admin")}
    before = world.everything()
    for route in FORMS:
        browser = browsers["anonymous" if who == "anonymous" else WHO[route.level]]
        assert is_refused(browser.post(route.path(house.values))), str(route)
    assert world.everything() == before


def bad_tokens(house: World) -> dict[str, str]:
    """Tokens that are none, or somebody else's."""
    stranger = house.browser("mallory")
    with stranger.session_transaction() as cookie:
        cookie["csrf_token"] = "0" * 40
    return {"empty": "", "made up": "x" * 90, "a stranger's": token_of(stranger)}


def test_another_token_is_none(house: World) -> None:
    browsers = {role: house.browser(role) for role in ("alice", "admin")}
    tokens = bad_tokens(house)
    for browser in browsers.values():
        token_of(browser)
    before = world.everything()
    for route in FORMS:
        for kind, token in tokens.items():
            browser = browsers[WHO[route.level]]
            assert is_refused(browser.post(route.path(house.values), data={"csrf_token": token})), f"{kind}: {route}"
    assert world.everything() == before


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "htmx"])
def test_other_ways_of_sending_are_no_way_around(house: World, kind: str) -> None:
    """A cross-site form can send text/plain; htmx and JSON carry the token like everybody else."""
    browsers = {role: house.browser(role) for role in ("alice", "admin")}
    before = world.everything()
    for route in FORMS:
        browser, path = browsers[WHO[route.level]], route.path(house.values)
        if kind == "htmx":
            answer = browser.post(
                path, data={"a": "b"}, headers={"HX-Request": "true", "Origin": "https://evil.example"}
            )
        else:
            answer = browser.post(path, data=json.dumps({"csrf_token": "x"}), content_type=kind)
        assert answer.status_code == 400, str(route)
    assert world.everything() == before


def test_no_other_method_slips_past(house: World) -> None:
    """PUT, PATCH and DELETE have no route; GET never writes where only a form may."""
    browser = house.browser("admin")
    before = world.everything()
    only_posted = {route.address for route in FORMS} - {r.address for r in routes.listed() if r.method == "GET"}
    for route in FORMS:
        path = route.path(house.values)
        for method in ("PUT", "PATCH", "DELETE"):
            assert browser.open(path, method=method).status_code == 405, f"{method} {path}"
        if route.address in only_posted:
            assert browser.get(path).status_code in (404, 405), f"GET {path}"
    assert world.everything() == before


def test_webhooks_need_no_token_and_heed_no_cookie(house: World) -> None:
    """Exempt, and so blind to who is signed in: only the signature counts."""
    signed = [route for route in routes.listed() if "signed" in route.marks]
    assert {route.endpoint.split(".")[0] for route in signed} == {"webhooks"}
    browser = house.browser("admin")
    for route in signed:
        answer = browser.post(route.path(house.values), data="{}", content_type="application/json")
        assert answer.status_code == 400
        assert answer.get_json()["error"]["code"] == "invalid_signature"
        assert "Set-Cookie" not in answer.headers


def test_programs_need_no_token_and_bring_no_cookie(house: World) -> None:
    """Exempt, and so blind to who is signed in: only the key counts."""
    keyed = [route for route in routes.listed() if "key" in route.marks]
    assert {route.address.split("/")[1] for route in keyed} == {"api"}
    browser = house.browser("admin")
    for route in keyed:
        answer = browser.open(route.path(house.values), method=route.method, data="{}", content_type="application/json")
        assert answer.status_code == 401
        assert answer.get_json()["error"]["code"] == "missing_key"
        assert "Set-Cookie" not in answer.headers


def test_with_its_token_the_same_form_works(house: World) -> None:
    """The control: what is refused above is refused for the token alone."""
    browser = house.browser("alice")
    route: Route = next(route for route in FORMS if route.endpoint == "cart.remove")
    assert is_refused(browser.post(route.path(house.values)))
    before = world.everything()
    assert browser.post(route.path(house.values), data={"csrf_token": token_of(browser)}).status_code == 303
    assert world.everything() != before

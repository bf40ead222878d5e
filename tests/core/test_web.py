"""What every answer has: error pages, ids, headers, a language; and what a forged request cannot change."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask, jsonify, request, session
from flask.testing import FlaskClient
from redis.exceptions import ConnectionError as RedisAway
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import RequestEntityTooLarge, TooManyRequests

from portal import create_app
from portal.core import context
from portal.core.access import public
from portal.core.db import dispose
from portal.core.errors import Conflict, Forbidden, Invalid, NotFound, PortalError, TooMany, Unavailable
from portal.core.web import CONTENT_SECURITY_POLICY, is_unavailable
from tests.conftest import settings_for


class WithState(Exception):
    """A driver's error as psycopg raises it."""

    def __init__(self, sqlstate: str | None) -> None:
        self.sqlstate = sqlstate


TROUBLE: dict[str, Callable[[], Exception]] = {
    "plain": PortalError,
    "invalid": lambda: Invalid("The <b>name</b> is missing.", field="name"),
    "forbidden": Forbidden,
    "not_found": NotFound,
    "conflict": Conflict,
    "too_many": TooMany,
    "unavailable": Unavailable,
    "away": lambda: OperationalError("SELECT secret_column", {}, Exception("no route to 10.0.0.5")),
    "busy": lambda: OperationalError("UPDATE", {}, WithState("55P03")),
    "pool": lambda: PoolTimeout("QueuePool limit"),
    "redis": lambda: RedisAway("refused"),
    "impossible": lambda: DataError("SELECT", {}, WithState("22003")),
    "bug": lambda: ZeroDivisionError("secret detail"),
    "bug_in_sql": lambda: IntegrityError("INSERT INTO secret_table", {}, WithState("23505")),
    "too_large": RequestEntityTooLarge,
    "limited": lambda: TooManyRequests(retry_after=42),
}
STATUS = {
    "plain": (400, "bad_request"), "invalid": (422, "invalid"), "forbidden": (403, "forbidden"),
    "not_found": (404, "not_found"), "conflict": (409, "conflict"), "too_many": (429, "too_many_requests"),
    "unavailable": (503, "unavailable"), "away": (503, "unavailable"), "busy": (503, "unavailable"),
    "pool": (503, "unavailable"), "redis": (503, "unavailable"), "impossible": (400, "bad_request"),
    "bug": (500, "internal"), "bug_in_sql": (500, "internal"), "too_large": (413, "request_entity_too_large"),
    "limited": (429, "too_many_requests"),
}  # fmt: skip


def make_site(folder: Path, **changes: Any) -> Flask:
    """The portal without a database, with a few addresses that cause trouble or say what they see."""
    app = create_app(settings_for("sqlite://", "redis://127.0.0.1:9/0", folder, **changes))
    bp = Blueprint("trouble", __name__)

    @bp.route("/trouble/<kind>", methods=["GET", "POST"])
    @bp.route("/api/trouble/<kind>", methods=["GET"])
    @public
    def trouble(kind: str) -> Any:
        error = TROUBLE[kind]()
        raise error

    @bp.get("/seen")
    @public
    def seen() -> Any:
        return jsonify(
            remote=request.remote_addr, scheme=request.scheme, host=request.host,
            client=context.client_address(), id=context.request_id(),
        )  # fmt: skip

    @bp.get("/leave")
    @public
    def leave() -> Any:
        from portal.core import htmx

        return htmx.leave("/packages")

    app.register_blueprint(bp)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    return app


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    app = make_site(tmp_path_factory.mktemp("web"))
    yield app
    dispose(app)


@pytest.fixture
def browser(site: Flask) -> FlaskClient:
    return site.test_client()


# --- errors ---


@pytest.mark.parametrize("kind", sorted(TROUBLE))
def test_people_get_a_page_that_says_what_happened(browser: FlaskClient, kind: str) -> None:
    answer = browser.get(f"/trouble/{kind}")
    status, _code = STATUS[kind]
    assert answer.status_code == status
    assert answer.mimetype == "text/html"
    text = answer.get_data(as_text=True)
    assert answer.headers["X-Request-ID"] in text
    for secret in ("secret", "10.0.0.5", "Traceback", "ZeroDivision", "INSERT", "SELECT", "QueuePool"):
        assert secret not in text


@pytest.mark.parametrize("kind", sorted(TROUBLE))
@pytest.mark.parametrize("way", ["path", "accept"])
def test_programs_get_json(browser: FlaskClient, kind: str, way: str) -> None:
    if way == "path":
        answer = browser.get(f"/api/trouble/{kind}")
    else:
        answer = browser.get(f"/trouble/{kind}", headers={"Accept": "application/json"})
    status, code = STATUS[kind]
    assert answer.status_code == status
    error = answer.get_json()["error"]
    assert set(error) == {"type", "code", "message", "field", "fields", "request_id"}
    assert error["fields"] == []
    assert error["code"] == code
    assert error["request_id"] == answer.headers["X-Request-ID"]
    assert error["field"] == ("name" if kind == "invalid" else None)
    assert "secret" not in str(error)


def test_what_an_error_says_is_escaped(browser: FlaskClient) -> None:
    text = browser.get("/trouble/invalid").get_data(as_text=True)
    assert "The &lt;b&gt;name&lt;/b&gt; is missing." in text


def test_htmx_gets_the_error_without_a_page_around_it(browser: FlaskClient) -> None:
    text = browser.get("/trouble/conflict", headers={"HX-Request": "true"}).get_data(as_text=True)
    assert "<html" not in text
    assert "This changed in the meantime" in text


def test_errors_speak_the_readers_language(browser: FlaskClient) -> None:
    english = browser.get("/trouble/conflict").get_data(as_text=True)
    polish = browser.get("/trouble/conflict", headers={"Accept-Language": "pl"}).get_data(as_text=True)
    assert 'lang="pl"' in polish
    assert "This changed in the meantime" in english
    assert "This changed in the meantime" not in polish


@pytest.mark.parametrize("kind", ["away", "busy", "pool", "redis"])
def test_what_may_work_again_says_when_to_try(browser: FlaskClient, kind: str) -> None:
    assert browser.get(f"/trouble/{kind}").headers["Retry-After"] == "5"


def test_a_limit_says_when_to_try_again(browser: FlaskClient) -> None:
    assert browser.get("/trouble/limited").headers["Retry-After"] == "42"


def test_an_address_that_does_not_exist_is_a_page_too(browser: FlaskClient) -> None:
    assert browser.get("/no/such/page").status_code == 404
    assert browser.get("/api/no/such").get_json()["error"]["code"] == "not_found"


def test_a_method_that_is_not_taken_names_those_that_are(browser: FlaskClient) -> None:
    answer = browser.delete("/healthz")
    assert answer.status_code == 405
    assert {part.strip() for part in answer.headers["Allow"].split(",")} == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("25006", True), ("53100", True), ("53300", True), ("57P01", True), ("57014", True), ("58030", True),
        ("08006", True), ("40P01", True), ("40001", True), ("55P03", True),
        ("23505", False), ("42P01", False), ("42703", False), ("22001", False), ("23502", False),
    ],
)  # fmt: skip
def test_a_bug_of_ours_is_not_called_a_busy_database(state: str, expected: bool) -> None:
    """PostgreSQL's codes: read-only, disk full, too many connections, shut down ... against our own mistakes."""
    assert is_unavailable(OperationalError("x", {}, WithState(state))) is expected


# --- the request's id ---


def test_every_answer_has_an_id_of_its_own(browser: FlaskClient) -> None:
    ids = {browser.get("/healthz").headers["X-Request-ID"] for _ in range(5)}
    assert len(ids) == 5
    assert all(re.fullmatch(r"[0-9a-f]{16}", one) for one in ids)


def test_the_proxys_id_is_kept(browser: FlaskClient) -> None:
    assert browser.get("/seen", headers={"X-Request-ID": "abc-123_x.y"}).get_json()["id"] == "abc-123_x.y"


@pytest.mark.parametrize(
    "hostile", ["short", "x" * 65, "<script>alert(1)", "a b c d e f", "ąąąąąąąąąą", "'; DROP TABLE--"]
)
def test_a_hostile_id_is_replaced(browser: FlaskClient, hostile: str) -> None:
    answer = browser.get("/seen", headers={"X-Request-ID": hostile.encode().decode("latin-1")})
    assert re.fullmatch(r"[0-9a-f]{16}", answer.get_json()["id"])


# --- headers ---


def test_the_policy_lets_nothing_inline_run() -> None:
    parts = dict(part.strip().split(" ", 1) for part in CONTENT_SECURITY_POLICY.split(";"))
    assert parts["default-src"] == "'none'"
    assert parts["script-src"] == parts["style-src"] == parts["connect-src"] == parts["form-action"] == "'self'"
    assert parts["base-uri"] == parts["object-src"] == parts["frame-ancestors"] == "'none'"
    assert "unsafe" not in CONTENT_SECURITY_POLICY


@pytest.mark.parametrize("path", ["/trouble/bug", "/trouble/not_found", "/healthz", "/no/such/page", "/leave", "/seen"])
def test_every_answer_carries_the_headers(browser: FlaskClient, path: str) -> None:
    """Errors and redirects too: the test client checks all of them, and these by value."""
    headers = browser.get(path).headers
    assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-cache, private"
    assert "Strict-Transport-Security" not in headers
    assert "Server" not in headers
    assert "X-Powered-By" not in headers


def test_behind_https_the_cookie_is_bound_to_the_host_and_the_host_to_https(tmp_path: Path) -> None:
    app = make_site(tmp_path, portal_url="https://portal.example.com")

    def remember() -> str:
        session["a"] = "b"
        return "x"

    app.view_functions["health.healthz"] = public(remember)
    answer = app.test_client().get("/healthz", base_url="https://portal.example.com")
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-portal=")
    for part in ("Secure", "HttpOnly", "Path=/", "SameSite=Lax"):
        assert part in cookie
    assert "Domain=" not in cookie
    dispose(app)


# --- the language ---


@pytest.mark.parametrize(
    ("accepts", "language"),
    [
        ("", "en"), ("pl", "pl"), ("es-MX,es;q=0.9", "es"), ("de", "en"), ("de,pl;q=0.5", "pl"), ("*", "en"),
        ("fr;q=0,es;q=0.1", "es"), ("x" * 5000, "en"), (";;;,,,q=", "en"), ("\x00", "en"),
    ],
)  # fmt: skip
def test_a_visitor_reads_what_the_browser_asks_for(browser: FlaskClient, accepts: str, language: str) -> None:
    text = browser.get("/trouble/conflict", headers={"Accept-Language": accepts}).get_data(as_text=True)
    assert f'<html lang="{language}"' in text


def test_a_choice_outweighs_the_browser(browser: FlaskClient) -> None:
    browser.get("/language?locale=es&next=/seen")
    assert '<html lang="es"' in browser.get("/trouble/plain", headers={"Accept-Language": "pl"}).get_data(as_text=True)


@pytest.mark.parametrize("hostile", ["de", "../../etc", "en_US.UTF-8", "", "x" * 9999, "pl\x00"])
def test_a_language_we_do_not_speak_is_not_chosen(browser: FlaskClient, hostile: str) -> None:
    browser.get("/language", query_string={"locale": hostile})
    assert '<html lang="en"' in browser.get("/trouble/plain").get_data(as_text=True)


def test_another_site_cannot_change_the_language(browser: FlaskClient) -> None:
    browser.get("/language?locale=es", headers={"Sec-Fetch-Site": "cross-site"})
    assert '<html lang="en"' in browser.get("/trouble/plain").get_data(as_text=True)


def test_the_business_speaks_its_own_language_to_who_asks_for_none(tmp_path: Path) -> None:
    app = make_site(tmp_path, default_language="pl")
    assert '<html lang="pl"' in app.test_client().get("/trouble/plain").get_data(as_text=True)
    dispose(app)


# --- what a forged request cannot change ---


@pytest.mark.parametrize("host", ["evil.example", "localhost:99", "localhost@evil.example", "[::1]", "evil.example:80"])
def test_a_forged_host_is_in_no_link_and_no_redirect(browser: FlaskClient, host: str) -> None:
    for path in ("/leave", "/trouble/not_found", "/dev/ui"):
        answer = browser.get(path, headers={"Host": host, "X-Forwarded-Host": "evil.example"})
        assert "evil" not in answer.get_data(as_text=True)
        assert "evil" not in answer.headers.get("Location", "")
        assert "evil" not in answer.headers.get("Set-Cookie", "")


FORGED = {
    "X-Forwarded-For": "6.6.6.6, 7.7.7.7",
    "X-Forwarded-Proto": "https",
    "X-Real-IP": "6.6.6.6",
    "Forwarded": "for=6.6.6.6",
}


def test_without_a_proxy_forwarded_headers_are_noise(browser: FlaskClient) -> None:
    seen = browser.get("/seen", headers=FORGED).get_json()
    assert (seen["remote"], seen["client"], seen["scheme"]) == ("127.0.0.1", "127.0.0.1", "http")


@pytest.mark.parametrize(("proxies", "client"), [(1, "7.7.7.7"), (2, "6.6.6.6")])
def test_only_as_many_proxies_are_believed_as_there_are(tmp_path: Path, proxies: int, client: str) -> None:
    """The last address is the one our own proxy wrote; what stands before it, anybody may have written."""
    app = make_site(tmp_path, trusted_proxies=proxies)
    seen = app.test_client().get("/seen", headers={**FORGED, "X-Forwarded-Proto": "https, https"}).get_json()
    assert (seen["client"], seen["scheme"]) == (client, "https")
    dispose(app)


def test_with_one_proxy_a_longer_list_changes_nothing(tmp_path: Path) -> None:
    app = make_site(tmp_path, trusted_proxies=1)
    for forged in ("1.1.1.1, 7.7.7.7", "a, b, c, 7.7.7.7", ", ,7.7.7.7"):
        assert app.test_client().get("/seen", headers={"X-Forwarded-For": forged}).get_json()["client"] == "7.7.7.7"
    dispose(app)


# --- odd requests ---


@pytest.mark.parametrize(
    "query",
    ["page=-1", "page=1e9", "sort=id;drop", "a=" + "x" * 8000, "&".join(f"a{n}=1" for n in range(5000)), "a&a&a=%00",
     "%", "a=%ff%fe", "q[]=1&q[]=2", "=&=&="],
)  # fmt: skip
def test_odd_queries_break_nothing(browser: FlaskClient, query: str) -> None:
    assert browser.get(f"/trouble/not_found?{query}").status_code == 404
    assert browser.get(f"/seen?{query}").status_code == 200


@pytest.mark.parametrize(
    "path", ["/%00", "/%ff", "/%2e%2e/%2e%2e/etc/passwd", "//evil", "/" + "a" * 8000, "/\u202e", "/..;/x"]
)
def test_odd_paths_are_not_found(browser: FlaskClient, path: str) -> None:
    assert browser.get(path).status_code in (404, 308)


@pytest.mark.parametrize(
    "path", ["/static/../portal/config.py", "/static/%2e%2e/wsgi.py", "/static//etc/passwd", "/static/css/"]
)
def test_nothing_outside_the_static_folder_is_served(browser: FlaskClient, path: str) -> None:
    answer = browser.get(path)
    if answer.status_code == 308:
        answer = browser.get(answer.location)
    assert answer.status_code == 404


def test_a_body_above_the_limit_is_refused_before_it_is_read(site: Flask, browser: FlaskClient) -> None:
    answer = browser.post("/trouble/plain", data={"a": "x" * (site.config["MAX_CONTENT_LENGTH"] + 1)})
    assert answer.status_code == 413


def test_a_form_of_too_many_parts_is_refused(browser: FlaskClient) -> None:
    answer = browser.post(
        "/trouble/plain", data={f"field{n}": "1" for n in range(1_100)}, content_type="multipart/form-data"
    )
    assert answer.status_code == 413


def test_a_broken_cookie_is_no_cookie(browser: FlaskClient) -> None:
    for value in ("x", "a.b.c", "é" * 10, "eyJ" + "A" * 4000):
        browser.set_cookie("portal_session", value)
        assert browser.get("/trouble/plain").status_code == 400

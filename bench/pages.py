"""The catalogue beside a bare page with the same products, on the same server and database."""

from http.cookiejar import CookieJar
from urllib.request import HTTPCookieProcessor, build_opener

from bench.harness import Bench, Report, alternate, wrk
from bench.webhooks import served
from portal.accounts.models import User
from tests import factories

_SECONDS = 4
_ROUNDS = 3


def cookie_of(app: object, user: User) -> str:
    """The Cookie header of a browser that the user is signed in with."""
    from flask import Flask

    assert isinstance(app, Flask)
    browser = app.test_client()
    factories.sign_in(browser, user)
    cookie = browser.get_cookie(app.config["SESSION_COOKIE_NAME"])
    assert cookie is not None
    return f"{cookie.key}={cookie.value}"


def run(bench: Bench, report: Report) -> None:
    """Signed in, and as a visitor whose browser has the page already."""
    report.section("The catalogue with 24 products, against a bare Flask + SQLAlchemy core page")
    with bench.app("pages") as app:
        for _ in range(24):
            factories.make_package()
        signed_in = {"Cookie": cookie_of(app, factories.make_user())}
        environment = bench.environment(app)
        with (
            served(bench, environment, "wsgi:app") as (portal_url, _),
            served(bench, environment, "bench.bare:app") as (bare_url, _),
        ):
            again = _unchanged(f"{portal_url}/packages")

            def rate(url: str, headers: dict[str, str]) -> float:
                load = wrk(f"{url}/packages", seconds=_SECONDS, headers=headers)
                if load.errors:
                    raise RuntimeError(f"{load.errors} requests to {url} failed")
                return load.rate

            portal, bare = alternate(_ROUNDS, lambda: rate(portal_url, signed_in), lambda: rate(bare_url, signed_in))
            unchanged, bare_again = alternate(
                _ROUNDS, lambda: rate(portal_url, again), lambda: rate(bare_url, signed_in)
            )
    report.fact("signed in, bare", f"{portal:.0f}/s, {bare:.0f}/s")
    report.ratio("signed in / bare", portal / bare, at_least=0.5)
    report.ratio("anonymous and unchanged / bare", unchanged / bare_again, at_least=2.5)


def _unchanged(url: str) -> dict[str, str]:
    """The headers with which a browser asks whether its copy is still right."""
    jar = CookieJar()
    opener = build_opener(HTTPCookieProcessor(jar))
    # The first visit gets its cookie, the second the tag of the page with it.
    opener.open(url).read()
    with opener.open(url) as answer:
        tag = answer.headers["ETag"]
    return {"If-None-Match": tag, "Cookie": "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)}

"""The merchants' API beside bare routes that find the key by its hash and write or read the same rows."""

import hashlib
import json

import sqlalchemy as sa

from bench import bare_api
from bench.harness import Bench, Report, alternate, requests, wrk
from bench.webhooks import served
from portal.core.db import db
from tests import factories
from tests.merchants.support import make_key, make_merchant, make_session

_SECONDS = 4
_ROUNDS = 3
# A key may be used so often a minute; the load is spread over more than it needs.
_KEYS, _MERCHANTS = 200, 10
_REQUESTS = 20_000
_LISTED = 30
_WISH = {
    "amount_minor": 4900,
    "currency": "PLN",
    "description": "Order 1042",
    "success_url": "https://shop.example.com/thanks",
    "customer_email": "buyer@example.com",
    "metadata": {"order": "1042"},
}


def run(bench: Bench, report: Report) -> None:
    """Opening sessions, each under an Idempotency-Key of its own, and listing them; both against the bare routes."""
    report.section("The merchants' API, against bare Flask + key look-up + INSERT + COMMIT, and + SELECT")
    with bench.app("api") as app:
        secrets = []
        for _ in range(_MERCHANTS):
            merchant = make_merchant(factories.make_user())
            secrets += [make_key(merchant)[1] for _ in range(_KEYS // _MERCHANTS)]
            for _ in range(_LISTED):
                make_session(merchant)
        bare_api.metadata.create_all(db.engine)
        with db.engine.begin() as connection:
            hashes = [{"secret_hash": hashlib.sha256(secret.encode()).hexdigest()} for secret in secrets]
            connection.execute(sa.insert(bare_api.keys), hashes)
            connection.execute(sa.insert(bare_api.sessions), [{"body": _WISH}] * _LISTED)
        body = json.dumps(_WISH)
        opening, listing = [], []
        for number in range(_REQUESTS):
            bearer = {"Authorization": f"Bearer {secrets[number % _KEYS]}"}
            opening.append((body, {**bearer, "Idempotency-Key": f"order-{number}"}))
            listing.append(("{}", bearer))  # Nobody reads it; a script's line has no empty field.
        scripts = {
            "opening": requests(bench.folder, "api-opening", opening),
            "listing": requests(bench.folder, "api-listing", listing, method="GET"),
        }
        environment = bench.environment(app)
        with (
            served(bench, environment, "wsgi:app") as (portal_url, _portal_pid),
            served(bench, environment, "bench.bare_api:app") as (bare_url, _bare_pid),
        ):
            for name, floor in (("opening", 0.15), ("listing", 0.18)):
                at = {"portal": 0, "bare": 0}

                def rate(who: str, url: str, name: str = name, at: dict[str, int] = at) -> float:
                    load = wrk(url, seconds=_SECONDS, script=scripts[name], start=at[who])
                    at[who] += load.requests + 100  # wrk may have sent more than it counted: one a connection.
                    if load.errors:
                        raise RuntimeError(f"{load.errors} requests to {url} failed")
                    return load.rate

                path = "/api/v1/sessions"
                portal, bare = alternate(
                    _ROUNDS,
                    lambda path=path, rate=rate: rate("portal", f"{portal_url}{path}"),  # type: ignore[misc]  # bound now
                    lambda path=path, rate=rate: rate("bare", f"{bare_url}{path}"),  # type: ignore[misc]  # bound now
                )
                report.fact(f"{name}: portal, bare", f"{portal:.0f}/s, {bare:.0f}/s")
                report.ratio(f"{name} sessions, portal / bare", portal / bare, at_least=floor)

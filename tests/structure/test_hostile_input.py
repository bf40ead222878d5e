"""Whatever is typed into any form or address: an answer, never a failure of ours (reliability I8, X1, X5, X6)."""

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from portal.accounts.models import User
from portal.catalogue.models import Package
from portal.core.db import db
from portal.merchants.models import Merchant
from portal.orders.models import Order, OrderLine
from portal.payments.models import PaymentSession
from tests.browser_like import token_of
from tests.servers import redis
from tests.structure import keeping, routes
from tests.structure.routes import Route
from tests.structure.test_csrf import FORMS, WHO
from tests.structure.world import World

pytestmark = [pytest.mark.parametrize("database", ["sqlite"], indirect=True), pytest.mark.xdist_group("house")]
PAGES = [route for route in routes.listed() if route.method == "GET"]
_ROUNDS = 6
_FIELD = re.compile(r"<(?:input|select|textarea|button)\b[^>]*\bname=\"([^\"]+)\"")

TEXTS = (
    "", "\"><script>alert(1)</script>{{7*7}}${7*7}' OR 1=1; --", "javascript:alert(1)", "a\x00b", "\ud800",
    "\u202egnp.exe", "\r\nBcc: evil@example.com", "../../etc/passwd%00", "x" * 8_192, "\U0001f4a3" * 2_000, "a@b",
    "//evil.example",
)  # fmt: skip
NUMBERS = (
    "-1", "0", "1e9", "0.1", "NaN", "99999999999999999999", "9223372036854775808", "١٢", "1_000", "true", "2026-02-30",
    "9999-12-31",
)  # fmt: skip
# What no form asks for: fields of the tables, and what forms of other people are about.
NOT_ASKED_FOR = {
    "id": "1", "user_id": "1", "role": "admin", "is_admin": "1", "is_active": "0", "is_staff": "true", "status": "paid",
    "payment_status": "paid", "price_minor": "1", "total_minor": "1", "amount_minor": "1", "currency": "JPY",
    "merchant_id": "1", "owner_id": "1", "is_published": "0", "paid_at": "2026-01-01",
    "email_verified_at": "2026-01-01",
}  # fmt: skip
QUERIES = (
    "page=-1", "page=1e9", "page=%00", "after=x&before=y", "sort=password_hash&order=desc;drop", "q=" + "x" * 8_000,
    "q=" + quote("'\"><script>\ud800", errors="surrogatepass"), "&".join(f"a{number}=1" for number in range(3_000)),
    "&".join(["status=paid", "status[]=paid"] * 20), "=&&=", "from=2026-02-30&to=tomorrow", "next=//evil.example",
    "%ff=%fe",
)  # fmt: skip


@pytest.fixture
def house(app: Flask) -> World:
    return keeping.house(app)


@pytest.fixture
def fields(house: World) -> dict[str, set[str]]:
    """The names of the fields that each page has, for whom it is meant."""
    found = {}
    for route in PAGES:
        if "key" not in route.marks:
            answer = house.browser(WHO[route.level]).get(route.path(house.values))
            is_page = answer.mimetype == "text/html"
            found[route.address] = set(_FIELD.findall(answer.get_data(as_text=True))) if is_page else set()
    return found


def names_for(route: Route, fields: dict[str, set[str]]) -> set[str]:
    """The fields of the pages that are likeliest to have the form: those whose address begins as its own does."""
    near = max(fields, key=lambda address: (len(_common(address, route.address)), address == route.address))
    beginning = _common(near, route.address)
    return {name for address, names in fields.items() if _common(address, route.address) == beginning for name in names}


def _common(one: str, other: str) -> list[str]:
    shared = []
    for left, right in zip(one.split("/"), other.split("/"), strict=False):
        if left != right:
            break
        shared.append(left)
    return shared


def is_our_failure(answer: TestResponse) -> bool:
    """An error of ours; a provider that nobody answers for is a 502 or 503 with its words."""
    return answer.status_code >= 500 and answer.status_code not in (502, 503)


def typed(route: Route, fields: dict[str, set[str]]) -> Iterator[dict[str, object]]:
    """No field at all; then in each round another oddity in each field, each form beginning elsewhere; fields twice."""
    names = sorted(names_for(route, fields) - {"csrf_token"})
    oddities = (*TEXTS, *NUMBERS)
    begin = sum(map(ord, str(route)))
    yield {}
    for turn in range(_ROUNDS):
        yield {name: oddities[(begin + 5 * turn + place) % len(oddities)] for place, name in enumerate(names)}
    yield {name: ["1", "<b>", ""] for name in names}
    yield {f"{name}[]": "1" for name in names}


def post_everything(
    house: World, server: redis.RedisServer, fields: dict[str, set[str]], forms: list[Route], **more: str
) -> tuple[int, list[str]]:
    """Send each form everything; how many were sent, and which answers were failures of ours."""
    sent, failures = 0, []
    for route in forms:
        # Limits are counted by network, and everybody here comes from one.
        server.client().flushall()
        for values in typed(route, fields):
            browser = house.browser(WHO[route.level])
            # What cannot be written as UTF-8 comes as the bytes that a hostile program would send.
            data = {name: _sendable(value) for name, value in {**more, **values}.items()}
            answer = browser.post(route.path(house.values), data={"csrf_token": token_of(browser), **data})
            sent += 1
            if is_our_failure(answer):
                failures.append(f"{route} {dict(list(values.items())[:2])!r:.120} -> {answer.status_code}")
    return sent, failures


def _sendable(value: object) -> object:
    if isinstance(value, list):
        return [_sendable(one) for one in value]
    return str(value).encode("utf-8", "replace").decode()


def guarded() -> dict[str, list[tuple[object, ...]]]:
    """What nobody may change by naming it: rights, prices, money and owners."""
    columns = {
        "users": (User.id, User.role, User.is_active, User.email_verified_at),
        "packages": (Package.id, Package.price_minor, Package.currency, Package.is_published),
        "orders": (Order.id, Order.user_id, Order.total_minor, Order.paid_minor, Order.currency, Order.payment_status),
        "lines": (OrderLine.id, OrderLine.unit_price_minor, OrderLine.quantity),
        "sessions": (PaymentSession.id, PaymentSession.status, PaymentSession.amount_minor, PaymentSession.currency),
        "merchants": (Merchant.id, Merchant.owner_user_id),
    }
    db.session.rollback()
    return {name: [tuple(row) for row in db.session.execute(db.select(*some)).all()] for name, some in columns.items()}


@pytest.mark.timeout(600)
def test_forms_of_customers_take_everything_and_give_no_rights(
    house: World, redis_server: redis.RedisServer, fields: dict[str, set[str]]
) -> None:
    forms = [route for route in FORMS if route.level not in ("staff", "admin")]
    before = guarded()
    sent, failures = post_everything(house, redis_server, fields, forms, **NOT_ASKED_FOR)
    assert failures == []
    assert sent > 150
    after = guarded()
    for name, rows in before.items():
        assert after[name][: len(rows)] == rows, name


@pytest.mark.timeout(600)
def test_forms_of_the_back_office_take_everything(
    house: World, redis_server: redis.RedisServer, fields: dict[str, set[str]]
) -> None:
    forms = [route for route in FORMS if route.level in ("staff", "admin")]
    sent, failures = post_everything(house, redis_server, fields, forms)
    assert failures == []
    assert sent > 150


def test_odd_queries_get_an_ordinary_answer_everywhere(house: World) -> None:
    browsers = {role: house.browser(role) for role in ("alice", "admin")}
    failures = []
    for number, route in enumerate(PAGES):
        # Each page some of them, in turn: all read their query with the same few functions.
        for query in [*QUERIES, *QUERIES][number % len(QUERIES) :][:4]:
            with browsers[WHO[route.level]].get(f"{route.path(house.values)}?{query}") as answer:
                if is_our_failure(answer):
                    failures.append(f"{route} ?{query:.60} -> {answer.status_code}")
    assert failures == []

"""Who may enter the back office, and that no address breaks it."""

from collections.abc import Callable
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from portal.accounts.models import Role, User
from portal.core import clock
from portal.core.access import Access, level_of
from portal.core.db import db, unit_of_work
from portal.core.mail import MailStatus
from portal.core.state import StatusChange
from portal.merchants.models import MerchantRequest
from portal.merchants.services.merchants import request_merchant
from portal.payments.models import EventStatus
from tests import factories
from tests.admin import support
from tests.admin.reading import FRAGMENT
from tests.browser_like import csrf_token
from tests.merchants.support import make_merchant

Login = Callable[[User], FlaskClient]
LISTS = (
    "/admin", "/admin/orders", "/admin/customers", "/admin/catalogue", "/admin/payments", "/admin/invoices",
    "/admin/refunds", "/admin/disputes",
    "/admin/webhooks", "/admin/mail", "/admin/jobs", "/admin/audit", "/admin/search", "/admin/merchants",
    "/admin/invariants", "/admin/reconciliation", "/admin/webhooks/check",
)  # fmt: skip
# Only an administrator; everything else is open to all staff.
FOR_ADMINS = {
    "admin.customer_role", "admin.change_customer_role", "admin.payment_by_hand", "admin.decide_payment",
    "admin.refund_payment", "admin.submit_refund_payment",
    "admin.refund_order", "admin.submit_refund_order", "admin.ask_about_refund", "admin.decide_refund",
    "admin.submit_decide_refund", "admin.decide_dispute", "admin.submit_decide_dispute",
}  # fmt: skip
HOSTILE = (
    "<script>alert(1)</script>{{7*7}}", '"><img src=x onerror=alert(1)>', "'--</textarea><svg onload=alert(1)>",
    "javascript:alert(1)", "\u202egnp.exe${7*7}",
)  # fmt: skip


# Rooms whose things take a whole shop to make: tests/structure/test_routes.py walks through them, all roles included.
_ROOMS_ELSEWHERE = (
    "changes", "domains", "model_files", "price_book", "production", "quotes", "shipping", "site_versions", "sites",
    "subscriptions",
)  # fmt: skip
ELSEWHERE = {f"portal.admin.{name}" for name in _ROOMS_ELSEWHERE}


def _rules(app: Flask) -> list[Rule]:
    rules = [
        rule
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("admin.") and app.view_functions[rule.endpoint].__module__ not in ELSEWHERE
    ]
    assert len(rules) > 35
    return rules


@pytest.fixture
def addresses(app: Flask) -> dict[str, str]:
    """An address for every route, of things that exist, so that a refusal is not a page that is missing."""
    user = factories.make_user(email="target@example.com")
    package = factories.make_package(is_published=False)
    order = support.make_order(user)
    session = support.make_session(order)
    payment = support.make_payment(session, support.make_event(session, status=EventStatus.APPLIED))
    values = {
        "refund_id": support.make_refund(payment).id,
        "dispute_id": support.make_dispute(payment).id,
        "user_id": user.id,
        "package_id": package.id,
        "number": order.number,
        "public_id": session.public_id,
        "event_id": support.make_event(session, status=EventStatus.FAILED).id,
        "mail_id": support.make_mail(user.email, order_id=order.id).id,
        "message_id": support.make_message().id,
        "invariant_name": "paid_without_invoice",
        "subject_id": session.id,
        "provider_name": "sandbox",
        "merchant_id": make_merchant(user).id,
        "request_id": _request_of(factories.make_user()).id,
    }
    with app.test_request_context():
        return {
            rule.endpoint: app.url_map.bind("localhost").build(
                rule.endpoint, {name: values[name] for name in rule.arguments}, method=min(rule.methods - {"OPTIONS"})
            )
            for rule in _rules(app)
        }


def _request_of(user: User) -> MerchantRequest:
    with unit_of_work():
        return request_merchant(
            user, name="A shop", contact_email=user.email, website="", message="Tea", at=clock.now()
        )


def _ask(browser: FlaskClient, rule: Rule, address: str, token: str | None = None) -> int:
    if "GET" in (rule.methods or ()):
        return browser.get(address).status_code
    return browser.post(address, data={"csrf_token": token} if token else {}).status_code


def test_every_route_is_for_staff_and_some_only_for_administrators(app: Flask) -> None:
    for rule in _rules(app):
        expected = Access.ADMIN if rule.endpoint in FOR_ADMINS else Access.STAFF
        assert level_of(app, rule.endpoint) is expected, rule.endpoint


def test_nobody_gets_in_without_logging_in(app: Flask, client: FlaskClient, addresses: dict[str, str]) -> None:
    token = csrf_token(client, "/login")
    for rule in _rules(app):
        answer = (
            client.get(addresses[rule.endpoint])
            if "GET" in (rule.methods or ())
            else client.post(addresses[rule.endpoint], data={"csrf_token": token})
        )
        assert answer.status_code == 303, rule.endpoint
        assert answer.location.startswith("/login"), rule.endpoint
    assert db.session.scalars(db.select(StatusChange)).all() == []


@pytest.mark.parametrize("role", [Role.CUSTOMER, Role.PAID])
def test_no_customer_gets_in(app: Flask, login: Login, addresses: dict[str, str], role: Role) -> None:
    browser = login(factories.make_user(role=role))
    token = csrf_token(browser, "/account")
    for rule in _rules(app):
        assert _ask(browser, rule, addresses[rule.endpoint], token) == 403, rule.endpoint
    assert db.session.scalars(db.select(StatusChange)).all() == []


def test_staff_see_everything_but_what_is_for_administrators(
    app: Flask, office: FlaskClient, addresses: dict[str, str]
) -> None:
    for rule in _rules(app):
        if "GET" in (rule.methods or ()):
            expected = 403 if rule.endpoint in FOR_ADMINS else 200
            assert office.get(addresses[rule.endpoint]).status_code == expected, rule.endpoint


def test_administrators_see_everything(app: Flask, owner: FlaskClient, addresses: dict[str, str]) -> None:
    for rule in _rules(app):
        if "GET" in (rule.methods or ()):
            assert owner.get(addresses[rule.endpoint]).status_code == 200, rule.endpoint


def test_no_form_works_without_its_token(app: Flask, owner: FlaskClient, addresses: dict[str, str]) -> None:
    for rule in _rules(app):
        if "POST" in (rule.methods or ()):
            assert owner.post(addresses[rule.endpoint], data={}).status_code == 400, rule.endpoint
    assert db.session.scalars(db.select(StatusChange)).all() == []


@pytest.mark.parametrize("address", LISTS)
def test_nonsense_in_the_address_gives_an_ordinary_page(office: FlaskClient, address: str) -> None:
    for query in (
        "page=-1&page=1e9", "before=-1", "before=99999999999999999999", "after=0&before=0", "before=٣", "after=abc",
        "sort=password_hash", "status=&payment=&role=", "status=nonsense&provider=x&kind=y&state=z&role=god",
        "q=" + "x" * 8000, "q=%27%22%3Cscript%3E%25_%5C", "from=2026-02-31&to=x", "from=0001-01-01&to=9999-12-31",
        "q=a&q=b&q=c", "&".join(f"p{number}=1" for number in range(2000)), "_scheme=x&_external=1&_anchor=y",
    ):  # fmt: skip
        answer = office.get(f"{address}?{query}", headers=FRAGMENT if "before" in query else {})
        # A search with one hit goes to it.
        assert answer.status_code in ((200, 303) if address == "/admin/search" else (200,)), query


@pytest.mark.parametrize(
    "query", ["before=-1", "before=99999999999999999999", "after=abc", "from=2026-02-31&to=x", "provider=god", "q=%00"]
)
def test_nonsense_about_refused_deliveries_gives_an_ordinary_page(office: FlaskClient, query: str) -> None:
    assert office.get(f"/admin/webhooks?show=refused&{query}").status_code == 200
    assert office.get(f"/admin/webhooks?show=nonsense&{query}").status_code == 200


@pytest.mark.parametrize("address", LISTS)
def test_what_no_database_takes_is_no_crash(office: FlaskClient, address: str) -> None:
    for value in ("%00", "%ff%fe", "%ed%a0%80", "%0d%0aSet-Cookie:%20x=1"):
        for name in ("q", "event", "actor", "subject", "type", "before"):
            assert office.get(f"{address}?{name}={value}").status_code in (200, 400)


@pytest.mark.parametrize("payload", HOSTILE)
def test_what_customers_typed_is_shown_as_text(office: FlaskClient, payload: str) -> None:
    user = factories.make_user(email="hostile@example.com", name=payload, phone=payload[:32])
    package = factories.make_package(name=payload, category=payload[:60])
    order = support.make_order(user, package=package)
    session = support.make_session(order, description=payload)
    event = support.make_event(session, status=EventStatus.CONFLICT, verdict=payload, event_type=payload, body=payload)
    mail = support.make_mail(user.email, subject=payload, text_body=payload, order_id=order.id)
    support.make_mail(user.email, status=MailStatus.FAILED)
    message = support.make_message(topic=payload[:64], last_error=payload)
    for address in (
        *LISTS, f"/admin/orders/{order.number}", f"/admin/customers/{user.id}", f"/admin/catalogue/{package.id}",
        f"/admin/payments/{session.public_id}", f"/admin/webhooks/{event.id}", f"/admin/mail/{mail.id}",
        f"/admin/jobs/{message.id}", f"/admin/search?q={quote(payload)}", f"/admin/orders?q={quote(payload)}",
    ):  # fmt: skip
        answer = office.get(address, follow_redirects=True)
        body = answer.get_data(as_text=True)
        assert answer.status_code == 200, address
        for broken in ("<script>alert", "<img src=x", "<svg onload", 'href="javascript:'):
            assert broken not in body, address
        assert "alert(1)49" not in body.replace("</script>", "").replace("&lt;/script&gt;", ""), address
        assert "exe49" not in body, address

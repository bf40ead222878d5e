"""The audit log, and the search box that finds everything."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.core import audit
from portal.core.audit import AuditEvent
from portal.core.db import db, unit_of_work
from portal.payments import queries
from portal.payments.models import Invoice
from tests import factories
from tests.admin import support
from tests.admin.reading import page, rows, words


def _note(count: int = 1, **values: object) -> None:
    with unit_of_work():
        for _ in range(count):
            audit.record("package.updated", **{"actor": "ada@example.com", "subject": "packages:7", **values})  # type: ignore[arg-type]  # whatever a test passes


def test_lines_show_who_did_what_with_before_and_after(office: FlaskClient) -> None:
    _note(
        before={"price_minor": 6900, "name": "same"}, after={"price_minor": 7900, "name": "same"}, detail="<i>why</i>"
    )
    answer = office.get("/admin/audit")
    for part in ("package.updated", "ada@example.com", "packages:7", "price_minor 6900 7900", "<i>why</i>"):
        assert part in words(answer)
    # What did not change is not in the way.
    assert "name same" not in words(answer)
    assert "<i>" not in answer.get_data(as_text=True)


def test_lines_are_found_by_event_actor_and_subject(office: FlaskClient) -> None:
    _note()
    _note(actor="event:17", subject="orders:3")
    assert "orders:3" not in page(office, "/admin/audit?subject=packages:7")
    assert "orders:3" in page(office, "/admin/audit?actor=event:17")
    assert "packages:7" not in page(office, "/admin/audit?actor=event:")
    assert "Nothing fits these filters" in page(office, "/admin/audit?event=order.")
    assert "packages:7" in page(office, "/admin/audit?event=package.")


def test_the_log_is_shown_in_pages_and_costs_the_same(office: FlaskClient, count_queries: Callable[[], int]) -> None:
    _note()
    count_queries()
    office.get("/admin/audit")
    with_one = count_queries()
    _note(60)
    count_queries()
    first = office.get("/admin/audit")
    assert count_queries() == with_one <= 2
    assert words(first).count("package.updated") == 25
    ids = db.session.scalars(db.select(AuditEvent.id).order_by(AuditEvent.id.desc())).all()
    last = office.get(f"/admin/audit?before={ids[49]}")
    assert words(last).count("package.updated") == 11
    assert words(office.get(f"/admin/audit?after={ids[50]}")).count("package.updated") == 25


def test_a_value_under_a_secret_name_never_reaches_the_page(office: FlaskClient) -> None:
    _note(after={"password": "hunter2", "api_key": "sk_live_1"})
    text = page(office, "/admin/audit")
    assert "hunter2" not in text
    assert "sk_live_1" not in text


def test_a_whole_name_leads_straight_to_the_thing(office: FlaskClient, alice: User) -> None:
    order = support.make_paid_order(alice)
    session = queries.sessions_of("order", order.id)[0]
    invoice = db.session.scalars(db.select(Invoice)).one()
    event = support.make_event(delivery_key="evt_1234567890")
    for typed, address in (
        (order.number, f"/admin/orders/{order.number}"),
        (order.number.lower(), f"/admin/orders/{order.number}"),
        (alice.email.upper(), f"/admin/customers/{alice.id}"),
        (invoice.number, f"/admin/invoices?q={invoice.number}"),
        (session.public_id, f"/admin/payments/{session.public_id}"),
        (event.delivery_key, f"/admin/webhooks/{event.id}"),
    ):
        answer = office.get("/admin/search", query_string={"q": f"  {typed} "})
        assert (answer.status_code, answer.location) == (303, address)


def test_one_hit_is_gone_to_and_several_are_shown(office: FlaskClient, alice: User) -> None:
    order = support.make_order(email="zofia@shop.example", name="Zofia Guest")
    assert office.get("/admin/search?q=zofia").location == f"/admin/orders/{order.number}"
    factories.make_user(email="zofia@elsewhere.example", name="Zofia Łąka")
    answer = office.get("/admin/search?q=zofia")
    assert answer.status_code == 200
    assert rows(answer) == [order.number, "Zofia Łąka"]


def test_a_guest_with_several_orders_is_found_by_address(office: FlaskClient) -> None:
    numbers = {support.make_order(email="guest@shop.example").number for _ in range(3)}
    assert set(rows(office.get("/admin/search?q=guest@shop.example"))) == numbers


@pytest.mark.parametrize(
    "typed", ["", "   ", "\x00", "%", "nothing is called that", "x" * 9000, "'\"--<script>", "łąka"]
)
def test_anything_may_be_typed(office: FlaskClient, typed: str) -> None:
    answer = office.get("/admin/search", query_string={"q": typed})
    assert answer.status_code == 200
    assert "<script>" not in answer.get_data(as_text=True).replace('<script src="', "")


def test_a_search_costs_the_same_however_much_is_found(office: FlaskClient, count_queries: Callable[[], int]) -> None:
    for _ in range(2):
        support.make_order(email="guest@shop.example")
    count_queries()
    office.get("/admin/search?q=guest@shop.example")
    with_two = count_queries()
    for _ in range(60):
        support.make_order(email="guest@shop.example")
    count_queries()
    answer = office.get("/admin/search?q=guest@shop.example")
    assert count_queries() == with_two <= 14
    assert len(rows(answer)) == 10

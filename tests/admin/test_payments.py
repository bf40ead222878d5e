"""Payments and invoices: finding them, one with tries, money, events and facts, and asking the provider."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.core import outbox
from portal.core.db import db
from portal.core.outbox import OutboxMessage
from portal.payments import queries
from portal.payments.models import AttemptStatus, EventStatus, Invoice, SessionStatus, Standing
from tests import factories
from tests.admin import support
from tests.admin.reading import FRAGMENT, audited, page, rows, words
from tests.browser_like import post_form


def test_a_payment_is_found_by_id_address_and_reference(office: FlaskClient) -> None:
    wanted = support.make_session(description="Wanted", customer_email="zofia@shop.example")
    support.make_session(description="Other", customer_email="adam@shop.example")
    reference = wanted.attempts[0].provider_reference
    for query in (wanted.public_id, wanted.public_id.upper(), wanted.public_id[:8], "zofia@shop.example", reference):
        assert rows(office.get("/admin/payments", query_string={"q": query})) == ["Wanted"]
    assert rows(office.get("/admin/payments", query_string={"q": "nothing like it"})) == []


def test_payments_are_filtered(office: FlaskClient) -> None:
    support.make_session(description="Paid", status=SessionStatus.PAID, provider="sandbox")
    support.make_session(description="Stripe", provider="stripe")
    support.make_session(description="Untried", attempt=None, status=SessionStatus.CREATED)
    assert rows(office.get("/admin/payments?status=paid")) == ["Paid"]
    assert rows(office.get("/admin/payments?provider=stripe")) == ["Stripe"]
    assert rows(office.get("/admin/payments?status=created")) == ["Untried"]
    assert rows(office.get("/admin/payments?to=2020-01-01")) == []
    assert len(rows(office.get("/admin/payments?from=2020-01-01"))) == 3
    assert "Nothing fits these filters" in page(office, "/admin/payments?status=failed")


def test_the_list_costs_the_same_with_one_row_and_with_a_hundred(
    office: FlaskClient, count_queries: Callable[[], int]
) -> None:
    support.make_session()
    count_queries()
    office.get("/admin/payments")
    with_one = count_queries()
    for _ in range(99):
        support.make_session()
    count_queries()
    office.get("/admin/payments")
    assert count_queries() == with_one <= 4


def test_a_payment_shows_everything_about_it(office: FlaskClient, alice: User) -> None:
    order = support.make_paid_order(alice)
    session = queries.sessions_of("order", order.id)[0]
    conflict = support.make_event(session, status=EventStatus.CONFLICT, verdict="second_payment")
    support.make_payment(session, conflict, standing=Standing.SURPLUS, surplus_reason="second_payment")
    text = page(office, f"/admin/payments/{session.public_id}")
    for part in (
        session.public_id, order.number, "The provider says it is paid : yes", "A webhook came in : yes",
        "1. sandbox", "Counted", "Too much", "This payment had already been paid", "checkout.session.completed",
    ):  # fmt: skip
        assert part in text
    panel = office.get(f"/admin/payments/{session.public_id}", headers=FRAGMENT)
    assert panel.get_data(as_text=True).lstrip().startswith("<article")


def test_facts_that_are_not_known_are_not_claimed(office: FlaskClient) -> None:
    session = support.make_session()
    text = page(office, f"/admin/payments/{session.public_id}")
    assert "The provider says it is paid : not yet" in text
    assert "A webhook came in : not yet" in text
    assert "No money has come in." in text


def test_a_payment_costs_the_same_however_much_happened_to_it(
    office: FlaskClient, count_queries: Callable[[], int]
) -> None:
    session = support.make_session()
    support.make_event(session)
    count_queries()
    office.get(f"/admin/payments/{session.public_id}")
    with_little = count_queries()
    for _ in range(30):
        support.make_payment(session, support.make_event(session), standing=Standing.SURPLUS)
    count_queries()
    office.get(f"/admin/payments/{session.public_id}")
    assert count_queries() == with_little <= 12


@pytest.mark.parametrize("public_id", ["nope", "5f0e3f7e-0000-4000-8000-000000000001", "%00", "a" * 300])
def test_an_unknown_payment_is_not_found(office: FlaskClient, public_id: str) -> None:
    assert office.get(f"/admin/payments/{public_id}").status_code == 404


def test_asking_the_provider_leaves_an_effect_and_a_line(office: FlaskClient, staff: User) -> None:
    session = support.make_session()
    address = f"/admin/payments/{session.public_id}"
    assert post_form(office, f"{address}/ask", page=address).location == address
    db.session.rollback()
    [message] = db.session.scalars(
        db.select(OutboxMessage).where(OutboxMessage.topic == "payment_session.check_requested")
    )
    assert message.payload == {"session_id": session.id}
    [line] = audited("payment_session.check_requested")
    assert (line.actor, line.subject) == (staff.email, f"payment_sessions:{session.id}")


def test_asking_many_times_in_a_moment_asks_once(office: FlaskClient) -> None:
    session = support.make_session()
    address = f"/admin/payments/{session.public_id}"
    for _ in range(3):
        post_form(office, f"{address}/ask", page=address, htmx=True)
    db.session.rollback()
    asked = db.session.scalars(
        db.select(OutboxMessage).where(OutboxMessage.topic == "payment_session.check_requested")
    ).all()
    # A new one may begin when five seconds are over.
    assert 1 <= len(asked) <= 2


@pytest.mark.parametrize("status", [SessionStatus.PAID, SessionStatus.FAILED])
def test_there_is_nobody_to_ask_about_a_finished_payment(office: FlaskClient, status: SessionStatus) -> None:
    session = support.make_session(status=status, attempt=AttemptStatus.FAILED)
    address = f"/admin/payments/{session.public_id}"
    assert "/ask" not in office.get(address).get_data(as_text=True)
    answer = post_form(office, f"{address}/ask", page=address)
    assert answer.status_code == 409
    assert "nothing to ask" in words(answer)
    assert outbox.drain("webhooks") == 0


def test_invoices_are_found_and_lead_to_their_paper(office: FlaskClient, alice: User) -> None:
    order = support.make_paid_order(alice)
    invoice = db.session.scalars(db.select(Invoice)).one()
    support.make_paid_order(factories.make_user(email="other@example.com"))
    for query in (invoice.number, invoice.number.lower(), order.number, alice.email):
        answer = office.get("/admin/invoices", query_string={"q": query})
        assert rows(answer) == [invoice.number]
        assert f"/invoices/{invoice.number}.pdf" in answer.get_data(as_text=True)
    assert len(rows(office.get("/admin/invoices"))) == 2
    assert "Nothing fits these filters" in page(office, "/admin/invoices?q=INV-1999")


def test_the_list_of_invoices_costs_the_same_with_one_row_and_with_a_hundred(
    office: FlaskClient, alice: User, count_queries: Callable[[], int]
) -> None:
    support.make_invoice(support.make_session())
    count_queries()
    office.get("/admin/invoices")
    with_one = count_queries()
    for _ in range(99):
        support.make_invoice(support.make_session())
    count_queries()
    office.get("/admin/invoices")
    assert count_queries() == with_one <= 3

"""The invariant board: each rule is broken on purpose, seen, mended and seen to hold again."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from portal import payments
from portal.accounts.models import User
from portal.admin import nightly, services
from portal.core import clock, outbox
from portal.core.db import db, unit_of_work
from portal.core.errors import Conflict
from portal.core.invariants import InvariantRun, Reach, get_invariant, invariants
from portal.core.mail import MailMessage, MailStatus
from portal.core.outbox import MessageStatus
from portal.orders.models import Order, OrderStatus, PaymentStatus
from portal.orders.services import fulfilling, placing
from portal.payments.models import AttemptStatus, EventStatus, Invoice, PaymentSession, ProviderEvent, SessionStatus
from portal.payments.services import draining
from portal.payments.services.sales import day_of
from tests import factories, sandbox
from tests.admin import support
from tests.admin.reading import FRAGMENT, audited, page, words
from tests.browser_like import post_form
from tests.crowd import all_at_once
from tests.invariants import check
from tests.orders import shop
from tests.structure.world import everything

BOARD = "/admin/invariants"


def _found(name: str) -> list[str]:
    shop.look_again()
    return [breach.subject for breach in get_invariant(name).find(Reach(clock.now()))]


def _broken() -> list[str]:
    shop.look_again()
    return [rule.name for rule in invariants() if rule.find(Reach(clock.now()))]


def _sql(statement: str, **values: Any) -> None:
    """Break something as no code of ours would."""
    with unit_of_work():
        db.session.execute(text(statement), values)


def _repair(office: FlaskClient, name: str, subject_id: int) -> int:
    return post_form(office, f"{BOARD}/{name}/{subject_id}/repair", page="/admin/webhooks/check").status_code


def _seen_and_mended(office: FlaskClient, name: str, subject_id: int) -> None:
    """The breach is on the board with its button; pressing it mends it, pressing it again changes nothing."""
    rule = get_invariant(name)
    answer = office.get(BOARD)
    assert str(rule.title) in words(answer)
    assert f'action="{BOARD}/{name}/{subject_id}/repair"' in answer.get_data(as_text=True)
    assert _repair(office, name, subject_id) == 303
    assert [line.after for line in audited("invariant.repaired")] == [{"invariant": name, "id": subject_id}]


def _is_mended(office: FlaskClient, name: str, subject_id: int) -> None:
    assert _found(name) == []
    before = everything()
    assert _repair(office, name, subject_id) == 409
    assert everything() == before
    assert f"None: {get_invariant(name).title}" in page(office, BOARD)


@pytest.fixture
def order(app: Flask, client: FlaskClient) -> Order:
    """A guest's paid and delivered order of two packages, nothing wrong with it."""
    found = shop.buy(app, client, factories.make_package(name="One"), factories.make_package(name="Two"))
    assert _broken() == []
    assert check(db.session()) == []
    return found


def _session() -> PaymentSession:
    [session] = shop.sessions()
    return session


# --- payments ---


def test_paid_without_invoice(office: FlaskClient, order: Order) -> None:
    _sql("DELETE FROM invoice_lines")
    _sql("DELETE FROM invoices")
    session = _session()
    assert _found("paid_without_invoice") == [f"payment_sessions:{session.id}"]
    _seen_and_mended(office, "paid_without_invoice", session.id)
    _is_mended(office, "paid_without_invoice", session.id)
    invoice = db.session.scalars(db.select(Invoice)).one()
    assert (invoice.gross_minor, len(invoice.lines), invoice.subject_number) == (13800, 2, order.number)
    # The number of the lost one is not given again: its gap stays, for a person.
    assert _broken() == ["invoice_gap"]


def test_paid_without_money(office: FlaskClient, order: Order) -> None:
    _sql("DELETE FROM payments")
    session = _session()
    assert _found("paid_without_money") == [f"payment_sessions:{session.id}"]
    assert _found("order_without_money") == [f"orders:{order.id}"]
    text_shown = page(office, BOARD)
    assert "Paid, and no money came" in text_shown
    assert "Orders paid without money" in text_shown
    assert _repair(office, "paid_without_money", session.id) == 404


def test_a_session_that_is_open_for_too_long(app: Flask, office: FlaskClient, client: FlaskClient) -> None:
    shop.ready(client, factories.make_package())
    shop.place(client)
    session = _session()
    old = clock.now() - timedelta(days=2)
    with unit_of_work():
        one = db.session.get_one(PaymentSession, session.id)
        one.created_at, one.expires_at, one.check_at = old, old + timedelta(hours=24), None
    assert _found("open_for_too_long") == [f"payment_sessions:{session.id}"]
    _seen_and_mended(office, "open_for_too_long", session.id)
    shop.work(app)
    assert _session().status is SessionStatus.FAILED
    _is_mended(office, "open_for_too_long", session.id)


def test_a_try_that_nobody_knows_the_end_of(app: Flask, office: FlaskClient, client: FlaskClient) -> None:
    shop.ready(client, factories.make_package())
    shop.place(client)
    session = _session()
    _sql("UPDATE payment_attempts SET status = 'unknown', provider_reference = NULL, created_at = :at",
         at=_raw(clock.now() - timedelta(hours=2)))  # fmt: skip
    assert _found("attempt_unknown") == [f"payment_sessions:{session.id}"]
    _seen_and_mended(office, "attempt_unknown", session.id)
    shop.work(app)
    assert [one.status for one in _session().attempts] == [AttemptStatus.OPEN]
    assert _found("attempt_unknown") == []


def _raw(at: Any) -> Any:
    """An instant as raw SQL wants it on both databases."""
    return at if db.engine.dialect.name == "postgresql" else at.strftime("%Y-%m-%d %H:%M:%S.%f")


def test_money_that_does_not_count(office: FlaskClient) -> None:
    event = support.make_conflict(4900)
    assert _found("surplus_kept") == [f"provider_events:{event.id}"]
    text_shown = page(office, BOARD)
    assert "Money that does not count" in text_shown
    assert "PLN 49.00" in text_shown
    assert "on top of it" in text_shown
    address = f"/admin/webhooks/{event.id}"
    assert f'href="{address}"' in office.get(BOARD).get_data(as_text=True)
    assert post_form(office, f"{address}/resolve", {"note": "Given back"}, page=address).status_code == 303
    assert _found("surplus_kept") == []


def test_an_event_that_contradicts_us(office: FlaskClient) -> None:
    event = support.make_event(support.make_session(), status=EventStatus.CONFLICT, verdict="failed after it was paid")
    assert _found("other_conflict") == [f"provider_events:{event.id}"]
    assert _found("surplus_kept") == []
    assert "Events that contradict us" in page(office, BOARD)
    address = f"/admin/webhooks/{event.id}"
    post_form(office, f"{address}/resolve", {"note": "Looked at"}, page=address)
    assert _found("other_conflict") == []


def test_an_unmatched_event(app: Flask, office: FlaskClient) -> None:
    order = support.make_order(email="late@example.com")
    fresh = support.make_event(status=EventStatus.UNMATCHED, session_public_id="nobody")
    session = support.make_session(order)
    event = support.make_event(
        session, status=EventStatus.UNMATCHED, amount_minor=6900, at=clock.now() - timedelta(hours=2)
    )
    assert _found("unmatched_event") == [f"provider_events:{event.id}"], fresh.id
    _seen_and_mended(office, "unmatched_event", event.id)
    draining.drain_inbox()
    _is_mended(office, "unmatched_event", event.id)
    assert db.session.get_one(ProviderEvent, event.id).status is EventStatus.APPLIED


def test_a_failed_event(app: Flask, office: FlaskClient) -> None:
    order = support.make_order(email="late@example.com")
    event = support.make_event(support.make_session(order), status=EventStatus.FAILED, amount_minor=6900)
    assert _found("failed_event") == [f"provider_events:{event.id}"]
    _seen_and_mended(office, "failed_event", event.id)
    draining.drain_inbox()
    _is_mended(office, "failed_event", event.id)


def test_an_event_that_nobody_applies(app: Flask, office: FlaskClient) -> None:
    event = support.make_event(support.make_session(), at=clock.now() - timedelta(minutes=20))
    support.make_event(support.make_session())
    assert _found("event_waits") == [f"provider_events:{event.id}"]
    _seen_and_mended(office, "event_waits", event.id)
    assert _found("event_waits") == []


def test_a_gap_in_the_invoice_numbers(app: Flask, office: FlaskClient, order: Order) -> None:
    _sql("UPDATE number_sequences SET value = value + 1")
    year = day_of(clock.now())[:4]
    assert _found("invoice_gap") == [f"invoice_numbers:INV-{year}-2"]
    assert f"INV-{year}-00002" in page(office, BOARD)
    assert "is never given twice" in page(office, BOARD)
    assert _repair(office, "invoice_gap", 2) == 404
    _sql("UPDATE number_sequences SET value = value - 1")
    assert _found("invoice_gap") == []


# --- orders ---


def test_a_paid_session_whose_order_does_not_know(app: Flask, office: FlaskClient, client: FlaskClient) -> None:
    shop.ready(client, factories.make_package())
    sandbox.press(app.test_client(), shop.place(client).location, "pay_card")
    payments.on_settled(placing.PURPOSE, lambda session, *, at: None)
    try:
        shop.work(app)
    finally:
        payments.on_settled(placing.PURPOSE, fulfilling.settle_order)
    session = _session()
    assert session.status is SessionStatus.PAID
    assert _found("paid_session_unpaid_order") == [f"payment_sessions:{session.id}"]
    _seen_and_mended(office, "paid_session_unpaid_order", session.id)
    order = shop.only_order()
    assert (order.payment_status, order.status) == (PaymentStatus.PAID, OrderStatus.FULFILLED)
    assert list(shop.owned_by("guest@example.com").values()) == [1]
    _is_mended(office, "paid_session_unpaid_order", session.id)
    shop.work(app)
    assert check(db.session()) == []


def test_a_paid_session_without_its_order(office: FlaskClient) -> None:
    order = support.make_order()
    session = support.make_session(order, status=SessionStatus.PAID, attempt=AttemptStatus.PAID)
    event = support.make_event(session, status=EventStatus.APPLIED)
    support.make_payment(session, event)
    support.make_invoice(session)
    _sql("DELETE FROM order_lines")
    _sql("DELETE FROM orders")
    assert _found("paid_session_unpaid_order") == [f"payment_sessions:{session.id}"]
    answer = post_form(office, f"{BOARD}/paid_session_unpaid_order/{session.id}/repair", page="/admin/webhooks/check")
    assert answer.status_code == 409
    assert "The order does not exist any more" in words(answer)


def test_an_order_that_was_paid_after_it_was_cancelled(office: FlaskClient, order: Order) -> None:
    _sql("UPDATE orders SET status = 'cancelled'")
    assert _found("cancelled_and_paid") == [f"orders:{order.id}"]
    assert "Paid after it was cancelled" in page(office, BOARD)
    assert f'href="/admin/orders/{order.number}"' in office.get(BOARD).get_data(as_text=True)
    _sql("UPDATE orders SET refunded_minor = paid_minor, payment_status = 'refunded'")
    assert _found("cancelled_and_paid") == []


def test_a_paid_order_that_was_not_delivered(app: Flask, office: FlaskClient, order: Order) -> None:
    _sql("DELETE FROM enrolment_grants")
    _sql("DELETE FROM enrolments")
    _sql("DELETE FROM status_changes WHERE entity = 'orders' AND column_name = 'status'")
    _sql("DELETE FROM audit_events WHERE event = 'order.fulfilled'")
    _sql("UPDATE orders SET status = 'open', user_id = NULL")
    assert _found("paid_not_delivered") == [f"orders:{order.id}"]
    _seen_and_mended(office, "paid_not_delivered", order.id)
    _is_mended(office, "paid_not_delivered", order.id)
    assert list(shop.owned_by("guest@example.com").values()) == [1, 1]
    assert check(db.session()) == []


def test_a_waiting_order_is_no_breach(app: Flask, office: FlaskClient, client: FlaskClient) -> None:
    """An account with a password that nobody has proven: what was bought waits for its owner."""
    factories.make_user(email="guest@example.com", is_verified=False)
    order = shop.buy(app, client, factories.make_package())
    assert order.status is OrderStatus.OPEN
    assert _broken() == []
    answer = post_form(office, f"{BOARD}/paid_not_delivered/{order.id}/repair", page="/admin/webhooks/check")
    assert answer.status_code == 409
    assert "until the buyer has proven their address" in words(answer)
    # Proven since, and the claim was lost.
    with unit_of_work():
        user = db.session.scalars(db.select(User).where(User.email == "guest@example.com")).one()
        user.email_verified_at = clock.now()
    assert _found("paid_not_delivered") == [f"orders:{order.id}"]
    assert _repair(office, "paid_not_delivered", order.id) == 303
    assert shop.only_order().status is OrderStatus.FULFILLED
    assert check(db.session()) == []


def test_an_enrolment_that_is_missing(office: FlaskClient, order: Order) -> None:
    _sql("DELETE FROM enrolment_grants WHERE id = (SELECT min(id) FROM enrolment_grants)")
    _sql("DELETE FROM enrolments WHERE id NOT IN (SELECT enrolment_id FROM enrolment_grants)")
    assert _found("paid_without_enrolment") == [f"orders:{order.id}"]
    _seen_and_mended(office, "paid_without_enrolment", order.id)
    _is_mended(office, "paid_without_enrolment", order.id)
    assert list(shop.owned_by("guest@example.com").values()) == [1, 1]
    assert check(db.session()) == []


@pytest.mark.parametrize(("is_proven", "template"), [(False, "order_welcome"), (True, "order_confirmation")])
def test_a_confirmation_that_was_never_written(
    office: FlaskClient, order: Order, is_proven: bool, template: str
) -> None:
    _sql("DELETE FROM outbox_messages WHERE topic = 'mail.queued'")
    _sql("DELETE FROM mail_messages")
    if is_proven:
        with unit_of_work():
            db.session.scalars(db.select(User).where(User.email == order.email)).one().email_verified_at = clock.now()
    assert _found("paid_without_receipt") == [f"orders:{order.id}"]
    _seen_and_mended(office, "paid_without_receipt", order.id)
    _is_mended(office, "paid_without_receipt", order.id)
    assert db.session.scalars(db.select(MailMessage.template)).all() == [template]
    assert check(db.session()) == []


# --- the machinery ---


def test_a_failed_mail(app: Flask, office: FlaskClient, order: Order) -> None:
    mail = support.make_mail(status=MailStatus.FAILED, template="order_confirmation", order_id=order.id)
    assert _found("failed_mail") == [f"mail_messages:{mail.id}"]
    _seen_and_mended(office, "failed_mail", mail.id)
    _is_mended(office, "failed_mail", mail.id)
    outbox.drain("mail")
    shop.look_again()
    assert db.session.get_one(MailMessage, mail.id).status is MailStatus.SENT


def test_a_failed_effect(office: FlaskClient) -> None:
    message = support.make_message()
    support.make_message(topic="mail.queued", status=MessageStatus.FAILED)
    assert _found("failed_effect") == [f"outbox_messages:{message.id}"]
    _seen_and_mended(office, "failed_effect", message.id)
    _is_mended(office, "failed_effect", message.id)


# --- the board ---


def test_when_all_is_well_it_says_so(office: FlaskClient, order: Order) -> None:
    shown = page(office, BOARD)
    assert "Everything is as it must be" in shown
    assert "No nightly check has run yet." in shown
    for rule in invariants():
        assert f"None: {rule.title}" in shown


def test_every_rule_is_tried() -> None:
    """A new invariant gets its test, here or beside what it is about: broken on purpose, and found."""
    tests = "".join(path.read_text() for path in Path(__file__).parents[1].rglob("test_*.py"))
    assert [rule.name for rule in invariants() if f'"{rule.name}"' not in tests] == []


def test_the_board_costs_the_same_with_one_breach_and_with_a_hundred(
    office: FlaskClient, count_queries: Callable[[], int]
) -> None:
    support.make_message()
    support.make_conflict()
    office.get(BOARD)
    count_queries()
    office.get(BOARD)
    with_one = count_queries()
    for _ in range(99):
        support.make_message()
    for _ in range(10):
        support.make_conflict()
    count_queries()
    answer = office.get(BOARD)
    # A statement or two for each rule, and who asks.
    assert count_queries() == with_one <= 2 * len(invariants()) + 3
    assert "Failed jobs 99+" in words(answer)
    assert "Show all 99+" in words(answer)
    alone = office.get(f"{BOARD}?rule=failed_effect")
    assert alone.get_data(as_text=True).count(">Run again<") == 0 or "Every rule" in words(alone)
    assert alone.get_data(as_text=True).count(f"{BOARD}/failed_effect/") >= 100
    assert "Everything is as it must be" not in page(office, f"{BOARD}?rule=nonsense")


def test_unknown_rules_and_subjects_are_not_found(office: FlaskClient, order: Order) -> None:
    before = everything()
    assert _repair(office, "no_such_rule", 1) == 404
    for rule in invariants():
        if rule.repair is not None:
            assert _repair(office, rule.name, 999_999) in (404, 409), rule.name
    assert everything() == before


def test_mending_in_place_shows_the_board_afresh(office: FlaskClient) -> None:
    message = support.make_message()
    assert "hx-post" in office.get(BOARD, headers=FRAGMENT).get_data(as_text=True)
    address = f"{BOARD}/failed_effect/{message.id}/repair"
    answer = post_form(office, address, page=BOARD, htmx=True)
    assert answer.status_code == 200
    assert answer.get_data(as_text=True).lstrip().startswith('<div id="results"')
    assert "Everything is as it must be" in words(answer)


def test_two_mend_at_once(app: Flask, order: Order) -> None:
    _sql("DELETE FROM invoice_lines")
    _sql("DELETE FROM invoices")
    session_id, rule = _session().id, get_invariant("paid_without_invoice")

    def work() -> str:
        with unit_of_work():
            services.repair(rule, session_id, by="staff@example.com", at=clock.now())
        return "mended"

    results = all_at_once(app, [work] * 4)
    assert [one for one in results if one == "mended"] == ["mended"]
    assert all(one == "mended" or isinstance(one, Conflict) for one in results), results
    shop.look_again()
    assert len(db.session.scalars(db.select(Invoice)).all()) == 1


# --- every night ---


def test_the_nightly_check_tells_staff_once_of_what_is_new(app: Flask, staff: User, admin: User, alice: User) -> None:
    message = support.make_message()
    nightly.check_invariants()
    nightly.check_invariants()
    shop.look_again()
    run = db.session.scalars(db.select(InvariantRun)).one()
    assert run.found == run.new == {"failed_effect": [f"outbox_messages:{message.id}"]}
    told = db.session.scalars(db.select(MailMessage).order_by(MailMessage.to)).all()
    assert [(mail.template, mail.to) for mail in told] == [
        ("invariants_broken", admin.email), ("invariants_broken", staff.email),
    ]  # fmt: skip
    outbox.drain("mail")
    [letter, _other] = shop.letters()
    assert letter["Subject"] == "1 thing in the books is wrong"
    body = letter.get_body(("plain",))
    assert body is not None
    assert "- Failed jobs: 1" in body.get_content()
    assert "http://localhost/admin/invariants" in body.get_content()


def test_what_was_wrong_the_night_before_is_not_told_again(app: Flask, staff: User) -> None:
    support.make_message()
    nightly.check_invariants()
    with clock.shifted(timedelta(days=1)):
        nightly.check_invariants()
        conflict = support.make_conflict(reason="wrong_amount")
    with clock.shifted(timedelta(days=2)):
        nightly.check_invariants()
    shop.look_again()
    runs = db.session.scalars(db.select(InvariantRun).order_by(InvariantRun.id)).all()
    assert [run.new_count for run in runs] == [1, 0, 1]
    assert runs[-1].new == {"surplus_kept": [f"provider_events:{conflict.id}"]}
    assert len(db.session.scalars(db.select(MailMessage)).all()) == 2


def test_a_quiet_night_writes_a_line_and_no_mail(app: Flask, staff: User, office: FlaskClient) -> None:
    nightly.check_invariants()
    shop.look_again()
    assert db.session.scalars(db.select(InvariantRun)).one().found == {}
    assert db.session.scalars(db.select(MailMessage)).all() == []
    assert "Last nightly check:" in page(office, BOARD)

"""What a provider is answered, and what is in the inbox afterwards."""

import itertools
import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.core import clock
from portal.core.audit import AuditEvent
from portal.core.db import db, unit_of_work
from portal.payments.models import (
    EventStatus,
    Invoice,
    Payment,
    PaymentSession,
    ProviderEvent,
    SessionStatus,
    Standing,
)
from portal.payments.refund_models import Refund, RefundFlag, RefundOrigin, RefundStatus
from portal.payments.services.draining import drain_inbox, rematch_unmatched
from tests.payments import signed
from tests.payments.conftest import Sold


def status_of(session: PaymentSession) -> SessionStatus:
    db.session.expire_all()
    return db.session.get_one(PaymentSession, session.id).status


def events() -> list[ProviderEvent]:
    db.session.expire_all()
    return list(db.session.scalars(db.select(ProviderEvent).order_by(ProviderEvent.id)))


def payments() -> list[Payment]:
    return list(db.session.scalars(db.select(Payment).order_by(Payment.id)))


def test_a_paid_event_is_stored_answered_and_settled_by_a_worker(client: FlaskClient, sold: Sold) -> None:
    session = signed.make_session()
    answer = signed.post(client, signed.checkout_event(session))
    assert (answer.status_code, answer.get_json()) == (200, {"status": "accepted"})
    assert status_of(session) is SessionStatus.CREATED
    assert drain_inbox() == 1
    assert status_of(session) is SessionStatus.PAID
    assert sold.settled == [session.id]
    invoice = db.session.scalars(db.select(Invoice)).one()
    assert (invoice.session_id, invoice.gross_minor, invoice.tax_minor) == (session.id, 4900, 916)
    names = db.session.scalars(db.select(AuditEvent.event)).all()
    assert "WEBHOOK_STRIPE_SUCCESS" in names


def test_the_same_event_again_is_a_duplicate_and_changes_nothing(client: FlaskClient, sold: Sold) -> None:
    session = signed.make_session()
    event = signed.checkout_event(session)
    signed.post(client, event)
    drain_inbox()
    again = signed.post(client, event)
    assert (again.status_code, again.get_json()) == (200, {"status": "duplicate"})
    assert drain_inbox() == 0
    assert sold.settled == [session.id]
    assert len(events()) == 1


def test_one_payment_under_two_names_counts_once(client: FlaskClient, sold: Sold) -> None:
    session = signed.make_session()
    assert signed.post(client, signed.checkout_event(session)).status_code == 200
    assert signed.post(client, signed.intent_event(session)).status_code == 200
    drain_inbox()
    assert [event.status for event in events()] == [EventStatus.APPLIED, EventStatus.DUPLICATE]
    assert len(payments()) == 1
    assert sold.settled == [session.id]


def test_the_second_name_after_settling_is_answered_as_duplicate(client: FlaskClient) -> None:
    session = signed.make_session()
    signed.post(client, signed.checkout_event(session))
    drain_inbox()
    answer = signed.post(client, signed.intent_event(session))
    assert (answer.status_code, answer.get_json()) == (200, {"status": "duplicate"})
    assert events()[1].status is EventStatus.DUPLICATE


def test_a_second_real_payment_is_kept_apart_and_answered_409(client: FlaskClient, sold: Sold) -> None:
    session = signed.make_session()
    signed.post(client, signed.checkout_event(session, payment="pi_first"))
    drain_inbox()
    answer = signed.post(client, signed.checkout_event(session, payment="pi_second"))
    assert (answer.status_code, answer.get_json()) == (409, {"status": "conflict"})
    assert events()[1].status is EventStatus.CONFLICT
    assert [(one.standing, one.surplus_reason) for one in payments()] == [
        (Standing.COUNTED, None),
        (Standing.SURPLUS, "second_payment"),
    ]
    assert sold.settled == [session.id]


def test_two_payments_before_the_worker_looks_end_in_one_sale_and_one_surplus(client: FlaskClient, sold: Sold) -> None:
    session = signed.make_session()
    for payment in ("pi_first", "pi_second"):
        assert signed.post(client, signed.checkout_event(session, payment=payment)).status_code == 200
    drain_inbox()
    assert [event.status for event in events()] == [EventStatus.APPLIED, EventStatus.CONFLICT]
    assert sold.settled == [session.id]


def test_money_after_failure_is_a_conflict_and_never_dropped(client: FlaskClient, sold: Sold) -> None:
    session = signed.make_session()
    signed.post(client, signed.checkout_event(session, event_type="checkout.session.expired", payment_status="unpaid"))
    drain_inbox()
    assert status_of(session) is SessionStatus.FAILED
    answer = signed.post(client, signed.checkout_event(session))
    assert answer.status_code == 409
    assert payments()[0].surplus_reason == "after_failure"
    assert status_of(session) is SessionStatus.FAILED
    assert sold.settled == []


def test_failed_after_paid_is_a_conflict(client: FlaskClient) -> None:
    session = signed.make_session()
    signed.post(client, signed.checkout_event(session))
    drain_inbox()
    late = signed.checkout_event(session, event_type="checkout.session.expired", payment_status="unpaid")
    assert signed.post(client, late).status_code == 409
    assert status_of(session) is SessionStatus.PAID


def test_the_api_address_answers_200_with_the_verdict_in_the_body(client: FlaskClient) -> None:
    session = signed.make_session()
    signed.post(client, signed.checkout_event(session, payment="pi_first"))
    drain_inbox()
    second = signed.post(client, signed.checkout_event(session, payment="pi_second"), prefix="/api/v1")
    assert (second.status_code, second.get_json()) == (200, {"status": "conflict"})
    unknown = signed.post(client, signed.checkout_event("3f0f3d3e-0000-4000-8000-000000000000"), prefix="/api/v1")
    assert (unknown.status_code, unknown.get_json()) == (200, {"status": "unmatched"})


def test_an_event_that_overtakes_its_session_is_kept_and_matched_later(client: FlaskClient, sold: Sold) -> None:
    event = signed.checkout_event("6d1b9f0a-5555-4444-8888-1234567890ab")
    assert signed.post(client, event).status_code == 404
    assert events()[0].status is EventStatus.UNMATCHED
    assert rematch_unmatched(at=clock.now()) == 0
    session = signed.make_session()
    with unit_of_work():
        db.session.get_one(PaymentSession, session.id).public_id = "6d1b9f0a-5555-4444-8888-1234567890ab"
    assert rematch_unmatched(at=clock.now()) == 1
    drain_inbox()
    assert sold.settled == [session.id]


@pytest.mark.parametrize("event_type", ["customer.created", "payment_intent.created", "something.new.entirely"])
def test_a_type_that_is_not_used_is_stored_and_ignored(client: FlaskClient, event_type: str) -> None:
    answer = signed.post(client, {**signed.checkout_event("x"), "type": event_type})
    assert (answer.status_code, answer.get_json()) == (200, {"status": "ignored"})
    assert [event.status for event in events()] == [EventStatus.IGNORED]


def test_an_event_that_names_no_session_of_ours_is_ignored(client: FlaskClient) -> None:
    event = signed.checkout_event("x")
    event["data"]["object"].update(metadata={}, client_reference_id=None)
    assert signed.post(client, event).get_json() == {"status": "ignored"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"amount_minor": 4899}, "wrong_amount"),
        ({"amount_minor": 4901}, "wrong_amount"),
        ({"currency": "EUR"}, "wrong_currency"),
        ({"livemode": True}, "wrong_mode"),
    ],
)
def test_money_that_does_not_fit_is_flagged_and_pays_nothing(
    client: FlaskClient, sold: Sold, change: dict[str, object], reason: str
) -> None:
    session = signed.make_session()
    signed.post(client, signed.checkout_event(session, **change))  # type: ignore[arg-type]  # one keyword at a time
    drain_inbox()
    assert events()[0].status is EventStatus.CONFLICT
    assert payments()[0].surplus_reason == reason
    assert status_of(session) is not SessionStatus.PAID
    assert sold.settled == []


def test_every_order_of_the_same_events_ends_the_same(client: FlaskClient, sold: Sold) -> None:
    ends = set()
    for order in itertools.permutations(range(4)):
        session = signed.make_session()
        story = [
            signed.checkout_event(session, payment_status="unpaid"),
            signed.intent_event(session, event_type="payment_intent.processing"),
            signed.intent_event(session),
            signed.checkout_event(session, event_type="checkout.session.async_payment_succeeded"),
        ]
        for index in order:
            assert signed.post(client, story[index]).status_code == 200
            drain_inbox()
        counted = [one for one in payments() if one.session_id == session.id]
        ends.add((status_of(session), len(counted), sold.settled.count(session.id)))
    assert ends == {(SessionStatus.PAID, 1, 1)}


FORGERIES: dict[str, Callable[[str], str]] = {
    "no header": lambda _body: "",
    "wrong secret": lambda body: signed.signature(body, secret="whsec_other"),
    "signature of another body": lambda body: signed.signature(body + " "),
    "only v0": lambda body: signed.signature(body).replace("v1=", "v0="),
    "upper-case hex": lambda body: (
        signed.signature(body).split("v1=")[0] + "v1=" + signed.signature(body).split("v1=")[1].upper()
    ),
    "10,000 signatures": lambda body: "t=1," + ",".join(["v1=00"] * 10_000),
    "not ASCII": lambda body: "t=1,v1=ąę".encode().decode("latin-1"),
    "too old": lambda body: signed.signature(body, at=clock.now() - timedelta(seconds=310)),
    "from the future": lambda body: signed.signature(body, at=clock.now() + timedelta(seconds=310)),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_delivery_is_refused_and_leaves_an_audit_line_only(client: FlaskClient, forgery: str) -> None:
    body = json.dumps(signed.checkout_event(signed.make_session()))
    answer = signed.post(client, body, header=FORGERIES[forgery](body))
    assert answer.status_code == 400
    assert events() == []
    assert db.session.scalars(db.select(AuditEvent.event)).all() == ["WEBHOOK_STRIPE_REFUSED"]


def test_a_signature_of_nearly_five_minutes_ago_is_believed(client: FlaskClient) -> None:
    body = json.dumps(signed.checkout_event(signed.make_session()))
    header = signed.signature(body, at=clock.now() - timedelta(seconds=290))
    assert signed.post(client, body, header=header).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[" * 100_000,
        "null",
        '"text"',
        "[]",
        "{}",
        '{"id": "evt_1", "id": "evt_2", "object": "event", "type": "x"}',
        '{"id": "evt_1", "object": "event", "type": "x", "data": {"object": {"amount_total": NaN}}}',
        '{"id": "evt_1", "object": "event", "type": "x", "created": 1e999}',
        '{"id": "evt_\\u0000", "object": "event", "type": "x"}',
        '{"id": "evt_\\ud800", "object": "event", "type": "x"}',
    ],
)
def test_a_signed_body_that_makes_no_sense_is_a_400(client: FlaskClient, body: str) -> None:
    answer = signed.post(client, body)
    assert answer.status_code == 400
    assert events() == []


def test_a_body_above_the_cap_is_a_413(client: FlaskClient) -> None:
    body = json.dumps(signed.checkout_event("x")) + " " * (256 * 1024)
    assert signed.post(client, body).status_code == 413
    assert events() == []


def test_a_body_of_the_largest_size_is_taken(client: FlaskClient) -> None:
    body = json.dumps(signed.checkout_event("x"))
    assert signed.post(client, body + " " * (256 * 1024 - len(body))).status_code == 404


def test_an_unknown_provider_is_not_found(client: FlaskClient) -> None:
    assert client.post("/webhooks/nobody", data="{}").status_code == 404


def test_a_webhook_is_not_a_page(client: FlaskClient) -> None:
    assert client.get("/webhooks/stripe").status_code == 405


def test_an_ordinary_delivery_costs_one_statement(client: FlaskClient, count_queries: Callable[[], int]) -> None:
    session = signed.make_session()
    count_queries()
    signed.post(client, signed.checkout_event(session))
    # The insert with its look-up goes over a connection of its own on PostgreSQL, which is not counted here.
    assert count_queries() <= 1


def test_a_webhook_is_taken_while_redis_is_away(app: Flask, client: FlaskClient, sold: Sold) -> None:
    from redis import Redis

    here = app.extensions["redis"]
    app.extensions["redis"] = Redis(port=1, socket_connect_timeout=0.2)
    session = signed.make_session()
    try:
        assert signed.post(client, signed.checkout_event(session)).status_code == 200
    finally:
        app.extensions["redis"] = here
    drain_inbox()
    assert sold.settled == [session.id]


def refund_event(session: PaymentSession) -> dict[str, object]:
    """A refund made in the provider's dashboard: it names the payment and nothing of ours."""
    event = signed.checkout_event(session, event_type="refund.created")
    event["data"]["object"] = {
        "id": f"re_{session.public_id}",
        "object": "refund",
        "status": "succeeded",
        "amount": session.amount_minor,
        "currency": session.currency.lower(),
        "payment_intent": f"pi_{session.public_id}",
        "metadata": {},
    }
    return event


def test_a_refund_made_at_the_provider_is_seen_by_staff(client: FlaskClient) -> None:
    session = signed.make_session()
    signed.post(client, signed.checkout_event(session))
    drain_inbox()
    assert signed.post(client, refund_event(session)).get_json() == {"status": "accepted"}
    assert events()[1].status is EventStatus.APPLIED
    assert events()[1].session_public_id == session.public_id
    [refund] = db.session.scalars(db.select(Refund))
    assert (refund.origin, refund.flag) == (RefundOrigin.PROVIDER, RefundFlag.ELSEWHERE)
    assert "WEBHOOK_STRIPE_REFUNDED" in db.session.scalars(db.select(AuditEvent.event)).all()


def test_a_refund_that_overtakes_its_payment_is_seen_too(client: FlaskClient) -> None:
    session = signed.make_session()
    assert signed.post(client, refund_event(session)).get_json() == {"status": "ignored"}
    signed.post(client, signed.checkout_event(session))
    drain_inbox()
    drain_inbox()
    assert status_of(session) is SessionStatus.PAID
    assert events()[0].status is EventStatus.APPLIED
    assert db.session.scalars(db.select(Refund.status)).all() == [RefundStatus.SUCCEEDED]


def test_a_refund_of_somebody_elses_payment_stays_ignored(client: FlaskClient) -> None:
    session = signed.make_session()
    signed.post(client, refund_event(signed.make_session()))
    signed.post(client, signed.checkout_event(session))
    drain_inbox()
    assert events()[0].status is EventStatus.IGNORED


def test_paid_without_an_amount_is_no_payment(client: FlaskClient, sold: Sold) -> None:
    session = signed.make_session()
    event = signed.checkout_event(session, amount_minor=0, payment_status="no_payment_required")
    signed.post(client, event)
    drain_inbox()
    assert events()[0].status is EventStatus.CONFLICT
    assert (payments(), sold.settled) == ([], [])

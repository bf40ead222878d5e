"""Giving money back: once for each press of the button, never more than came, and known for sure before it counts."""

import threading
from datetime import date, timedelta
from itertools import permutations
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from portal.accounts.models import User
from portal.core import clock, faults, outbox
from portal.core.audit import AuditEvent
from portal.core.db import db, is_postgresql, unit_of_work
from portal.core.mail import MailMessage
from portal.core.queues import QueueName
from portal.core.state import InvalidTransition, transition
from portal.payments.errors import (
    FullRefundOnly,
    InvalidRefund,
    LineAlreadyRefunded,
    MoneyInDispute,
    NothingToRefund,
    RefundNotAskable,
    RefundTooLarge,
    RequestAlreadyUsed,
)
from portal.payments.models import (
    EventStatus,
    Invoice,
    InvoiceLine,
    Payment,
    PaymentSession,
    ProviderEvent,
    SessionStatus,
)
from portal.payments.providers.base import Capabilities
from portal.payments.refund_models import (
    DISPUTE_TRANSITIONS,
    REFUND_TRANSITIONS,
    Dispute,
    DisputeStatus,
    Refund,
    RefundFlag,
    RefundOrigin,
    RefundReason,
    RefundStatus,
)
from portal.payments.services import refund_desk, refunding
from portal.payments.services.draining import drain_inbox, rematch_unmatched
from portal.payments.services.starting import start_attempt
from tests import invariants
from tests.crowd import all_at_once
from tests.fakes.stripe import FakeStripe
from tests.payments import signed
from tests.payments.money_back import (
    BY,
    ask,
    at_stripe,
    deliver,
    disputes,
    fresh,
    given,
    look_again,
    notes,
    paid,
    payments,
    refunds,
    verdicts,
    wish,
    work,
)


def sound() -> list[str]:
    return invariants.check(db.session())


def mails(template: str) -> list[str]:
    look_again()
    return list(db.session.scalars(db.select(MailMessage.to).where(MailMessage.template == template)))


def test_all_of_a_payment_goes_back(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    session = paid(client, fake_stripe)
    refund = given(session)
    assert (refund.status, refund.amount_minor, refund.requested_by) == (RefundStatus.SUCCEEDED, 4900, BY)
    assert refund.provider_reference == fake_stripe.world.all("refund")[0]["id"]
    assert at_stripe(fake_stripe) == [4900]
    assert payments()[0].rest_minor == 0
    assert mails("refund_given") == ["alice@example.com"]
    assert sound() == []


def test_a_part_goes_back_and_leaves_the_rest(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    session = paid(client, fake_stripe)
    given(session, 1000)
    given(session, 3900)
    assert at_stripe(fake_stripe) == [1000, 3900]
    with pytest.raises(NothingToRefund), unit_of_work():
        refunding.request_refund(wish(session), by=BY, at=clock.now())
    assert sound() == []


def test_the_webhook_of_our_own_refund_is_no_news(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    given(paid(client, fake_stripe), 1000)
    deliver(client, fake_stripe)
    assert len(refunds()) == 1
    assert verdicts("refund.created") == [(EventStatus.DUPLICATE, "we knew of this refund")]
    assert sound() == []


def test_a_pending_refund_is_confirmed_by_its_webhook(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    fake_stripe.control.set_refunds("pending")
    refund = given(paid(client, fake_stripe))
    assert refund.status is RefundStatus.PENDING
    assert notes() == []
    fake_stripe.control.settle_refund(str(refund.provider_reference))
    deliver(client, fake_stripe)
    assert fresh(refund).status is RefundStatus.SUCCEEDED
    assert verdicts("refund.updated") == [(EventStatus.APPLIED, "refunded")]
    assert len(notes()) == 1
    assert sound() == []


@pytest.mark.parametrize("outcome", ["failed", "pending"])
def test_a_refund_that_the_bank_refuses_gives_its_money_free(
    client: FlaskClient, fake_stripe: FakeStripe, admin: User, outcome: str
) -> None:
    fake_stripe.control.set_refunds(outcome)
    refund = given(paid(client, fake_stripe))
    if outcome == "pending":
        fake_stripe.control.fail_refund(str(refund.provider_reference))
        deliver(client, fake_stripe, "refund.failed")
        deliver(client, fake_stripe)
    refund = fresh(refund)
    assert (refund.status, refund.flag) == (RefundStatus.FAILED, RefundFlag.FAILED)
    assert (payments()[0].rest_minor, notes()) == (4900, [])
    assert mails("refund_failed") == [admin.email]
    assert mails("refund_given") == []
    assert sound() == []


def test_a_refund_that_fails_later_is_taken_back_from_the_books(
    client: FlaskClient, fake_stripe: FakeStripe, admin: User
) -> None:
    session = paid(client, fake_stripe)
    refund = given(session, 1000)
    fake_stripe.control.fail_refund(str(refund.provider_reference))
    deliver(client, fake_stripe)
    assert fresh(refund).status is RefundStatus.FAILED
    assert [note.gross_minor for note in notes()] == [1000, -1000]
    assert notes()[1].cancels_id == notes()[0].id
    assert payments()[0].rest_minor == 4900
    assert mails("refund_failed") == [admin.email]
    assert sound() == []
    # What came back can be given again.
    assert given(session).status is RefundStatus.SUCCEEDED
    assert sound() == []


def test_the_news_in_any_order_end_the_same(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    """A refund at the dashboard succeeded and then failed; its failure comes first."""
    session = paid(client, fake_stripe)
    made = fake_stripe.control.refund(str(session.provider_reference), 1000)
    fake_stripe.control.fail_refund(made["id"])
    deliver(client, fake_stripe, "refund.failed")
    deliver(client, fake_stripe)
    [refund] = refunds()
    assert (refund.status, refund.origin) == (RefundStatus.FAILED, RefundOrigin.PROVIDER)
    assert verdicts("refund.created") == [(EventStatus.IGNORED, "overtaken: the refund has failed")]
    assert payments()[0].rest_minor == 4900
    assert sound() == []


def test_news_that_come_while_their_payment_is_being_counted_are_not_lost(
    client: FlaskClient, fake_stripe: FakeStripe, app: Flask
) -> None:
    """Neither sees the other: the payment has looked for early news already, and cannot be seen yet."""
    session = signed.make_session()
    start_attempt(session.id, "stripe", at=clock.now())
    look_again()
    attempt = db.session.get_one(PaymentSession, session.id).attempts[0]
    fake_stripe.control.pay(str(attempt.provider_reference))
    [paid_by] = [one for one in fake_stripe.world.all("event") if one["type"] == "checkout.session.completed"]
    fake_stripe.control.refund(paid_by["data"]["object"]["payment_intent"], 1500)
    [refunded] = [one for one in fake_stripe.world.all("event") if one["type"] == "refund.created"]
    came: list[threading.Thread] = []

    def come() -> None:
        assert signed.post(app.test_client(), refunded).status_code == 200

    def while_it_is_counted() -> None:
        came.append(threading.Thread(target=come))
        came[0].start()
        # SQLite lets the other one in only after this transaction, so nothing can be missed there.
        came[0].join(20 if is_postgresql() else 0.2)

    assert signed.post(client, paid_by).status_code == 200
    with faults.arm("settle-before-commit", while_it_is_counted):
        drain_inbox()
    came[0].join()
    if is_postgresql():
        assert verdicts("refund.created") == [(EventStatus.IGNORED, "not used, or names no payment session of ours")]
    assert rematch_unmatched(at=clock.now()) == int(is_postgresql())
    drain_inbox()
    assert verdicts("refund.created") == [(EventStatus.APPLIED, "refunded elsewhere")]
    assert [refund.amount_minor for refund in refunds()] == [1500]
    assert rematch_unmatched(at=clock.now()) == 0
    assert sound() == []


# --- asked twice, at once, above the rest, and what cannot be ---


def test_the_same_form_twice_gives_the_money_once(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    session = paid(client, fake_stripe)
    first, second = ask(session, 1000, key="k" * 20), ask(session, 1000, key="k" * 20)
    assert first.id == second.id
    work()
    assert at_stripe(fake_stripe) == [1000]


def test_the_same_form_with_other_answers_is_refused(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    session = paid(client, fake_stripe)
    ask(session, 1000, key="k" * 20)
    with pytest.raises(RequestAlreadyUsed):
        ask(session, 2000, key="k" * 20)
    assert len(refunds()) == 1


@pytest.mark.parametrize(
    ("amount_minor", "currency", "error"),
    [
        (4901, "PLN", RefundTooLarge),
        (0, "PLN", InvalidRefund),
        (-1, "PLN", InvalidRefund),
        (100, "USD", InvalidRefund),
        (2**62, "PLN", RefundTooLarge),
    ],
)
def test_an_amount_that_cannot_go_back_is_refused(
    client: FlaskClient, fake_stripe: FakeStripe, amount_minor: int, currency: str, error: type[Exception]
) -> None:
    session = paid(client, fake_stripe)
    with pytest.raises(error):
        ask(session, amount_minor, currency=currency)
    assert refunds() == []
    assert payments()[0].rest_minor == 4900


def test_what_was_never_paid_cannot_go_back(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    with pytest.raises(NothingToRefund):
        ask(signed.make_session())


def test_two_members_of_staff_at_once_never_give_more_than_came(
    app: Flask, client: FlaskClient, fake_stripe: FakeStripe
) -> None:
    session = paid(client, fake_stripe)
    session_id = session.id

    def one() -> Any:
        with unit_of_work():
            mine = db.session.get_one(PaymentSession, session_id)
            return refunding.request_refund(wish(mine, 3000), by=BY, at=clock.now())

    results = all_at_once(app, [one] * 8)
    assert sum(isinstance(result, list) for result in results) == 1
    assert sum(isinstance(result, RefundTooLarge) for result in results) == 7
    work()
    assert at_stripe(fake_stripe) == [3000]
    assert sound() == []


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize("is_checked", [True, False])
def test_control_without_the_locks_the_check_of_the_table_is_all_there_is(
    app: Flask, client: FlaskClient, fake_stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch, is_checked: bool
) -> None:
    """With the locks off both read the same rest: the table refuses one; without its check both are recorded."""
    session_id = paid(client, fake_stripe).id
    meeting = threading.Barrier(2)

    def careless(session_ids: Any) -> list[Payment]:
        found = list(db.session.scalars(db.select(Payment).where(Payment.session_id.in_(session_ids))))
        meeting.wait(10)
        return found

    def one() -> Any:
        with unit_of_work():
            mine = db.session.get_one(PaymentSession, session_id)
            return refunding.request_refund(wish(mine, 3000), by=BY, at=clock.now())

    monkeypatch.setattr(refunding, "lock_sessions", lambda _ids: [])
    monkeypatch.setattr(refunding, "lock_payments", careless)
    if is_checked:
        results = all_at_once(app, [one, one])
        assert sorted(type(result).__name__ for result in results) == ["IntegrityError", "list"]
        assert sound() == []
        return
    name = "ck_payments_returned_within_amount"
    with db.engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE payments DROP CONSTRAINT {name}"))
    try:
        results = all_at_once(app, [one, one])
        assert all(isinstance(result, list) for result in results)
        assert "payment 1 is of 4900, its refunds are 6000" in sound()
    finally:
        look_again()
        with db.engine.begin() as connection:
            connection.execute(text("DELETE FROM refunds"))
            connection.execute(text("UPDATE payments SET returned_minor = 0"))
            check = "CHECK (returned_minor BETWEEN 0 AND amount_minor)"
            connection.execute(text(f"ALTER TABLE payments ADD CONSTRAINT {name} {check}"))


def test_the_table_itself_takes_no_more_than_came(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    paid(client, fake_stripe)
    with pytest.raises(IntegrityError), db.engine.begin() as connection:
        connection.execute(text("UPDATE payments SET returned_minor = amount_minor + 1"))


# --- several payments ---


def test_an_amount_is_spread_over_the_payments_it_came_from(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    session = paid(client, fake_stripe, times=2)
    with unit_of_work():
        made = refunding.request_refund(wish(session, 6000), by=BY, at=clock.now())
    work()
    assert sorted(at_stripe(fake_stripe)) == [1100, 4900]
    assert {refund.request_key for refund in made} == {made[0].request_key}
    assert [(one.standing.value, one.rest_minor) for one in payments()] == [("counted", 0), ("surplus", 3800)]
    # Paper exists only for the money that had an invoice.
    assert [note.gross_minor for note in notes()] == [4900]
    assert sound() == []


def test_a_surplus_goes_back_alone_and_needs_nobody_any_more(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    session = paid(client, fake_stripe, times=2)
    surplus = payments()[1]
    refund = given(session, payment_id=surplus.id)
    assert (refund.payment_id, refund.status) == (surplus.id, RefundStatus.SUCCEEDED)
    assert notes() == []
    assert db.session.get_one(ProviderEvent, surplus.event_id).status is EventStatus.RESOLVED
    assert mails("refund_given") == ["alice@example.com"]
    assert sound() == []


# --- lines ---


def test_lines_go_back_once(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    session = paid(client, fake_stripe)
    line_id = db.session.scalars(db.select(InvoiceLine.id)).one()
    refund = given(session, line_ids=(line_id,))
    assert (refund.amount_minor, refund.line_ids) == (4900, [line_id])
    with pytest.raises(NothingToRefund):
        ask(session, line_ids=(line_id,))


def test_a_line_that_is_partly_gone_is_refused(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    session = paid(client, fake_stripe)
    line_id = db.session.scalars(db.select(InvoiceLine.id)).one()
    given(session, 100)
    with pytest.raises(LineAlreadyRefunded):
        ask(session, line_ids=(line_id,))
    with pytest.raises(InvalidRefund):
        ask(session, line_ids=(line_id + 999,))


# --- providers that cannot, or only in full ---


def limited(app: Flask, monkeypatch: pytest.MonkeyPatch, *, refund: bool, partial: bool) -> None:
    provider = app.extensions["payment_registry"].get("stripe")
    can = Capabilities(refund=refund, partial_refund=partial, fetch=True, methods=("card",))
    monkeypatch.setattr(type(provider), "capabilities", can)


def test_a_provider_that_cannot_leaves_it_to_a_person(
    app: Flask, client: FlaskClient, fake_stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = paid(client, fake_stripe)
    limited(app, monkeypatch, refund=False, partial=False)
    refund = given(session, 1000)
    assert (refund.status, refund.flag) == (RefundStatus.REQUESTED, RefundFlag.BY_HAND)
    assert fake_stripe.world.all("refund") == []
    with pytest.raises(RefundNotAskable), unit_of_work():
        refunding.ask_again(refund.id, by=BY, at=clock.now())
    with unit_of_work():
        refund_desk.note_given(
            refund.id, reference="BANK 17", given_on=date(2026, 11, 20), note="by transfer", by=BY, at=clock.now()
        )
    refund = fresh(refund)
    assert (refund.status, refund.hand_reference, refund.flag) == (RefundStatus.SUCCEEDED, "BANK 17", None)
    assert [note.gross_minor for note in notes()] == [1000]
    with pytest.raises(InvalidTransition), unit_of_work():
        refund_desk.note_not_given(refund.id, note="no", by=BY, at=clock.now())
    assert sound() == []


def test_a_refund_by_hand_that_the_provider_tells_of_is_that_one(
    app: Flask, client: FlaskClient, fake_stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = paid(client, fake_stripe)
    limited(app, monkeypatch, refund=False, partial=False)
    refund = ask(session, 1000)
    fake_stripe.control.refund(str(session.provider_reference), 1000)
    deliver(client, fake_stripe)
    assert [one.id for one in refunds()] == [refund.id]
    assert fresh(refund).status is RefundStatus.SUCCEEDED


def test_a_provider_without_parts_takes_all_or_nothing(
    app: Flask, client: FlaskClient, fake_stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = paid(client, fake_stripe)
    limited(app, monkeypatch, refund=True, partial=False)
    with pytest.raises(FullRefundOnly):
        ask(session, 4899)
    assert given(session, 4900).status is RefundStatus.SUCCEEDED


# --- made elsewhere ---


def test_a_refund_at_the_dashboard_is_on_our_books_and_shown(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    session = paid(client, fake_stripe)
    fake_stripe.control.refund(str(session.provider_reference), 1500)
    deliver(client, fake_stripe)
    deliver(client, fake_stripe)
    [refund] = refunds()
    assert (refund.origin, refund.status, refund.flag) == (
        RefundOrigin.PROVIDER, RefundStatus.SUCCEEDED, RefundFlag.ELSEWHERE,
    )  # fmt: skip
    assert [note.gross_minor for note in notes()] == [1500]
    assert verdicts("refund.created") == [(EventStatus.APPLIED, "refunded elsewhere")]
    with unit_of_work():
        refund_desk.note_seen(refund.id, by=BY)
    assert fresh(refund).flag is None
    assert sound() == []


def test_more_than_was_left_stays_a_conflict(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    """Our refund of 4000 is on its way when 4900 go back at the dashboard: both cannot be."""
    session = paid(client, fake_stripe)
    fake_stripe.control.set_refunds("pending")
    given(session, 4000)
    event = signed.checkout_event(session, event_type="refund.created")
    event["data"]["object"] = {
        "id": "re_elsewhere", "object": "refund", "status": "succeeded", "amount": 4900, "currency": "pln",
        "payment_intent": session.provider_reference, "metadata": {},
    }  # fmt: skip
    signed.post(client, event)
    assert verdicts("refund.created") == [(EventStatus.CONFLICT, "more was refunded than was left")]
    assert len(refunds()) == 1
    assert sound() == []


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [({"currency": "usd"}, "wrong_currency"), ({"amount": 0}, "money back without an amount")],
)
def test_what_does_not_add_up_changes_nothing(
    client: FlaskClient, fake_stripe: FakeStripe, changes: dict[str, Any], verdict: str
) -> None:
    session = paid(client, fake_stripe)
    event = signed.checkout_event(session, event_type="refund.created")
    event["data"]["object"] = {
        "id": "re_odd", "object": "refund", "status": "succeeded", "amount": 100, "currency": "pln",
        "payment_intent": session.provider_reference, "metadata": {}, **changes,
    }  # fmt: skip
    signed.post(client, event)
    assert verdicts("refund.created") == [(EventStatus.CONFLICT, verdict)]
    assert (refunds(), payments()[0].rest_minor) == ([], 4900)


def test_money_that_went_back_after_all_is_on_the_books(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    """A person saw nothing at the provider and let the refund be; then the provider tells that it was given."""
    session = paid(client, fake_stripe)
    refund = ask(session, 1000)
    fake_stripe.control.add_fault("lost_answer", path="/v1/refunds", times=2)
    outbox.drain(QueueName.WEBHOOKS)
    with unit_of_work():
        refunding._gave_up(refund.id)
        refund_desk.note_not_given(refund.id, note="not on their page", by=BY, at=clock.now())
    deliver(client, fake_stripe)
    deliver(client, fake_stripe)
    assert [(one.status, one.origin, one.flag) for one in refunds()] == [
        (RefundStatus.FAILED, RefundOrigin.STAFF, None),
        (RefundStatus.SUCCEEDED, RefundOrigin.PROVIDER, RefundFlag.ELSEWHERE),
    ]
    assert payments()[0].rest_minor == 3900
    assert sound() == []


def test_what_a_person_noted_is_not_counted_again_when_the_provider_tells(
    client: FlaskClient, fake_stripe: FakeStripe
) -> None:
    """A provider that brings no key back: its word about a refund that was noted by hand is that refund."""
    session = paid(client, fake_stripe)
    refund = ask(session, 1000)
    fake_stripe.control.add_fault("refused", path="/v1/refunds", times=2)
    outbox.drain(QueueName.WEBHOOKS)
    fake_stripe.control.refund(str(session.provider_reference), 1000)
    with unit_of_work():
        refunding._gave_up(refund.id)
        refund_desk.note_given(
            refund.id, reference="their page", given_on=date(2026, 11, 20), note="", by=BY, at=clock.now()
        )
    deliver(client, fake_stripe)
    [one] = refunds()
    assert one.provider_reference == fake_stripe.world.all("refund")[0]["id"]
    assert sound() == []


@pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
def test_every_order_of_the_news_ends_the_same(client: FlaskClient, order: tuple[int, ...]) -> None:
    """Begun, on its way, paid and given back, as the events may come."""
    session = signed.make_session()
    back = signed.checkout_event(session, event_type="refund.created")
    back["data"]["object"] = {
        "id": "re_any", "object": "refund", "status": "succeeded", "amount": 1000, "currency": "pln",
        "payment_intent": f"pi_{session.public_id}", "metadata": {},
    }  # fmt: skip
    events = [
        signed.checkout_event(session, payment_status="unpaid"),
        signed.intent_event(session, event_type="payment_intent.processing"),
        signed.intent_event(session),
        back,
    ]
    for number in order:
        signed.post(client, events[number])
        drain_inbox()
    drain_inbox()
    [refund], [payment] = refunds(), payments()
    assert (refund.status, payment.rest_minor, len(notes())) == (RefundStatus.SUCCEEDED, 3900, 1)
    assert db.session.get_one(PaymentSession, session.id).status is SessionStatus.PAID
    assert sound() == []


# --- crashes and silence ---


@pytest.mark.parametrize(
    "point",
    ["refund-before-provider", "refund-after-provider", "refund-after-status", "refund-before-commit", "lost_answer",
     "refused"],
)  # fmt: skip
def test_a_crash_anywhere_leaves_one_refund(client: FlaskClient, fake_stripe: FakeStripe, point: str) -> None:
    """The worker dies at a point, or the line does; what is tried again afterwards gives nothing twice."""
    session = paid(client, fake_stripe)
    refund = ask(session, 1000)

    class Killed(BaseException):
        pass

    def die() -> None:
        raise Killed

    if point in ("lost_answer", "refused"):
        # The SDK tries once more by itself.
        fake_stripe.control.add_fault(point, path="/v1/refunds", times=2)
        outbox.drain(QueueName.WEBHOOKS)
        assert fresh(refund).status is RefundStatus.ASKING
    else:
        with faults.arm(point, die), pytest.raises(Killed):
            outbox.drain(QueueName.WEBHOOKS)
        assert fresh(refund).status is RefundStatus.ASKING
    assert len(at_stripe(fake_stripe)) <= 1
    assert sound() == []
    refunding.give_back(refund.id)
    assert fresh(refund).status is RefundStatus.SUCCEEDED
    assert at_stripe(fake_stripe) == [1000]
    deliver(client, fake_stripe)
    assert len(refunds()) == len(notes()) == 1
    assert sound() == []


def test_a_crash_before_it_is_recorded_leaves_nothing(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    session = paid(client, fake_stripe)
    with faults.arm("refund-after-record", "raise"), pytest.raises(faults.InjectedFault):
        ask(session, 1000)
    work()
    assert (refunds(), at_stripe(fake_stripe), payments()[0].rest_minor) == ([], [], 4900)


def test_the_webhook_that_is_faster_than_the_answer_is_that_refund(
    client: FlaskClient, fake_stripe: FakeStripe
) -> None:
    session = paid(client, fake_stripe)
    refund = ask(session, 1000)
    fake_stripe.control.add_fault("lost_answer", path="/v1/refunds", times=2)
    outbox.drain(QueueName.WEBHOOKS)
    deliver(client, fake_stripe)
    assert [one.id for one in refunds()] == [refund.id]
    refund = fresh(refund)
    assert (refund.status, refund.origin) == (RefundStatus.SUCCEEDED, RefundOrigin.STAFF)
    assert refund.provider_reference == fake_stripe.world.all("refund")[0]["id"]
    refunding.give_back(refund.id)
    assert at_stripe(fake_stripe) == [1000]
    assert sound() == []


def test_a_stranger_fact_waits_until_our_answer_is_known(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    """While ours has no answer, a refund without our key could be ours at a provider that brings no key back."""
    session = paid(client, fake_stripe)
    refund = ask(session, 1000)
    fake_stripe.control.add_fault("refused", path="/v1/refunds", times=2)
    outbox.drain(QueueName.WEBHOOKS)
    fake_stripe.control.refund(str(session.provider_reference), 1000)
    deliver(client, fake_stripe)
    assert verdicts("refund.created") == [(EventStatus.IGNORED, "waits for the answer about our own refund")]
    refunding.give_back(refund.id)
    work()
    assert [(one.origin, one.status) for one in refunds()] == [
        (RefundOrigin.STAFF, RefundStatus.SUCCEEDED), (RefundOrigin.PROVIDER, RefundStatus.SUCCEEDED),
    ]  # fmt: skip
    assert sorted(at_stripe(fake_stripe)) == [1000, 1000]
    assert sound() == []


def test_after_a_day_nobody_asks_again_but_a_person_looks(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    """The provider has forgotten the key by then, and would give the money a second time."""
    session = paid(client, fake_stripe)
    refund = ask(session, 1000)
    fake_stripe.control.add_fault("lost_answer", path="/v1/refunds", times=2)
    outbox.drain(QueueName.WEBHOOKS)
    with unit_of_work():
        one = db.session.get_one(Refund, refund.id, populate_existing=True)
        one.asked_at = clock.now() - timedelta(hours=21)
    refunding.give_back(refund.id)
    refund = fresh(refund)
    assert (refund.status, refund.flag, at_stripe(fake_stripe)) == (
        RefundStatus.ASKING, RefundFlag.UNANSWERED, [1000],
    )  # fmt: skip
    with pytest.raises(RefundNotAskable), unit_of_work():
        refunding.ask_again(refund.id, by=BY, at=clock.now())
    with unit_of_work():
        refund_desk.note_given(
            refund.id, reference="re_seen", given_on=date(2026, 11, 20), note="", by=BY, at=clock.now()
        )
    deliver(client, fake_stripe)
    assert len(refunds()) == 1
    assert sound() == []


def test_a_refusal_of_our_key_ends_nothing(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    """With a wrong secret key the provider says nothing about the money."""
    session = paid(client, fake_stripe)
    refund = ask(session, 1000)
    fake_stripe.control.add_fault("status", path="/v1/refunds", times=1, status=401, is_stored=False)
    outbox.drain(QueueName.WEBHOOKS)
    assert fresh(refund).status is RefundStatus.ASKING
    refunding.give_back(refund.id)
    assert fresh(refund).status is RefundStatus.SUCCEEDED
    assert at_stripe(fake_stripe) == [1000]


def test_when_the_provider_never_answers_a_person_is_asked(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    refund = ask(paid(client, fake_stripe), 1000)
    fake_stripe.control.add_fault("refused", path="/v1/refunds", times=99)
    outbox.drain(QueueName.WEBHOOKS)
    with unit_of_work():
        refunding._gave_up(refund.id)
    assert fresh(refund).flag is RefundFlag.UNANSWERED
    fake_stripe.control.clear_faults()
    with unit_of_work():
        refunding.ask_again(refund.id, by=BY, at=clock.now())
    work()
    assert (fresh(refund).status, fresh(refund).flag) == (RefundStatus.SUCCEEDED, None)


def test_a_refund_that_is_on_its_way_for_weeks_is_handed_to_a_person(
    client: FlaskClient, fake_stripe: FakeStripe
) -> None:
    fake_stripe.control.set_refunds("pending")
    refund = given(paid(client, fake_stripe), 1000)
    assert refund_desk.flag_overdue(at=clock.now() + timedelta(days=13)) == 0
    assert refund_desk.flag_overdue(at=clock.now() + timedelta(days=15)) == 1
    assert refund_desk.flag_overdue(at=clock.now() + timedelta(days=15)) == 0
    assert fresh(refund).flag is RefundFlag.UNANSWERED
    fake_stripe.control.settle_refund(str(refund.provider_reference))
    deliver(client, fake_stripe)
    assert (fresh(refund).status, fresh(refund).flag) == (RefundStatus.SUCCEEDED, None)


def test_the_providers_no_is_final_and_gives_its_reason(
    client: FlaskClient, fake_stripe: FakeStripe, staff: User
) -> None:
    session = paid(client, fake_stripe)
    refund = ask(session, 1000)
    # Somebody gave everything back at the dashboard, and the news of it has not come yet.
    fake_stripe.control.refund(str(session.provider_reference))
    work()
    refund = fresh(refund)
    assert (refund.status, refund.flag) == (RefundStatus.FAILED, RefundFlag.FAILED)
    assert "charge_already_refunded" in str(refund.failure)
    assert mails("refund_failed") == [staff.email]
    deliver(client, fake_stripe)
    assert [one.status for one in refunds()] == [RefundStatus.FAILED, RefundStatus.SUCCEEDED]
    assert payments()[0].rest_minor == 0
    assert sound() == []


# --- disputes ---


def test_a_dispute_is_opened_answered_and_won(client: FlaskClient, fake_stripe: FakeStripe, staff: User) -> None:
    session = paid(client, fake_stripe)
    made = fake_stripe.control.dispute(str(session.provider_reference))
    deliver(client, fake_stripe)
    [dispute] = disputes()
    assert (dispute.status, dispute.reason, dispute.amount_minor) == (DisputeStatus.NEEDS_RESPONSE, "fraudulent", 4900)
    assert dispute.due_at is not None
    assert int(dispute.due_at.timestamp()) == made["evidence_details"]["due_by"]
    assert mails("dispute_opened") == [staff.email]
    with pytest.raises(MoneyInDispute):
        ask(session)
    with pytest.raises(MoneyInDispute):
        ask(session, 100)
    fake_stripe.control.close_dispute(made["id"], "won")
    deliver(client, fake_stripe)
    assert (disputes()[0].status, refunds()) == (DisputeStatus.WON, [])
    assert mails("dispute_closed") == [staff.email]
    assert given(session).status is RefundStatus.FAILED  # The fake keeps the charge disputed for ever.
    assert sound() == []


def test_a_lost_dispute_is_booked_out_like_a_refund(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    session = paid(client, fake_stripe)
    made = fake_stripe.control.dispute(str(session.provider_reference))
    fake_stripe.control.close_dispute(made["id"], "lost")
    # The end overtakes the beginning.
    deliver(client, fake_stripe, "charge.dispute.closed")
    deliver(client, fake_stripe)
    [dispute], [refund] = disputes(), refunds()
    assert (dispute.status, dispute.refund_id) == (DisputeStatus.LOST, refund.id)
    assert (refund.origin, refund.status, refund.amount_minor) == (RefundOrigin.DISPUTE, RefundStatus.SUCCEEDED, 4900)
    assert (payments()[0].rest_minor, [note.gross_minor for note in notes()]) == (0, [4900])
    assert mails("refund_given") == []
    assert verdicts("charge.dispute.created") == [(EventStatus.DUPLICATE, "this dispute is closed already")]
    assert sound() == []


def test_a_dispute_that_takes_more_than_is_left_is_a_conflict(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    session = paid(client, fake_stripe)
    given(session, 1000)
    made = fake_stripe.control.dispute(str(session.provider_reference))
    fake_stripe.control.close_dispute(made["id"], "lost")
    deliver(client, fake_stripe)
    assert verdicts("charge.dispute.closed") == [(EventStatus.CONFLICT, "more was lost than was left")]
    assert (disputes()[0].status, disputes()[0].refund_id) == (DisputeStatus.LOST, None)
    assert sound() == []


def test_a_dispute_with_an_end_nobody_knows_stays_open(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    session = paid(client, fake_stripe)
    made = fake_stripe.control.dispute(str(session.provider_reference))
    fake_stripe.control.close_dispute(made["id"], "some_new_word")
    deliver(client, fake_stripe)
    assert verdicts("charge.dispute.closed") == [(EventStatus.CONFLICT, "a dispute was closed, and not said how")]
    assert disputes()[0].is_open


def test_a_refund_that_waits_when_the_dispute_comes_is_not_asked_for(
    client: FlaskClient, fake_stripe: FakeStripe
) -> None:
    session = paid(client, fake_stripe)
    refund = ask(session)
    fake_stripe.control.dispute(str(session.provider_reference))
    deliver(client, fake_stripe)
    work()
    assert fresh(refund).status is RefundStatus.FAILED
    assert "in dispute" in str(fresh(refund).failure)
    assert fake_stripe.world.all("refund") == []
    assert sound() == []


# --- the machines ---


def _row(model: type[Refund] | type[Dispute], payment: Payment, status: Any, number: str) -> Any:
    values: dict[str, Any] = {
        "payment_id": payment.id, "session_id": payment.session_id, "provider": "stripe", "status": status,
        "amount_minor": 1, "currency": "PLN",
    }  # fmt: skip
    if model is Refund:
        values |= {
            "origin": RefundOrigin.STAFF, "reason": RefundReason.OTHER, "request_key": number,
            "idempotency_key": number, "requested_by": BY, "requested_at": clock.now(),
        }  # fmt: skip
    else:
        values |= {"provider_reference": number, "opened_at": clock.now()}
    return model(**values)


@pytest.mark.parametrize(
    ("model", "statuses", "table"),
    [(Refund, RefundStatus, REFUND_TRANSITIONS), (Dispute, DisputeStatus, DISPUTE_TRANSITIONS)],
)
def test_every_pair_of_states_is_an_arrow_or_refused(
    client: FlaskClient, fake_stripe: FakeStripe, model: Any, statuses: Any, table: Any
) -> None:
    paid(client, fake_stripe)
    payment = payments()[0]
    arrows = 0
    for was in statuses:
        for to in statuses:
            with unit_of_work():
                row = _row(model, payment, was, f"{was}-{to}")
                db.session.add(row)
                db.session.flush()
                if to in table.get(was, frozenset()):
                    transition(row, to, by=BY, at=clock.now())
                    arrows += 1
                    assert row.status is to
                else:
                    with pytest.raises(InvalidTransition):
                        transition(row, to, by=BY, at=clock.now())
    assert arrows == sum(len(ends) for ends in table.values())


def test_everything_is_in_the_audit_log(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    session = paid(client, fake_stripe)
    refund = given(session, 1000)
    fake_stripe.control.fail_refund(str(refund.provider_reference))
    deliver(client, fake_stripe)
    events = db.session.scalars(
        db.select(AuditEvent.event).where(AuditEvent.subject == f"refunds:{refund.id}").order_by(AuditEvent.id)
    ).all()
    assert events == ["refund.requested", "refund.succeeded", "refund.failed"]
    assert db.session.scalars(db.select(Invoice)).one().gross_minor == 4900

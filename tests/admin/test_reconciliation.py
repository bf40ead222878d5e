"""The reconciliation report: who was asked, who answered, what asking brought to light, asking now."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.core import clock, outbox
from portal.core.db import db, unit_of_work
from portal.core.outbox import OutboxMessage
from portal.payments import check_log
from portal.payments.models import EventStatus, PaymentSession, SessionStatus
from portal.payments.services import checking, draining
from tests import factories, sandbox
from tests.admin import support
from tests.admin.reading import FRAGMENT, audited, page, rows, words
from tests.browser_like import post_form
from tests.orders import shop

REPORT = "/admin/reconciliation"


@pytest.fixture
def unpaid(app: Flask, client: FlaskClient) -> PaymentSession:
    """A purchase whose buyer stands before the sandbox's page."""
    shop.ready(client, factories.make_package())
    shop.place(client)
    [session] = shop.sessions()
    return session


def _pay_silently(app: Flask, session: PaymentSession) -> None:
    """The buyer pays; the webhook gets lost."""
    [attempt] = session.attempts
    sandbox.press(app.test_client(), attempt.redirect_url or "", "pay_card")


def test_a_provider_that_nobody_asked(office: FlaskClient) -> None:
    text = page(office, REPORT)
    assert "Test payment" in text
    assert "Not asked in the last seven days." in text
    assert "Nothing: every payment was announced by its webhook" in text


def test_what_asking_came_to_is_summed(office: FlaskClient) -> None:
    at = clock.now()
    for ago in (1, 30, 9 * 24):
        check_log.note_asked("sandbox", at=at - timedelta(hours=ago))
    check_log.note_asked("sandbox", at=at, error="ProviderUnavailable")
    check_log.note_recovery("sandbox", new=4, error=None, at=at - timedelta(hours=2))
    text = page(office, f"{REPORT}")
    for part in ("Asked 3", "Answered 2", "Unanswered 1", "Money found 0", "Events recovered 4", "Does not answer",
                 "ProviderUnavailable"):  # fmt: skip
        assert part in text, part


def test_money_of_a_lost_webhook_is_shown_as_made_up_for(
    app: Flask, office: FlaskClient, unpaid: PaymentSession
) -> None:
    assert "Open now 1" in page(office, REPORT)
    _pay_silently(app, unpaid)
    checking.check_session(unpaid.id)
    draining.drain_inbox()
    text = page(office, REPORT)
    for part in ("Money found 1", "The payment is settled.", "Made up for", "PLN 69.00", "Open now 0"):
        assert part in text, part
    assert len(rows(office.get(REPORT))) == 1


def test_an_amount_that_differs_is_shown(app: Flask, office: FlaskClient, unpaid: PaymentSession) -> None:
    _pay_silently(app, unpaid)
    with unit_of_work():
        db.session.get_one(PaymentSession, unpaid.id).amount_minor = 7000
    checking.check_session(unpaid.id)
    draining.drain_inbox()
    text = page(office, REPORT)
    for part in ("The amount is not what was asked for.", "PLN 70.00", "PLN 69.00", "Conflict"):
        assert part in text, part


def test_an_answer_that_a_webhook_had_given_is_no_difference(
    app: Flask, office: FlaskClient, unpaid: PaymentSession
) -> None:
    _pay_silently(app, unpaid)
    sandbox.settle(app)
    checking.recover_events(at=clock.now() + timedelta(minutes=5))
    assert "Nothing: every payment was announced" in page(office, REPORT)


def test_asking_now_asks_about_everything(app: Flask, office: FlaskClient, staff: User, unpaid: PaymentSession) -> None:
    _pay_silently(app, unpaid)
    # Both presses within one span of time, however slow the machine is between them.
    with clock.shifted(-timedelta(seconds=clock.now().timestamp() % checking._AT_MOST_EVERY)):
        answer = post_form(office, f"{REPORT}/sandbox/ask", page=REPORT)
        assert (answer.status_code, answer.location) == (303, REPORT)
        [line] = audited("provider.check_requested")
        assert (line.actor, line.after) == (staff.email, {"provider": "sandbox", "payments": 1})
        # Pressed twice at once: asked once.
        post_form(office, f"{REPORT}/sandbox/ask", page=REPORT)
    topics = [one.topic for one in db.session.scalars(db.select(OutboxMessage))]
    assert topics.count("provider.recovery_requested") == 1
    with sandbox.carried_in_process(app):
        outbox.drain("webhooks")
    draining.drain_inbox()
    [session] = shop.sessions()
    assert session.status is SessionStatus.PAID
    assert "Asked 1 Answered 1 " in page(office, REPORT)


def test_asking_in_place(office: FlaskClient) -> None:
    assert "hx-post" in office.get(REPORT, headers=FRAGMENT).get_data(as_text=True)
    answer = post_form(office, f"{REPORT}/sandbox/ask", page=REPORT, htmx=True)
    assert answer.status_code == 200
    assert answer.get_data(as_text=True).lstrip().startswith('<div id="results"')
    assert "is being asked" in words(answer)


def test_unknown_providers_are_not_found(office: FlaskClient) -> None:
    assert post_form(office, f"{REPORT}/nobody/ask", page=REPORT).status_code == 404
    assert audited("provider.check_requested") == []


def test_a_switched_off_provider_with_open_payments_stands_out(app: Flask, office: FlaskClient) -> None:
    support.make_session(provider="sandbox")
    registry = app.extensions["payment_registry"]
    provider = registry._providers.pop("sandbox")
    try:
        text = page(office, REPORT)
    finally:
        registry._providers["sandbox"] = provider
    assert "Switched off" in text
    assert "nobody can be asked" in text


def test_the_report_costs_the_same_with_little_and_with_much(
    office: FlaskClient, count_queries: Callable[[], int]
) -> None:
    def make() -> None:
        session = support.make_session(status=SessionStatus.PAID)
        event = support.make_event(session, status=EventStatus.APPLIED, verdict="paid")
        with unit_of_work():
            db.session.merge(event).source = "poll"
        support.make_payment(session, event)
        support.make_session()

    make()
    office.get(REPORT)
    count_queries()
    office.get(REPORT)
    with_one = count_queries()
    for _ in range(60):
        make()
    count_queries()
    answer = office.get(REPORT)
    assert count_queries() == with_one <= 5
    assert len(rows(answer)) == 50

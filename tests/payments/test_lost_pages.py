"""A provider that tells a page's address once: whatever gets lost, nobody can pay one purchase twice unnoticed."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from portal.core import clock, faults, outbox
from portal.core.db import db, unit_of_work
from portal.core.queues import QueueName
from portal.payments.extension import current_registry
from portal.payments.models import AttemptStatus, Payment, PaymentAttempt, PaymentSession, SessionStatus
from portal.payments.providers.base import AlreadyStarted, ProviderUnavailable
from portal.payments.services import starting
from portal.payments.services.checking import check_session
from portal.payments.services.sessions import fail_session
from portal.payments.services.starting import start_attempt
from tests.crowd import all_at_once
from tests.fakes.payu import FakePayU
from tests.payments import signed
from tests.payments.conftest import Sold
from tests.payments.payu_selling import work

ORDERS = "/api/v2_1/orders"


def attempts() -> list[PaymentAttempt]:
    db.session.rollback()
    db.session.expire_all()
    return list(db.session.scalars(db.select(PaymentAttempt).order_by(PaymentAttempt.id)))


def statuses() -> list[AttemptStatus]:
    return [one.status for one in attempts()]


def status_of(session: PaymentSession) -> SessionStatus:
    db.session.rollback()
    db.session.expire_all()
    return db.session.get_one(PaymentSession, session.id).status


def at_payu(fake: FakePayU) -> dict[str, str]:
    """Every order there: the name we gave it, and how it stands."""
    return {order["extOrderId"]: order["status"] for order in fake.world.orders.values()}


def order_named(fake: FakePayU, name: str) -> str:
    return next(order_id for order_id, order in fake.world.orders.items() if order["extOrderId"] == name)


def lost(fake: FakePayU, session: PaymentSession) -> None:
    """PayU opens an order, and nobody hears of it."""
    fake.control.add_fault("lost_answer", method="POST", path=ORDERS)
    with pytest.raises(ProviderUnavailable):
        start_attempt(session.id, "payu", at=clock.now())
    assert statuses() == [AttemptStatus.UNKNOWN]


def test_after_a_lost_answer_the_next_try_has_a_page_of_its_own(payu_company: FakePayU) -> None:
    session = signed.make_session()
    lost(payu_company, session)
    url = start_attempt(session.id, "payu", at=clock.now())
    assert statuses() == [AttemptStatus.FAILED, AttemptStatus.OPEN]
    assert "got lost" in str(attempts()[0].error)
    assert "ERROR_ORDER_NOT_UNIQUE" in str(attempts()[0].error)
    assert at_payu(payu_company) == {session.public_id: "NEW", f"{session.public_id}-2": "NEW"}
    assert url == payu_company.world.page_url(order_named(payu_company, f"{session.public_id}-2"))
    assert start_attempt(session.id, "payu", at=clock.now()) == url


def test_an_answer_that_never_was_needs_no_second_order(payu_company: FakePayU) -> None:
    session = signed.make_session()
    payu_company.control.add_fault("refused", method="POST", path=ORDERS)
    with pytest.raises(ProviderUnavailable):
        start_attempt(session.id, "payu", at=clock.now())
    start_attempt(session.id, "payu", at=clock.now())
    assert statuses() == [AttemptStatus.OPEN]
    assert at_payu(payu_company) == {session.public_id: "NEW"}


def test_a_second_click_waits_for_the_first_and_goes_to_its_page(
    app: Flask, payu_company: FakePayU, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = signed.make_session()
    is_waiting, pages = threading.Event(), list[str]()

    class Waiting:
        @staticmethod
        def sleep(seconds: float) -> None:
            is_waiting.set()
            time.sleep(seconds)

    def click() -> None:
        with app.app_context():
            pages.append(start_attempt(session.id, "payu", at=clock.now()))
            db.session.remove()

    second = threading.Thread(target=click)

    def click_again() -> None:
        second.start()
        assert is_waiting.wait(30)

    monkeypatch.setattr(starting, "time", Waiting)
    with faults.arm("start-after-provider", meanwhile(click_again)):
        first = start_attempt(session.id, "payu", at=clock.now())
    second.join()
    assert pages == [first]
    assert (statuses(), at_payu(payu_company)) == ([AttemptStatus.OPEN], {session.public_id: "NEW"})


def test_twenty_clicks_at_once_open_one_order_and_nobody_is_sent_elsewhere(app: Flask, payu_company: FakePayU) -> None:
    session = signed.make_session()
    answers = all_at_once(app, [lambda: start_attempt(session.id, "payu", at=clock.now())] * 20)
    told = [one for one in answers if not isinstance(one, ProviderUnavailable)]  # "Ask again" is an honest answer.
    assert set(told) == {attempts()[0].redirect_url}
    assert at_payu(payu_company) == {session.public_id: "NEW"}
    assert statuses() == [AttemptStatus.OPEN]


def test_ten_clicks_at_once_after_a_lost_answer_open_one_more_order(app: Flask, payu_company: FakePayU) -> None:
    session = signed.make_session()
    lost(payu_company, session)
    answers = all_at_once(app, [lambda: start_attempt(session.id, "payu", at=clock.now())] * 10)
    assert statuses() == [AttemptStatus.FAILED, AttemptStatus.OPEN]
    told = [one for one in answers if not isinstance(one, ProviderUnavailable)]
    assert set(told) == {attempts()[1].redirect_url}
    assert at_payu(payu_company) == {session.public_id: "NEW", f"{session.public_id}-2": "NEW"}


def test_a_click_while_the_first_call_is_under_way_gives_nothing_up(
    payu_company: FakePayU, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process died between PayU's answer and our record, or it is slow: within a minute nobody can tell."""
    monkeypatch.setattr(starting, "_LOOK_EVERY_SECONDS", 0.0)
    session = signed.make_session()
    die_before_recording(session)
    with pytest.raises(ProviderUnavailable):
        start_attempt(session.id, "payu", at=clock.now())
    assert statuses() == [AttemptStatus.STARTING]
    with clock.shifted(timedelta(seconds=61)):
        start_attempt(session.id, "payu", at=clock.now())
    assert statuses() == [AttemptStatus.FAILED, AttemptStatus.OPEN]


def die_before_recording(session: PaymentSession) -> None:
    class Killed(BaseException):
        pass

    def die() -> None:
        raise Killed

    with faults.arm("start-after-provider", die), pytest.raises(Killed):
        start_attempt(session.id, "payu", at=clock.now())


def test_the_check_gives_up_what_was_lost_and_the_session_stays_payable(payu_company: FakePayU, sold: Sold) -> None:
    session = signed.make_session()
    die_before_recording(session)
    with clock.shifted(timedelta(minutes=3)):
        check_session(session.id)
        assert statuses() == [AttemptStatus.FAILED]
        assert status_of(session) is SessionStatus.CREATED
        start_attempt(session.id, "payu", at=clock.now())
    payu_company.control.pay(order_named(payu_company, f"{session.public_id}-2"))
    work(payu_company)
    assert status_of(session) is SessionStatus.PAID
    assert sold.settled == [session.id]


def test_a_lost_page_that_nobody_found_ends_with_its_session(payu_company: FakePayU, sold: Sold) -> None:
    session = signed.make_session()
    lost(payu_company, session)
    payu_company.control.advance(25 * 3600)
    with clock.shifted(timedelta(hours=25)):
        check_session(session.id)
        work(payu_company)
    assert status_of(session) is SessionStatus.FAILED
    assert at_payu(payu_company) == {session.public_id: "CANCELED"}
    assert sold.failed == [session.id]


def test_a_stray_page_is_closed_as_soon_as_somebody_pays_there(payu_company: FakePayU, sold: Sold) -> None:
    session = signed.make_session()
    lost(payu_company, session)
    start_attempt(session.id, "payu", at=clock.now())
    payu_company.control.wait(order_named(payu_company, session.public_id))
    work(payu_company)
    assert at_payu(payu_company) == {session.public_id: "CANCELED", f"{session.public_id}-2": "NEW"}
    assert status_of(session) is SessionStatus.PENDING
    payu_company.control.pay(order_named(payu_company, f"{session.public_id}-2"))
    work(payu_company)
    assert (status_of(session), sold.settled, sold.failed) == (SessionStatus.PAID, [session.id], [])


def test_money_on_a_stray_page_counts_and_the_other_page_is_closed(payu_company: FakePayU, sold: Sold) -> None:
    session = signed.make_session()
    lost(payu_company, session)
    start_attempt(session.id, "payu", at=clock.now())
    stray, known = (order_named(payu_company, name) for name in (session.public_id, f"{session.public_id}-2"))
    payu_company.control.pay(stray)
    work(payu_company)
    assert sold.settled == [session.id]
    assert statuses() == [AttemptStatus.PAID, AttemptStatus.OPEN]
    payu_company.control.wait(known)
    work(payu_company)
    assert payu_company.world.orders[known]["status"] == "CANCELED"
    assert (sold.settled, statuses()) == ([session.id], [AttemptStatus.PAID, AttemptStatus.FAILED])


def test_money_on_both_pages_is_counted_once_and_the_rest_is_shown_to_staff(payu_company: FakePayU, sold: Sold) -> None:
    session = signed.make_session()
    lost(payu_company, session)
    start_attempt(session.id, "payu", at=clock.now())
    for name in (session.public_id, f"{session.public_id}-2"):
        payu_company.control.pay(order_named(payu_company, name))
    work(payu_company)
    assert sold.settled == [session.id]
    reasons = db.session.scalars(db.select(Payment.surplus_reason).order_by(Payment.id)).all()
    assert reasons == [None, "second_payment"]


def meanwhile(happening: Callable[[], object]) -> Callable[[], None]:
    """What happens once, between the provider's answer and our record of it."""
    is_over = threading.Event()

    def once() -> None:
        if not is_over.is_set():
            is_over.set()
            happening()

    return once


def test_an_answer_that_comes_after_the_try_was_given_up_closes_its_page(payu_company: FakePayU, sold: Sold) -> None:
    session = signed.make_session()
    later = clock.now() + timedelta(minutes=2)
    pages: list[str] = []
    happening = meanwhile(lambda: pages.append(start_attempt(session.id, "payu", at=later)))
    with faults.arm("start-after-provider", happening), pytest.raises(ProviderUnavailable):
        start_attempt(session.id, "payu", at=clock.now())
    work(payu_company)
    assert at_payu(payu_company) == {session.public_id: "CANCELED", f"{session.public_id}-2": "NEW"}
    assert statuses() == [AttemptStatus.FAILED, AttemptStatus.OPEN]
    assert start_attempt(session.id, "payu", at=clock.now()) == pages[0]
    assert (status_of(session), sold.failed) == (SessionStatus.PENDING, [])


def test_a_page_that_could_not_be_closed_yet_is_closed_later(payu_company: FakePayU) -> None:
    session = signed.make_session()
    later = clock.now() + timedelta(minutes=2)
    happening = meanwhile(lambda: start_attempt(session.id, "payu", at=later))
    with faults.arm("start-after-provider", happening), pytest.raises(ProviderUnavailable):
        start_attempt(session.id, "payu", at=clock.now())
    payu_company.control.add_fault("refused", method="DELETE", times=100)
    outbox.drain(QueueName.WEBHOOKS)
    assert at_payu(payu_company)[session.public_id] == "NEW"
    payu_company.control.clear_faults()
    with clock.shifted(timedelta(minutes=10)):
        outbox.drain(QueueName.WEBHOOKS)
    assert at_payu(payu_company)[session.public_id] == "CANCELED"


def test_an_answer_for_a_session_that_is_over_closes_its_page(payu_company: FakePayU, sold: Sold) -> None:
    session = signed.make_session()

    def end() -> None:
        with unit_of_work():
            found = db.session.get_one(PaymentSession, session.id)
            fail_session(found, by="test", at=clock.now(), reason="cancelled meanwhile")

    with faults.arm("start-after-provider", meanwhile(end)), pytest.raises(ProviderUnavailable):
        start_attempt(session.id, "payu", at=clock.now())
    work(payu_company)
    assert at_payu(payu_company) == {session.public_id: "CANCELED"}
    assert (statuses(), status_of(session)) == ([AttemptStatus.FAILED], SessionStatus.FAILED)


def test_money_that_was_faster_than_the_closing_is_kept(payu_company: FakePayU, sold: Sold) -> None:
    session = signed.make_session()
    later = clock.now() + timedelta(minutes=2)
    happening = meanwhile(lambda: start_attempt(session.id, "payu", at=later))
    with faults.arm("start-after-provider", happening), pytest.raises(ProviderUnavailable):
        start_attempt(session.id, "payu", at=clock.now())
    payu_company.control.pay(order_named(payu_company, session.public_id), lose_webhook=True)
    work(payu_company)
    assert (status_of(session), sold.settled) == (SessionStatus.PAID, [session.id])


def test_a_page_whose_answer_may_still_come_is_not_closed_for_a_hint(payu_company: FakePayU) -> None:
    session = signed.make_session()
    lost(payu_company, session)
    payu_company.control.wait(order_named(payu_company, session.public_id))
    work(payu_company)
    assert at_payu(payu_company) == {session.public_id: "PENDING"}
    payu_company.control.complete(order_named(payu_company, session.public_id))
    work(payu_company)
    assert (status_of(session), statuses()) == (SessionStatus.PAID, [AttemptStatus.PAID])


def test_whoever_asks_for_a_lost_page_by_itself_learns_that_it_is_lost(payu_company: FakePayU) -> None:
    session = signed.make_session()
    lost(payu_company, session)
    provider = current_registry().get("payu")
    with pytest.raises(AlreadyStarted, match="try again"):
        starting.ask_provider(provider, attempts()[0].id, starting.request_for(session, attempts()[0]), at=clock.now())
    assert statuses() == [AttemptStatus.FAILED]

"""The provider is down, slow, or its answer is lost, with real processes: a clear message, and nothing half made."""

import time
from datetime import timedelta

import pytest

from portal.core import clock
from portal.core.db import db
from portal.payments.models import AttemptStatus
from portal.payments.services.checking import request_check
from tests.faults import webhooks
from tests.faults.history import work_through
from tests.faults.portal import Buyer, Portal, committed, wait_for

pytestmark = [
    pytest.mark.slow_fault,
    pytest.mark.xdist_group("faults_provider"),
    pytest.mark.parametrize("own_database", ["sqlite"], indirect=True),
]


def test_checkout_while_the_provider_is_in_trouble(portal: Portal) -> None:
    control = portal.stripe.control
    with portal.serve(), Buyer(portal) as buyer:
        buyer.fill_cart(*portal.packages[:2])
        for kind in ("refused", "garbage", "half"):
            control.add_fault(kind, times=5, method="POST", path="/v1/checkout/sessions")
            answer = buyer.press_pay("stripe")
            control.clear_faults()
            assert answer.status_code == 503, kind
            assert "Traceback" not in answer.text
            # The same page again, with the choice of another provider and a sentence.
            assert 'value="sandbox"' in answer.text
            assert 'role="alert"' in answer.text
            assert "package" in buyer.get("/cart").text
        # Another provider is one click away; it is still the same order.
        number = buyer.sent_to(buyer.press_pay("sandbox"))
        assert [one.number for one in portal.all_orders() if one.email == buyer.email] == [number]
        # And the first one again, under the key of the try whose answer was lost: no second page is opened.
        buyer.sent_to(buyer.press_pay("stripe"))
        assert buyer.page.startswith(portal.stripe.url)
    assert portal.check() == []


def test_a_lost_answer_opens_no_second_page(portal: Portal) -> None:
    control = portal.stripe.control
    pages_before = len(portal.stripe.world.all("checkout.session"))
    with portal.serve(), Buyer(portal) as buyer:
        buyer.fill_cart()
        control.add_fault("lost_answer", times=5, method="POST", path="/v1/checkout/sessions")
        refused = buyer.press_pay("stripe")
        control.clear_faults()
        assert refused.status_code == 503
        number = buyer.sent_to(buyer.press_pay("stripe"))
        assert len(portal.stripe.world.all("checkout.session")) == pages_before + 1
        [attempt] = portal.session_of(number).attempts
        assert attempt.status is AttemptStatus.OPEN
        db.session.rollback()
        buyer.pay()
        portal.stripe.webhooks.wait_idle()
        with clock.shifted(timedelta(seconds=1)):
            work_through(portal)
        assert portal.is_unlocked(number)
    assert portal.check() == []


def test_a_slow_provider_holds_up_nobody_else(portal: Portal) -> None:
    """Two buyers hang at the provider; the shelf answers them and everybody else."""
    control = portal.stripe.control
    with portal.serve(), Buyer(portal) as first, Buyer(portal) as second:
        for buyer in (first, second):
            buyer.fill_cart()
        control.add_fault("latency", times=2, method="POST", path="/v1/checkout/sessions", seconds=4.0)
        answers: list[int] = []
        pages: list[tuple[int, float]] = []

        def browse() -> None:
            time.sleep(0.5)
            pages.extend(webhooks.send(portal, "GET", "/packages") for _ in range(10))

        webhooks.at_once(
            [
                lambda: answers.append(first.press_pay("stripe").status_code),
                lambda: answers.append(second.press_pay("stripe").status_code),
                browse,
            ]
        )
        control.clear_faults()
    assert answers == [303, 303]
    assert {status for status, _seconds in pages} == {200}
    assert max(seconds for _status, seconds in pages) < 3


def test_a_provider_that_answers_no_question_holds_up_no_payment(portal: Portal) -> None:
    """Three payments are asked about in vain; what is told meanwhile is applied at once."""
    control = portal.stripe.control
    with portal.serve(), portal.work():
        paid, *asked = webhooks.place_orders(portal, 4)
        control.add_fault("hang", times=50, method="GET")
        [fault] = control.faults.armed
        try:
            with committed():
                for session in asked:
                    request_check(session, at=clock.now())
            wait_for(lambda: fault.times < 50, seconds=20)
            number = portal.order_of(paid).number
            assert webhooks.post(portal, webhooks.signed.checkout_event(paid))[0] == 200
            wait_for(lambda: portal.is_unlocked(number), seconds=5)
        finally:
            control.clear_faults()
        for session in asked:
            assert webhooks.post(portal, webhooks.signed.checkout_event(session))[0] == 200
        portal.wait_until_quiet(seconds=60)


def test_the_demo_of_trouble_ends_well(portal: Portal) -> None:
    """The orders of this module that were not paid can be called quiet once their pages have expired."""
    portal.stripe.control.advance(25 * 3600)
    for hours in (1, 26, 27, 52):
        with clock.shifted(timedelta(hours=hours)):
            work_through(portal)
    wait_for(portal.is_quiet, seconds=5, say=lambda: str(portal.check(is_quiet=True)))
    assert portal.check(is_quiet=True) == []

"""Asking the providers is counted: who was asked, who answered, what was found."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from portal.core import clock, outbox
from portal.core.db import db, unit_of_work
from portal.payments import check_log
from portal.payments.check_log import CheckSums
from portal.payments.models import PaymentSession, ProviderEvent
from portal.payments.services import checking, starting
from tests import sandbox
from tests.crowd import all_at_once
from tests.fakes.stripe import FakeStripe
from tests.payments import signed


def _sums(provider: str) -> CheckSums | None:
    db.session.rollback()
    db.session.expire_all()
    return check_log.sums_since(clock.now() - timedelta(hours=2)).get(provider)


def _counts(provider: str) -> tuple[int, ...]:
    sums = _sums(provider)
    assert sums is not None
    return (sums.asked, sums.answered, sums.unanswered, sums.found, sums.recoveries, sums.recovered)


def _begun(provider: str) -> PaymentSession:
    session = signed.make_session()
    starting.start_attempt(session.id, provider, at=clock.now())
    return session


def test_an_answer_without_news_is_an_answer(app: Flask) -> None:
    session = _begun("sandbox")
    checking.check_session(session.id)
    assert _counts("sandbox") == (1, 1, 0, 0, 0, 0)


def test_money_that_was_found_by_asking_is_counted_once(app: Flask) -> None:
    session = _begun("sandbox")
    [attempt] = db.session.get_one(PaymentSession, session.id).attempts
    sandbox.press(app.test_client(), attempt.redirect_url or "", "pay_card")
    checking.check_session(session.id)
    assert _counts("sandbox") == (1, 1, 0, 1, 0, 0)
    # Asked again before the inbox was worked off: the same answer tells nothing new.
    checking.check_session(session.id)
    assert _counts("sandbox") == (2, 2, 0, 1, 0, 0)


def test_silence_is_counted_with_its_reason(app: Flask, fake_stripe: FakeStripe) -> None:
    session = _begun("stripe")
    fake_stripe.stop()
    checking.check_session(session.id)
    assert _counts("stripe") == (1, 0, 1, 0, 0, 0)
    sums = _sums("stripe")
    assert sums is not None
    assert sums.last_error == "ProviderUnavailable"


def test_a_switched_off_provider_is_silent(app: Flask) -> None:
    session = _begun("sandbox")
    registry = app.extensions["payment_registry"]
    provider = registry._providers.pop("sandbox")
    try:
        checking.check_session(session.id)
    finally:
        registry._providers["sandbox"] = provider
    assert _counts("sandbox") == (1, 0, 1, 0, 0, 0)


def test_recovered_events_are_counted(app: Flask) -> None:
    session = _begun("sandbox")
    [attempt] = db.session.get_one(PaymentSession, session.id).attempts
    sandbox.press(app.test_client(), attempt.redirect_url or "", "pay_card")
    with clock.shifted(timedelta(minutes=5)):
        assert checking.recover_events(at=clock.now()) == 1
        assert checking.recover_events(at=clock.now()) == 0
    sums = check_log.sums_since(clock.now() - timedelta(hours=2))
    assert (sums["sandbox"].recoveries, sums["sandbox"].recovered) == (2, 1)
    assert db.session.scalars(db.select(ProviderEvent.source)).all() == ["poll"]


def test_everything_open_at_a_provider_is_asked_about_on_request(app: Flask) -> None:
    for _ in range(3):
        _begun("sandbox")
    at = clock.now()
    with unit_of_work():
        assert checking.request_provider_checks("sandbox", at=at) == 3
        assert checking.request_provider_checks("stripe", at=at) == 0
    with sandbox.carried_in_process(app):
        outbox.drain("webhooks")
    assert _counts("sandbox") == (3, 3, 0, 0, 1, 0)


@pytest.mark.parametrize("count", [8])
def test_many_workers_count_together(app: Flask, count: int) -> None:
    at = clock.now()
    work: list[Callable[[], None]] = [lambda: check_log.note_asked("sandbox", at=at)] * count
    assert all_at_once(app, work) == [None] * count
    assert _counts("sandbox") == (count, count, 0, 0, 0, 0)


def test_hours_are_summed_and_old_ones_forgotten(app: Flask) -> None:
    at = clock.now()
    for ago in (timedelta(), timedelta(hours=1), timedelta(days=100)):
        check_log.note_asked("sandbox", at=at - ago)
    assert _counts("sandbox")[0] == 2
    with unit_of_work():
        assert check_log.forget_old(at=at) == 1
    assert _counts("sandbox")[0] == 2

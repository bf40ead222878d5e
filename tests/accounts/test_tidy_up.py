"""Rows that mean nothing any more are deleted, and no others."""

from datetime import timedelta

from flask import Flask
from sqlalchemy import select

from portal.accounts import jobs
from portal.accounts.models import LoginSession, SignIn, SignInOutcome, TokenPurpose, User, UserToken
from portal.accounts.services import throttling
from portal.core import clock, periodic
from portal.core.db import db, unit_of_work
from tests.accounts import support

AGES = [timedelta(0), timedelta(days=6), timedelta(days=8), timedelta(days=200)]


def test_only_what_is_dead_goes(app: Flask, alice: User) -> None:
    now = clock.now()
    for age in AGES:
        at = now - age
        support.issue(alice, TokenPurpose.VERIFY_EMAIL, at=at)
        with unit_of_work():
            db.session.add(
                LoginSession(user_id=alice.id, token_hash=str(age), created_at=at, authenticated_at=at, last_seen_at=at)
            )
            db.session.add(SignIn(account_key="key", outcome=SignInOutcome.SUCCESS, at=at))
    jobs.tidy_up()
    assert ages(LoginSession.created_at) == AGES[:2]
    assert ages(UserToken.created_at) == AGES[:3]
    assert ages(SignIn.at) == AGES[:3]
    assert throttling.KEPT_FOR > throttling.KNOWN_FOR > throttling.ACCOUNT.window


def test_the_worker_does_it_every_day(app: Flask) -> None:
    assert [entry.every for entry in periodic.jobs() if entry.job == "portal.accounts.jobs.tidy_up"] == [
        timedelta(days=1)
    ]


def ages(column: object) -> list[timedelta]:
    """How old the rows that are left are, to the day."""
    return [
        timedelta(days=round((clock.now() - at).total_seconds() / 86_400))
        for at in sorted(db.session.scalars(select(column)), reverse=True)
    ]  # type: ignore[call-overload]  # any column

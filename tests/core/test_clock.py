"""One clock, aware and in UTC, that a test can move for the whole product."""

from datetime import UTC, datetime, timedelta

import pytest

from portal.core import clock


def test_it_tells_the_present_in_utc() -> None:
    before = datetime.now(UTC)
    now = clock.now()
    assert before <= now <= datetime.now(UTC)
    assert now.utcoffset() == timedelta(0)


def test_it_can_be_moved_and_is_put_back() -> None:
    with clock.shifted(timedelta(days=3)):
        assert clock.now() - datetime.now(UTC) > timedelta(days=2, hours=23)
        with clock.shifted(timedelta(days=-4)):
            assert clock.now() < datetime.now(UTC) - timedelta(hours=23)
        assert clock.now() > datetime.now(UTC) + timedelta(days=2)
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)


def test_it_is_put_back_after_an_error() -> None:
    with pytest.raises(ValueError), clock.shifted(timedelta(days=3)):
        raise ValueError
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)

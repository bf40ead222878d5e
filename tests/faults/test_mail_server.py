"""The mail server is down, then refuses for now, then takes: each mail once. One that is refused for good is seen."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import select, update

from portal.core import clock
from portal.core.db import db
from portal.core.mail import MailMessage, MailStatus
from portal.core.outbox import MessageStatus, OutboxMessage
from tests.faults import webhooks
from tests.faults.portal import Portal, committed, installed, wait_for
from tests.servers import redis, smtp

pytestmark = [
    pytest.mark.slow_fault,
    pytest.mark.xdist_group("faults_mail"),
    pytest.mark.parametrize("own_database", ["sqlite"], indirect=True),
]


@contextmanager
def selling(own_database: str, own_redis: redis.RedisServer, server: smtp.SmtpServer) -> Iterator[Portal]:
    """An installation that sends its mail through this server."""
    own_redis.client().flushall()
    with installed(own_database, own_redis, **server.settings()) as portal, portal.serve(), portal.work():
        yield portal


def waiting() -> list[OutboxMessage]:
    db.session.rollback()
    db.session.expire_all()
    return list(
        db.session.scalars(
            select(OutboxMessage).where(
                OutboxMessage.topic == "mail.queued", OutboxMessage.status == MessageStatus.PENDING
            )
        )
    )


def try_now() -> None:
    """Let the wait between two tries be over."""
    with committed() as session:
        session.execute(
            update(OutboxMessage)
            .where(OutboxMessage.topic == "mail.queued", OutboxMessage.status == MessageStatus.PENDING)
            .where(OutboxMessage.attempts > 0)
            .values(available_at=clock.now())
        )


def mails() -> list[MailMessage]:
    db.session.rollback()
    db.session.expire_all()
    return list(db.session.scalars(select(MailMessage).order_by(MailMessage.id)))


def test_mail_survives_its_server_and_ends_visibly(own_database: str, own_redis: redis.RedisServer) -> None:
    with smtp.running() as server, selling(own_database, own_redis, server) as portal:
        server.stop()
        sessions = webhooks.place_orders(portal, 3)
        for session in sessions:
            assert webhooks.post(portal, webhooks.signed.checkout_event(session))[0] == 200

        def all_failed_once() -> bool:
            found = waiting()
            return len(found) == 6 and all(one.last_error for one in found)

        wait_for(all_failed_once, seconds=60)
        assert all("ConnectionRefusedError" in (one.last_error or "") for one in waiting())
        # What was sold is unlocked, whatever becomes of the mail.
        assert all(portal.is_unlocked(portal.order_of(session).number) for session in sessions)

        server.refuse(smtp.LATER)
        server.start()
        try_now()
        wait_for(lambda: server.attempts >= 6, seconds=40)
        wait_for(lambda: all("451" in (one.last_error or "") for one in waiting()), seconds=20)
        assert server.letters == []

        server.accept()
        wait_for(lambda: not try_now() and not waiting(), seconds=60)
        recipients = Counter(tuple(letter.recipients) for letter in server.letters)
        assert set(recipients.values()) == {2}
        assert len(recipients) == 3
        identifiers = [letter.message["Message-ID"] for letter in server.letters]
        assert len(set(identifiers)) == 6
        assert {mail.status for mail in mails()} == {MailStatus.SENT}
        portal.wait_until_quiet()

        # Refused for good: the mail is marked as failed at once, and staff can send it again.
        server.refuse(smtp.NEVER)
        attempts = server.attempts
        [session] = webhooks.place_orders(portal, 1)
        assert webhooks.post(portal, webhooks.signed.checkout_event(session))[0] == 200
        wanted = {MailStatus.SENT: 6, MailStatus.FAILED: 2}
        wait_for(lambda: Counter(mail.status for mail in mails()) == wanted, seconds=60)
        assert server.attempts == attempts + 2
        assert portal.is_unlocked(portal.order_of(session).number)
        assert portal.check() == []


def test_a_mail_server_that_hangs_holds_up_no_payment(own_database: str, own_redis: redis.RedisServer) -> None:
    with smtp.running() as server, selling(own_database, own_redis, server) as portal:
        server.hang()
        first, *others = webhooks.place_orders(portal, 3)
        assert webhooks.post(portal, webhooks.signed.checkout_event(first))[0] == 200
        wait_for(lambda: server.attempts, seconds=20)
        for session in others:
            assert webhooks.post(portal, webhooks.signed.checkout_event(session))[0] == 200
        numbers = [portal.order_of(session).number for session in others]
        # One mail alone is given up after fifteen seconds, and six wait.
        wait_for(lambda: all(map(portal.is_unlocked, numbers)), seconds=10)
        assert server.letters == []
        server.accept()
        wait_for(lambda: not try_now() and not waiting(), seconds=60)
        assert len(server.letters) == 6
        portal.wait_until_quiet()

"""The mail log and background work: finding, looking, sending again, running again."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis

from portal.accounts.models import User
from portal.admin.queries.system import DEPTH_LIMIT, queue_depths
from portal.core import clock, outbox
from portal.core.db import db
from portal.core.mail import MailMessage, MailStatus
from portal.core.outbox import MessageStatus, OutboxMessage
from portal.payments.models import EventStatus
from tests import factories
from tests.admin import support
from tests.admin.reading import FRAGMENT, audited, page, rows, words
from tests.browser_like import post_form


def test_mails_are_found_and_filtered(office: FlaskClient) -> None:
    support.make_mail("alice@example.com", subject="To Alice", template="order_confirmation")
    support.make_mail("bob@example.com", subject="To Bob", template="account_set_up")
    support.make_mail("bob@example.com", status=MailStatus.FAILED)
    assert rows(office.get("/admin/mail?q=ALICE@")) == ["To Alice"]
    assert rows(office.get("/admin/mail?template=account_set_up")) == ["To Bob"]
    assert len(rows(office.get("/admin/mail?status=failed"))) == 1
    assert len(rows(office.get("/admin/mail?template=nonsense&status=nonsense"))) == 3
    assert "Nothing fits these filters" in page(office, "/admin/mail?q=carol")


def test_the_mail_log_costs_the_same_with_one_row_and_with_a_hundred(
    office: FlaskClient, count_queries: Callable[[], int]
) -> None:
    support.make_mail()
    count_queries()
    office.get("/admin/mail")
    with_one = count_queries()
    for _ in range(99):
        support.make_mail()
    count_queries()
    office.get("/admin/mail")
    assert count_queries() == with_one <= 3


def test_a_mail_shows_its_text_and_nothing_of_it_runs(office: FlaskClient) -> None:
    text = "Hello <script>alert(1)</script>,\n\nhttp://localhost/set-up/•••"
    message = support.make_mail(subject="<b>Subject</b>", text_body=text)
    raw = office.get(f"/admin/mail/{message.id}").get_data(as_text=True)
    assert "<script>alert" not in raw
    assert "&lt;b&gt;Subject" in raw
    assert "•••" in raw


def test_why_a_mail_failed_is_shown(office: FlaskClient) -> None:
    message = support.make_mail(status=MailStatus.FAILED)
    support.make_message(
        topic="mail.queued", queue="mail", payload={"mail_id": message.id}, last_error="SMTPException: 550 no such box"
    )
    support.make_message(topic="mail.queued", queue="mail", payload={"mail_id": message.id + 1}, last_error="another")
    text = page(office, f"/admin/mail/{message.id}")
    assert "550 no such box" in text
    assert "another" not in text


def test_a_mail_is_sent_again(app: Flask, office: FlaskClient, staff: User) -> None:
    user = factories.make_user(is_verified=False)
    message = support.make_mail(user.email, template="account_set_up", user_id=user.id)
    address = f"/admin/mail/{message.id}"
    assert post_form(office, f"{address}/again", page=address).location == address
    assert [line.actor for line in audited("mail.sent_again")] == [staff.email]
    second = post_form(office, f"{address}/again", page=address)
    assert second.status_code == 409
    assert "Queued" in words(second)
    outbox.drain("mail")
    db.session.rollback()
    sent = db.session.get_one(MailMessage, message.id, populate_existing=True)
    assert (sent.status, sent.sending) == (MailStatus.SENT, 2)
    assert len(audited("mail.sent_again")) == 1


def test_effects_are_listed_until_they_are_done(office: FlaskClient) -> None:
    support.make_message(topic="payment_session.check_requested", status=MessageStatus.FAILED)
    support.make_message(topic="mail.queued", queue="mail", status=MessageStatus.PENDING)
    support.make_message(topic="order.payment_counted", status=MessageStatus.DONE)
    assert rows(office.get("/admin/jobs")) == ["mail.queued", "payment_session.check_requested"]
    assert rows(office.get("/admin/jobs?status=failed")) == ["payment_session.check_requested"]
    assert rows(office.get("/admin/jobs?status=done")) == ["order.payment_counted"]
    assert rows(office.get("/admin/jobs?topic=mail.queued")) == ["mail.queued"]


def test_an_effect_shows_what_went_wrong(office: FlaskClient) -> None:
    event = support.make_event()
    message = support.make_message(last_error="ValueError: <b>bold</b>", cause=f"event:{event.id}")
    answer = office.get(f"/admin/jobs/{message.id}")
    assert "<b>bold" not in answer.get_data(as_text=True)
    for part in ("ValueError: <b>bold</b>", "12 of 12", f"Event {event.id}", '"session_id": 1'):
        assert part in words(answer)
    panel = office.get(f"/admin/jobs/{message.id}", headers=FRAGMENT)
    assert panel.get_data(as_text=True).lstrip().startswith("<article")


def test_a_failed_effect_is_run_again(office: FlaskClient, staff: User) -> None:
    message = support.make_message()
    address = f"/admin/jobs/{message.id}"
    assert post_form(office, f"{address}/run-again", page=address).status_code == 303
    db.session.rollback()
    again = db.session.get_one(OutboxMessage, message.id, populate_existing=True)
    assert (again.status, again.attempts) == (MessageStatus.PENDING, 0)
    second = post_form(office, f"{address}/run-again", page=address, htmx=True)
    assert second.status_code == 409
    assert "Pending" in words(second)
    [line] = audited("effect.run_again")
    assert (line.actor, line.subject) == (staff.email, f"outbox_messages:{message.id}")


@pytest.mark.parametrize("status", [MessageStatus.PENDING, MessageStatus.DONE])
def test_what_has_not_failed_is_not_run_again(office: FlaskClient, status: MessageStatus) -> None:
    message = support.make_message(status=status)
    address = f"/admin/jobs/{message.id}"
    assert "run-again" not in office.get(address).get_data(as_text=True)
    assert post_form(office, f"{address}/run-again", page=address).status_code == 409


def test_depth_and_age_come_from_the_database(app: Flask) -> None:
    now = clock.now()
    for minutes in (5, 90):
        support.make_message(status=MessageStatus.PENDING, queue="mail", at=now - timedelta(minutes=minutes))
    support.make_message(status=MessageStatus.PENDING, queue="default", at=now + timedelta(hours=1))
    support.make_event(status=EventStatus.PENDING, at=now - timedelta(minutes=3))
    depths = {depth.queue: depth for depth in queue_depths(at=now)}
    assert (depths["mail"].count, depths["mail"].due_since) == (2, now - timedelta(minutes=90))
    assert (depths["default"].count, depths["default"].due_since) == (1, None)
    assert (depths["inbox"].count, depths["inbox"].due_since) == (1, now - timedelta(minutes=3))
    assert (depths["deploy"].count, depths["deploy"].due_since) == (0, None)


def test_a_deep_queue_is_counted_to_a_limit_and_costs_the_same(
    office: FlaskClient, count_queries: Callable[[], int]
) -> None:
    count_queries()
    office.get("/admin/jobs")
    with_none = count_queries()
    for _ in range(DEPTH_LIMIT + 3):
        support.make_message(status=MessageStatus.PENDING)
    count_queries()
    text = page(office, "/admin/jobs")
    assert count_queries() == with_none <= 4
    assert f"{DEPTH_LIMIT - 1}+" in text


def test_the_timetable_and_the_workers_are_shown(office: FlaskClient) -> None:
    text = page(office, "/admin/jobs")
    assert "check_open_sessions" in text
    assert "30 seconds" in text
    assert "No worker is running" in text


def test_a_worker_that_is_alive_is_shown(app: Flask, office: FlaskClient) -> None:
    from rq import Queue, Worker

    connection = app.extensions["redis"]
    worker = Worker([Queue("mail", connection=connection)], connection=connection, name="worker-of-the-test")
    worker.register_birth()
    try:
        text = page(office, "/admin/jobs")
        assert "worker-of-the-test" in text
        assert "No worker is running" not in text
    finally:
        worker.register_death()


def test_the_page_works_while_redis_is_away(app: Flask, office: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    support.make_message()
    nobody = Redis(host="127.0.0.1", port=1, socket_connect_timeout=0.2)
    monkeypatch.setitem(app.extensions, "redis", nobody)
    text = page(office, "/admin/jobs")
    assert "Redis does not answer" in text
    assert "payment_session.check_requested" in text
    nobody.close()


@pytest.mark.parametrize("room", ["mail", "jobs"])
def test_what_is_not_there_is_not_found(office: FlaskClient, room: str) -> None:
    for number in ("999999", "9" * 30, "-1", "x"):
        assert office.get(f"/admin/{room}/{number}").status_code == 404

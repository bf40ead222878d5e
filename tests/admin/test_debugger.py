"""The webhook debugger: the ledger of an event, trying it out and applying it, refused deliveries, the command."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.admin import ledger
from portal.core import clock, outbox
from portal.core.audit import AuditEvent, caused_by
from portal.core.db import db, unit_of_work
from portal.core.mail import MailMessage, MailStatus
from portal.core.outbox import MessageStatus, OutboxMessage
from portal.core.state import transition
from portal.orders.models import Order
from portal.payments.models import EventStatus, Invoice, InvoiceLine, ProviderEvent
from portal.payments.services.refunding import Wish, request_refund
from tests import factories, sandbox
from tests.admin import support
from tests.admin.reading import FRAGMENT, audited, page, rows, words
from tests.browser_like import csrf_token, post_form
from tests.orders import shop
from tests.payments import signed
from tests.structure.world import everything

HOSTILE = '</code><script>alert("x")</script>{{7*7}}'


@pytest.fixture
def sale(app: Flask, client: FlaskClient) -> ProviderEvent:
    """The event of a guest's purchase, applied."""
    shop.buy(app, client, factories.make_package(name="Biuro Autopilot"))
    event: ProviderEvent = db.session.scalars(
        db.select(ProviderEvent).where(ProviderEvent.event_type == "payment.paid")
    ).one()
    return event


def _address(event: ProviderEvent) -> str:
    return f"/admin/webhooks/{event.id}"


def _mail(template: str) -> MailMessage:
    shop.look_again()
    return db.session.scalars(db.select(MailMessage).where(MailMessage.template == template)).one()


# --- the ledger ---


def test_what_was_given_back_is_not_missing(app: Flask, office: FlaskClient, client: FlaskClient) -> None:
    """A line's money goes back and takes the access along: nothing is offered to be given once more."""
    order = shop.buy(app, client, factories.make_package(slug="one"), factories.make_package(slug="two"))
    event = db.session.scalars(db.select(ProviderEvent).where(ProviderEvent.event_type == "payment.paid")).one()
    _give_back(app, order, position=1)
    text = page(office, _address(event))
    assert "Packages unlocked Unlocked 1 of 1 · given back: 1" in text
    assert "Missing" not in text
    assert "Give what is missing" not in text
    _give_back(app, order, position=2)
    assert "Packages unlocked Refunded 0 of 0 · given back: 2" in page(office, _address(event))


def _give_back(app: Flask, order: Order, *, position: int) -> None:
    line = db.session.scalars(db.select(InvoiceLine).where(InvoiceLine.position == position)).one()
    session_ids = tuple(one.id for one in shop.sessions())
    with unit_of_work():
        wish = Wish(session_ids, key=f"{order.number}-line-{position}", line_ids=(line.id,))
        request_refund(wish, by="admin@example.com", at=clock.now())
    shop.work(app)


def test_the_ledger_names_every_effect_with_its_state(office: FlaskClient, sale: ProviderEvent) -> None:
    text = page(office, _address(sale))
    order = shop.only_order()
    invoice = db.session.scalars(db.select(Invoice)).one()
    for line in (
        "Money: PLN 69.00 Counted",
        "Payment Paid",
        "Attempt Paid",
        "Payment of the order Paid",
        f"Invoice {invoice.number} Issued",
        f"Order {order.number} Paid",
        "Packages unlocked Unlocked 1 of 1",
        "Account of guest@example.com Created",
        "Mail: Receipt for a new customer Queued",
        "Mail: Account set-up link Queued",
        "order.payment_counted Done",
        "Came by webhook, and its signature was right",
        "Right when it came; only such events are stored.",
    ):
        assert line in text, line
    assert "Run again" not in text
    assert "Missing" not in text


def test_an_event_names_what_it_is_about_before_anything_is_settled(office: FlaskClient) -> None:
    order = support.make_order(email="late@example.com")
    session = support.make_session(order)
    event = support.make_event(session, status=EventStatus.FAILED)
    raw = office.get(_address(event)).get_data(as_text=True)
    assert f'href="/admin/orders/{order.number}"' in raw
    assert f'href="/admin/payments/{session.public_id}"' in raw


def test_the_ledger_costs_the_same_however_much_came_of_it(
    office: FlaskClient, sale: ProviderEvent, count_queries: Callable[[], int]
) -> None:
    address, sale_id = _address(sale), sale.id

    def cost() -> int:
        # What the test itself has read would spare the page a query, for as long as nobody has collected it.
        db.session.expunge_all()
        count_queries()
        office.get(address)
        return count_queries()

    office.get(address)
    before = cost()
    for _ in range(20):
        support.make_message(cause=f"event:{sale_id}")
    assert cost() == before <= 18


def test_what_is_missing_is_named_and_mended_from_the_ledger(office: FlaskClient, sale: ProviderEvent) -> None:
    with unit_of_work():
        db.session.delete(db.session.scalars(db.select(Invoice)).one())
    text = page(office, _address(sale))
    assert "Invoice Missing" in text
    [session] = shop.sessions()
    repair = f"/admin/invariants/paid_without_invoice/{session.id}/repair"
    assert f'action="{repair}"' in office.get(_address(sale)).get_data(as_text=True)
    assert post_form(office, repair, page=_address(sale)).status_code == 303
    assert "Invoice INV-" in page(office, _address(sale))


def test_a_failed_effect_is_run_again_from_its_event(
    app: Flask, office: FlaskClient, staff: User, sale: ProviderEvent
) -> None:
    message = support.make_message(cause=f"event:{sale.id}", topic="order.payment_counted", queue="default",
                                   payload={"order_id": shop.only_order().id})  # fmt: skip
    address = f"{_address(sale)}/effects/{message.id}/run-again"
    text = page(office, _address(sale))
    assert "ValueError: it never works" in text
    answer = post_form(office, address, page=_address(sale))
    assert (answer.status_code, answer.location) == (303, _address(sale))
    assert [line.actor for line in audited("effect.run_again")] == [staff.email]
    again = post_form(office, address, page=_address(sale))
    assert again.status_code == 409
    outbox.drain("default")
    shop.look_again()
    assert db.session.get_one(OutboxMessage, message.id).status is MessageStatus.DONE
    assert len(audited("effect.run_again")) == 1


def test_a_failed_mail_is_sent_again_as_a_mail(app: Flask, office: FlaskClient, sale: ProviderEvent) -> None:
    """Running its effect again would find a failed mail and send nothing."""
    mail = _mail("order_welcome")
    with unit_of_work():
        transition(db.session.get_one(MailMessage, mail.id), MailStatus.FAILED, by="job:mail", at=clock.now())
    address = f"{_address(sale)}/mails/{mail.id}/again"
    assert f'action="{address}"' in office.get(_address(sale)).get_data(as_text=True)
    assert post_form(office, address, page=_address(sale)).status_code == 303
    assert _mail("order_welcome").status is MailStatus.QUEUED
    assert post_form(office, address, page=_address(sale)).status_code == 409
    outbox.drain("mail")
    assert _mail("order_welcome").status is MailStatus.SENT
    assert len(shop.letters()) == 2


def test_another_events_effects_are_not_found(office: FlaskClient, sale: ProviderEvent) -> None:
    other = support.make_event()
    message = support.make_message(cause=f"event:{sale.id}")
    mail = _mail("order_welcome")
    for address in (f"{_address(other)}/effects/{message.id}/run-again", f"{_address(other)}/mails/{mail.id}/again"):
        assert post_form(office, address, page=_address(sale)).status_code == 404
    assert post_form(office, f"{_address(sale)}/effects/999/run-again", page=_address(sale)).status_code == 404
    assert audited("effect.run_again") == []


def test_a_failed_effect_in_the_side_panel_shows_the_panel_afresh(office: FlaskClient, sale: ProviderEvent) -> None:
    message = support.make_message(cause=f"event:{sale.id}")
    address = f"{_address(sale)}/effects/{message.id}/run-again"
    assert f'hx-post="{address}"' in office.get(_address(sale), headers=FRAGMENT).get_data(as_text=True)
    answer = post_form(office, address, page=_address(sale), htmx=True)
    assert answer.status_code == 200
    assert answer.get_data(as_text=True).lstrip().startswith("<article")
    assert "It is in the queue again." in words(answer)


# --- trying out and applying ---


def _waiting(app: Flask, client: FlaskClient) -> ProviderEvent:
    """A paid webhook whose session was not there when it came; now it is."""
    order = support.make_order(email="late@example.com")
    session = support.make_session(order)
    return support.make_event(session, status=EventStatus.UNMATCHED, provider="sandbox", amount_minor=6900)


def test_trying_out_shows_the_difference_and_changes_nothing(
    app: Flask, office: FlaskClient, client: FlaskClient
) -> None:
    event = _waiting(app, client)
    token = csrf_token(office, _address(event))
    before = everything()
    for _ in range(2):
        answer = office.post(f"{_address(event)}/rehearse", data={"csrf_token": token})
        assert answer.status_code == 200
        assert everything() == before
    text = words(answer)
    for part in (
        "This is what would happen. Nothing has.", "The payment is settled.", "Changed Payment", "status pending paid",
        "New Invoice", "INV-", "New Money", "standing counted", "Afterwards, by a worker", "New Effect",
        "order.payment_counted", "New Mail", "late@example.com", "Histories, numbers and the event itself",
        "Apply it now",
    ):  # fmt: skip
        assert part in text, part
    # What is shown of accounts never holds what opens them.
    assert "password_hash $" not in text


def test_what_was_tried_out_is_then_done(app: Flask, office: FlaskClient, staff: User, client: FlaskClient) -> None:
    event = _waiting(app, client)
    answer = post_form(office, f"{_address(event)}/apply", page=_address(event))
    assert (answer.status_code, answer.location) == (303, _address(event))
    shop.look_again()
    assert db.session.get_one(ProviderEvent, event.id).status is EventStatus.APPLIED
    [line] = audited("event.applied_by_hand")
    assert (line.actor, line.subject) == (staff.email, f"provider_events:{event.id}")
    assert line.after == {"status": "applied", "verdict": "paid"}
    text = page(office, _address(event))
    assert "Invoice INV-" in text
    assert staff.email in text
    assert "All is well" in page(office, "/admin")
    second = post_form(office, f"{_address(event)}/apply", page=_address(event))
    assert second.status_code == 409
    assert len(audited("event.applied_by_hand")) == 1


def test_a_failure_is_told_by_both(app: Flask, office: FlaskClient) -> None:
    session = support.make_session(status=support.SessionStatus.PENDING)  # Of a purpose that nobody sells.
    event = support.make_event(session, status=EventStatus.FAILED, amount_minor=6900)
    tried = post_form(office, f"{_address(event)}/rehearse", page=_address(event))
    assert tried.status_code == 200
    assert "It would fail, and leave everything as it is" in words(tried)
    assert "Apply it now" not in words(tried)
    before = everything()
    answer = post_form(office, f"{_address(event)}/apply", page=_address(event))
    assert answer.status_code == 409
    assert "It failed again, and nothing was changed: KeyError" in words(answer)
    assert everything() == before


@pytest.mark.parametrize("status", list(EventStatus))
def test_each_state_offers_what_it_allows(office: FlaskClient, status: EventStatus) -> None:
    order = support.make_order(email="late@example.com")
    event = support.make_event(support.make_session(order), status=status, amount_minor=6900)
    allowed = status in (EventStatus.UNMATCHED, EventStatus.FAILED, EventStatus.IGNORED)
    tried = post_form(office, f"{_address(event)}/rehearse", page=_address(event))
    assert tried.status_code == 200
    assert ("Apply it now" in words(tried)) is allowed
    answer = post_form(office, f"{_address(event)}/apply", page=_address(event))
    assert answer.status_code == (303 if allowed else 409)


def test_trying_out_in_the_side_panel(app: Flask, office: FlaskClient, client: FlaskClient) -> None:
    event = _waiting(app, client)
    answer = post_form(office, f"{_address(event)}/rehearse", page=_address(event), htmx=True)
    assert answer.get_data(as_text=True).lstrip().startswith("<article")
    assert f'hx-post="{_address(event)}/apply"' in answer.get_data(as_text=True)


def test_hostile_values_are_shown_as_text(office: FlaskClient) -> None:
    order = support.make_order(email="late@example.com", name=HOSTILE)
    event = support.make_event(support.make_session(order), status=EventStatus.FAILED, amount_minor=6900)
    raw = post_form(office, f"{_address(event)}/rehearse", page=_address(event)).get_data(as_text=True)
    assert "<script>alert" not in raw
    assert "&lt;script&gt;alert" in raw


def test_unknown_events_are_not_found(office: FlaskClient) -> None:
    for action in ("rehearse", "apply", "effects/1/run-again", "mails/1/again"):
        assert post_form(office, f"/admin/webhooks/999/{action}", page="/admin/webhooks/check").status_code == 404


# --- filters and refused deliveries ---


def test_events_are_filtered_by_way_and_day(office: FlaskClient) -> None:
    now = clock.now()
    support.make_event(event_type="old", at=now - timedelta(days=9))
    asked = support.make_event(event_type="asked")
    with unit_of_work():
        db.session.get_one(ProviderEvent, asked.id).source = "poll"
    day = (now - timedelta(days=5)).date().isoformat()
    assert rows(office.get(f"/admin/webhooks?to={day}")) == ["old"]
    assert rows(office.get(f"/admin/webhooks?from={day}")) == ["asked"]
    assert rows(office.get("/admin/webhooks?source=poll")) == ["asked"]
    assert rows(office.get("/admin/webhooks?source=webhook&from=nonsense")) == ["old"]


def _refuse(browser: FlaskClient, header: str | None, body: str = "{}") -> None:
    headers = {"User-Agent": f"Scanner {HOSTILE}"} | ({"Stripe-Signature": header} if header is not None else {})
    answer = browser.post("/webhooks/stripe", data=body, content_type="application/json", headers=headers)
    assert answer.status_code == 400


def test_refused_deliveries_are_shown_with_the_part_that_was_wrong(office: FlaskClient, client: FlaskClient) -> None:
    at = clock.now()
    _refuse(client, None)
    assert "The header with the signature is missing" in page(office, "/admin/webhooks?show=refused")
    _refuse(client, "nonsense")
    _refuse(client, signed.signature("{}", secret="whsec_other"))
    _refuse(client, signed.signature("{}", at=at - timedelta(minutes=15)))
    _refuse(client, signed.signature("{}", at=at + timedelta(minutes=15)))
    _refuse(client, signed.signature("[]"), body="[]")
    answer = office.get("/admin/webhooks?show=refused")
    text = words(answer)
    for part in (
        "The header with the signature cannot be read", "The signature does not fit the body",
        "The secret is not the one of this endpoint", "The signature is right and too old", "signed 15 minutes ago",
        "The signature is right and from the future", "signed 15 minutes from now", "Our clock runs behind",
        "The signature is right and the body cannot be read", "not a JSON object", "Scanner", "2 Bytes",
    ):  # fmt: skip
        assert part in text, part
    assert "<script>alert" not in answer.get_data(as_text=True)
    assert db.session.scalar(db.select(db.func.count(ProviderEvent.id))) == 0
    assert "Nothing fits" in page(office, "/admin/webhooks?show=refused&provider=sandbox")
    assert "does not fit" in page(office, "/admin/webhooks?show=refused&provider=stripe")
    later = (at + timedelta(days=2)).date().isoformat()
    assert "Nothing fits" in page(office, f"/admin/webhooks?show=refused&from={later}")


def test_no_refusal_keeps_a_signature_or_a_body(client: FlaskClient, app: Flask) -> None:
    header = signed.signature("{}", secret="whsec_other")
    _refuse(client, header, body='{"card": "4242"}')
    shop.look_again()
    [line] = db.session.scalars(db.select(AuditEvent).where(AuditEvent.event == "WEBHOOK_STRIPE_REFUSED"))
    assert set(line.after or {}) == {"reason", "skew_seconds", "size", "content_type", "user_agent"}
    stored = json.dumps(line.after)
    assert "4242" not in stored
    assert header.rpartition("=")[2] not in stored


def test_refused_deliveries_are_paged_by_key(
    office: FlaskClient, client: FlaskClient, count_queries: Callable[[], int]
) -> None:
    _refuse(client, None)
    count_queries()
    office.get("/admin/webhooks?show=refused")
    with_one = count_queries()
    for _ in range(29):
        _refuse(client, None)
    count_queries()
    first = office.get("/admin/webhooks?show=refused").get_data(as_text=True)
    assert count_queries() == with_one <= 3
    assert first.count("The header with the signature is missing") == 25
    ids = db.session.scalars(db.select(AuditEvent.id).order_by(AuditEvent.id.desc())).all()
    older = office.get(f"/admin/webhooks?show=refused&before={ids[24]}").get_data(as_text=True)
    assert older.count("The header with the signature is missing") == 5
    newer = office.get(f"/admin/webhooks?show=refused&after={ids[25]}").get_data(as_text=True)
    assert newer.count("The header with the signature is missing") == 25


def test_nothing_refused_says_so(office: FlaskClient) -> None:
    assert "Nothing was refused" in page(office, "/admin/webhooks?show=refused")


# --- the command ---


def test_the_command_carries_the_body_and_no_signature(app: Flask, office: FlaskClient, client: FlaskClient) -> None:
    body = json.dumps({**signed.checkout_event(signed.make_session(purpose="order")), "note": "it's @me; $(rm)"})
    assert signed.post(client, body).status_code == 200
    event = db.session.scalars(db.select(ProviderEvent)).one()
    text = page(office, _address(event))
    assert "curl -X POST http://localhost/webhooks/stripe" in text
    assert "v1=SIGNATURE" in text
    # The body is one quoted word of a shell, raw: nothing in it is run or names a file.
    assert "--data-raw '" in text
    assert """it'"'"'s @me; $(rm)""" in text
    assert signed.signature(body).rpartition("=")[2] not in text


def test_an_answer_to_a_question_is_no_command(office: FlaskClient) -> None:
    event = support.make_event(body="asked: complete")
    with unit_of_work():
        db.session.get_one(ProviderEvent, event.id).source = "poll"
    text = page(office, _address(event))
    assert "curl" not in text
    assert "it has no body" in text
    assert "None: we asked the provider ourselves." in text


def test_effects_of_another_domain_join_the_ledger(office: FlaskClient, sale: ProviderEvent) -> None:
    finder = ledger.effects_of(lambda file: [ledger.Effect(f"A key for event {file.event.id}", "active")])
    try:
        assert f"A key for event {sale.id} Active" in page(office, _address(sale))
    finally:
        ledger._finders.remove(finder)


def test_effects_of_effects_are_in_the_ledger(app: Flask, office: FlaskClient, sale: ProviderEvent) -> None:
    with unit_of_work(), caused_by(f"event:{sale.id}"):
        outbox.publish("payment_session.check_requested", session_id=1)
    assert "payment_session.check_requested Pending" in page(office, _address(sale))
    assert sandbox.delivery_queue() == "default"

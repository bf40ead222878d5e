"""Disputes in the back office: by deadline on the work list, with what was answered, and how they ended."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.core import clock, outbox
from portal.core.db import db
from portal.orders.models import Order, PaymentStatus
from portal.payments.models import Payment
from portal.payments.providers.base import NormalisedEvent, Outcome, ParsedWebhook
from portal.payments.refund_models import Dispute, DisputeStatus, Refund
from portal.payments.services.accepting import store_event
from tests import factories, invariants
from tests.admin.reading import FRAGMENT, audited, page, rows
from tests.browser_like import csrf_token, post_form
from tests.orders import shop


@pytest.fixture
def order(app: Flask, login: Callable[[User], FlaskClient], alice: User) -> Order:
    """An order that Alice has paid: 69.00 PLN."""
    return shop.buy(app, login(alice), factories.make_package(slug="one"), email=alice.email)


def tell(outcome: Outcome = Outcome.DISPUTED, *, number: str = "dp_1", **values: object) -> None:
    """The provider reports a dispute; without the newer fields, as an older adapter would."""
    payment = db.session.scalars(db.select(Payment)).one()
    facts = {"amount_minor": 6900, "detail": "fraudulent", "due_at": clock.now() + timedelta(days=7), **values}
    fact = NormalisedEvent(
        outcome=outcome, payment_reference=payment.provider_reference, currency=payment.currency,
        business_key=f"sandbox:{number}:{outcome}", **facts,  # type: ignore[arg-type]  # passed on
    )  # fmt: skip
    key = f"evt_{number}_{outcome}_{fact.detail}_{fact.due_at}"
    store_event("sandbox", ParsedWebhook(key, "dispute", (fact,)), "{}", source="webhook", at=clock.now())
    shop.look_again()


def disputes() -> list[Dispute]:
    shop.look_again()
    return list(db.session.scalars(db.select(Dispute).order_by(Dispute.id)))


def test_a_dispute_is_work_until_it_is_decided(office: FlaskClient, order: Order) -> None:
    tell()
    [dispute] = disputes()
    assert dispute.provider_reference == "dp_1"
    text = page(office, "/admin")
    assert "Disputes 1" in text
    assert "Needs an answer · answer until" in text
    assert "to be answered in 1 week" in text
    assert "Dispute about" in page(office, f"/admin/orders/{order.number}")
    text = page(office, f"/admin/disputes/{dispute.id}")
    for part in ("fraudulent", "dp_1", order.number, "Answer at the provider"):
        assert part in text
    tell(Outcome.DISPUTE_CLOSED, detail="won")
    assert "All is well" in page(office, "/admin")
    assert "Won" in page(office, f"/admin/disputes/{dispute.id}")


@pytest.mark.usefixtures("order")
def test_the_nearest_deadline_comes_first(office: FlaskClient) -> None:
    tell(number="dp_late", amount_minor=6900, due_at=clock.now() + timedelta(days=9))
    tell(number="dp_soon", amount_minor=100, due_at=clock.now() + timedelta(days=1))
    tell(number="dp_open", amount_minor=50, due_at=None)
    from portal.admin.queries.work_list import WorkKind, read_work_list

    listed = read_work_list(at=clock.now(), kind=WorkKind.DISPUTE).page.rows
    assert [item.amount.amount_minor for item in listed if item.amount] == [50, 100, 6900]
    assert "it names no deadline" in page(office, "/admin?kind=dispute")


@pytest.mark.usefixtures("order")
def test_what_was_answered_is_kept(office: FlaskClient, staff: User) -> None:
    tell()
    address = f"/admin/disputes/{disputes()[0].id}"
    answer = post_form(office, f"{address}/evidence", {"evidence": "Sent the log-ins."}, page=address)
    assert answer.location == address
    assert (disputes()[0].evidence, disputes()[0].status) == ("Sent the log-ins.", DisputeStatus.NEEDS_RESPONSE)
    for _ in range(2):
        post_form(office, f"{address}/evidence", {"evidence": "Sent.", "is_answered": "y"}, page=address, htmx=True)
    assert disputes()[0].status is DisputeStatus.UNDER_REVIEW
    assert [line.actor for line in audited("dispute.evidence")] == [staff.email] * 3
    assert post_form(office, f"{address}/evidence", {"evidence": "x" * 5001}, page=address).status_code == 422
    token = csrf_token(office, address)
    tell(Outcome.DISPUTE_CLOSED, detail="withdrawn")
    late = office.post(f"{address}/evidence", data={"csrf_token": token, "evidence": "too late"})
    assert late.status_code == 409
    assert office.post(f"{address}/evidence", data={"evidence": "no token"}).status_code == 400
    assert disputes()[0].evidence == "Sent."


def test_a_lost_dispute_shows_on_the_order_and_takes_the_access(
    app: Flask, owner: FlaskClient, order: Order, alice: User
) -> None:
    tell()
    tell(Outcome.DISPUTE_CLOSED, detail="lost")
    shop.work(app)
    assert shop.only_order().payment_status is PaymentStatus.REFUNDED
    assert shop.owned_by(alice.email) == {}
    text = page(owner, f"/admin/orders/{order.number}")
    assert "Lost in a dispute" in text
    dispute = disputes()[0]
    assert f"/admin/refunds/{dispute.refund_id}" in owner.get(f"/admin/disputes/{dispute.id}").get_data(as_text=True)
    assert invariants.check(db.session()) == []


def test_how_it_ended_is_noted_where_the_provider_does_not_tell(
    owner: FlaskClient, office: FlaskClient, order: Order
) -> None:
    tell()
    dispute = disputes()[0]
    decide = f"/admin/disputes/{dispute.id}/decide"
    assert office.get(decide).status_code == 403
    assert post_form(owner, decide, {"outcome": "needs_response"}).status_code == 422
    assert post_form(owner, decide, {"outcome": "lost"}).location == f"/admin/disputes/{dispute.id}"
    assert disputes()[0].status is DisputeStatus.LOST
    assert shop.only_order().refunded_minor == 6900
    assert post_form(owner, decide, {"outcome": "won"}).status_code == 409
    assert len(db.session.scalars(db.select(Refund)).all()) == 1
    assert invariants.check(db.session()) == []


def test_money_in_dispute_is_not_given_back(owner: FlaskClient, order: Order) -> None:
    tell()
    address = f"/admin/orders/{order.number}/refund"
    text = owner.get(address).get_data(as_text=True)
    key = text.split('name="key"')[1].split('value="')[1].split('"')[0]
    answer = post_form(owner, address, {"what": "all", "reason": "other", "key": key})
    assert answer.status_code == 409
    assert "This money is in dispute" in answer.get_data(as_text=True)


@pytest.mark.usefixtures("order")
def test_disputes_are_found_and_filtered(office: FlaskClient, alice: User) -> None:
    assert "No disputes" in page(office, "/admin/disputes")
    tell()
    tell(number="dp_2", amount_minor=100)
    tell(Outcome.DISPUTE_CLOSED, number="dp_2", detail="won", amount_minor=100)
    for query, count in (
        ("", 2), ("?status=won", 1), ("?status=lost", 0), ("?open=1", 1), ("?provider=sandbox", 2),
        (f"?q={alice.email}", 2), ("?q=dp_2", 1), ("?q=dp_3", 0),
    ):  # fmt: skip
        assert len(rows(office.get(f"/admin/disputes{query}"))) == count, query
    panel = office.get(f"/admin/disputes/{disputes()[0].id}", headers=FRAGMENT).get_data(as_text=True)
    assert panel.lstrip().startswith("<article")
    assert office.get("/admin/disputes/999").status_code == 404


@pytest.mark.usefixtures("order")
def test_the_list_costs_the_same_with_one_row_and_with_many(
    office: FlaskClient, count_queries: Callable[[], int]
) -> None:
    tell(amount_minor=1)
    count_queries()
    office.get("/admin/disputes")
    with_one = count_queries()
    for number in range(20):
        tell(number=f"dp_more_{number}", amount_minor=1)
    count_queries()
    office.get("/admin/disputes")
    assert count_queries() == with_one <= 4


@pytest.mark.usefixtures("order")
def test_staff_get_the_mails(app: Flask, staff: User, admin: User) -> None:
    tell()
    tell(Outcome.DISPUTE_CLOSED, detail="lost")
    outbox.drain("mail")
    letters = [(one["To"], str(one["Subject"])) for one in shop.letters() if "disput" in str(one["Subject"])]
    assert sorted({to for to, _subject in letters}) == [admin.email, staff.email]
    assert len(letters) == 4

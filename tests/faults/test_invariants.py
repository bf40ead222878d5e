"""The invariants see each breach: a healthy database is broken on purpose, one way at a time."""

import shutil
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import Engine, MetaData, PrimaryKeyConstraint, create_engine, text
from sqlalchemy.orm import Session

from portal.core import clock
from portal.core.db import Base, db, unit_of_work
from portal.core.money import Money
from portal.payments.models import PaymentSession
from portal.payments.services.refunding import Wish, request_refund
from tests import factories, invariants
from tests.orders import shop


def loosened() -> MetaData:
    """The tables without the constraints that would refuse to be broken."""
    metadata = MetaData()
    for table in Base.metadata.sorted_tables:
        copy = table.to_metadata(metadata)
        copy.constraints = {one for one in copy.constraints if isinstance(one, PrimaryKeyConstraint)}
        copy.indexes.clear()
        for column in copy.columns:
            column.unique = column.index = None
    return metadata


@pytest.fixture
def healthy(app: Flask, tmp_path: Path) -> Path:
    """A shop with two sales, copied into tables without constraints."""
    first, second = factories.make_package(), factories.make_package(price_minor=9900)
    bundle = factories.make_package(price_minor=12900, children=[first, second])
    shop.buy(app, app.test_client(), bundle, email="one@example.com")
    shop.ready(app.test_client(), second, email="two@example.com")
    with unit_of_work():
        session_id = db.session.scalars(db.select(PaymentSession.id)).one()
        wish = Wish((session_id,), key="k" * 20, amount=Money(1000, "PLN"))
        request_refund(wish, by="admin@example.com", at=clock.now())
    shop.work(app, with_mail=True)
    assert invariants.check(db.session, is_quiet=True) == []
    path = tmp_path / "healthy.db"
    metadata = loosened()
    engine = create_engine(f"sqlite:///{path}")
    metadata.create_all(engine)
    with engine.begin() as target:
        for table in metadata.sorted_tables:
            rows = [dict(row) for row in db.session.execute(Base.metadata.tables[table.name].select()).mappings()]
            if rows:
                target.execute(table.insert(), rows)
    engine.dispose()
    return path


def broken(path: Path, *statements: str) -> Engine:
    copy = path.with_name("broken.db")
    shutil.copy(path, copy)
    engine = create_engine(f"sqlite:///{copy}")
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    return engine


def said(path: Path, *statements: str, **more: object) -> str:
    engine = broken(path, *statements)
    try:
        with Session(engine) as session:
            return "\n".join(invariants.check(session, **more))  # type: ignore[arg-type]  # given by each test as it needs
    finally:
        engine.dispose()


def twice(table: str) -> str:
    """Insert every row of a table once more, under new ids."""
    names = ", ".join(f'"{column.name}"' for column in Base.metadata.tables[table].columns if column.name != "id")
    return f'INSERT INTO "{table}" (id, {names}) SELECT id + 1000, {names} FROM "{table}"'


DISPUTE = (
    "INSERT INTO disputes (id, payment_id, session_id, provider, provider_reference, status, amount_minor, currency, "
    "evidence, opened_at, closed_at, refund_id) VALUES "
    "(1, 1, 1, 'sandbox', 'dp_1', '{status}', 5, 'PLN', '', '2026-11-24', {closed}, {refund})"
)
BREACHES = [
    (twice("provider_events"), "is stored more than once"),
    (twice("payments"), "is on the books more than once"),
    (twice("payments"), "2 payments count for it"),
    ("DELETE FROM payments", "0 payments count for it"),
    ("UPDATE payments SET surplus_reason = 'wrong_mode'", "with the reason wrong_mode"),
    ("UPDATE payments SET standing = 'surplus'", "with the reason None"),
    ("UPDATE payments SET amount_minor = amount_minor + 1", "asks for another amount"),
    ("UPDATE provider_events SET status = 'ignored'", "comes from event"),
    ("UPDATE payment_sessions SET check_at = created_at", "still to be looked at"),
    ("UPDATE payment_sessions SET paid_at = NULL", "was paid at None"),
    ("UPDATE payment_sessions SET subject_id = 999", "which does not exist"),
    ("UPDATE payment_sessions SET currency = 'EUR'", "its session"),
    ("UPDATE orders SET paid_minor = paid_minor + 1", "its payments are"),
    ("UPDATE orders SET paid_minor = paid_minor + 0.5", "paid_minor is 12900.5"),
    ("UPDATE orders SET payment_status = 'partial'", "and is partial"),
    ("UPDATE orders SET paid_at = NULL", "was paid at None"),
    (twice("orders"), "became more than one order"),
    ("DELETE FROM order_lines", "has no lines"),
    ("UPDATE order_lines SET unit_price_minor = unit_price_minor + 1", "does not multiply"),
    ("UPDATE order_lines SET total_minor = total_minor + 1", "do not add up"),
    ("UPDATE order_lines SET tax_minor = tax_minor + 1", "has the wrong tax"),
    ("UPDATE orders SET tax_minor = tax_minor + 1", "the tax of its lines"),
    ("DELETE FROM order_line_unlocks", "unlocks nothing"),
    ("DELETE FROM invoices", "has 0 invoices"),
    (twice("invoices"), "has 2 invoices"),
    ("UPDATE invoice_lines SET net_minor = net_minor + 1", "does not add up"),
    ("UPDATE invoices SET gross_minor = 1", "is not about what was paid"),
    ("UPDATE order_lines SET description = 'Renamed'", "has other lines than order"),
    ("UPDATE invoices SET number = 'INV-2026-00007'", "the numbers of"),
    ("UPDATE number_sequences SET value = value + 1", "the numbers of"),
    ("UPDATE status_changes SET actor = ''", "by nobody"),
    ("DELETE FROM status_changes WHERE became = 'fulfilled'", "began as fulfilled"),
    ("UPDATE orders SET status = 'cancelled'", "its history ends with"),
    ("UPDATE status_changes SET was = 'fulfilled', became = 'open' WHERE became = 'fulfilled'", "no arrow"),
    (twice("status_changes"), "jumps from"),
    ("UPDATE enrolments SET licences = licences + 1", "bought were"),
    (twice("enrolments"), "more than once"),
    ("DELETE FROM enrolment_grants", "does not unlock exactly"),
    (twice("enrolment_grants"), "does not unlock exactly"),
    ("UPDATE enrolment_grants SET order_line_id = 999", "the order line 999"),
    ("UPDATE orders SET user_id = NULL", "is fulfilled for user None"),
    (twice("mail_messages"), "was written more than once"),
    ("DELETE FROM mail_messages", "0 receipts were written"),
    (twice("outbox_messages"), "there are 2 messages for it"),
    (twice("outbox_messages"), "its cart is emptied 2 times"),
    ("UPDATE outbox_messages SET key = 'one'", "effect one was written"),
    (twice("audit_events"), "was fulfilled 2 times"),
    ("UPDATE refunds SET amount_minor = 99999", "its refunds are 99999"),
    ("UPDATE payments SET returned_minor = 0", "has 0 set aside, its refunds are 1000"),
    ("UPDATE refunds SET currency = 'EUR'", "is not of its payment"),
    ("UPDATE credit_notes SET net_minor = net_minor + 1", "does not add up"),
    ("UPDATE credit_note_lines SET tax_minor = tax_minor + 1", "of its lines is another one"),
    ("DELETE FROM credit_notes", "credited otherwise"),
    (twice("credit_notes"), "has 2 credit notes"),
    ("UPDATE credit_notes SET invoice_id = 999", "on another invoice"),
    ("UPDATE credit_note_lines SET gross_minor = 99999", "credited are 99999"),
    ("UPDATE credit_notes SET number = 'CN-2026-00007'", "the numbers of CN"),
    ("UPDATE orders SET refunded_minor = 999", "has 999 refunded, its refunds are 1000"),
    ("UPDATE orders SET payment_status = 'refunded'", "1000 of 12900 went back"),
    ("DELETE FROM mail_messages WHERE template = 'refund_given'", "the buyer was told 0 times"),
    (DISPUTE.format(status="won", closed="NULL", refund="NULL"), "was closed at None"),
    (DISPUTE.format(status="won", closed="'2026-11-24'", refund="1"), "and booked out with 1000"),
    ("UPDATE status_changes SET was = 'pending' WHERE entity = 'refunds'", "jumps from"),
]
WAITING = [
    ("UPDATE provider_events SET status = 'pending'", "is pending"),
    ("UPDATE provider_events SET status = 'unmatched'", "its session exists"),
    ("UPDATE outbox_messages SET status = 'failed'", "is failed"),
    ("UPDATE payment_attempts SET status = 'unknown'", "is still unknown"),
    ("UPDATE mail_messages SET status = 'queued'", "is still queued"),
    ("UPDATE refunds SET status = 'asking'", "refund 1 is still asking"),
    ("UPDATE payments SET provider_reference = 'another'", "we know nothing of it"),
]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_each_breach_is_seen(healthy: Path) -> None:
    assert said(healthy, is_quiet=True) == ""
    unseen = [statement for statement, sentence in BREACHES if sentence not in said(healthy, statement)]
    assert unseen == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_still_waits_is_seen_after_quiet_only(healthy: Path) -> None:
    for statement, sentence in WAITING:
        assert sentence in said(healthy, statement, is_quiet=True), statement
    # While work is under way, an effect that waits is no breach.
    assert said(healthy, "UPDATE outbox_messages SET status = 'pending'") == ""


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_lost_event_and_lost_money_are_seen(healthy: Path) -> None:
    lost = {("stripe", "evt_lost")}
    assert "evt_lost') was answered with yes and is not stored" in said(healthy, acknowledged=lost)
    assert "stripe took the payment pi_1" in said(healthy, is_quiet=True, taken={("stripe", "pi_1")})

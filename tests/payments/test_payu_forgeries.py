"""PayU's notifications that are forged, altered, or rightly signed and untrue: nothing is believed unread."""

import json

import pytest
from flask.testing import FlaskClient

from portal.core.audit import AuditEvent
from portal.core.db import db
from portal.payments.models import (
    AttemptStatus,
    SessionStatus,
)
from tests.fakes.payu import SECOND_KEY, FakePayU, sign
from tests.payments.conftest import Sold
from tests.payments.payu_selling import body_of, events, fresh, post, started, surplus, work


def altered(body: bytes) -> bytes:
    return body.replace(b'"COMPLETED"', b'"CANCELED" ')


@pytest.mark.parametrize(
    "header",
    [
        "",
        "signature=;algorithm=MD5",
        "sender=checkout;signature=" + "0" * 32 + ";algorithm=MD5;content=DOCUMENT",
        "sender=checkout;signature={md5};algorithm=SHA-256;content=DOCUMENT",
        "sender=checkout;signature={sha1};algorithm=SHA-1;content=DOCUMENT",
        "sender=checkout;signature={md5upper};algorithm=MD5;content=DOCUMENT",
        "sender=checkout;signature={foreign};algorithm=MD5;content=DOCUMENT",
        "sender=checkout;signature={md5};signature={md5};algorithm=MD5",
        "signature=" + "ab" * 5_000,
    ],
)
def test_a_forged_notification_is_refused_and_leaves_one_line(
    client: FlaskClient, payu_company: FakePayU, header: str
) -> None:
    payu_company.control.set_webhooks(lose=True)
    session, order = started(payu_company)
    payu_company.control.pay(order)
    body = body_of(payu_company, f"{order}:COMPLETED")

    def digest(key: str, algorithm: str) -> str:
        return sign(body, key, algorithm).split("signature=")[1].split(";")[0]

    md5 = digest(SECOND_KEY, "MD5")
    filled = header.format(
        md5=md5, md5upper=md5.upper(), sha1=digest(SECOND_KEY, "SHA-1"), foreign=digest("another key", "MD5")
    )
    answer = post(client, body, filled)
    assert answer.status_code == 400
    assert answer.get_json()["error"]["code"] == "invalid_signature"
    work(payu_company)
    assert events() == []
    assert fresh(session).status is SessionStatus.PENDING
    assert "WEBHOOK_PAYU_REFUSED" in db.session.scalars(db.select(AuditEvent.event)).all()


def test_an_altered_notification_is_refused(client: FlaskClient, payu_company: FakePayU) -> None:
    payu_company.control.set_webhooks(lose=True)
    _session, order = started(payu_company)
    payu_company.control.pay(order)
    body = body_of(payu_company, f"{order}:COMPLETED")
    assert altered(body) != body
    assert post(client, altered(body), sign(body, SECOND_KEY)).status_code == 400
    assert events() == []


@pytest.mark.parametrize("size", [256 * 1024 + 1, 1024 * 1024])
def test_a_body_larger_than_any_notification_is_not_read(
    client: FlaskClient, payu_company: FakePayU, size: int
) -> None:
    assert post(client, b"[" * size).status_code == 413
    assert events() == []


def test_a_notification_that_lies_about_the_amount_changes_nothing(
    client: FlaskClient, payu_company: FakePayU, sold: Sold
) -> None:
    """Rightly signed, and still only a hint: what PayU says when it is asked counts."""
    payu_company.control.set_webhooks(lose=True)
    session, order = started(payu_company)
    payu_company.control.pay(order)
    body = body_of(payu_company, f"{order}:COMPLETED").replace(b'"4900"', b'"1"')
    assert post(client, body).status_code == 200
    work(payu_company)
    assert fresh(session).status is SessionStatus.PAID
    assert surplus() == [None]


@pytest.mark.parametrize("status", ["COMPLETED", "CANCELED", "WAITING_FOR_CONFIRMATION", "PENDING"])
def test_a_rightly_signed_notification_of_what_never_was_is_not_believed(
    client: FlaskClient, payu_company: FakePayU, sold: Sold, status: str
) -> None:
    """MD5 proves little, and a signature without a time can be played again."""
    session, order = started(payu_company)
    said = {**payu_company.world.orders[order], "status": status}
    assert post(client, json.dumps({"order": said}).encode()).status_code == 200
    work(payu_company)
    assert fresh(session).status is SessionStatus.PENDING
    assert (sold.settled, sold.failed, surplus()) == ([], [], [])
    assert [one.status for one in fresh(session).attempts] == [AttemptStatus.OPEN]

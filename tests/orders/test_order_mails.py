"""What customers read after buying: the right mail, once, with the invoice, in their language."""

from email.message import EmailMessage

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import TokenPurpose, User
from portal.accounts.services import verify_address
from portal.accounts.services.tokens import issue_token
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.mail import MailMessage, MailStatus
from portal.payments.models import Invoice
from tests.factories import make_package, make_user
from tests.orders import shop


def text_of(letter: EmailMessage) -> str:
    body = letter.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def letter_about(words: str) -> EmailMessage:
    """The one letter whose subject holds these words."""
    (found,) = [letter for letter in shop.letters() if words in str(letter["Subject"])]
    return found


def attached(letter: EmailMessage) -> list[tuple[str | None, bytes]]:
    return [(part.get_filename(), part.get_content()[:5]) for part in letter.iter_attachments()]


def test_a_new_customer_reads_a_receipt_and_what_is_left_to_do(app: Flask, client: FlaskClient) -> None:
    order = shop.buy(app, client, make_package(name="Biuro"))
    shop.work(app, with_mail=True)
    letter = letter_about("Your receipt for order")
    text = text_of(letter)
    for words in (order.number, "Biuro", "PLN\u00a069.00", "choose your password", "guest@example.com"):
        assert words in text
    assert f"/orders/{order.number}/return?key=" in text
    invoice = db.session.scalars(select(Invoice)).one()
    assert attached(letter) == [(f"{invoice.number}.pdf", b"%PDF-")]
    assert str(letter["To"]) == "guest@example.com"


def test_a_known_customer_reads_a_confirmation_with_the_invoice(app: Flask, client: FlaskClient, alice: User) -> None:
    order = shop.buy(app, client, make_package(name="Biuro"), email=alice.email)
    shop.work(app, with_mail=True)
    (letter,) = shop.letters()
    assert str(letter["Subject"]) == f"Your order {order.number} is paid and unlocked"
    assert "http://localhost/my/packages" in text_of(letter)
    assert len(attached(letter)) == 1


def test_who_must_confirm_first_reads_why_and_hears_when_it_is_unlocked(app: Flask, client: FlaskClient) -> None:
    user = make_user(email=shop.BUYER["email"], is_verified=False)
    order = shop.buy(app, client, make_package())
    shop.work(app, with_mail=True)
    assert "was never confirmed" in text_of(letter_about("is paid and waits for you"))
    with unit_of_work():
        token = issue_token(user, TokenPurpose.VERIFY_EMAIL, at=clock.now())
    with unit_of_work():
        verify_address(token, at=clock.now())
    shop.work(app, with_mail=True)
    letter = letter_about("is unlocked")
    assert order.number in str(letter["Subject"])
    assert attached(letter) == []


def test_the_signed_link_reaches_the_reader_and_never_the_log(app: Flask, client: FlaskClient) -> None:
    shop.buy(app, client, make_package())
    shop.work(app, with_mail=True)
    row = db.session.scalars(select(MailMessage).where(MailMessage.template == "order_welcome")).one()
    assert row.status is MailStatus.SENT
    assert row.text_body is not None
    assert "key=" not in row.text_body
    assert "•••" in row.text_body


def test_what_buyers_typed_stays_text_in_the_mail(app: Flask, client: FlaskClient) -> None:
    nasty = "<script>alert(1)</script>"
    shop.buy(app, client, make_package(name=nasty), name=nasty)
    shop.work(app, with_mail=True)
    html = letter_about("Your receipt").get_body(("html",))
    assert html is not None
    assert "<script>alert" not in html.get_content()

"""Polish and Spanish say everything that English says, and no English shows through in a page, a mail or an invoice."""

import ast
import gettext
import io
import re
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pypdf
import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import read_mo, write_mo
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import TokenPurpose
from portal.accounts.services import tokens
from portal.catalogue.models import Package
from portal.core import clock, mail, outbox
from portal.core.access import Access
from portal.core.db import db, unit_of_work
from portal.core.invariants import InvariantRun
from portal.core.languages import LANGUAGES
from portal.merchants.models import ApiKey
from portal.orders.models import Order
from portal.payments.models import PaymentSession
from portal.production.models import SalesOrder
from portal.quotes.models import ModelFile, Quote
from portal.quotes.pricing.comparing import texts_of
from portal.quotes.pricing.models import PriceBookVersion
from portal.sites.models import Site, SitePurchase
from portal.subscriptions.models import BillingPeriod
from scripts import messages
from tests.browser_like import post_form
from tests.structure import keeping, routes, source
from tests.structure.wording import english, forms, placeholders, spoken, texts
from tests.structure.world import World

pytestmark = pytest.mark.xdist_group("house")

OTHERS = sorted(set(LANGUAGES) - {"en"})
TRANSLATED = pytest.mark.parametrize("language", OTHERS)
DATABASE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
# The gallery of components is the developers' own; files for programs keep the names of their columns.
LEFT_OUT = re.compile(r"static|health\..*|dev_ui\.(show|mail_page|panel)|.*_csv|.*\.pdf|devtools\.letter_html")
ERRORS = (400, 401, 403, 404, 405, 409, 413, 422, 429, 500, 503)
# Forms, sent empty: the complaints are the portal's own and WTForms'.
EMPTY_FORMS = {
    "/login": "anonymous",
    "/register": "anonymous",
    "/password/forgot": "anonymous",
    "/checkout": "alice",
    "/account": "alice",
    "/account/password": "alice",
    "/account/addresses/billing": "alice",
    "/admin/catalogue/new": "admin",
}
# The mailbox shows a mail's headers as they were sent.
MAIL_HEADERS = ("Subject", "From", "To", "Date")
MORE_PARAMETERS: dict[str, dict[str, str]] = {
    "password_changed": {"at": "2026-03-01T10:00:00+00:00"},
    "sales_order_moved": {"step": "delivered"},
    "security_changed": {"at": "2026-03-01T10:00:00+00:00", "change": "second_factor.turned_on"},
}


@pytest.fixture(scope="module")
def asked_for() -> Catalog:
    """Every text that code and templates ask for now."""
    return messages.extract()


def entries(language: str) -> list[Message]:
    return messages.messages(messages.read(language))


def keys(catalogue: Catalog) -> set[tuple[str | None, tuple[str, ...]]]:
    return {(message.context, texts(message)) for message in messages.messages(catalogue)}


def test_every_language_has_its_translations() -> None:
    assert sorted(messages.LANGUAGES) == OTHERS
    assert sorted(path.name for path in messages.TRANSLATIONS.iterdir()) == OTHERS


@TRANSLATED
def test_the_catalogue_is_what_the_sources_ask_for(language: str, asked_for: Catalog) -> None:
    """After changing a text: `make messages`, then translate what is new."""
    catalogue = messages.read(language)
    assert keys(asked_for) - keys(catalogue) == set(), "not in the catalogue: run `make messages`"
    assert keys(catalogue) - keys(asked_for) == set(), "nobody asks for these: run `make messages`"
    assert not catalogue.obsolete
    name = messages.LANGUAGES[language]
    assert messages.source_of(language).read_bytes() == messages.written(catalogue, name), "run `make messages`"


@TRANSLATED
def test_everything_is_translated(language: str) -> None:
    found = entries(language)
    assert len(found) > 1000
    assert [message.id for message in found if not messages.is_translated(message)] == []


@TRANSLATED
def test_every_form_of_every_text_is_filled_in_alike(language: str) -> None:
    """A placeholder that is left out hides a fact, one that is made up breaks the page."""
    count = messages.read(language).num_plurals
    for message in entries(language):
        assert len(forms(message)) == (1 if isinstance(message.id, str) else count), message.id
        for form in forms(message):
            assert placeholders(form) == placeholders(texts(message)[-1]), message.id


@TRANSLATED
def test_every_text_begins_and_ends_alike(language: str) -> None:
    """Spaces at the ends and full stops are part of how a text is put together with others."""
    for message in entries(language):
        for form in forms(message):
            original = texts(message)[-1]
            assert form == form.strip(), message.id
            assert form.rstrip("»”")[-1] in ".?!" or original.rstrip("”")[-1] not in ".?!" or original == "No.", (
                f"{original!r} ends a sentence, {form!r} does not"
            )


@TRANSLATED
def test_every_language_compiles(language: str) -> None:
    compiled = io.BytesIO()
    write_mo(compiled, messages.read(language))
    compiled.seek(0)
    assert len(read_mo(compiled)) == len(entries(language))


@TRANSLATED
def test_the_portal_reads_what_is_written(language: str) -> None:
    """The compiled files are not in git: `make setup` makes them from the translations, and again after a change."""
    with messages.source_of(language).with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for message in entries(language):
        assert read(compiled, message) == set(forms(message)), "run `make setup`"


def read(compiled: gettext.GNUTranslations, message: Message) -> set[str]:
    """Every form of a message that a page can show."""
    if not isinstance(message.id, str):
        return {compiled.ngettext(*message.id, number) for number in range(30)}
    return {compiled.pgettext(message.context, message.id) if message.context else compiled.gettext(message.id)}


def test_every_name_of_gettext_is_collected() -> None:
    """`from flask_babel import lazy_gettext as _x` hides its texts unless scripts/messages.py knows the name."""
    names = set()
    for file in source.product():
        for node in ast.walk(file.tree):
            if isinstance(node, ast.ImportFrom) and node.module == "flask_babel":
                names |= {alias.asname or alias.name for alias in node.names if "gettext" in alias.name}
    assert names - set(messages.KEYWORDS) == set()
    assert {"_", "_l"} <= names


@pytest.fixture
def house(app: Flask, language: str) -> World:
    """The world of a shop whose people read this language."""
    return keeping.house(app, locale=language)


@pytest.fixture
def data(house: World) -> list[str]:
    """What the demo people typed: it is in no language of the portal's."""
    packages = db.session.scalars(select(Package)).all()
    steps = [step.name for package in packages for step in package.processes]
    about = [text for package in packages for text in (package.name, package.short_description, package.description)]
    # What a key was made for is a name too, kept as it was given.
    keys = db.session.scalars(select(ApiKey.label)).all()
    books = db.session.scalars(select(PriceBookVersion)).all()
    prices = [value for book in books for _path, value in texts_of(book.content)] + [book.note for book in books]
    return [*about, *steps, *keys, *prices, *(user.name for user in house.users.values())]


def pages(house: World, language: str) -> Iterator[tuple[str, str]]:
    """Every page of the portal as those see it who may, with its address."""
    with unit_of_work():
        for endpoint, purpose in (
            ("accounts.verify", TokenPurpose.VERIFY_EMAIL),
            ("accounts.reset_password", TokenPurpose.RESET_PASSWORD),
            ("accounts.set_up", TokenPurpose.SET_UP_ACCOUNT),
        ):
            token = tokens.issue_token(house.users["alice"], purpose, at=clock.now())
            house.values[f"{endpoint}.token"] = token
    browsers = {role: browser(house, role, language) for role in ("anonymous", "unverified", "alice", "staff", "admin")}
    seen_by = {
        Access.PUBLIC: ("anonymous", "alice"),
        Access.LOGGED_IN: ("alice",),
        Access.VERIFIED: ("alice",),
        Access.STAFF: ("staff",),
        Access.ADMIN: ("admin",),
    }
    for route in routes.listed():
        if route.method == "GET" and not LEFT_OUT.fullmatch(route.endpoint):
            for role in seen_by[route.level]:
                yield from shown(browsers[role], route.path(house.values))
    for status in ERRORS:
        yield from shown(browsers["anonymous"], f"/dev/ui/errors/{status}")
    yield from shown(browsers["anonymous"], "/nowhere")
    yield from shown(browsers["alice"], "/admin")
    for address in ("/dashboard", "/verify"):
        yield from shown(browsers["unverified"], address)
    for address, role in EMPTY_FORMS.items():
        answer = post_form(browsers[role], address, {})
        assert answer.status_code == 422, address
        yield f"POST {address}", answer.get_data(as_text=True)


def browser(house: World, role: str, language: str) -> FlaskClient:
    found = house.browser(role)
    found.environ_base["HTTP_ACCEPT_LANGUAGE"] = language
    return found


def shown(visitor: FlaskClient, address: str) -> Iterator[tuple[str, str]]:
    answer = visitor.get(address)
    if answer.mimetype == "text/html" and not 300 <= answer.status_code < 400:
        yield address, answer.get_data(as_text=True)


@DATABASE
@TRANSLATED
def test_no_page_speaks_english(house: World, language: str, data: list[str]) -> None:
    found, count = [], 0
    for address, html in pages(house, language):
        count += 1
        assert f'<html lang="{language}"' in html or not html.lstrip().lower().startswith("<!doctype"), address
        kept = [*data, *MAIL_HEADERS] if address.startswith("/dev/mailbox/") else data
        found += [f"{address}: {text}" for text in english(spoken(html), language, data=kept)]
    assert not found, "\n".join(found)
    assert count > 80


@DATABASE
@TRANSLATED
def test_no_mail_speaks_english(house: World, language: str, data: list[str]) -> None:
    folder = Path(house.app.config["MAILBOX_PATH"])
    outbox.drain("mail")
    for letter in folder.glob("*.eml"):
        letter.unlink()
    with unit_of_work():
        for name in mail.templates():
            about = subject_of(name, house) or {"user_id": house.users["alice"].id}
            mail.send(name, to="alice@example.com", locale=language, **about, **MORE_PARAMETERS.get(name, {}))
    outbox.drain("mail")
    letters = [
        message_from_bytes(path.read_bytes(), _class=EmailMessage, policy=policy.default)
        for path in folder.glob("*.eml")
    ]
    assert len(letters) == len(mail.templates())
    for letter in letters:
        text, html = part_of(letter, "plain"), part_of(letter, "html")
        said = [str(letter["Subject"]), *text.splitlines(), *spoken(html)]
        assert english(said, language, data=data) == []
        assert f'lang="{language}"' in html


def subject_of(name: str, house: World) -> dict[str, int]:
    """What a mail is about, when it is not the reader's account."""
    order = db.session.scalars(select(Order.id).order_by(Order.id)).first()
    sale = db.session.scalars(select(PaymentSession.id).where(PaymentSession.purpose == "merchant")).first()
    assert order is not None
    assert sale is not None
    if name.startswith("order_"):
        return {"order_id": order}
    if name.startswith(("quote_", "model_", "sales_order_")) and name != "sales_order_shipped":
        return subject_of_parts(name, house)
    if name == "invariants_broken":
        found = {"paid_without_invoice": ["payment_sessions:1"]}
        run = InvariantRun(day="2026-03-01", at=clock.now(), found=found, new=found)
        db.session.add(run)
        db.session.flush()
        return {"run_id": run.id}
    if name.startswith("subscription_"):
        return subject_of_subscription(name, house)
    if name == "site_welcome":
        site = db.session.scalars(select(Site).where(Site.owner_id.is_not(None)).order_by(Site.id)).first()
        assert site is not None
        db.session.add(SitePurchase(site_id=site.id, order_id=order, reserved_at=clock.now(), expires_at=clock.now()))
        db.session.flush()
        return {"order_id": order}
    named = {
        "change_": "change_id", "domain_": "domain_id", "refund_": "refund_id", "dispute_": "dispute_id",
        "merchant_webhooks": "endpoint_id",
        "merchant_first": "key_id", "merchant_approved": "request_id", "merchant_declined": "request_id",
        "sales_order_shipped": "shipment_id",
    }  # fmt: skip
    if name == "merchant_receipt":
        return {"session_id": sale}
    return next(({part: int(house.values[part])} for start, part in named.items() if name.startswith(start)), {})


def subject_of_subscription(name: str, house: World) -> dict[str, int]:
    """What a mail about alice's subscription is about, with the period that was paid, or the day of the grace."""
    found = {"subscription_id": int(house.values["subscription_id"])}
    if name in ("subscription_activated", "subscription_receipt"):
        return {**found, "period_id": db.session.scalars(select(BillingPeriod.id)).first() or 0}
    return {**found, "day": 3} if name == "subscription_payment_failed" else found


def subject_of_parts(name: str, house: World) -> dict[str, int]:
    """What a mail about printed parts is about: alice's quote, her model, or her sales order and its payment."""
    if name.startswith("quote_"):
        # One whose price is confirmed, so that every sentence has its date.
        number = house.values["quotes.accept.number"]
        return {"quote_id": db.session.scalars(select(Quote.id).where(Quote.number == number)).one()}
    if name.startswith("model_"):
        return {"model_file_id": db.session.scalars(select(ModelFile.id)).first() or 0}
    paid = db.session.scalars(
        select(PaymentSession).join(SalesOrder, SalesOrder.order_id == PaymentSession.subject_id)
    ).first()
    assert paid is not None
    order = {"order_id": paid.subject_id or 0}
    return {**order, "session_id": paid.id} if name == "sales_order_paid" else order


def part_of(letter: EmailMessage, kind: Any) -> str:
    part = letter.get_body((kind,))
    assert part is not None
    return str(part.get_content())


@DATABASE
@TRANSLATED
def test_no_invoice_speaks_english(house: World, language: str, data: list[str]) -> None:
    answer = house.browser("alice").get(f"/invoices/{house.values['invoices.pdf.number']}.pdf")
    paper = pypdf.PdfReader(io.BytesIO(answer.data))
    lines = [line for page in paper.pages for line in page.extract_text().splitlines()]
    assert len(lines) > 20
    assert english(lines, language, data=data) == []
    assert paper.root_object["/Lang"] == language


@TRANSLATED
def test_english_is_noticed(language: str) -> None:
    page = (
        f'<html lang="{language}"><title>Orders</title><body data-text-close="Close"><a lang="en">English</a>'
        "<p>To jest <b>Your cart</b> koszyk, it says</p><p>Invoice INV/1</p><code>the code</code>"
        '<input placeholder="Search packages" value="of"><p>First and last</p></body></html>'
    )
    assert english(spoken(page), language, data=["First and last"]) == [
        "Orders", "Close", "Your cart", "koszyk, it says", "Invoice INV/1", "Search packages",
    ]  # fmt: skip

"""A small world in which every address of the portal has something to show: bought through the shop's own pages."""

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import LoginSession, Role, User
from portal.catalogue.models import Package
from portal.core import clock, files, outbox
from portal.core.db import Base, db, unit_of_work
from portal.core.mail import MailMessage
from portal.core.money import Money
from portal.core.outbox import OutboxMessage
from portal.merchants.models import ApiKey
from portal.merchants.outbound import endpoints
from portal.merchants.outbound.models import MerchantEvent, WebhookEndpoint
from portal.merchants.services import access
from portal.merchants.services.merchants import request_merchant
from portal.orders.models import CartLine, Order
from portal.payments.models import Invoice, Payment, PaymentSession, ProviderEvent
from portal.payments.providers.base import NormalisedEvent, Outcome, ParsedWebhook, StartRequest
from portal.payments.providers.web3 import deposits
from portal.payments.providers.web3.addresses import read_xpub
from portal.payments.providers.web3.networks import read_networks
from portal.payments.refund_models import CreditNote, Dispute, Refund
from portal.payments.services import refunding
from portal.payments.services.accepting import store_event
from portal.payments.services.refunding import Wish
from portal.production.models import SalesOrderStatus, Shipment
from portal.production.shipping.services import links
from portal.quotes.models import QuoteStatus
from portal.quotes.pricing import services as prices
from tests import factories, sandbox
from tests.conftest import CHAIN, XPUB
from tests.merchants import support as merchants
from tests.orders import shop
from tests.production import factories as production
from tests.production.shipping import support as parcels
from tests.quotes import factories as quotes
from tests.quotes.books import publish_book
from tests.sites import support as sites
from tests.sites.changes import support as changes
from tests.sites.domains import support as domains
from tests.subscriptions import support as subscriptions

# What changes when somebody only looks, or is refused: when they were last seen, and that they tried.
_UNIMPORTANT = {"login_sessions": {"last_seen_at"}}


@dataclass
class World:
    """Who there is, and the arguments of every address about alice's things."""

    app: Flask
    users: dict[str, User]
    values: dict[str, str]

    def browser(self, role: str, **signing_in: Any) -> FlaskClient:
        """A browser of somebody of the cast; "anonymous" has not signed in."""
        browser = self.app.test_client()
        if role != "anonymous":
            factories.sign_in(browser, self.users[role], **signing_in)
        return browser


def build(app: Flask, locale: str = "en") -> World:
    """Alice buys a package and begins to buy another; everything that follows from it happens."""
    users = {
        "alice": factories.make_user(email="alice@example.com", name="Alice Nowak", locale=locale),
        "mallory": factories.make_user(email="mallory@example.com", name="Mallory Stranger", locale=locale),
        "unverified": factories.make_user(email="new@example.com", name="Nina New", is_verified=False, locale=locale),
        "staff": factories.make_user(email="staff@example.com", name="Stefan Staff", role=Role.STAFF, locale=locale),
        "admin": factories.make_user(email="admin@example.com", name="Ada Admin", role=Role.ADMIN, locale=locale),
    }
    first = factories.make_package(slug="first", name="First package")
    second = factories.make_package(slug="second", name="Second package")
    world = World(app, users, {})
    buyer = {"email": "alice@example.com", "name": "Alice Nowak"}
    sandbox.pay(app, shop.order(world.browser("alice"), first, **buyer))
    refund_and_dispute(app, users["admin"])
    outbox.drain("mail")
    with sandbox.carried_in_process(app):
        outbox.drain("default")
    browser = world.browser("alice")
    open_page = shop.order(browser, second, **buyer)
    shop.add(browser, second)
    world.values = {
        **_values(app, users, open_page),
        **_merchant_values(world),
        **_production_values(world),
        **_quote_values(world),
        **_parcel_values(users["alice"]),
        **_site_values(),
        **_domain_values(users["alice"]),
        **_subscription_values(world),
        **_change_values(users["alice"]),
    }
    db.session.rollback()
    return world


def _quote_values(world: World) -> dict[str, str]:
    """Alice has a draft with a measured model, and a quote whose price staff have confirmed."""
    alice = world.users["alice"]
    draft = quotes.make_quote(alice, items=[{"name": "part.stl"}])
    model = quotes.draw(draft.items[0].model_file)
    priced = quotes.make_quote(alice, status=QuoteStatus.PENDING, note="Please print it upright.")
    over = quotes.make_quote(alice, status=QuoteStatus.CANCELLED)
    gone = quotes.make_model_file(alice, name="gone.stl")
    quotes.destroy(gone, alice)
    at_draft = (
        "detail",
        "price",
        "item",
        "change_item",
        "duplicate_item",
        "remove_item",
        "add",
        "note",
        "choose",
        "submit",
        "revision",
        "revise",
    )
    at_desk = ("quote", "quote_margin", "approve_quote", "override_quote", "reject_quote", "message_about_quote")
    at_model = ("model", "model_file", "model_mesh", "model_picture")
    return {
        **{f"quotes.{endpoint}.number": draft.number or "" for endpoint in at_draft},
        **{f"quotes.{endpoint}.number": priced.number or "" for endpoint in ("paper", "accept", "reject", "cancel")},
        **{f"quotes.{endpoint}.public_id": model.public_id for endpoint in (*at_model, "destroy", "submit_destroy")},
        **{f"admin.{endpoint}.public_id": model.public_id for endpoint in at_model},
        **{f"admin.{endpoint}.number": priced.number or "" for endpoint in at_desk},
        "quotes.receipt.public_id": gone.public_id,
        "quotes.requote.number": over.number or "",
        "item_id": str(draft.items[0].id),
    }


def _merchant_values(world: World) -> dict[str, str]:
    """Alice sells too: somebody has paid her, and mallory wants to sell as well."""
    shop = merchants.make_merchant(world.users["alice"], brand_color="#0f766e")
    with unit_of_work():
        hooks = "https://shop.invalid/webhooks"  # A name that never resolves: nothing leaves the tests.
        endpoints.set_url(shop, mode="test", url=hooks, by=world.users["alice"].email, at=clock.now())
    session = merchants.make_session(shop, customer_email="buyer@example.com")
    merchants.pay(world.app, world.app.test_client(), session.public_id)
    with unit_of_work():
        wish = request_merchant(
            world.users["mallory"], name="Mallory's", contact_email="m@example.com", website="", message="Everything",
            at=clock.now(),
        )  # fmt: skip
    purchase = access.purchase_of(session)
    assert purchase is not None
    own = ("pay.show", "pay.start", "pay.returned", "pay.cancelled", "purchases.show", "purchases.invoice_pdf",
           "merchant.session", "merchant.revoke_link", "merchant.invoice_pdf", "api.read_session")  # fmt: skip
    return {
        **{f"{endpoint}.public_id": session.public_id for endpoint in own},
        "pay.brand.public_id": shop.public_id,
        "purchases.open_link.token": access.token_of(purchase),
        "key_id": str(merchants.all_of(ApiKey)[0].id),
        "merchant_id": str(shop.id),
        "delivery_id": merchants.all_of(MerchantEvent)[0].public_id,
        "endpoint_id": str(merchants.all_of(WebhookEndpoint)[0].id),
        "request_id": str(wish.id),
    }


def _site_values() -> dict[str, str]:
    """A site in the shop window, deployed twice."""
    site = sites.make_live_site("la-plumbing-pros", title="LA Plumbing Pros")
    version = sites.make_version(site, sites.page("Closed on Sunday"), note="Sundays")
    deployment = sites.deploy(site, version)
    return {
        "sites.detail.slug": site.slug,
        "sites_api.read_site.slug": site.slug,
        "site_id": str(site.id),
        "version_number": str(version.number),
        "deployment_id": str(deployment.id),
    }


def _domain_values(alice: User) -> dict[str, str]:
    """Alice's own site has a domain that works, and another that nobody has proven yet."""
    live = domains.make_live_domain(domains.make_active_site("alices-garden", alice))
    asked = domains.make_active_site("alices-other-garden", alice)
    domains.see(domains.make_domain(asked, "shop.other-bakery.com"), domains.sighting(addresses=("192.0.2.1",)))
    at_asked = ("connect_domain", "look_at_domain", "remove_domain")
    return {
        **{f"sites.{endpoint}.slug": asked.slug for endpoint in at_asked},
        "sites.domain.slug": live.site.slug,
        "domain_id": str(live.id),
    }


def _subscription_values(world: World) -> dict[str, str]:
    """Alice has a site of her own, whose subscription runs."""
    site = sites.make_live_site("alices-bakery", title="Alice's bakery", owner=world.users["alice"])
    subscriptions.activate(world.app, world.users["alice"], site.slug)
    own = ("my_site", "pay_subscription", "cancel_subscription", "keep_subscription")
    return {
        **{f"sites.{name}.slug": site.slug for name in own},
        "sites.purchase.slug": "la-plumbing-pros",
        "sites.purchase_form.slug": "la-plumbing-pros",
        "subscription_id": str(subscriptions.the_subscription().id),
    }


def _change_values(alice: User) -> dict[str, str]:
    """A site of alice's, with a change whose draft waits for her."""
    site = changes.make_active_site(alice, slug="alices-second-bakery", title="Alice's bakery")
    change = changes.ready(site, alice, text="Open from 9, and cards.", picture=changes.picture())
    own = ("changes", "ask_for_change", "versions", "version", "restore_version")
    one = ("change", "accept_change", "ask_for_another_draft", "decline_change", "change_picture", "undo_change")
    return {
        **{f"sites.{name}.slug": site.slug for name in (*own, *one)},
        **{f"sites.{name}.number": str(change.number) for name in one},
        "sites.version.version_number": "1",
        "sites.restore_version.version_number": "1",
        "change_id": str(change.id),
    }


def _draft_of_prices(staff: User) -> str:
    """Prices are in force, and a member of staff has begun to change them."""
    publish_book()
    with unit_of_work():
        return str(prices.start_draft(by=staff.email, by_id=staff.id, at=clock.now()).id)


def _parcel_values(alice: User) -> dict[str, str]:
    """Alice's parts are packed, and their label is printed."""
    sales_order = parcels.make_sales_order(alice)
    shipment = parcels.by_hand(sales_order, is_shipped=False)
    name = f"labels/{shipment.public_id}.pdf"
    files.put(name, b"%PDF-1.4")
    with unit_of_work():
        db.session.get_one(Shipment, shipment.id).label_name = name
    number = sales_order.order.number
    own = ("manage", "renew", "revoke")
    desk = ("shipping", "enter_parcel_by_hand", "ask_for_rates")
    parcel = ("buy_label", "discard_parcel", "mark_as_shipped", "shipping_label", "return_label")
    return {
        "shipment_id": str(shipment.id),
        "tracking.show.token": links.token_of(sales_order) or "",
        **{f"tracking.{name}.number": number for name in own},
        **{f"admin.{name}.number": number for name in (*desk, *parcel)},
        **{f"admin.{name}.public_id": shipment.public_id for name in parcel},
    }


def _production_values(world: World) -> dict[str, str]:
    """Alice has a quote to order, and parts that are at their quality check, with a photo."""
    alice = world.users["alice"]
    quote = production.make_quote(alice)
    parts = production.make_sales_order(alice, app=world.app, paid=1, status=SalesOrderStatus.QUALITY_CHECK)
    photo = production.make_photo(parts)
    own = ("cancel", "photo", "progress", "reorder")
    rooms = ("sales_order", "move_sales_order", "stop_sales_order", "call_off_sales_order", "cancel_sales_order",
             "submit_cancel_sales_order", "add_photo", "show_photo", "remove_photo")  # fmt: skip
    return {
        "production.convert.number": str(quote.number),
        "production.submit_convert.number": str(quote.number),
        **{f"production.{name}.number": parts.order.number for name in own},
        "production.photo.public_id": photo.public_id,
        **{f"admin.{name}.number": parts.order.number for name in rooms},
        "admin.show_photo.public_id": photo.public_id,
        "admin.remove_photo.public_id": photo.public_id,
        "admin.move_sales_order.action": "resume",
        "admin.stop_sales_order.action": "hold",
    }


def refund_and_dispute(app: Flask, admin: User) -> None:
    """A part of the first purchase goes back, and its buyer's bank asks for the rest."""
    payment = db.session.scalars(select(Payment)).one()
    with unit_of_work():
        wish = Wish((payment.session_id,), key="w" * 20, amount=Money(1000, payment.currency))
        refunding.request_refund(wish, by=admin.email, at=clock.now())
    outbox.drain("webhooks")
    sandbox.settle(app)
    fact = NormalisedEvent(
        outcome=Outcome.DISPUTED,
        payment_reference=payment.provider_reference,
        business_key="sandbox:dp_1:disputed",
        amount_minor=1000,
        currency=payment.currency,
        detail="fraudulent",
        due_at=clock.now() + timedelta(days=7),
    )
    store_event("sandbox", ParsedWebhook("evt_dispute", "dispute", (fact,)), "{}", source="webhook", at=clock.now())
    db.session.rollback()
    db.session.expire_all()


def _values(app: Flask, users: dict[str, User], open_page: str) -> dict[str, str]:
    def newest(statement: Any) -> Any:
        return db.session.scalars(statement).first()

    order = newest(select(Order).order_by(Order.id))
    session = newest(select(PaymentSession).order_by(PaymentSession.id))
    letters = sorted(Path(app.config["MAILBOX_PATH"]).glob("*.eml"))
    return {
        "slug": "first",
        "number": order.number,
        # Paid orders have nothing left to pay or to cancel.
        "orders.pay.number": newest(select(Order).order_by(Order.id.desc())).number,
        "orders.cancelled.number": newest(select(Order).order_by(Order.id.desc())).number,
        "invoices.show.number": newest(select(Invoice)).number,
        "invoices.pdf.number": newest(select(Invoice)).number,
        "credit_notes.show.number": newest(select(CreditNote)).number,
        "credit_notes.pdf.number": newest(select(CreditNote)).number,
        "refund_id": str(newest(select(Refund.id))),
        "dispute_id": str(newest(select(Dispute.id))),
        "public_id": session.public_id,
        "reference": open_page.rpartition("/")[2],
        "web3.show.reference": _deposit(session),
        "provider_name": "sandbox",
        "line_id": str(newest(select(CartLine).order_by(CartLine.id.desc())).id),
        "session_id": str(newest(select(LoginSession).where(LoginSession.user_id == users["alice"].id)).id),
        "kind": "billing",
        "version_id": _draft_of_prices(users["staff"]),
        "package_id": str(newest(select(Package.id).order_by(Package.id))),
        "user_id": str(users["alice"].id),
        "message_id": str(newest(select(OutboxMessage.id))),
        "mail_id": str(newest(select(MailMessage.id))),
        "event_id": str(newest(select(ProviderEvent.id))),
        "subject_id": str(session.id),
        "invariant_name": "paid_without_invoice",
        "filename": "css/portal.css",
        "name": letters[0].stem,
        "page": "components",
        "status": "404",
        "dev_ui.panel.number": "90",
        "devtools.attachment.number": "0",
    }


def _deposit(session: PaymentSession) -> str:
    """The page of a payment on a chain, opened without asking the chain."""
    account, networks = read_xpub(XPUB), read_networks(json.dumps([{**CHAIN, "test": True}]), is_test=True)
    wanted = StartRequest(
        session_id=session.public_id,
        attempt=9,
        idempotency_key="world",
        amount=Money(100, "XTS"),
        description="A payment on a chain",
        success_url=session.success_url,
        cancel_url=session.cancel_url,
        customer_email=None,
        expires_at=clock.now() + timedelta(hours=1),
        metadata={},
        locale=None,
    )
    with unit_of_work():
        return deposits.open_deposit(wanted, account, [deposits.Offer(networks[0], 1)], at=clock.now()).reference


def everything() -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table: what must be the same after a request that was refused."""
    found = {}
    db.session.rollback()
    with db.engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            columns = [c for c in table.columns if c.name not in _UNIMPORTANT.get(table.name, set())]
            rows = connection.execute(table.select().with_only_columns(*columns)).all()
            found[table.name] = sorted(tuple(str(value) for value in row) for row in rows)
    return found

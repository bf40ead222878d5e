"""Selling a site: one buyer has it while they pay, and it is theirs once they have.

Two buyers who press the button at once meet at the site's row; the second is told before they pay anything. What a
buyer holds ends with their payment, so money that still counts always finds its site.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import joinedload

from portal.accounts.models import User
from portal.core import audit, clock, outbox
from portal.core.db import db, unit_of_work
from portal.core.money import tax_included
from portal.orders.models import LineKind, Order, OrderStatus, PaymentStatus
from portal.orders.services import placing
from portal.orders.services.cancelling import lock_with_payments
from portal.payments import queries as payments
from portal.payments.extension import current_registry
from portal.payments.providers.base import Provider
from portal.payments.services.checking import end_session
from portal.payments.services.starting import first_attempt
from portal.sites import purchases, storage
from portal.sites.errors import SiteBeingBought, SiteNotForSale, SiteNotFound
from portal.sites.models import RESERVED, Site, SitePurchase, SiteStatus
from portal.sites.services import ownership
from portal.sites.services.keeping import subject

# The first that is switched on is what a buyer is offered first.
PROVIDER_ORDER = ("recurrente", "stripe", "payu")


@dataclass(frozen=True, slots=True)
class Buyer:
    """Who is buying: as they named themselves, and their account if they are signed in."""

    email: str
    name: str
    locale: str
    user_id: int | None = None


def providers_for(currency: str) -> list[Provider]:
    """Where a site or its subscription can be paid for: providers that can be asked how a payment ended, for a buyer
    holds the site until that is known."""
    offered = [one for one in current_registry().for_checkout(currency) if one.capabilities.fetch]
    places = {name: place for place, name in enumerate(PROVIDER_ORDER)}
    return sorted(offered, key=lambda one: places.get(one.name, len(places)))


def buy_site(site: Site, buyer: Buyer, *, key: str, provider: str, at: datetime) -> placing.Placed:
    """Reserve a site for a buyer and order it, or return the order that the same key made before.

    Raises SiteNotFound when it is gone, SiteNotForSale, SiteBeingBought, UnknownProvider, or OrderNotPayable when the
    key's order is paid or over.
    """
    earlier = placing.find_by_key(_order_key(key))
    if earlier is not None:
        return placing.Placed(earlier, placing.session_to_pay(earlier, at=at))
    # From here on one buyer at a time.
    site = storage.lock_site(site.id)
    earlier = placing.find_by_key(_order_key(key))
    if earlier is not None:
        # A double click whose twin has just committed. The order is not locked here: settling takes it before the site.
        return placing.Placed(earlier, payments.sessions_of(placing.PURPOSE, earlier.id)[0])
    _check_for_sale(site)
    placing.check_provider(provider, site.currency)
    order = _order(site, buyer, key, at)
    lines = [_line(site)]
    placing.insert_order(order, lines, at)
    expires_at = at + RESERVED
    db.session.add(SitePurchase(site_id=site.id, order_id=order.id, reserved_at=at, expires_at=expires_at))
    db.session.flush()
    session = placing.open_session(order, [site.title], at)
    session.expires_at = expires_at
    outbox.publish("site.reservation_over", key=f"reservation:{order.id}", available_at=expires_at, order_id=order.id)
    audit.record("site.reserved", actor=buyer.email, subject=subject(site), after={"order": order.number})
    return placing.Placed(order, session, first_attempt(session, provider, at=at))


def _order_key(key: str) -> str:
    return f"site:{key}"[:64]


def _check_for_sale(site: Site) -> None:
    if site.is_deleted or site.current_version_id is None:
        raise SiteNotFound
    if site.status is not SiteStatus.PREVIEW:
        raise SiteNotForSale
    if purchases.find_standing(site.id) is not None:
        raise SiteBeingBought


def _order(site: Site, buyer: Buyer, key: str, at: datetime) -> Order:
    return Order(
        number=placing.new_number(at),
        idempotency_key=_order_key(key),
        user_id=buyer.user_id,
        email=buyer.email,
        name=buyer.name,
        billing={},
        locale=buyer.locale,
        currency=site.currency,
        total_minor=site.purchase_price_minor,
        tax_minor=tax_included(site.purchase_price_minor, site.tax_rate_basis_points),
        paid_minor=0,
        status=OrderStatus.OPEN,
        payment_status=PaymentStatus.PENDING,
        placed_at=at,
    )


def _line(site: Site) -> dict[str, Any]:
    return {
        "position": 1,
        "kind": LineKind.SITE,
        "package_id": None,
        "description": site.title,
        "unit_price_minor": site.purchase_price_minor,
        "quantity": 1,
        "tax_rate_basis_points": site.tax_rate_basis_points,
        "tax_minor": tax_included(site.purchase_price_minor, site.tax_rate_basis_points),
        "total_minor": site.purchase_price_minor,
    }


@outbox.handles("site.reservation_over")
def end_reservation(order_id: int) -> None:
    """The time to pay is over: no new try begins, the provider's page is closed, and what it answers decides."""
    at = clock.now()
    with unit_of_work():
        sessions, _order = lock_with_payments(order_id)
        for session in sessions:
            end_session(session, at=at)


def may_be_given(order: Order) -> bool:
    """Whether the site of a paid order is still there for its buyer."""
    purchase = purchases.find_of_order(order.id)
    if purchase is None or purchase.released_at is not None:
        return False
    site = storage.lock_site(purchase.site_id)
    return site.status is SiteStatus.PREVIEW and not site.is_deleted


def give(order: Order, user: User, *, by: str, at: datetime) -> None:
    """Make the buyer the owner of the site they paid for."""
    purchase = purchases.find_of_order(order.id)
    if purchase is None:
        raise LookupError(f"order {order.id} buys no site")
    ownership.hand_over(purchase.site, user, by=by, at=at)


def let_go(order: Order, *, at: datetime) -> None:
    """Let others buy the site: this purchase came to nothing. Doing it again changes nothing."""
    purchase = purchases.find_of_order(order.id)
    if purchase is None or purchase.released_at is not None:
        return
    purchase.released_at = at
    audit.record("site.reservation_released", actor="job:purchase", subject=f"sites:{purchase.site_id}")


def is_reserved(site: Site) -> bool:
    """Whether somebody is about to pay for a site that is for sale."""
    return site.status is SiteStatus.PREVIEW and purchases.find_standing(site.id) is not None


def site_of_order(order: Order) -> Site | None:
    """The site that an order buys or bought."""
    purchase = db.session.scalars(
        db.select(SitePurchase).where(SitePurchase.order_id == order.id).options(joinedload(SitePurchase.site))
    ).one_or_none()
    return purchase.site if purchase is not None else None

"""Tracking links: they open without a log-in, show nothing private, and die when the customer says so."""

import hmac

from portal.core import sealed
from portal.core.db import db
from portal.production.models import SalesOrder
from portal.production.shipping.errors import LinkNotFound
from portal.production.shipping.queries import find_by_key
from portal.production.shipping.services.loading import locked_order

_PURPOSE = "tracking-link"


def token_of(sales_order: SalesOrder) -> str | None:
    """The token of an order's link; None while the customer wants none."""
    if not sales_order.tracking_key:
        return None
    return sealed.sign(f"{sales_order.id}.{sales_order.tracking_key}", purpose=_PURPOSE)


def open_link(token: str) -> SalesOrder:
    """The order behind a link. Raises LinkNotFound for a wrong, foreign or revoked one."""
    value = sealed.read_signed(token, purpose=_PURPOSE)
    number, _dot, key = value.partition(".") if isinstance(value, str) else ("", "", "")
    if not number.isdigit() or not key:
        raise LinkNotFound
    sales_order = find_by_key(int(number))
    if sales_order is None or not hmac.compare_digest(sales_order.tracking_key.encode(), key.encode()):
        raise LinkNotFound
    return sales_order


def renew_link(sales_order: SalesOrder) -> None:
    """Make a new link; those given away before stop working."""
    locked_order(sales_order.id).tracking_key = sealed.new_token()
    db.session.flush()


def revoke_link(sales_order: SalesOrder) -> None:
    """Let no link work until there is a new one."""
    locked_order(sales_order.id).tracking_key = ""
    db.session.flush()

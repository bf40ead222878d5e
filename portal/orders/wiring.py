"""The place of carts, orders and enrolments in the application."""

from datetime import timedelta
from typing import Any

from flask import Flask
from werkzeug.local import LocalProxy

from portal import accounts, payments
from portal.catalogue.queries import register_ownership
from portal.core import periodic
from portal.orders import hooks, invariants, jobs, mails, queries, visitor  # noqa: F401  # these register themselves
from portal.orders.routes import cart, checkout, library, orders
from portal.orders.services import fulfilling, placing, returning
from portal.orders.tracking import masked_email


def init_app(app: Flask) -> None:
    """Attach pages, say what a payment for an order unlocks, and tell the catalogue who owns what."""
    for blueprint in (cart.bp, checkout.bp, orders.bp, library.library):
        app.register_blueprint(blueprint)
    app.context_processor(_cart_count)
    app.add_template_global(masked_email)
    app.add_template_global(hooks.due_minor)
    register_ownership(queries.owned_package_ids)
    payments.on_settled(placing.PURPOSE, fulfilling.settle_order)
    payments.on_failed(placing.PURPOSE, fulfilling.payment_over)
    payments.on_returned(placing.PURPOSE, returning.return_money)
    payments.describes(placing.PURPOSE, fulfilling.describe_order)
    payments.names_line(placing.PURPOSE, fulfilling.line_of_order)
    accounts.on_verified(fulfilling.claim_waiting_orders)
    accounts.on_signed_in(visitor.take_over_cart)
    periodic.every(timedelta(days=1), "portal.orders.jobs.forget_abandoned_carts")


def _cart_count() -> dict[str, Any]:
    # Read only when a template prints it: most fragments and all of the back office do not.
    return {"cart_count": LocalProxy(visitor.cart_count)}

"""The place of production in the application."""

from datetime import timedelta

from flask import Flask

from portal.core import periodic
from portal.orders import hooks
from portal.orders.models import LineKind
from portal.orders.routes.pages import shown_by
from portal.production import invariants, mails, queries  # noqa: F401  # these register themselves
from portal.production.routes import customer
from portal.production.services import amounts, lifecycle
from portal.production.wording import rush_words, ship_url
from portal.quotes.capacity import tells_booked_hours
from portal.quotes.holds import tells_who_needs_a_model


def init_app(app: Flask) -> None:
    """Attach pages, say what a payment for printed parts begins, and tell quotes how busy the machines are and
    which models are still needed."""
    app.register_blueprint(customer.bp)
    app.add_template_global(rush_words)
    app.add_template_global(ship_url)
    maker = hooks.Maker(counted=lifecycle.money_counted, asks=amounts.due_minor, stands=queries.standing_of)
    hooks.made_by(LineKind.PRINT, maker)
    shown_by(LineKind.PRINT, customer.order_page)
    tells_booked_hours(queries.booked_hours)
    tells_who_needs_a_model(queries.needs_model)
    periodic.every(timedelta(days=1), "portal.production.jobs.complete_delivered")

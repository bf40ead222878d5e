"""The place of merchants in the application."""

from datetime import timedelta

from flask import Flask

from portal import payments
from portal.core import periodic
from portal.extensions import csrf
from portal.merchants import mails  # noqa: F401  # the mails register themselves
from portal.merchants.api import (
    docs,
    refunds,  # noqa: F401  # routes of the same blueprint
)
from portal.merchants.api import routes as api
from portal.merchants.outbound import delivering, events  # noqa: F401  # the outbox's handlers register themselves
from portal.merchants.outbound import mails as webhook_mails  # noqa: F401  # the mail registers itself
from portal.merchants.outbound import routes as webhook_routes  # noqa: F401  # pages of the same blueprint
from portal.merchants.routes import keys, overview, pay, purchases, sessions  # noqa: F401  # pages of one blueprint
from portal.merchants.routes.blueprint import bp
from portal.merchants.services import settling
from portal.merchants.services.selling import PURPOSE


def init_app(app: Flask) -> None:
    """Attach the pages and the API, and say what a payment for a merchant brings about."""
    app.register_blueprint(bp)
    app.register_blueprint(pay.bp)
    app.register_blueprint(purchases.bp)
    app.register_blueprint(api.bp)
    app.register_blueprint(docs.bp)
    # No cookie is read there, and a key proves who asks.
    csrf.exempt(api.bp)
    payments.on_settled(PURPOSE, events.settle_session)
    payments.on_failed(PURPOSE, events.fail_session)
    payments.on_returned(PURPOSE, events.return_money)
    payments.describes(PURPOSE, settling.describe_session)
    periodic.every(timedelta(hours=1), "portal.merchants.jobs.tidy_up")
    periodic.every(timedelta(minutes=5), "portal.merchants.outbound.jobs.wake_forgotten")

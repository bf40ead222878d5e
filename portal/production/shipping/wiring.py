"""The place of parcels in the application."""

from datetime import timedelta

from flask import Flask

from portal.config import Settings
from portal.core import periodic
from portal.payments.extension import listen
from portal.production.shipping import extension, jobs, mails, routes  # noqa: F401  # jobs and mails register themselves
from portal.production.shipping.carriers.registry import build_carrier
from portal.production.shipping.services.following import ParcelNews


def init_app(app: Flask) -> None:
    """Attach the carrier of the settings, hear what it says, and show where parcels are."""
    settings: Settings = app.config["SETTINGS"]
    carrier = build_carrier(settings)
    extension.attach(app, carrier)
    if carrier is not None:
        listen(app, ParcelNews(carrier))
    app.register_blueprint(routes.bp)
    periodic.every(timedelta(minutes=1), "portal.production.shipping.jobs.ask_carriers")

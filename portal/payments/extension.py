"""The money core's place in the application: the registry of providers, built once from the settings."""

from typing import cast

from flask import Flask, current_app

from portal.config import Settings
from portal.payments.providers.registry import Registry


def init_app(app: Flask, settings: Settings) -> None:
    """Build the registry."""
    app.extensions["payment_registry"] = Registry(settings)


def current_registry() -> Registry:
    """The providers of the running application."""
    return cast("Registry", current_app.extensions["payment_registry"])

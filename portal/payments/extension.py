"""The money core's place in the application: the registry of providers, and who else posts webhooks here."""

from typing import cast

from flask import Flask, current_app

from portal.config import Settings
from portal.payments.listening import Listener
from portal.payments.providers.base import Provider
from portal.payments.providers.registry import Registry, UnknownProvider


def init_app(app: Flask, settings: Settings) -> None:
    """Build the registry."""
    app.extensions["payment_registry"] = Registry(settings)
    app.extensions["webhook_listeners"] = {}


def listen(app: Flask, listener: Listener) -> None:
    """Let another domain have the webhooks of a company that is no payment provider."""
    app.extensions["webhook_listeners"][listener.name] = listener


def current_registry() -> Registry:
    """The providers of the running application."""
    return cast("Registry", current_app.extensions["payment_registry"])


def current_listeners() -> tuple[Listener, ...]:
    """Whose webhooks are about other things than money."""
    return tuple(current_app.extensions["webhook_listeners"].values())


def find_listener(name: str) -> Listener | None:
    """The listener of that name, if it is switched on."""
    return cast("Listener | None", current_app.extensions["webhook_listeners"].get(name))


def sender_of(name: str) -> Provider | Listener:
    """Whoever posts to `/webhooks/<name>`. Raises UnknownProvider."""
    try:
        return current_registry().get(name)
    except UnknownProvider:
        listener = find_listener(name)
        if listener is None:
            raise
        return listener

"""Shipping's place in the application: the carrier that is configured, and where parcels are sent from."""

from typing import cast

from flask import Flask, current_app
from flask_babel import lazy_gettext as _l

from portal.core import settings
from portal.core.errors import NotFound
from portal.production.shipping.carriers.base import Address, Carrier

_EXTENSION = "carrier"


class NoCarrier(NotFound):
    """No carrier's API is configured, or another one than the one a parcel was bought from."""

    code = "no_carrier"
    default = _l("No carrier is configured. Enter the parcel by hand.")


def attach(app: Flask, carrier: Carrier | None) -> None:
    """Use this carrier in the application."""
    app.extensions[_EXTENSION] = carrier


def find_carrier() -> Carrier | None:
    """The configured carrier, or None."""
    return cast("Carrier | None", current_app.extensions[_EXTENSION])


def get_carrier(name: str | None = None) -> Carrier:
    """The configured carrier, which must have this name if one is given. Raises NoCarrier."""
    carrier = find_carrier()
    if carrier is None or (name is not None and carrier.name != name):
        raise NoCarrier
    return carrier


def ship_from() -> Address:
    """Where parcels are sent from."""
    configured = settings.current()
    values = {name: getattr(configured, f"ship_from_{name}") for name in Address.__dataclass_fields__}
    if not (values["name"] or values["company"]):
        values["company"] = configured.business_name
    return Address.of(values)

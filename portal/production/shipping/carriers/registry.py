"""The carrier of this installation, built from the settings; without one, parcels are entered by hand."""

from typing import TYPE_CHECKING

from portal.production.shipping.carriers.base import Carrier

if TYPE_CHECKING:
    from portal.config import Settings


def build_carrier(configured: "Settings") -> Carrier | None:
    """The carrier whose key is set; None when parcels are entered by hand."""
    if not configured.easypost_api_key:
        return None
    # Here, because the SDK takes a while to load.
    from portal.production.shipping.carriers.easypost import EasyPostCarrier

    return EasyPostCarrier(
        api_key=configured.easypost_api_key,
        webhook_secrets=tuple(filter(None, (part.strip() for part in configured.easypost_webhook_secret.split(",")))),
        api_base=configured.easypost_api_base or None,
    )

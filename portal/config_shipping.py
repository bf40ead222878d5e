"""Whether the settings of carriers and of the address that parcels are sent from fit together."""

import re
from typing import TYPE_CHECKING

from portal.config_checks import check_address, check_needed

if TYPE_CHECKING:
    from portal.config import Settings

# With a carrier: its webhook secret, and of an address what its API needs; the rest may be empty.
_NEEDED = (
    "easypost_webhook_secret", "ship_from_line1", "ship_from_city", "ship_from_zip", "ship_from_country",
    "ship_from_phone",
)  # fmt: skip


def check(settings: "Settings") -> list[str]:
    """What is wrong, with the setting's name before it. Without a carrier parcels are entered by hand."""
    problems = check_address(settings, "easypost_api_base", "https://api.easypost.com/v2")
    problems += [
        f"{name.upper()}: must be a country's two letters, such as PL"
        for name in ("ship_from_country", "customs_origin_country")
        if getattr(settings, name) and not re.fullmatch(r"[A-Z]{2}", getattr(settings, name))
    ]
    if not re.fullmatch(r"[0-9]{4}[.]?[0-9]{2}([.]?[0-9]{2,4})?", settings.customs_tariff_number):
        problems.append("CUSTOMS_TARIFF_NUMBER: must be 6 to 10 digits, such as 3926.90")
    if settings.easypost_api_key:
        problems += check_needed(settings, _NEEDED, "when EASYPOST_API_KEY is set")
    if settings.easypost_api_key.startswith("EZAK" if settings.payment_mode == "test" else "EZTK"):
        problems.append(f"EASYPOST_API_KEY: is not one for PAYMENT_MODE={settings.payment_mode}")
    return problems

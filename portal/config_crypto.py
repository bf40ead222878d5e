"""The settings of payments in crypto: BTCPay Server, and tokens on chains."""

import re
from typing import TYPE_CHECKING

from portal.config_checks import check_address, check_together

if TYPE_CHECKING:
    from portal.config import Settings

_BTCPAY = ("btcpay_url", "btcpay_api_key", "btcpay_store_id", "btcpay_webhook_secret")
_WEB3 = ("web3_networks", "web3_xpub", "web3_webhook_secret")


def check(settings: "Settings") -> list[str]:
    """What is wrong, with the setting's name before it; how networks are written is read when the provider is built."""
    return [
        *check_together(settings, _BTCPAY, "when another BTCPAY_ setting is set"),
        *check_address(settings, "btcpay_url", "https://btcpay.example.com"),
        *check_together(settings, _WEB3, "when another WEB3_ setting is set"),
        *_check_public(settings.web3_xpub),
    ]


def _check_public(key: str) -> list[str]:
    """Above all no private key."""
    if " " not in key.strip() and not re.match(r"[a-zA-Z]prv|(0x)?[0-9a-fA-F]{64}$", key):
        return []
    return ["WEB3_XPUB: is a PRIVATE key or a phrase, and whoever reads it can take the money; give the PUBLIC key"]

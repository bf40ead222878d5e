"""A BTCPay Server of our own, for tests and for `make run` without a node.

It speaks the Greenfield API of BTCPay Server 2.4 as far as the portal uses it, has a checkout page to click, signs its
webhooks and repeats them by BTCPay's rules.
"""

from tests.fakes.btcpay.delivery import Delivery, Webhooks, sign
from tests.fakes.btcpay.server import API_KEY, STORE_ID, WEBHOOK_SECRET, FakeBTCPay

__all__ = ["API_KEY", "STORE_ID", "WEBHOOK_SECRET", "Delivery", "FakeBTCPay", "Webhooks", "sign"]

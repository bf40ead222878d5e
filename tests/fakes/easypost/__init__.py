"""An EasyPost of our own: shipments, prices, labels as PDF, trackers, refunds, and signed webhooks that are repeated.

It speaks the wire format of docs.easypost.com as the official SDK's recordings show it. A shipment has one label at
most; buying it again is refused with SHIPMENT.POSTAGE.EXISTS.
"""

from tests.fakes.easypost.server import API_KEY, WEBHOOK_SECRET, FakeEasyPost

__all__ = ["API_KEY", "WEBHOOK_SECRET", "FakeEasyPost"]

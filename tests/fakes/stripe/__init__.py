"""A Stripe of our own, for tests and for `make run` without an account.

It speaks the real wire format of API version 2026-10-28.endive: form-encoded parameters with brackets, JSON objects
with all their fields, error bodies, idempotency keys, signed webhooks with retries. Unknown parameters are refused.
"""

from tests.fakes.stripe.delivery import Delivery, Switches, sign
from tests.fakes.stripe.faults import Fault
from tests.fakes.stripe.server import API_KEY, WEBHOOK_SECRET, FakeStripe

__all__ = ["API_KEY", "WEBHOOK_SECRET", "Delivery", "FakeStripe", "Fault", "Switches", "sign"]

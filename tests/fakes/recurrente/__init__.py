"""A Recurrente of our own: checkouts, a pay page, refunds, and webhooks delivered as Svix does.

It speaks the wire format of docs.recurrente.com and of the older collection of its API: keys in headers, JSON, lists
with their page in headers, and each payment announced under two names. Nothing is known to close a checkout, so
nothing here does; and in test mode no webhooks are sent, unless a test wants them.
"""

from tests.fakes.recurrente.server import PUBLIC_KEY, SECRET_KEY, WEBHOOK_SECRET, FakeRecurrente

__all__ = ["PUBLIC_KEY", "SECRET_KEY", "WEBHOOK_SECRET", "FakeRecurrente"]

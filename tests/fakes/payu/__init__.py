"""A PayU of our own, for tests and for `make run` without an account.

It speaks the wire format of REST API 2.1: OAuth tokens, orders answered by 302 with JSON, status codes in PayU's words,
names that may be used once, refunds that take their time, and notifications signed with a plain hash and sent again on
PayU's schedule.
"""

from tests.fakes.payu.delivery import RETRIES, Delivery, Switches, sign
from tests.fakes.payu.server import CLIENT_SECRET, POS_ID, SECOND_KEY, FakePayU

__all__ = ["CLIENT_SECRET", "POS_ID", "RETRIES", "SECOND_KEY", "Delivery", "FakePayU", "Switches", "sign"]

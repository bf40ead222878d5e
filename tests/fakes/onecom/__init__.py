"""A shop at One.com: its payment page, and the program that tells the portal, as `docs/providers/onecom.md` asks."""

from tests.fakes.onecom.shop import WEBHOOK_SECRET, OneComShop

__all__ = ["WEBHOOK_SECRET", "OneComShop"]

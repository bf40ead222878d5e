"""What the contract's tests need of a provider, beside the provider itself.

To hold another provider to the contract, write a class with these members, a fixture `<name>_harness` that yields it,
and add the name to `PROVIDERS`.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol

from portal.core import clock
from portal.core.money import Money
from portal.payments.providers.base import Provider, StartRequest

PROVIDERS = ("stripe", "payu", "recurrente", "onecom", "btcpay", "web3", "sandbox")
REFUNDING = ("stripe", "payu", "recurrente", "btcpay", "sandbox")  # Those of them whose capabilities say `refund`.
HINTING = ("payu", "btcpay", "web3")  # Those whose webhooks are hints: the facts come by asking.
UNTIMED = ("payu", "btcpay")  # Those whose signatures do not say when they were made.
# What some of them cannot do, each for a reason that is documented with it; their capabilities say so too.
WHOLE_REFUNDS_ONLY = ("recurrente",)
CANNOT_EXPIRE = ("recurrente", "onecom")
CANNOT_BE_ASKED = ("onecom",)
# Where starting opens nothing at the other end: there is no call that could fail, and nothing is kept under a key.
ONLY_A_LINK = ("onecom",)
# Whose messages do not say whether they are of test mode.
WITHOUT_A_MODE = ("onecom", "btcpay")
# What each is asked for in these tests, if not in zloty.
CURRENCIES = {"recurrente": "GTQ"}

# Those that charge again by themselves; their capabilities say so.
RECURRING = ("stripe", "recurrente", "sandbox")
# Whose charges of a subscription are known by events only, not by asking how it stands.
SILENT_ABOUT_CHARGES = ("recurrente",)

TELLING_REFUNDS = ("stripe", "sandbox")  # Those of them that tell of a refund by a webhook of its own.

SESSION_ID = "5f0c7f0e-8f0e-4a55-9a9c-0f6f2a3f1b11"


class Harness(Protocol):
    """A provider, together with the company at its other end."""

    provider: Provider

    def pay(self, reference: str) -> None:
        """The buyer pays the attempt."""

    def webhooks(self, reference: str) -> list[tuple[Mapping[str, str], bytes]]:
        """Every delivery about the attempt so far, signed now: headers and body."""

    def sign(self, body: bytes, *, age: timedelta = timedelta(0)) -> dict[str, str]:
        """The headers for any body, signed that long ago (where the signature says) with the right secret."""

    def foreign_body(self) -> bytes:
        """A well-formed event of a type nobody uses."""

    def down(self) -> AbstractContextManager[Any]:
        """Inside, the company does not answer."""


class RecurringHarness(Harness, Protocol):
    """A provider that charges again, together with the company at its other end."""

    def renew(self, subscription: str) -> None:
        """The next charge goes through."""

    def fail_renewal(self, subscription: str) -> None:
        """The bank refuses the next charge."""

    def all_webhooks(self) -> list[tuple[Mapping[str, str], bytes]]:
        """Every delivery so far, about whatever, signed now."""


def asked(harness: Harness, **changes: Any) -> StartRequest:
    """A request for 49.00 in a currency that the provider takes."""
    return request(**{"amount": Money(4900, currency_of(harness)), **changes})


def currency_of(harness: Harness) -> str:
    """The currency in which a provider is held to the contract."""
    return CURRENCIES.get(harness.provider.name, "PLN")


def request(**changes: Any) -> StartRequest:
    """A request for 49.00 PLN; `changes` replace single fields."""
    usual = StartRequest(
        session_id=SESSION_ID,
        attempt=1,
        idempotency_key=f"checkout:{SESSION_ID}:1",
        amount=Money(4900, "PLN"),
        description="Automation bundle",
        success_url="https://portal.example/orders/ORD-2026-001/return",
        cancel_url="https://portal.example/checkout",
        customer_email="alice@example.com",
        expires_at=clock.now() + timedelta(hours=2),
        metadata={"order": "ORD-2026-001"},
        locale="pl",
    )
    return replace(usual, **changes)

"""Opening something to be paid for a merchant, and sending the buyer to a provider that may take it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from portal.core.addresses import address_of
from portal.core.money import Money
from portal.merchants.errors import MerchantSuspended, NotForSale
from portal.merchants.models import Merchant
from portal.payments.extension import current_registry
from portal.payments.models import PaymentSession
from portal.payments.providers.base import Provider
from portal.payments.providers.registry import UnknownProvider
from portal.payments.services.sessions import create_session
from portal.payments.services.starting import start_attempt

PURPOSE = "merchant"


@dataclass(frozen=True, slots=True)
class SessionWish:
    """What a merchant wants to be paid, checked by whoever read it.

    `success_url` and `cancel_url` are the merchant's own pages; without one the buyer stays on the pay page.
    """

    amount: Money
    mode: str
    description: str = ""
    success_url: str = ""
    cancel_url: str = ""
    customer_email: str | None = None
    customer_name: str | None = None
    locale: str = "en"
    metadata: Mapping[str, Any] = field(default_factory=dict)


def open_session(merchant: Merchant, wish: SessionWish, *, by: str, at: datetime, public_id: str) -> PaymentSession:
    """Open a payment session of a merchant, in the caller's transaction. Raises MerchantSuspended or InvalidAmount.

    The provider sends the buyer back to us, and not to the merchant: our page knows what is true about the money.
    """
    if not merchant.is_active:
        raise MerchantSuspended
    return create_session(
        purpose=PURPOSE,
        subject_id=merchant.id,
        merchant_id=merchant.id,
        mode=wish.mode,
        amount=wish.amount,
        description=wish.description or merchant.shown_name,
        success_url=address_of("pay.returned", public_id=public_id),
        cancel_url=address_of("pay.cancelled", public_id=public_id),
        customer_email=wish.customer_email,
        customer_name=wish.customer_name,
        locale=wish.locale,
        details={
            "success_url": wish.success_url,
            "cancel_url": wish.cancel_url,
            "metadata": dict(wish.metadata),
            "made_by": by,
        },
        public_id=public_id,
        at=at,
    )


def pay_url(public_id: str) -> str:
    """The hosted pay page of a session, on the configured host."""
    return address_of("pay.show", public_id=public_id)


def providers_for(session: PaymentSession, merchant: Merchant) -> tuple[Provider, ...]:
    """Where this session can be paid: the merchant allows it, the currency is taken, and the money is of its mode."""
    offered = current_registry().for_checkout(session.currency, session.mode)
    allowed = merchant.allowed_providers
    return tuple(provider for provider in offered if not allowed or provider.name in allowed)


def start_payment(
    session: PaymentSession, merchant: Merchant, provider_name: str, *, at: datetime, client_address: str | None = None
) -> str:
    """Open the provider's page for a session and return its address. Call it outside any transaction.

    Raises NotForSale, UnknownProvider for one that is not offered, SessionClosed, or what the provider answers.
    """
    if not merchant.is_active:
        raise NotForSale
    if provider_name not in {provider.name for provider in providers_for(session, merchant)}:
        raise UnknownProvider
    return start_attempt(session.id, provider_name, at=at, client_address=client_address)

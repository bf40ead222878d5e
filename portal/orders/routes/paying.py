"""Sending a buyer to a payment provider: shared by checkout and by orders that are still to be paid."""

from typing import Any

from flask import Response, request

from portal.core import clock, htmx
from portal.core.errors import PortalError
from portal.orders.forms import PayForm
from portal.orders.services.placing import Placed
from portal.payments.errors import SessionClosed
from portal.payments.extension import current_registry
from portal.payments.leaving import may_lead_outside
from portal.payments.providers.base import ProviderRejected, ProviderUnavailable
from portal.payments.providers.registry import UnknownProvider
from portal.payments.services.starting import ask_provider, request_for, start_attempt

# What a provider may answer that another try, or another provider, can mend.
ProviderTrouble = (ProviderUnavailable, ProviderRejected, UnknownProvider)


class AlreadyDecided(Exception):  # a turn in the road, not an error
    """The payment is over: the page that tells the truth about the order is where the buyer belongs."""

    def __init__(self, number: str) -> None:
        super().__init__(number)
        self.number = number


def pay_form(currency: str) -> PayForm:
    """The form with the providers that take this currency, on the page that shows it."""
    form = PayForm()
    form.offer([(provider.name, str(provider.title)) for provider in current_registry().for_checkout(currency)])
    return form


def methods_of(currency: str) -> dict[str, tuple[str, ...]]:
    """How one can pay at each provider, for the cards of the choice."""
    registry = current_registry()
    return {provider.name: registry.methods(provider.name, currency) for provider in registry.for_checkout(currency)}


def send_to_provider(placed: Placed, provider: str) -> str:
    """The address of the provider's page. Raises AlreadyDecided, or what the provider answered."""
    session, attempt, at = placed.session, placed.attempt, clock.now()
    address = request.remote_addr
    if attempt is not None:
        wanted = request_for(session, attempt, client_address=address)
        return ask_provider(current_registry().get(provider), attempt.id, wanted, at=at)
    try:
        return start_attempt(session.id, provider, at=at, client_address=address)
    except SessionClosed:
        raise AlreadyDecided(placed.order.number) from None


def pay_page(
    page: str, fragment: str, form: PayForm, currency: str, *, error: PortalError | None = None, **context: Any
) -> Response:
    """A page with a choice of providers, and what went wrong with the last choice."""
    # A provider that is not there is a wrong choice in this form, not a page that is missing.
    status = 200 if error is None else 422 if isinstance(error, UnknownProvider) else error.status
    response = htmx.render(
        page,
        fragment=fragment,
        status=status,
        form=form,
        methods=methods_of(currency),
        error=str(error) if error else None,
        **context,
    )
    return may_lead_outside(response)

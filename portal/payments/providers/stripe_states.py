"""How things stand at Stripe, read from the answers to our own questions: the same facts as its webhooks tell."""

from dataclasses import replace
from datetime import datetime

from portal.payments.providers.base import FetchResult, NormalisedEvent, Outcome
from portal.payments.providers.payloads import Fields
from portal.payments.providers.stripe_events import (
    intent_fact,
    invoice_fact,
    renewal_failed,
    session_fact,
    subscription_ended,
)

# What of an invoice is not told unless it is asked for.
PAYMENTS = ("payments",)
ENDED = Outcome.SUBSCRIPTION_ENDED
_OVER = ("canceled", "incomplete_expired")
_LATE = ("past_due", "unpaid")


def session_state(session: Fields) -> FetchResult:
    """How a Checkout Session stands."""
    invoice = session.optional_fields("invoice") if session.optional_text("mode") == "subscription" else None
    if invoice is not None and session.optional_text("status") == "complete":
        found = invoice_state(invoice)
        if found.event is None or found.outcome is not Outcome.PAID:
            return FetchResult(Outcome.PENDING, None, found.raw_status)
        # The invoice names our session by the subscription's metadata, which is a copy of the session's.
        return replace(found, event=replace(found.event, attempt_reference=session.text("id")))
    status, payment_status = session.optional_text("status"), session.text("payment_status")
    intent = session.optional_fields("payment_intent")
    intent_status = intent.text("status") if intent else None
    raw_status = "/".join(filter(None, (status, payment_status, intent_status)))
    is_settled = status == "complete" and payment_status in ("paid", "no_payment_required")
    if is_settled or intent_status == "succeeded":
        # An open session may say `no_payment_required` as well, but money that is here counts whatever the page says.
        outcome = Outcome.PAID
    elif status == "expired":
        outcome = Outcome.FAILED
    elif status == "complete" and intent_status in ("requires_payment_method", "canceled"):
        outcome = Outcome.FAILED  # A slow payment method was refused after the page was closed.
    elif status == "complete":
        outcome = Outcome.PENDING
    else:
        return FetchResult(Outcome.PENDING, None, raw_status)
    fact = replace(
        session_fact(session, outcome, detail=raw_status),
        is_test=_is_test(session),
        occurred_at=_charged_at(intent) if outcome is Outcome.PAID else None,
    )
    return FetchResult(outcome, fact, raw_status)


def intent_state(intent: Fields) -> FetchResult:
    """How a PaymentIntent stands."""
    status = intent.text("status")
    outcome = {"succeeded": Outcome.PAID, "canceled": Outcome.FAILED}.get(status, Outcome.PENDING)
    if outcome is not Outcome.PAID:
        return FetchResult(outcome, None, status)
    fact = intent_fact(intent, Outcome.PAID, detail=status)
    if fact is not None:
        fact = replace(fact, is_test=_is_test(intent), occurred_at=_charged_at(intent))
    return FetchResult(outcome, fact, status)


def _is_test(thing: Fields) -> bool | None:
    livemode = thing.optional_flag("livemode")
    return None if livemode is None else not livemode


def _charged_at(intent: Fields | None) -> datetime | None:
    charge = intent.optional_fields("latest_charge") if intent else None
    return charge.optional_time("created") if charge else None


def invoice_state(invoice: Fields) -> FetchResult:
    """How a subscription's invoice stands, asked for with its payments: webhooks do not say which payment paid it."""
    status = invoice.text("status")
    if status != "paid":
        return FetchResult(Outcome.PENDING, None, status)
    fact = invoice_fact(invoice, Outcome.PAID, detail=status)
    if fact is None or not fact.amount_minor:
        return FetchResult(Outcome.PAID, None, status)
    times = invoice.optional_fields("status_transitions")
    fact = replace(
        fact,
        payment_reference=_payment_of(invoice),
        is_test=_is_test(invoice),
        occurred_at=times.optional_time("paid_at") if times else None,
    )
    return FetchResult(Outcome.PAID, fact, status)


def _payment_of(invoice: Fields) -> str | None:
    """The PaymentIntent that paid an invoice: what a refund refers to."""
    payments = invoice.optional_fields("payments")
    for one in payments.items("data") if payments else ():
        if one.optional_text("status") == "paid":
            return one.fields("payment").optional_reference("payment_intent")
    return None


def subscription_state(subscription: Fields) -> FetchResult:
    """How a subscription stands: its newest charge, and whether it goes on."""
    status, invoice = subscription.text("status"), subscription.optional_fields("latest_invoice")
    facts: list[NormalisedEvent] = []
    words = [status]
    if invoice is not None:
        words += [invoice.text("id"), invoice.text("status"), str(invoice.optional_whole("attempt_count") or 0)]
        charged = invoice_state(invoice).event
        missed = renewal_failed(invoice) if status in _LATE else None
        facts += [replace(one, is_test=_is_test(invoice)) for one in (charged, missed) if one is not None]
    if status in _OVER:
        facts.append(replace(subscription_ended(subscription), is_test=_is_test(subscription)))
    outcome = ENDED if status in _OVER else facts[0].outcome if facts else Outcome.PENDING
    return FetchResult(outcome, facts[0] if facts else None, "/".join(words), tuple(facts[1:]))

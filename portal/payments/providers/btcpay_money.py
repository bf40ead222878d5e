"""What a BTCPay invoice took, read from the server: exactly the price, too much, too little, or too late.

BTCPay counts in the coin that was paid; what that is worth in the invoice's currency follows from the rate that was
fixed with the invoice, rounded down to whole minor units.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_DOWN, Context, Decimal, InvalidOperation
from hashlib import sha256

from portal.core.money import Money, digits
from portal.payments.providers.base import FetchResult, InvalidPayload, NormalisedEvent, Outcome
from portal.payments.providers.btcpay_events import names_of
from portal.payments.providers.payloads import Fields

NEW, PROCESSING, EXPIRED, INVALID, SETTLED = "New", "Processing", "Expired", "Invalid", "Settled"
_PAID_OVER = "PaidOver"
_WITH_MONEY = frozenset({"PaidLate", "PaidPartial", _PAID_OVER})
_PAID_OUT = "Completed"
_LONGEST_COIN = 100
_REFUND = re.compile(r"Refund (\S{1,100}) [0-9a-f]{16}")
# More than any amount times any rate has.
_EXACT = Context(prec=80)


@dataclass(frozen=True, slots=True)
class CoinPayment:
    """One payment that BTCPay counts as final; `worth` is in major units of the invoice's currency."""

    id: str
    worth: Decimal
    received_at: datetime | None


@dataclass(frozen=True, slots=True)
class Received:
    """What came in for an invoice: the final payments, and the worth of what is too much."""

    payments: tuple[CoinPayment, ...] = ()
    excess: Decimal = Decimal(0)

    @property
    def last_at(self) -> datetime | None:
        """When the last of it was seen."""
        return max((one.received_at for one in self.payments if one.received_at), default=None)


def read_received(methods: Iterable[Fields]) -> Received:
    """Read an invoice's payment methods. Raises InvalidPayload."""
    payments: list[CoinPayment] = []
    excess = Decimal(0)
    for method in methods:
        rate = _decimal(method, "rate")
        # Written for each coin anew, the surplus is the same money each time.
        excess = max(excess, _EXACT.multiply(-_decimal(method, "due"), rate))
        for payment in method.items("payments"):
            if payment.text("status") == SETTLED:
                worth = _EXACT.multiply(_decimal(payment, "value"), rate)
                payments.append(
                    CoinPayment(payment.text("id", longest=255), worth, payment.optional_time("receivedDate"))
                )
    return Received(tuple(payments), excess)


def amount_of(thing: Fields) -> Money:
    """The amount of an invoice or a refund. Raises InvalidPayload when it is not exact in its currency."""
    try:
        return Money.parse(thing.text("amount"), thing.text("currency"))
    except ValueError as error:
        raise InvalidPayload(f"amount: {error}") from error


def has_money(invoice: Fields) -> bool:
    """Whether something may have come in for an invoice, so that its payments are worth asking for.

    An expired one says so itself; one that was marked invalid, as `expire` does, never mentions what comes afterwards.
    """
    is_moved = invoice.text("status") in (PROCESSING, SETTLED, INVALID)
    return is_moved or invoice.optional_text("additionalStatus") in _WITH_MONEY


def taken_minor(invoice: Fields, received: Received) -> int:
    """What can be given back, in minor units: the price once it is settled, and whatever came beside or beyond it."""
    price = amount_of(invoice)
    if invoice.text("status") == SETTLED:
        return price.amount_minor + _minor(received.excess, price.currency)
    return sum(_minor(one.worth, price.currency) for one in received.payments)


def state_of(invoice: Fields, received: Received) -> FetchResult:
    """What an invoice and its payments mean for us. Raises InvalidPayload."""
    status, extra = invoice.text("status"), invoice.optional_text("additionalStatus") or "None"
    raw_status = f"{status}/{extra}"
    if status == SETTLED:
        return _settled(invoice, received, raw_status)
    if status in (EXPIRED, INVALID):
        return _over(invoice, received, raw_status)
    if status == PROCESSING or (status == NEW and extra in _WITH_MONEY):
        return FetchResult(Outcome.PENDING, _fact(invoice, Outcome.PENDING, raw_status), raw_status)
    if status == NEW:
        return FetchResult(Outcome.PENDING, None, raw_status)
    raise InvalidPayload(f"an unknown status {status[:40]}")


def _settled(invoice: Fields, received: Received, raw_status: str) -> FetchResult:
    price, invoice_id = amount_of(invoice), invoice.text("id")
    paid = replace(
        _fact(invoice, Outcome.PAID, raw_status),
        business_key=f"btcpay:{invoice_id}:paid",
        amount_minor=price.amount_minor,
        currency=price.currency,
        occurred_at=received.last_at,
    )
    over = _minor(received.excess, price.currency)
    if over <= 0:
        return FetchResult(Outcome.PAID, paid, raw_status)
    beyond = replace(
        paid, business_key=f"btcpay:{invoice_id}:over", amount_minor=over, detail=f"{raw_status}: more than the price"
    )
    return FetchResult(Outcome.PAID, paid, f"{raw_status}/over {over}", (beyond,))


def _over(invoice: Fields, received: Received, raw_status: str) -> FetchResult:
    """An invoice that can no longer settle has failed; each payment it got all the same is told apart."""
    price, invoice_id = amount_of(invoice), invoice.text("id")
    failed = replace(_fact(invoice, Outcome.FAILED, raw_status), business_key=f"btcpay:{invoice_id}:failed")
    money = tuple(
        replace(
            _fact(invoice, Outcome.PAID, f"{raw_status}: money for an invoice that is over"),
            business_key=f"btcpay:{invoice_id}:{_short(one.id)}",
            amount_minor=_minor(one.worth, price.currency),
            currency=price.currency,
            occurred_at=one.received_at,
        )
        for one in received.payments
    )
    if not money:
        return FetchResult(Outcome.FAILED, failed, raw_status)
    return FetchResult(Outcome.FAILED, failed, f"{raw_status}/{len(money)} payments", money)


def refund_fact(refund: Fields, paid_out: int) -> NormalisedEvent | None:
    """What became of one of our refunds, given how much of it was paid out; None while it is open.

    Its name says which invoice it gives back. Raises InvalidPayload.
    """
    named = _REFUND.fullmatch(refund.text("name"))
    if named is None:
        return None
    amount = amount_of(refund)
    if paid_out >= amount.amount_minor:
        outcome, fact_name = Outcome.REFUNDED, "succeeded"
    elif refund.optional_flag("archived") and not paid_out:
        outcome, fact_name = Outcome.REFUND_FAILED, "failed"
    else:
        return None
    return NormalisedEvent(
        outcome=outcome,
        payment_reference=named[1],
        business_key=f"btcpay:{refund.text('id')}:{fact_name}",
        amount_minor=amount.amount_minor,
        currency=amount.currency,
        detail=f"refund {fact_name}",
    )


def refund_name(invoice_id: str, idempotency_key: str) -> str:
    """What the buyer reads on the refund's page, and how the same refund is found again; BTCPay allows 50 letters."""
    return f"Refund {invoice_id} {sha256(idempotency_key.encode()).hexdigest()[:16]}"


def paid_out_minor(payouts: Iterable[Fields], refund: Fields) -> int:
    """How much of a refund was paid out, in minor units of its currency. Raises InvalidPayload."""
    refund_id, currency = refund.text("id"), refund.text("currency")
    done = 0
    for payout in payouts:
        if payout.optional_text("pullPaymentId") == refund_id and payout.text("state") == _PAID_OUT:
            # The name of it changed in BTCPay 2.0.
            amount = payout.optional_text("originalAmount") or payout.text("amount")
            done += _minor(_read_decimal(amount, "amount"), currency)
    return done


def _fact(invoice: Fields, outcome: Outcome, detail: str) -> NormalisedEvent:
    session_id, attempt = names_of(invoice)
    reference = invoice.text("id")
    # Whether its coins are test coins, BTCPay does not say.
    return NormalisedEvent(
        outcome=outcome,
        session_id=session_id,
        attempt_reference=reference,
        payment_reference=reference,
        attempt=attempt,
        detail=detail,
    )


def _minor(worth: Decimal, currency: str) -> int:
    return int(worth.scaleb(digits(currency), _EXACT).to_integral_value(ROUND_DOWN, _EXACT))


def _short(payment_id: str) -> str:
    """A payment's id as part of a key, whose column is limited."""
    return payment_id if len(payment_id) <= _LONGEST_COIN else sha256(payment_id.encode()).hexdigest()


def _decimal(thing: Fields, key: str) -> Decimal:
    return _read_decimal(thing.text(key), key)


def _read_decimal(text: str, key: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise InvalidPayload(f"{key} is not a decimal number") from None
    if not value.is_finite():
        raise InvalidPayload(f"{key} is not a number")
    return value

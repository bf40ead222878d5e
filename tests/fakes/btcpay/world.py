"""What exists at the fake BTCPay Server: one store, its invoices, the coins that came, and its refunds."""

import secrets
import threading
import time
from collections.abc import Callable
from copy import deepcopy
from decimal import ROUND_UP, Decimal
from typing import Any

Object = dict[str, Any]
METHOD = "BTC-CHAIN"
# What a bitcoin is worth, in any currency.
RATE = Decimal(400_000)
_SATOSHI = Decimal("0.00000001")
_LETTERS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def new_id() -> str:
    """An id as BTCPay makes them."""
    return "".join(secrets.choice(_LETTERS) for _ in range(22))


class ApiError(Exception):
    """A refusal: a code and a message, or the fields that are wrong."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body


def refusal(code: str, message: str, status: int = 400) -> ApiError:
    """A refusal with a code."""
    return ApiError(status, {"code": code, "message": message})


class World:
    """The store. Every happening is one method; what happened is told through `announce`."""

    def __init__(self, announce: Callable[[Object], None], store_id: str) -> None:
        self.announce = announce
        self.store_id = store_id
        self.url = ""
        self.lock = threading.RLock()
        self.offset = 0.0
        self.invoices: dict[str, Object] = {}
        self.payments: dict[str, list[Object]] = {}
        self.refunds: dict[str, Object] = {}
        self.payouts: dict[str, list[Object]] = {}

    def now(self) -> int:
        """The server's clock."""
        return int(time.time() + self.offset)

    # -- the API ------------------------------------------------------------------------------------------------

    def create_invoice(self, body: Object) -> Object:
        """Make an invoice; without an amount it is a top-up, which any payment settles."""
        amount = body.get("amount")
        if amount is not None and Decimal(str(amount)) < 0:
            raise ApiError(422, [{"path": "amount", "message": "The amount should be 0 or more."}])
        currency = body.get("currency") or "USD"
        if len(currency) != 3:
            raise refusal("generic-error", f"Unsupported currency {currency}")
        minutes = (body.get("checkout") or {}).get("expirationMinutes") or 15
        identifier, now = new_id(), self.now()
        self.invoices[identifier] = {
            "id": identifier,
            "storeId": self.store_id,
            "amount": "0" if amount is None else str(amount),
            "currency": currency,
            "type": "TopUp" if amount is None else "Standard",
            "checkoutLink": f"{self.url}/i/{identifier}",
            "createdTime": now,
            "expirationTime": now + int(minutes * 60),
            "monitoringExpiration": now + int(minutes * 60) + 86_400,
            "status": "New",
            "additionalStatus": "None",
            "availableStatusesForManualMarking": ["Settled", "Invalid"],
            "archived": False,
            "metadata": body.get("metadata") or {},
            "checkout": {"speedPolicy": "MediumSpeed", "paymentMethods": [METHOD], **(body.get("checkout") or {})},
            "receipt": {"enabled": None, "showQR": None, "showPayments": None},
        }
        self.payments[identifier] = []
        self._tell("InvoiceCreated", identifier)
        return self.invoices[identifier]

    def invoice(self, identifier: str) -> Object:
        """One invoice as it stands now. Raises ApiError."""
        self.tick()
        if identifier not in self.invoices:
            raise refusal("invoice-not-found", "The invoice was not found", 404)
        return self.invoices[identifier]

    def list_invoices(self, query: dict[str, list[str]]) -> list[Object]:
        """Newest first, by order id and time."""
        self.tick()
        found = [
            one
            for one in reversed(self.invoices.values())
            if ("orderId" not in query or one["metadata"].get("orderId") in query["orderId"])
            and one["createdTime"] >= int(query.get("startDate", ["0"])[0])
            and (not one["archived"] or query.get("includeArchived") == ["true"])
        ]
        skip = int(query.get("skip", ["0"])[0])
        return found[skip : skip + int(query.get("take", ["50"])[0])]

    def payment_methods(self, identifier: str) -> list[Object]:
        """What is due and what came, in bitcoin."""
        due, paid = self._due(identifier), self._paid(identifier)
        return [
            {
                "activated": True,
                "paymentMethodId": METHOD,
                "currency": "BTC",
                "destination": f"bcrt1q{identifier.lower()}",
                "paymentLink": f"bitcoin:bcrt1q{identifier.lower()}?amount={due}",
                "rate": str(RATE),
                "paymentMethodPaid": str(paid),
                "totalPaid": str(paid),
                "due": str(due - paid),
                "amount": str(due),
                "paymentMethodFee": "0",
                "payments": deepcopy(self.payments[self.invoice(identifier)["id"]]),
                "additionalData": {},
            }
        ]

    def mark(self, identifier: str, status: str) -> Object:
        """Settled or invalid by hand. Raises ApiError."""
        invoice = self.invoice(identifier)
        is_marked = invoice["additionalStatus"] == "Marked"
        allowed = {
            "Settled": ("New", "Processing", "Expired", "Invalid"),
            "Invalid": ("New", "Processing", "Expired"),
        }.get(status, ())
        if invoice["status"] not in allowed and not (is_marked and invoice["status"] != status):
            message = "Status can only be marked to invalid or settled within certain conditions."
            raise ApiError(422, [{"path": "status", "message": message}])
        invoice.update(status=status, additionalStatus="Marked")
        self._tell(f"Invoice{status}", identifier, manuallyMarked=True)
        return invoice

    def refund(self, identifier: str, body: Object) -> Object:
        """Open a pull payment. Raises ApiError."""
        invoice = self.invoice(identifier)
        if invoice["status"] not in ("Settled", "Invalid") and invoice["additionalStatus"] == "None":
            raise refusal("non-refundable", "Cannot refund this invoice")
        amount = Decimal(str(body.get("customAmount") or 0))
        if body.get("refundVariant") != "Custom" or amount <= 0 or not body.get("customCurrency"):
            raise ApiError(422, [{"path": "refundVariant", "message": "This fake makes custom refunds only."}])
        refund_id = new_id()
        self.refunds[refund_id] = {
            "id": refund_id,
            "name": body.get("name") or f"Refund {identifier}",
            "description": body.get("description") or "",
            "currency": body["customCurrency"],
            "amount": str(amount),
            "BOLT11Expiration": 30,
            "autoApproveClaims": False,
            "archived": False,
            "viewLink": f"{self.url}/pull-payments/{refund_id}",
        }
        self.payouts[refund_id] = []
        self._tell("InvoiceRefund", identifier, pullPaymentId=refund_id)
        return self.refunds[refund_id]

    # -- what happens -------------------------------------------------------------------------------------------

    def pay(self, identifier: str, share: str = "1", confirm: bool = True) -> Object:
        """The buyer sends that share of the price; unless told otherwise the coins are confirmed at once."""
        invoice = self.invoice(identifier)
        value = (self._due(identifier) * Decimal(share)).quantize(_SATOSHI, ROUND_UP)
        payment = {
            "id": f"{secrets.token_hex(32)}-0",
            "receivedDate": self.now(),
            "value": str(value),
            "fee": "0",
            "status": "Processing",
            "destination": f"bcrt1q{identifier.lower()}",
        }
        is_late = invoice["status"] in ("Expired", "Invalid")
        self.payments[identifier].append(payment)
        is_enough = self._paid(identifier) >= self._due(identifier)
        is_over = self._paid(identifier) > self._due(identifier)
        if is_late:
            if invoice["status"] == "Expired":
                invoice["additionalStatus"] = "PaidLate" if is_enough else "PaidPartial"
        elif is_enough:
            invoice["additionalStatus"] = "PaidOver" if is_over else "None"
        else:
            invoice["additionalStatus"] = "PaidPartial"
        details = {"afterExpiration": is_late, "paymentMethodId": METHOD, "payment": deepcopy(payment)}
        self._tell("InvoiceReceivedPayment", identifier, **details)
        if is_late and is_enough and invoice["status"] == "Expired":
            self._tell("InvoicePaidAfterExpiration", identifier)
        if is_enough and invoice["status"] == "New":
            invoice["status"] = "Processing"
            self._tell("InvoiceProcessing", identifier, overPaid=is_over)
        return self.confirm(identifier) if confirm else invoice

    def confirm(self, identifier: str) -> Object:
        """The coins have enough confirmations."""
        invoice = self.invoice(identifier)
        for payment in self.payments[identifier]:
            if payment["status"] == "Processing":
                payment["status"] = "Settled"
                is_late = invoice["status"] in ("Expired", "Invalid")
                details = {"afterExpiration": is_late, "paymentMethodId": METHOD, "payment": deepcopy(payment)}
                self._tell("InvoicePaymentSettled", identifier, **details)
        if invoice["status"] == "Processing":
            invoice["status"] = "Settled"
            is_over = invoice["additionalStatus"] == "PaidOver"
            self._tell("InvoiceSettled", identifier, manuallyMarked=False, overPaid=is_over)
        return invoice

    def double_spend(self, identifier: str) -> Object:
        """The unconfirmed coins went somewhere else."""
        invoice = self.invoice(identifier)
        for payment in self.payments[identifier]:
            if payment["status"] == "Processing":
                payment["status"] = "Invalid"
        if invoice["status"] == "Processing":
            invoice.update(status="Invalid", additionalStatus="None")
            self._tell("InvoiceInvalid", identifier, manuallyMarked=False)
        return invoice

    def expire(self, identifier: str) -> Object:
        """The time to pay is over."""
        invoice = self.invoice(identifier)
        if invoice["status"] == "New":
            invoice["status"] = "Expired"
            is_partial = invoice["additionalStatus"] == "PaidPartial"
            self._tell("InvoiceExpired", identifier, partiallyPaid=is_partial)
            if is_partial:
                self._tell("InvoiceExpiredPaidPartial", identifier)
        return invoice

    def pay_out(self, refund_id: str, share: str = "1") -> Object:
        """The buyer claims a refund, or a part of it, and the store pays it."""
        refund = self.refunds[refund_id]
        amount = Decimal(refund["amount"]) * Decimal(share)
        payout = {
            "id": new_id(),
            "pullPaymentId": refund_id,
            "date": self.now(),
            "destination": "bcrt1qbuyer",
            "originalCurrency": refund["currency"],
            "originalAmount": str(amount),
            "payoutCurrency": "BTC",
            "payoutAmount": str((amount / RATE).quantize(_SATOSHI)),
            "payoutMethodId": METHOD,
            "state": "Completed",
            "revision": 0,
        }
        self.payouts[refund_id].append(payout)
        base = self._event("PayoutUpdated")
        self.announce({**base, "payoutId": payout["id"], "pullPaymentId": refund_id, "payoutState": "Completed"})
        return payout

    def tick(self) -> None:
        """Let invoices expire whose time is up."""
        for identifier, invoice in list(self.invoices.items()):
            if invoice["status"] == "New" and invoice["expirationTime"] <= self.now():
                invoice["expirationTime"] = self.now() - 1
                is_partial = invoice["additionalStatus"] == "PaidPartial"
                invoice["status"] = "Expired"
                self._tell("InvoiceExpired", identifier, partiallyPaid=is_partial)

    # -- inside -------------------------------------------------------------------------------------------------

    def _due(self, identifier: str) -> Decimal:
        return (Decimal(self.invoices[identifier]["amount"]) / RATE).quantize(_SATOSHI, ROUND_UP)

    def _paid(self, identifier: str) -> Decimal:
        counted = [one for one in self.payments[identifier] if one["status"] != "Invalid"]
        return sum((Decimal(one["value"]) for one in counted), Decimal(0))

    def _event(self, event_type: str) -> Object:
        delivery = new_id()
        return {
            "deliveryId": delivery,
            "webhookId": "9ZCwf9BzRzuQntm4LGp6QY",
            "originalDeliveryId": delivery,
            "isRedelivery": False,
            "type": event_type,
            "timestamp": self.now(),
            "storeId": self.store_id,
        }

    def _tell(self, event_type: str, identifier: str, **details: Any) -> None:
        metadata = deepcopy(self.invoices[identifier]["metadata"])
        self.announce({**details, **self._event(event_type), "invoiceId": identifier, "metadata": metadata})

"""What happens inside the fake Recurrente: checkouts are made, paid and given back, and events come of it."""

import json
import secrets
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]
Announce = Callable[[list[Object], bool], None]
_MOST_METADATA, _LONGEST_KEY, _LONGEST_VALUE = 50, 40, 500
_MOST_OF_ONE = 9
API_VERSION = "2024-04-24"


class ApiError(Exception):
    """A refusal: a status, and a body with `message` and `errors`."""

    def __init__(self, status: int, message: str, **errors: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"message": message, "errors": {name: [text] for name, text in errors.items()}}


def new_id(kind: str) -> str:
    """An id as Recurrente writes them."""
    return f"{kind}_{secrets.token_hex(8)}"


class World:
    """One account. Every public method is one thing that happens there."""

    def __init__(self, announce: Announce, *, live_mode: bool = False) -> None:
        self.lock = threading.RLock()
        self.checkouts: dict[str, Object] = {}
        self.payments: dict[str, Object] = {}
        self.refunds: dict[str, Object] = {}
        self.subscriptions: dict[str, Object] = {}
        self.live_mode = live_mode
        self.sends_in_test_mode = False  # Really it does not.
        self.names = "both"  # "both", "unified" or "old": under which names a payment is announced.
        self.shape = "flat"  # or "nested": everything under `data`.
        self.url = ""
        self.offset = 0.0  # Seconds by which this world's clock is ahead.
        self._announce = announce

    def now(self) -> datetime:
        """This world's clock."""
        return datetime.fromtimestamp(time.time() + self.offset, UTC)

    # -- the API ------------------------------------------------------------------------------------------------

    def create_checkout(self, values: Object) -> Object:
        """POST /checkouts. Raises ApiError."""
        items = values.get("items")
        if not isinstance(items, list) or not items:
            raise ApiError(422, "Items can't be blank", items="can't be blank")
        for item in items:
            self._check_item(item)
        metadata = values.get("metadata") or {}
        if len(metadata) > _MOST_METADATA or any(
            len(key) > _LONGEST_KEY or not isinstance(text, str) or len(text) > _LONGEST_VALUE
            for key, text in metadata.items()
        ):
            raise ApiError(422, "Metadata is too large", metadata="is too large")
        closes = values.get("expires_at")
        if closes is not None and datetime.fromisoformat(closes) <= self.now():
            raise ApiError(422, "Expires at must be in the future", expires_at="must be in the future")
        with self.lock:
            reference = new_id("ch")
            checkout = {
                "id": reference,
                "checkout_url": f"{self.url}/checkout-session/{reference}",
                "status": "unpaid",
                "live_mode": self.live_mode,
                "created_at": self.now().isoformat(timespec="microseconds").replace("+00:00", "Z"),
                "expires_at": closes,
                "success_url": values.get("success_url"),
                "cancel_url": values.get("cancel_url"),
                "items": items,
                "metadata": metadata,
                "payment": None,
                "latest_intent": None,
            }
            self.checkouts[reference] = checkout
            return checkout

    def _check_item(self, item: Object) -> None:
        if item.get("currency") not in ("GTQ", "USD"):
            raise ApiError(422, "Currency is not included in the list", currency="is not included in the list")
        amount, count = item.get("amount_in_cents"), item.get("quantity", 1)
        if not isinstance(amount, int) or amount < 1:
            raise ApiError(422, "Amount must be greater than 0", amount_in_cents="must be greater than 0")
        if not isinstance(count, int) or not 1 <= count <= _MOST_OF_ONE:
            raise ApiError(422, "Quantity is invalid", quantity="must be from 1 to 9")
        if not item.get("name"):
            raise ApiError(422, "Name can't be blank", name="can't be blank")

    def get_checkout(self, reference: str) -> Object:
        """GET /checkouts/{id}. Raises ApiError."""
        if reference not in self.checkouts:
            raise ApiError(404, "Not found")
        return self.checkouts[reference]

    def list_checkouts(self, since: str | None, until: str | None) -> list[Object]:
        """GET /checkouts, newest first."""
        found = sorted(self.checkouts.values(), key=lambda one: one["created_at"], reverse=True)
        first = datetime.fromisoformat(since) if since else None
        last = datetime.fromisoformat(until) if until else None
        return [
            one
            for one in found
            if (first is None or datetime.fromisoformat(one["created_at"]) >= first)
            and (last is None or datetime.fromisoformat(one["created_at"]) <= last)
        ]

    def refund(self, values: Object, *, is_lost: bool = False) -> Object:
        """POST /refunds: a whole payment, once. Raises ApiError."""
        with self.lock:
            payment = self.payments.get(str(values.get("payment_intent_id")))
            if payment is None:
                raise ApiError(404, "Payment intent not found")
            if any(one["payment_intent_id"] == payment["id"] for one in self.refunds.values()):
                raise ApiError(422, "Payment has already been refunded", payment_intent_id="has already been refunded")
            refund = {
                "id": new_id("re"),
                "status": "succeeded",
                "payment_intent_id": payment["id"],
                "customer_refunded_amount_in_cents": payment["amount_in_cents"],
                "account_refunded_amount_in_cents": payment["amount_in_cents"],
                "currency": payment["currency"],
                "created_at": self.now().isoformat(),
            }
            self.refunds[refund["id"]] = refund
            self._tell([("refund.create", refund)], is_lost=is_lost)
            return refund

    def get_subscription(self, reference: str) -> Object:
        """GET /subscriptions/{id}. Raises ApiError."""
        if reference not in self.subscriptions:
            raise ApiError(404, "Subscription not found")
        return self.subscriptions[reference]

    def cancel(self, reference: str) -> Object:
        """DELETE /subscriptions/{id}, or the buyer's own wish. Raises ApiError for one that was cancelled before."""
        with self.lock:
            found = self.get_subscription(reference)
            if found["status"] == "cancelled":
                raise ApiError(422, "Subscription is already cancelled")
            self._became(found, "cancelled", "subscription.cancel")
            return found

    def pause(self, reference: str) -> Object:
        """The shop's owner pauses it at Recurrente."""
        return self._became(self.get_subscription(reference), "paused", "subscription.pause")

    def unpause(self, reference: str) -> Object:
        """And has it go on."""
        return self._became(self.get_subscription(reference), "active", "subscription.unpause")

    def renew(self, reference: str, *, lose_webhook: bool = False) -> Object:
        """The next month is charged."""
        with self.lock:
            found = self.get_subscription(reference)
            checkout = self.checkouts[found["checkout"]["id"]]
            payment = self._begin(checkout, "card")
            found["status"] = "active"
            self._tell(self._named(payment, "succeeded", checkout), is_lost=lose_webhook)
            return payment

    def fail_renewal(self, reference: str) -> Object:
        """The bank refuses the charge: told as a payment that failed and as a subscription that is late."""
        with self.lock:
            found = self.get_subscription(reference)
            payment = self._begin(self.checkouts[found["checkout"]["id"]], "card")
            payment["failure_reason"] = "card_declined"
            self._tell(self._named(payment, "failed", {"id": found["checkout"]["id"]}))
            return self._became(found, "past_due", "subscription.past_due")

    def _became(self, found: Object, status: str, event_type: str) -> Object:
        found["status"] = status
        # These carry no metadata of the checkout.
        told = {key: value for key, value in found.items() if key not in ("checkout", "status", "current_period_end")}
        self._tell([(event_type, told)])
        return found

    # -- what buyers do -----------------------------------------------------------------------------------------

    def is_closed(self, checkout: Object) -> bool:
        """Whether its time is up."""
        closes = checkout["expires_at"]
        return closes is not None and datetime.fromisoformat(closes) <= self.now()

    def pay(self, reference: str, method: str = "card", *, lose_webhook: bool = False, is_late: bool = False) -> Object:
        """The buyer pays and the money is there at once. `is_late`: although the page has closed."""
        with self.lock:
            checkout = self._payable(reference, is_late=is_late)
            payment = self._begin(checkout, method)
            return self._finish(checkout, payment, lose_webhook=lose_webhook)

    def pay_again(self, reference: str) -> Object:
        """The money is taken a second time for the same checkout."""
        with self.lock:
            checkout = self.get_checkout(reference)
            return self._finish(checkout, self._begin(checkout, "card"))

    def begin_transfer(self, reference: str) -> Object:
        """The buyer orders a bank transfer: under way until `arrive` or `fail_transfer`."""
        with self.lock:
            checkout = self._payable(reference)
            payment = self._begin(checkout, "bank_transfer")
            checkout["status"] = "payment_in_progress"
            self._tell(self._named(payment, "pending", checkout))
            return checkout

    def arrive(self, reference: str, *, lose_webhook: bool = False) -> Object:
        """The transfer arrives."""
        with self.lock:
            checkout = self.get_checkout(reference)
            return self._finish(checkout, self.payments[checkout["latest_intent"]["id"]], lose_webhook=lose_webhook)

    def decline(self, reference: str, method: str = "card") -> Object:
        """The bank says no; the buyer may try again on the page. The event holds nothing of the checkout but its id."""
        with self.lock:
            checkout = self._payable(reference)
            payment = self._begin(checkout, method)
            checkout["status"] = "unpaid"
            payment["failure_reason"] = "card_declined"
            self._tell(self._named(payment, "failed", {"id": checkout["id"]}))
            return checkout

    def dispute(self, payment_id: str, status: str | None = None, dispute_id: str | None = None) -> Object:
        """The buyer's bank takes the money back, or (with a status) has decided."""
        payment = self.payments[payment_id]
        dispute = {
            "id": dispute_id or new_id("dp"), "payment_intent_id": payment_id, "status": status or "needs_response",
            "amount_in_cents": payment["amount_in_cents"], "currency": payment["currency"], "reason": "fraudulent",
        }  # fmt: skip
        self._tell([("dispute.update" if status else "dispute.create", dispute)])
        return dispute

    def _payable(self, reference: str, *, is_late: bool = False) -> Object:
        checkout = self.get_checkout(reference)
        if checkout["status"] == "paid" or (self.is_closed(checkout) and not is_late):
            raise ApiError(422, "This checkout cannot be paid")
        return checkout

    def _begin(self, checkout: Object, method: str) -> Object:
        kind = "ba" if method == "bank_transfer" else "pa"
        payment = {
            "id": new_id(kind),
            "method": method,
            "amount_in_cents": sum(item["amount_in_cents"] * item.get("quantity", 1) for item in checkout["items"]),
            "currency": checkout["items"][0]["currency"],
            "failure_reason": None,
            "created_at": self.now().isoformat(),
        }
        self.payments[payment["id"]] = payment
        checkout["latest_intent"] = {key: value for key, value in payment.items() if key != "method"}
        return payment

    def _finish(self, checkout: Object, payment: Object, *, lose_webhook: bool = False) -> Object:
        checkout["status"] = "paid"
        begun = self._begin_subscription(checkout, payment)
        checkout["payment"] = {"id": payment["id"], "paymentable": self._paid_for(checkout)}
        self._tell([*begun, *self._named(payment, "succeeded", checkout)], is_lost=lose_webhook)
        return checkout

    def _begin_subscription(self, checkout: Object, payment: Object) -> list[tuple[str, Object]]:
        if checkout["items"][0].get("charge_type") != "recurring":
            return []
        found = {
            "id": new_id("su"), "status": "active", "customer_id": "us_1", "customer_email": "alice@example.com",
            "product": {"id": new_id("prod"), "prices": [{"id": new_id("price")}]}, "checkout": {"id": checkout["id"]},
            "current_period_end": self.now().isoformat(),
        }  # fmt: skip
        self.subscriptions[found["id"]] = found
        checkout["subscription_id"] = found["id"]
        paid = {"id": payment["id"], "paymentable": self._paid_for(checkout)}
        return [("subscription.create", {**found, "payment": paid})]

    def _paid_for(self, checkout: Object) -> Object:
        known = self.checkouts[checkout["id"]]
        if "subscription_id" in known:
            return {"type": "Subscription", "id": known["subscription_id"]}
        return {"type": "OneTimePayment", "id": new_id("on")}

    # -- events -------------------------------------------------------------------------------------------------

    def _named(self, payment: Object, suffix: str, checkout: Object) -> list[tuple[str, Object]]:
        """One happening under the older name, then under the unified one."""
        family = "bank_transfer_intent" if payment["method"] == "bank_transfer" else "payment_intent"
        told = {key: checkout[key] for key in ("id", "status", "metadata") if key in checkout}
        is_card = payment["method"] == "card"
        if is_card and len(told) > 1:
            card = {"last4": "4242", "network": "visa"}
            told["payment_method"] = {"id": new_id("pay_m"), "type": "card", "card": card}
        thing = {
            "id": payment["id"], "amount_in_cents": payment["amount_in_cents"], "currency": payment["currency"],
            "failure_reason": payment["failure_reason"], "checkout": told,
            "payment": {"id": payment["id"], "paymentable": self._paid_for(checkout)},
            "customer": {"id": "us_1", "email": "alice@example.com"}, "invoice": {"id": new_id("inv")},
        }  # fmt: skip
        names = {"old": (family,), "unified": ("intent",)}.get(self.names, (family, "intent"))
        return [(f"{name}.{suffix}", thing) for name in names if not (name == "payment_intent" and suffix == "pending")]

    def _tell(self, facts: list[tuple[str, Object]], *, is_lost: bool = False) -> None:
        events = [self.event(kind, thing) for kind, thing in facts]
        self._announce(events, is_lost or not (self.live_mode or self.sends_in_test_mode))

    def event(self, event_type: str, thing: Object) -> Object:
        """An event as it is delivered, in one of the two documented shapes."""
        told = {"event_type": event_type, "created_at": self.now().isoformat().replace("+00:00", "Z")}
        marked = {**thing, "live_mode": self.live_mode}
        body = {**told, "data": marked} if self.shape == "nested" else {**marked, **told, "api_version": API_VERSION}
        return {"id": new_id("msg"), "type": event_type, "body": json.dumps(body).encode(), "pending_webhooks": 1}

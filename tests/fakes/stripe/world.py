"""What happens inside the fake Stripe: sessions are made, paid, refunded and disputed, and events come of it."""

import threading
import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from tests.fakes.stripe import shapes
from tests.fakes.stripe.shapes import Object
from tests.fakes.stripe.subscriptions import Subscriptions
from tests.fakes.stripe.wire import ApiError, missing

# What Stripe takes at least, in its minor units (https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts).
_LEAST = {"usd": 50, "eur": 50, "gbp": 30, "pln": 200, "jpy": 50, "mxn": 1000}
_MOST = 99_999_999
_HALF_AN_HOUR, _DAY = 30 * 60, 24 * 3600
Announce = Callable[[list[Object], bool], None]


class World:
    """All objects of one account. Every public method is one thing that happens there."""

    def __init__(self, announce: Announce, *, livemode: bool = False) -> None:
        self.lock = threading.RLock()
        self.objects: dict[str, Object] = {}
        self.livemode = livemode
        self.url = ""  # Where the pay pages are; known once the server listens.
        self.offset = 0.0  # Seconds by which this world's clock is ahead.
        # "succeeded", "pending", "failed", or "fails_later": how the next refunds go.
        self.refund_outcome = "succeeded"
        self.late_seconds = 5.0  # After which "pay late" on the page pays.
        self.names: dict[str, str] = {}  # What each session is for, as the pay page shows it.
        self._announce = announce
        self._intent_data: dict[str, dict[str, Any]] = {}
        self._timers: list[threading.Timer] = []
        self.subscriptions = Subscriptions(self)

    # -- reading ------------------------------------------------------------------------------------------------

    def now(self) -> int:
        """This world's clock."""
        return int(time.time() + self.offset)

    def get(self, kind: str, identifier: str, param: str = "id") -> Object:
        """One object. Raises ApiError as Stripe does."""
        found = self.objects.get(identifier)
        if found is None or found["object"] != kind:
            raise missing(kind, identifier, param)
        return found

    def all(self, kind: str) -> list[Object]:
        """All objects of a kind, newest first."""
        return [thing for thing in reversed(list(self.objects.values())) if thing["object"] == kind]

    def session(self, identifier: str) -> Object:
        """A Checkout Session, expired if its time has come."""
        self.tick()
        return self.get("checkout.session", identifier, "session")

    # -- checkout -----------------------------------------------------------------------------------------------

    def create_session(self, params: dict[str, Any]) -> Object:
        """POST /v1/checkout/sessions, with Stripe's refusals."""
        self._check_session(params)
        with self.lock:
            made = shapes.session(params, at=self.now(), livemode=self.livemode, url=self.url)
            self.objects[made["id"]] = made
            self._intent_data[made["id"]] = params.get("payment_intent_data", {})
            self.subscriptions.asked[made["id"]] = params
            products = [item["price_data"]["product_data"]["name"] for item in params["line_items"]]
            self.names[made["id"]] = ", ".join(products)
            return made

    def _check_session(self, params: dict[str, Any]) -> None:
        if params["mode"] == "setup":
            raise ApiError(400, "This fake does not know mode=setup yet", param="mode")
        self._check_mode(params)
        if not params["line_items"]:
            raise ApiError(400, "Missing required param: line_items.", code="parameter_missing", param="line_items")
        prices = [item["price_data"] for item in params["line_items"]]
        if len({price["currency"] for price in prices}) > 1:
            raise ApiError(400, "All line items must have the same currency.", param="line_items")
        currency = prices[0]["currency"]
        if not currency.islower() or not currency.isalpha():
            raise ApiError(400, f"Invalid currency: {currency}", param="line_items[0][price_data][currency]")
        total = sum(item["price_data"]["unit_amount"] * item["quantity"] for item in params["line_items"])
        if 0 < total < _LEAST.get(currency, 50):
            raise ApiError(
                400,
                "The Checkout Session's total amount due must add up to at least the minimum charge amount.",
                code="amount_too_small",
            )
        if total > _MOST:
            raise ApiError(400, "The Checkout Session's total is too large.", code="amount_too_large")
        if "expires_at" in params:
            ahead = params["expires_at"] - self.now()
            if ahead < _HALF_AN_HOUR:
                message = "The `expires_at` timestamp must be at least 30 minutes from Checkout Session creation."
                raise ApiError(400, message, param="expires_at")
            if ahead > _DAY:
                message = "The `expires_at` timestamp must be less than 24 hours from Checkout Session creation."
                raise ApiError(400, message, param="expires_at")

    def _check_mode(self, params: dict[str, Any]) -> None:
        """What belongs to one mode is refused in the other."""
        is_subscription = params["mode"] == "subscription"
        other = "payment_intent_data" if is_subscription else "subscription_data"
        if other in params:
            raise ApiError(400, f"You can not pass `{other}` in `{params['mode']}` mode.", param=other)
        if any(("recurring" in item["price_data"]) != is_subscription for item in params["line_items"]):
            message = (
                "You must provide at least one recurring price in `subscription` mode when using prices."
                if is_subscription
                else "You specified `payment` mode but passed a recurring price. Either switch to `subscription` mode "
                "or use only one-time prices."
            )
            raise ApiError(400, message, param="line_items")

    def expire_session(self, identifier: str) -> Object:
        """Close an open session, by API or because its time has come."""
        with self.lock:
            session = self.get("checkout.session", identifier, "session")
            if session["status"] != "open":
                message = (
                    'Only Checkout Sessions with a status in ["open"] can be expired. '
                    f"This Checkout Session has a status of `{session['status']}`."
                )
                raise ApiError(400, message)
            self._close(session)
            return session

    def tick(self) -> None:
        """Expire the sessions whose time has come."""
        with self.lock:
            for session in self.all("checkout.session"):
                if session["status"] == "open" and session["expires_at"] <= self.now():
                    self._close(session)

    def _close(self, session: Object) -> None:
        session.update(status="expired", url=None)
        self.tell(("checkout.session.expired", session))

    # -- what buyers do -----------------------------------------------------------------------------------------

    def pay(self, identifier: str, method: str = "card", *, lose_webhook: bool = False) -> Object:
        """The buyer pays and the money is there at once."""
        with self.lock:
            session, intent = self._confirm(identifier)
            charge = self.charge(intent, method, is_paid=True)
            self._complete(session, intent, "paid")
            begun = self.subscriptions.begin(session, intent) if session["mode"] == "subscription" else ()
            self.tell(
                ("charge.succeeded", charge),
                ("payment_intent.succeeded", intent),
                *begun,
                ("checkout.session.completed", session),
                is_lost=lose_webhook,
            )
            return session

    def decline(self, identifier: str) -> Object:
        """The bank says no; the buyer may try again on the same page."""
        with self.lock:
            session, intent = self._confirm(identifier)
            charge = self.charge(intent, "card", is_paid=False)
            self.tell(("charge.failed", charge), ("payment_intent.payment_failed", intent))
            return session

    def pay_twice(self, identifier: str) -> Object:
        """The buyer pays in two tabs at once: two payments, both good, for the same purchase."""
        with self.lock:
            session = self.pay(identifier)
            again = self.new_intent(session)
            charge = self.charge(again, "card", is_paid=True)
            self.tell(("charge.succeeded", charge), ("payment_intent.succeeded", again))
            return session

    def pay_late(self, identifier: str, *, seconds: float | None = 5.0, succeeds: bool = True) -> Object:
        """The buyer pays by a slow method: done on the page, but the money comes (or does not) later.

        With `seconds=None` it waits for `settle` or `fail_settlement`.
        """
        with self.lock:
            session, intent = self._confirm(identifier)
            intent["status"] = "processing"
            self._complete(session, intent, "unpaid")
            self.tell(("payment_intent.processing", intent), ("checkout.session.completed", session))
            if seconds is not None:
                self._later(seconds, self.settle if succeeds else self.fail_settlement, identifier)
            return session

    def settle(self, identifier: str) -> Object:
        """The slow payment arrives."""
        with self.lock:
            session = self.get("checkout.session", identifier)
            intent = self.get("payment_intent", session["payment_intent"])
            charge = self.charge(intent, "p24", is_paid=True)
            session["payment_status"] = "paid"
            self.tell(
                ("charge.succeeded", charge),
                ("payment_intent.succeeded", intent),
                ("checkout.session.async_payment_succeeded", session),
            )
            return session

    def fail_settlement(self, identifier: str) -> Object:
        """The slow payment is refused in the end."""
        with self.lock:
            session = self.get("checkout.session", identifier)
            intent = self.get("payment_intent", session["payment_intent"])
            charge = self.charge(intent, "p24", is_paid=False)
            self.tell(
                ("charge.failed", charge),
                ("payment_intent.payment_failed", intent),
                ("checkout.session.async_payment_failed", session),
            )
            return session

    def pay_after_expiry(self, identifier: str) -> Object:
        """The session expires, and then money for it arrives all the same."""
        with self.lock:
            session = self.get("checkout.session", identifier)
            if session["status"] == "open":
                self._close(session)
            intent = self.new_intent(session)
            charge = self.charge(intent, "p24", is_paid=True)
            self.tell(("charge.succeeded", charge), ("payment_intent.succeeded", intent))
            return session

    # -- refunds and disputes -----------------------------------------------------------------------------------

    def refund(self, params: dict[str, Any]) -> Object:
        """POST /v1/refunds, or somebody at the dashboard."""
        with self.lock:
            charge = self._refundable(params)
            left = charge["amount"] - charge["amount_refunded"]
            amount = params.get("amount", left)
            if left == 0:
                message = f"Charge {charge['id']} has already been refunded."
                raise ApiError(400, message, code="charge_already_refunded")
            if amount < 1:
                raise ApiError(400, "Invalid positive integer", code="parameter_invalid_integer", param="amount")
            if amount > left:
                message = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})"
                raise ApiError(400, message, param="amount")
            status = "succeeded" if self.refund_outcome == "fails_later" else self.refund_outcome
            refund = shapes.refund(charge, amount, params, at=self.now(), status=status)
            self.objects[refund["id"]] = refund
            charge["amount_refunded"] += amount
            charge["refunded"] = charge["amount_refunded"] == charge["amount"]
            self.tell(("charge.refunded", charge), ("refund.created", refund))
            if self.refund_outcome == "fails_later":
                self._later(self.late_seconds, self.fail_refund, refund["id"])
            return refund

    def _refundable(self, params: dict[str, Any]) -> Object:
        if ("payment_intent" in params) == ("charge" in params):
            message = "One of the following params should be provided for this request: payment_intent or charge."
            raise ApiError(400, message, code="parameter_missing")
        if "payment_intent" in params:
            intent = self.get("payment_intent", params["payment_intent"], "payment_intent")
            if intent["status"] != "succeeded":
                message = f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund."
                raise ApiError(400, message, code="payment_intent_unexpected_state")
            charge = self.get("charge", intent["latest_charge"])
        else:
            charge = self.get("charge", params["charge"], "charge")
        if charge["disputed"]:
            raise ApiError(400, f"Charge {charge['id']} has been charged back.", code="charge_disputed")
        return charge

    def settle_refund(self, identifier: str) -> Object:
        """A pending refund goes through."""
        with self.lock:
            refund = self.get("refund", identifier)
            refund["status"] = "succeeded"
            self.tell(("refund.updated", refund))
            return refund

    def fail_refund(self, identifier: str) -> Object:
        """A refund comes back, even one that had succeeded: the card is gone."""
        with self.lock:
            refund = self.get("refund", identifier)
            refund.update(status="failed", failure_reason="lost_or_stolen_card")
            refund["failure_balance_transaction"] = shapes.new_id("txn")
            charge = self.get("charge", refund["charge"])
            charge["amount_refunded"] -= refund["amount"]
            charge["refunded"] = False
            self.tell(("refund.updated", refund), ("refund.failed", refund))
            return refund

    def dispute(self, intent_id: str, reason: str = "fraudulent") -> Object:
        """The buyer's bank takes the money back."""
        with self.lock:
            charge = self.get("charge", self.get("payment_intent", intent_id)["latest_charge"])
            charge["disputed"] = True
            dispute = shapes.dispute(charge, reason, at=self.now())
            self.objects[dispute["id"]] = dispute
            self.tell(("charge.dispute.created", dispute))
            return dispute

    def close_dispute(self, identifier: str, status: str = "won") -> Object:
        """The bank decides."""
        with self.lock:
            dispute = self.get("dispute", identifier)
            dispute["status"] = status
            self.tell(("charge.dispute.closed", dispute))
            return dispute

    # -- inside -------------------------------------------------------------------------------------------------

    def _confirm(self, identifier: str) -> tuple[Object, Object]:
        session = self.session(identifier)
        if session["status"] != "open":
            raise ApiError(400, f"This Checkout Session has a status of `{session['status']}`.")
        known = session["payment_intent"]
        intent = self.get("payment_intent", known) if known else self.new_intent(session)
        session["payment_intent"] = intent["id"]
        return session, intent

    def new_intent(self, session: Object) -> Object:
        """A try to pay for what a session sells."""
        intent = shapes.intent(session, self._intent_data[session["id"]], at=self.now())
        self.objects[intent["id"]] = intent
        self.tell(("payment_intent.created", intent))
        return intent

    def charge(self, intent: Object, method: str, *, is_paid: bool) -> Object:
        """The bank's answer to a try."""
        charge = shapes.charge(intent, method, at=self.now(), is_paid=is_paid)
        self.objects[charge["id"]] = charge
        intent["latest_charge"] = charge["id"]
        if is_paid:
            intent.update(status="succeeded", amount_received=intent["amount"], last_payment_error=None)
            intent["payment_method"] = charge["payment_method"]
        else:
            intent.update(status="requires_payment_method", last_payment_error=shapes.decline())
        return charge

    def _complete(self, session: Object, intent: Object, payment_status: str) -> None:
        details = shapes.customer_details(session["customer_email"])
        session.update(status="complete", payment_status=payment_status, url=None, customer_details=details)
        session["payment_intent"] = intent["id"]

    def tell(self, *facts: tuple[str, Object], is_lost: bool = False) -> None:
        """Announce what happened, in one happening's order."""
        events = [
            shapes.event(kind, deepcopy(thing), at=self.now(), livemode=self.livemode, key=None)
            for kind, thing in facts
        ]
        for event in events:
            self.objects[event["id"]] = event
        self._announce(events, is_lost)

    def _later(self, seconds: float, action: Callable[[str], Any], identifier: str) -> None:
        timer = threading.Timer(seconds, action, [identifier])
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def stop(self) -> None:
        """Forget what was to happen later."""
        for timer in self._timers:
            timer.cancel()

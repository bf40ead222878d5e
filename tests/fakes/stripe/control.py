"""Everything a test, or a person with curl, can make the fake Stripe do."""

from dataclasses import asdict, dataclass
from typing import Any

from tests.fakes.stripe.delivery import Switches, Webhooks
from tests.fakes.stripe.faults import Faults
from tests.fakes.stripe.shapes import Object
from tests.fakes.stripe.world import World

# What `POST /_control/<name>` may call.
NAMES = (
    "pay",
    "decline",
    "pay_twice",
    "pay_late",
    "settle",
    "fail_settlement",
    "pay_after_expiry",
    "expire",
    "refund",
    "settle_refund",
    "fail_refund",
    "dispute",
    "close_dispute",
    "set_webhooks",
    "renew",
    "fail_renewal",
    "end_subscription",
    "resend",
    "add_fault",
    "clear_faults",
    "set_refunds",
    "set_late",
    "advance",
    "reset",
)


@dataclass
class Control:
    """One method for each thing that can be made to happen; arguments and results are plain values."""

    world: World
    webhooks: Webhooks
    faults: Faults

    def state(self) -> dict[str, Any]:
        """What exists and what was sent."""
        kinds = ("checkout.session", "payment_intent", "refund", "dispute", "event")
        return {
            **{kind: self.world.all(kind) for kind in kinds},
            "deliveries": [asdict(delivery) for delivery in self.webhooks.deliveries],
            "faults": [asdict(fault) for fault in self.faults.armed],
            "webhooks": asdict(self.webhooks.switches),
        }

    def pay(self, session: str, method: str = "card", lose_webhook: bool = False) -> Object:
        """Pay at once, by card or BLIK."""
        return self.world.pay(session, method, lose_webhook=lose_webhook)

    def decline(self, session: str) -> Object:
        """Try a card that is declined."""
        return self.world.decline(session)

    def pay_twice(self, session: str) -> Object:
        """Two payments for one purchase."""
        return self.world.pay_twice(session)

    def pay_late(self, session: str, seconds: float | None = 5.0, succeeds: bool = True) -> Object:
        """Pay by a slow method; `seconds=None` waits for `settle` or `fail_settlement`."""
        return self.world.pay_late(session, seconds=seconds, succeeds=succeeds)

    def settle(self, session: str) -> Object:
        """The slow payment arrives."""
        return self.world.settle(session)

    def fail_settlement(self, session: str) -> Object:
        """The slow payment is refused."""
        return self.world.fail_settlement(session)

    def pay_after_expiry(self, session: str) -> Object:
        """The page closes and the money arrives all the same."""
        return self.world.pay_after_expiry(session)

    def expire(self, session: str) -> Object:
        """The page closes."""
        return self.world.expire_session(session)

    def refund(self, payment_intent: str, amount: int | None = None) -> Object:
        """A refund made in Stripe's dashboard."""
        return self.world.refund({"payment_intent": payment_intent, **({"amount": amount} if amount else {})})

    def settle_refund(self, refund: str) -> Object:
        """A pending refund goes through."""
        return self.world.settle_refund(refund)

    def fail_refund(self, refund: str) -> Object:
        """A refund comes back."""
        return self.world.fail_refund(refund)

    def set_refunds(self, outcome: str) -> None:
        """How the next refunds go: succeeded, pending, failed or fails_later."""
        self.world.refund_outcome = outcome

    def set_late(self, seconds: float) -> None:
        """After how many seconds "pay late" pays, and a refund that fails later fails."""
        self.world.late_seconds = seconds

    def dispute(self, payment_intent: str, reason: str = "fraudulent") -> Object:
        """The buyer's bank takes the money back."""
        return self.world.dispute(payment_intent, reason)

    def close_dispute(self, dispute: str, status: str = "won") -> Object:
        """The bank decides: won or lost."""
        return self.world.close_dispute(dispute, status)

    def renew(self, subscription: str, lose_webhook: bool = False) -> Object:
        """The next month is charged."""
        return self.world.subscriptions.renew(subscription, lose_webhook=lose_webhook)

    def fail_renewal(self, subscription: str) -> Object:
        """The bank refuses the next month's charge."""
        return self.world.subscriptions.fail_renewal(subscription)

    def end_subscription(self, subscription: str) -> Object:
        """Somebody ends it at Stripe's dashboard."""
        return self.world.subscriptions.cancel(subscription)

    def set_webhooks(self, **switches: Any) -> None:
        """Change how webhooks are delivered; see `Switches`. Unknown names raise TypeError."""
        self.webhooks.switches = Switches(**{**asdict(self.webhooks.switches), **switches})

    def resend(self, event: str) -> None:
        """Send an event once more."""
        self.webhooks.resend(self.world.get("event", event))

    def add_fault(self, kind: str, **options: Any) -> None:
        """Arm a fault of the API; see `Fault`."""
        self.faults.add(kind, **options)

    def clear_faults(self) -> None:
        """Disarm all faults."""
        self.faults.clear()

    def advance(self, seconds: float) -> None:
        """Move this Stripe's clock; sessions expire by it."""
        self.world.offset += seconds
        self.world.tick()

    def reset(self) -> None:
        """Forget everything."""
        self.world.stop()
        self.world.objects.clear()
        self.world.offset = 0.0
        self.world.refund_outcome = "succeeded"
        self.faults.clear()
        self.webhooks.switches = Switches()
        self.webhooks.deliveries.clear()

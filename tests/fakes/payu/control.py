"""Everything a test, or a person with curl, can make the fake PayU do."""

from dataclasses import asdict, dataclass
from typing import Any

from tests.fakes.payu.delivery import Notifications, Switches
from tests.fakes.payu.world import Object, World
from tests.fakes.stripe.faults import Faults

# What `POST /_control/<name>` may call.
NAMES = (
    "pay",
    "wait",
    "complete",
    "decline",
    "cancel",
    "panel_refund",
    "move_refund",
    "set_refunds",
    "set_amount",
    "set_auto_receive",
    "set_webhooks",
    "resend",
    "add_fault",
    "clear_faults",
    "end_tokens",
    "advance",
)


@dataclass
class Control:
    """One method for each thing that can be made to happen; arguments and results are plain values."""

    world: World
    webhooks: Notifications
    faults: Faults
    tokens: set[str]

    def state(self) -> dict[str, Any]:
        """What exists and what was sent."""
        return {
            "orders": list(self.world.orders.values()),
            "refunds": self.world.refunds,
            "deliveries": [asdict(delivery) for delivery in self.webhooks.deliveries],
            "faults": [asdict(fault) for fault in self.faults.armed],
            "webhooks": asdict(self.webhooks.switches),
        }

    def pay(self, order: str, method: str = "PBL", lose_webhook: bool = False) -> Object:
        """Pay at once."""
        return self.world.pay(order, method, lose_webhook=lose_webhook)

    def wait(self, order: str) -> Object:
        """Pay by a bank that takes its time."""
        return self.world.wait(order)

    def complete(self, order: str, lose_webhook: bool = False) -> Object:
        """The money that was waited for arrives."""
        return self.world.complete(order, lose_webhook=lose_webhook)

    def decline(self, order: str) -> Object:
        """The payment is refused for good."""
        return self.world.decline(order)

    def cancel(self, order: str) -> Object:
        """Somebody cancels in the panel."""
        return self.world.cancel(order)

    def panel_refund(self, order: str, amount: int | None = None) -> Object:
        """Somebody refunds in the panel."""
        return self.world.panel_refund(order, amount)

    def move_refund(self, refund: str, status: str) -> Object:
        """A refund is FINALIZED, or CANCELED."""
        return self.world.move_refund(refund, status)

    def set_refunds(self, status: str) -> None:
        """How the next refunds go: PENDING, FINALIZED or CANCELED."""
        self.world.refund_status = status

    def set_amount(self, order: str, amount: int, currency: str | None = None) -> None:
        """Another amount, or another currency, than what was asked for."""
        found = self.world.orders[order]
        found.update(totalAmount=str(amount), currencyCode=currency or found["currencyCode"])

    def set_auto_receive(self, is_on: bool) -> None:
        """Whether payments are received without a capture."""
        self.world.auto_receive = is_on

    def set_webhooks(self, **switches: Any) -> None:
        """Change how notifications are delivered; see `Switches`. Unknown names raise TypeError."""
        self.webhooks.switches = Switches(**{**asdict(self.webhooks.switches), **switches})

    def resend(self, key: str) -> None:
        """Send a notification once more."""
        self.webhooks.resend(key)

    def add_fault(self, kind: str, **options: Any) -> None:
        """Arm a fault of the API; see `Fault`."""
        self.faults.add(kind, **options)

    def clear_faults(self) -> None:
        """Disarm all faults."""
        self.faults.clear()

    def end_tokens(self) -> None:
        """Let every token that was given out be refused from now on."""
        self.tokens.clear()

    def advance(self, seconds: float) -> None:
        """Move this PayU's clock; orders end by it."""
        self.world.offset += seconds
        self.world.tick()

"""What happens to subscriptions inside the fake Stripe: they begin on a pay page, are charged again, and end."""

from typing import TYPE_CHECKING, Any

from tests.fakes.stripe import subscription_shapes
from tests.fakes.stripe.shapes import Object
from tests.fakes.stripe.wire import missing

if TYPE_CHECKING:
    from tests.fakes.stripe.world import World

_NEXT_TRY = 3 * 24 * 3600
Facts = tuple[tuple[str, Object], ...]


class Subscriptions:
    """Those of one account. The objects are among the world's others."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.asked: dict[str, Any] = {}  # What each session was made with.
        self._sessions: dict[str, Object] = {}  # On which page each subscription began.

    def begin(self, session: Object, intent: Object) -> Facts:
        """A page in subscription mode was paid. The session itself names no payment: its invoice does."""
        made = subscription_shapes.subscription(session, self.asked[session["id"]], at=self.world.now())
        self.world.objects[made["id"]] = made
        self._sessions[made["id"]] = session
        invoice = self._invoice(made, session["amount_total"], "subscription_create")
        self._pay(invoice, intent)
        session.update(payment_intent=None, subscription=made["id"], invoice=invoice["id"], customer=made["customer"])
        return (
            ("customer.subscription.created", made),
            ("invoice.paid", invoice),
            ("invoice.payment_succeeded", invoice),
        )

    def renew(self, identifier: str, *, lose_webhook: bool = False) -> Object:
        """The next month is charged, or the invoice that was refused before is paid after all."""
        world = self.world
        with world.lock:
            found = self._running(identifier)
            invoice = self._open_invoice(found)
            session = self._sessions[identifier]
            intent = world.new_intent(session)
            charge = world.charge(intent, "card", is_paid=True)
            self._pay(invoice, intent)
            found["status"] = "active"
            world.tell(
                ("charge.succeeded", charge),
                ("payment_intent.succeeded", intent),
                ("invoice.paid", invoice),
                ("invoice.payment_succeeded", invoice),
                ("customer.subscription.updated", found),
                is_lost=lose_webhook,
            )
            return invoice

    def fail_renewal(self, identifier: str) -> Object:
        """The bank refuses the charge; it is tried again in three days."""
        world = self.world
        with world.lock:
            found = self._running(identifier)
            invoice = self._open_invoice(found)
            invoice["attempt_count"] += 1
            invoice.update(attempted=True, next_payment_attempt=world.now() + _NEXT_TRY)
            found["status"] = "past_due"
            world.tell(("invoice.payment_failed", invoice), ("customer.subscription.updated", found))
            return invoice

    def cancel(self, identifier: str) -> Object:
        """DELETE /v1/subscriptions/{id}, or somebody at the dashboard. A cancelled one is unknown to this call."""
        world = self.world
        with world.lock:
            found = self._running(identifier)
            found.update(status="canceled", canceled_at=world.now(), ended_at=world.now())
            found["cancellation_details"]["reason"] = "cancellation_requested"
            world.tell(("customer.subscription.deleted", found))
            return found

    def _running(self, identifier: str) -> Object:
        found = self.world.get("subscription", identifier)
        if found["status"] == "canceled":
            raise missing("subscription", identifier, "id")
        return found

    def _open_invoice(self, subscription: Object) -> Object:
        latest = self.world.get("invoice", subscription["latest_invoice"])
        if latest["status"] == "open":
            return latest
        return self._invoice(subscription, latest["amount_due"], "subscription_cycle")

    def _invoice(self, subscription: Object, amount: int, reason: str) -> Object:
        made = subscription_shapes.invoice(subscription, amount, reason, at=self.world.now())
        self.world.objects[made["id"]] = made
        subscription["latest_invoice"] = made["id"]
        return made

    def _pay(self, invoice: Object, intent: Object) -> None:
        at = self.world.now()
        paid = subscription_shapes.invoice_payment(invoice, intent, at=at)
        self.world.objects[paid["id"]] = paid
        invoice.update(status="paid", amount_paid=invoice["amount_due"], amount_remaining=0, next_payment_attempt=None)
        invoice["attempt_count"] += 1
        invoice["attempted"] = True
        invoice["status_transitions"]["paid_at"] = at

"""RQ entry points and outbox handlers of shipping."""

from datetime import timedelta

from portal.core import clock, outbox, queues
from portal.core.queues import QueueName
from portal.production.shipping.services import asking, labels


@outbox.handles("shipment.label_bought", queue=QueueName.FILES, lease=timedelta(minutes=2))
def store_label(shipment_id: int) -> None:
    """Keep a label that was bought; finds it kept when staff were faster."""
    labels.store_label(shipment_id)


@queues.job
def ask_carriers() -> None:
    """Ask carriers for what they have not said by themselves."""
    asking.ask_carriers(at=clock.now())

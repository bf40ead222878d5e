"""What comes next for a sales order, and why it does not: the same on the board, on its page and in the work list."""

from dataclasses import dataclass
from datetime import datetime

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

from portal.core.ui import money
from portal.orders.models import Order, PaymentStatus
from portal.production.models import SalesOrder, SalesOrderStatus
from portal.production.services.amounts import has_share, required_minor

_S = SalesOrderStatus
# The columns of the board, in the order of the work.
COLUMNS = (_S.PENDING, _S.CONFIRMED, _S.IN_PRODUCTION, _S.QUALITY_CHECK, _S.ON_HOLD, _S.SHIPPED, _S.DELIVERED)
_UNSENT = (_S.PENDING, _S.CONFIRMED, _S.IN_PRODUCTION, _S.QUALITY_CHECK, _S.ON_HOLD)


@dataclass(frozen=True, slots=True)
class NextAction:
    """The one thing to do: `name` is None when there is nothing to press. `blocked` says what is missing."""

    name: str | None
    label: LazyString | None
    blocked: LazyString | str | None = None


def next_action(sales_order: SalesOrder, order: Order, *, held_because: str | None = None) -> NextAction:
    """What brings an order on. `held_because` is why somebody has stopped it."""
    match sales_order.status:
        case _S.PENDING:
            return NextAction("confirm", _l("Confirm"), _l("Not paid yet"))
        case _S.CONFIRMED if not has_share(sales_order, order):
            missing = max(required_minor(sales_order, order) - order.paid_minor + order.refunded_minor, 0)
            return NextAction(None, None, _l("%(amount)s are missing", amount=money(missing, order.currency)))
        case _S.CONFIRMED:
            return NextAction("start", _l("Start production"))
        case _S.IN_PRODUCTION:
            return NextAction("finish", _l("Printed: to the quality check"))
        case _S.QUALITY_CHECK if order.payment_status is not PaymentStatus.PAID:
            rest = money(order.rest_minor, order.currency)
            return NextAction(None, None, _l("%(amount)s have to be paid before it is sent", amount=rest))
        case _S.QUALITY_CHECK:
            return NextAction("ship", _l("Ship"))
        case _S.ON_HOLD:
            return NextAction("resume", _l("Resume"), held_because)
        case _S.SHIPPED:
            return NextAction("deliver", _l("Mark as delivered"))
        case _S.DELIVERED:
            return NextAction("complete", _l("Complete"))
        case _:
            return NextAction(None, None)


def is_overdue(sales_order: SalesOrder, *, at: datetime) -> bool:
    """Whether the promised day is over and the parts are still here."""
    return sales_order.status in _UNSENT and sales_order.promised_at is not None and sales_order.promised_at < at

"""Closing what was delivered some time ago."""

from datetime import datetime, timedelta

from sqlalchemy import select

from portal.core.db import db
from portal.production.models import SalesOrder, SalesOrderStatus
from portal.production.services import lifecycle

# So long a customer may say that something is wrong before the order is put away.
COMPLETED_AFTER = timedelta(days=14)


def complete_next(*, at: datetime) -> bool:
    """Complete one order that was delivered long enough ago; whether there was one."""
    sales_order = db.session.scalars(
        select(SalesOrder)
        .where(SalesOrder.status == SalesOrderStatus.DELIVERED, SalesOrder.delivered_at <= at - COMPLETED_AFTER)
        .order_by(SalesOrder.id)
        .limit(1)
    ).one_or_none()
    if sales_order is None:
        return False
    lifecycle.complete(sales_order, by="job:production", at=at)
    return True

"""The one money core: payment sessions, attempts, the webhook inbox, invoices, refunds. Knows nothing that is sold."""

from portal.payments.hooks import (
    BillLine,
    BillOfSale,
    Returned,
    SubscriptionChange,
    SubscriptionNews,
    describes,
    names_line,
    on_failed,
    on_returned,
    on_settled,
    on_subscription,
)

__all__ = [
    "BillLine",
    "BillOfSale",
    "Returned",
    "SubscriptionChange",
    "SubscriptionNews",
    "describes",
    "names_line",
    "on_failed",
    "on_returned",
    "on_settled",
    "on_subscription",
]

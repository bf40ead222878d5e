"""The one money core: payment sessions, attempts, the webhook inbox, invoices, refunds. Knows nothing that is sold."""

from portal.payments.hooks import BillLine, BillOfSale, Returned, describes, on_failed, on_returned, on_settled

__all__ = ["BillLine", "BillOfSale", "Returned", "describes", "on_failed", "on_returned", "on_settled"]

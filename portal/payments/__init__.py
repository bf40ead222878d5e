"""The one money core: payment sessions, attempts, the webhook inbox, invoices. Knows nothing that is sold."""

from portal.payments.hooks import BillLine, BillOfSale, describes, on_failed, on_settled

__all__ = ["BillLine", "BillOfSale", "describes", "on_failed", "on_settled"]

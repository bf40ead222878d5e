"""All rooms of the back office on one blueprint."""

from portal.admin import (
    audit,
    catalogue,
    customers,
    debugging,
    invariants,
    invoices,
    jobs,
    mail,
    orders,
    payments,
    reconciliation,
    searching,
    upkeep,
    webhooks,
    wording,
    work_list,
)
from portal.admin.blueprint import bp

__all__ = [
    "audit",
    "bp",
    "catalogue",
    "customers",
    "debugging",
    "invariants",
    "invoices",
    "jobs",
    "mail",
    "orders",
    "payments",
    "reconciliation",
    "searching",
    "upkeep",
    "webhooks",
    "wording",
    "work_list",
]

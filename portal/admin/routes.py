"""All rooms of the back office on one blueprint."""

from portal.admin import (
    audit,
    catalogue,
    customers,
    disputes,
    invoices,
    jobs,
    mail,
    orders,
    payments,
    refunds,
    searching,
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
    "disputes",
    "invoices",
    "jobs",
    "mail",
    "orders",
    "payments",
    "refunds",
    "searching",
    "webhooks",
    "wording",
    "work_list",
]

"""All rooms of the back office on one blueprint."""

from portal.admin import (
    audit,
    catalogue,
    customers,
    invoices,
    jobs,
    mail,
    merchants,
    orders,
    payments,
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
    "invoices",
    "jobs",
    "mail",
    "merchants",
    "orders",
    "payments",
    "searching",
    "webhooks",
    "wording",
    "work_list",
]

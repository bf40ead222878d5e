"""Every status and kind a person can see: its tone (colour by meaning) and its label in their language."""

from enum import Enum
from typing import Literal

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

Tone = Literal["neutral", "info", "progress", "success", "warning", "danger"]

# Tone by meaning: success = the good end, progress = moving by itself, warning = waits for somebody,
# danger = went wrong, neutral = over or not begun.
_STATUSES: dict[str, tuple[Tone, LazyString]] = {
    "accepted": ("success", _l("Accepted")),
    "active": ("success", _l("Active")),
    "admin": ("info", _l("Administrator")),
    "applied": ("success", _l("Applied")),
    "approved": ("success", _l("Approved")),
    "asking": ("progress", _l("Being asked for")),
    "archived": ("neutral", _l("Archived")),
    "billing": ("neutral", _l("Billing")),
    "blocked": ("danger", _l("Blocked")),
    "by_hand": ("warning", _l("To be done by hand")),
    "by_customer": ("neutral", _l("by the customer")),
    "by_provider": ("warning", _l("by the payment provider")),
    "by_staff": ("neutral", _l("by staff")),
    "buying": ("progress", _l("Label being bought")),
    "cancelled": ("neutral", _l("Cancelled")),
    "change": ("neutral", _l("Changed on request")),
    "completed": ("success", _l("Completed")),
    "confirmed": ("info", _l("Confirmed")),
    "conflict": ("danger", _l("Conflict")),
    "counted": ("success", _l("Counted")),
    "created": ("neutral", _l("Created")),
    "credited": ("neutral", _l("Credited")),
    "customer": ("neutral", _l("Customer")),
    "declined": ("neutral", _l("Declined")),
    "deleted": ("neutral", _l("Deleted")),
    "delivered": ("success", _l("Delivered")),
    "destroyed": ("neutral", _l("Destroyed")),
    "disabled": ("neutral", _l("Disabled")),
    "dispute": ("danger", _l("Lost in a dispute")),
    "done": ("success", _l("Done")),
    "draft": ("neutral", _l("Draft")),
    "drafting": ("progress", _l("Being drafted")),
    "duplicate": ("neutral", _l("Duplicate")),
    "edit": ("neutral", _l("One file changed")),
    "editor": ("neutral", _l("Editor service")),
    "elsewhere": ("warning", _l("Made elsewhere")),
    "enrolled": ("success", _l("Unlocked")),
    "expired": ("neutral", _l("Expired")),
    "failed": ("danger", _l("Failed")),
    "failing": ("danger", _l("Failing")),
    "fraudulent": ("danger", _l("Fraud")),
    "fulfilled": ("success", _l("Fulfilled")),
    "grace_over": ("danger", _l("not paid in time")),
    "ignored": ("neutral", _l("Ignored")),
    "import": ("neutral", _l("Imported")),
    "in_production": ("progress", _l("In production")),
    "in_transit": ("progress", _l("On its way")),
    "inactive": ("neutral", _l("Inactive")),
    "issued": ("success", _l("Issued")),
    "issuing": ("progress", _l("Issuing certificate")),
    "live": ("success", _l("Live")),
    "lost": ("danger", _l("Lost")),
    "measured": ("success", _l("Measured")),
    "merchant": ("neutral", _l("Merchants")),
    "missing": ("danger", _l("Missing")),
    "needs_response": ("warning", _l("Needs an answer")),
    "none": ("neutral", _l("None")),
    "not_started": ("neutral", _l("Not started")),
    "on_hold": ("warning", _l("On hold")),
    "open": ("info", _l("Open")),
    "other": ("neutral", _l("Something else")),
    "owned": ("success", _l("Owned")),
    "package": ("neutral", _l("Package")),
    "paid": ("success", _l("Paid")),
    "partial": ("warning", _l("Partly paid")),
    "past_due": ("danger", _l("Past due")),
    "paused": ("warning", _l("Paused")),
    "pending": ("warning", _l("Pending")),
    "preview": ("neutral", _l("Preview")),
    "preview_ready": ("info", _l("Preview ready")),
    "print": ("neutral", _l("Printed part")),
    "processing": ("progress", _l("Processing")),
    "provider": ("neutral", _l("Given at the provider")),
    "published": ("success", _l("Published")),
    "quality_check": ("progress", _l("Quality check")),
    "quarantined": ("danger", _l("Quarantined")),
    "queued": ("info", _l("Queued")),
    "ready": ("info", _l("Ready")),
    "received": ("info", _l("Received")),
    "refunded": ("neutral", _l("Refunded")),
    "rejected": ("danger", _l("Rejected")),
    "requested": ("info", _l("Requested")),
    "requested_by_customer": ("neutral", _l("The customer asked for it")),
    "reset_password": ("neutral", _l("Password reset")),
    "resolved": ("success", _l("Resolved")),
    "restore": ("neutral", _l("Restored")),
    "retrying": ("warning", _l("Retrying")),
    "returned": ("warning", _l("Returned")),
    "revoked": ("neutral", _l("Revoked")),
    "rolled_back": ("danger", _l("Switched back")),
    "running": ("progress", _l("Running")),
    "scheduled": ("info", _l("Scheduled")),
    "sending": ("progress", _l("Sending")),
    "sent": ("success", _l("Sent")),
    "set_up_account": ("neutral", _l("Account set-up")),
    "shipped": ("progress", _l("Shipped")),
    "shipping": ("neutral", _l("Shipping")),
    "site": ("neutral", _l("Site")),
    "staff": ("info", _l("Staff")),
    "started": ("progress", _l("Started")),
    "starting": ("progress", _l("Starting")),
    "stored": ("info", _l("Stored")),
    "submitted": ("progress", _l("Submitted")),
    "subscription": ("neutral", _l("Subscription")),
    "succeeded": ("success", _l("Succeeded")),
    "success": ("success", _l("Signed in")),
    "suspended": ("danger", _l("Suspended")),
    "superseded": ("neutral", _l("Replaced")),
    "surplus": ("warning", _l("Too much")),
    "throttled": ("warning", _l("Held back")),
    "unknown": ("warning", _l("Unknown")),
    "unmatched": ("warning", _l("Unmatched")),
    "unanswered": ("warning", _l("Not answered")),
    "under_review": ("info", _l("Being decided")),
    "unpublished": ("neutral", _l("Not published")),
    "unverified": ("warning", _l("Not verified")),
    "upload": ("neutral", _l("Uploaded")),
    "uploaded": ("progress", _l("Uploaded")),
    "verified": ("success", _l("Verified")),
    "verify_email": ("neutral", _l("E-mail check")),
    "waiting": ("warning", _l("Waiting")),
    "withdrawn": ("success", _l("Withdrawn")),
    "won": ("success", _l("Won")),
    "wrong_code": ("danger", _l("Wrong code")),
    "wrong_password": ("danger", _l("Wrong password")),
}

# The same word can mean different things: a pending quote waits for us, a pending payment for the buyer.
_BY_KIND: dict[tuple[str, str], tuple[Tone, LazyString]] = {
    ("payment", "pending"): ("warning", _l("Waiting for payment")),
    ("role", "paid"): ("success", _l("Paying customer")),
    ("event", "pending"): ("info", _l("Waiting to be applied")),
    ("parcel", "announced"): ("info", _l("The carrier expects the parcel")),
    ("parcel", "at_pickup_point"): ("progress", _l("Ready to be picked up")),
    ("parcel", "called_off"): ("neutral", _l("Called off")),
    ("parcel", "delivered"): ("success", _l("Delivered")),
    ("parcel", "failed"): ("warning", _l("Could not be delivered")),
    ("parcel", "moving"): ("progress", _l("On its way")),
    ("parcel", "out_for_delivery"): ("progress", _l("Out for delivery")),
    ("parcel", "returned"): ("warning", _l("On its way back to us")),
    ("parcel", "trouble"): ("warning", _l("The carrier has no news")),
    ("parcel", "unknown"): ("neutral", _l("No news yet")),
    ("change", "accepted"): ("progress", _l("Going online")),
    ("change", "received"): ("info", _l("Asked for")),
    ("change", "undone"): ("neutral", _l("Undone")),
    ("payment", "created"): ("neutral", _l("Not paid yet")),
    ("payment", "failed"): ("danger", _l("Payment failed")),
    ("site", "preview"): ("info", _l("For sale")),
    ("quote", "pending"): ("warning", _l("Being checked")),
    ("refund", "pending"): ("progress", _l("On its way")),
    ("refund", "requested"): ("info", _l("Recorded")),
    ("refund", "succeeded"): ("success", _l("Given back")),
    ("shipment", "draft"): ("neutral", _l("Packed")),
    ("shipment", "ready"): ("info", _l("Label bought")),
    ("shipment", "returned"): ("warning", _l("Came back")),
    ("sales_order", "pending"): ("warning", _l("Waiting for confirmation")),
    ("order", "pending"): ("warning", _l("Waiting for payment")),
    ("subscription", "past_due"): ("danger", _l("Payment overdue")),
    # RQ's own words for what a process is doing.
    ("worker", "busy"): ("success", _l("Working")),
    ("worker", "idle"): ("success", _l("Ready")),
    ("worker", "started"): ("neutral", _l("Starting")),
    ("worker", "suspended"): ("warning", _l("Suspended")),
}


def _key(status: object) -> str:
    return str(status.value if isinstance(status, Enum) else status)


def status_tone(status: object, kind: str | None = None) -> Tone:
    """The meaning of a status as a tone; a status nobody listed is neutral, never an error."""
    key = _key(status)
    entry = _BY_KIND.get((kind or "", key)) or _STATUSES.get(key)
    return entry[0] if entry else "neutral"


def status_label(status: object, kind: str | None = None) -> str:
    """The status in the reader's words."""
    key = _key(status)
    entry = _BY_KIND.get((kind or "", key)) or _STATUSES.get(key)
    return str(entry[1]) if entry else key.replace("_", " ").capitalize()


def known_statuses() -> list[str]:
    """Every status with a label of its own, for the gallery and for the test that all models are covered."""
    return sorted(_STATUSES)

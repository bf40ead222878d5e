"""What Stripe's subscriptions and their invoices look like on the wire, in the version of `shapes.py`."""

from tests.fakes.stripe.shapes import Object, new_id

_MONTH = 30 * 24 * 3600


def subscription(of: Object, params: Object, *, at: int) -> Object:
    """A running subscription that a Checkout Session began. It is charged every month, here one of thirty days."""
    identifier = new_id("sub")
    price = params["line_items"][0]["price_data"]
    item = {
        "id": new_id("si", 14),
        "object": "subscription_item",
        "billed_until": None,
        "billing_thresholds": None,
        "created": at,
        "current_period_end": at + _MONTH,
        "current_period_start": at,
        "current_trial": None,
        "discounts": [],
        "metadata": {},
        "price": {"id": new_id("price"), "object": "price", "recurring": dict(price["recurring"])},
        "quantity": params["line_items"][0]["quantity"],
        "subscription": identifier,
        "tax_rates": [],
    }
    nothing = (
        "application", "application_fee_percent", "billing_cycle_anchor_config", "billing_schedules",
        "billing_thresholds", "cancel_at", "canceled_at", "customer_account", "days_until_due",
        "default_payment_method", "default_source", "ended_at", "managed_payments", "next_pending_invoice_item_invoice",
        "on_behalf_of", "pause_collection", "pending_invoice_item_interval", "pending_setup_intent", "pending_update",
        "presentment_details", "schedule", "status_details", "test_clock", "transfer_data", "trial_end",
        "trial_settings", "trial_start",
    )  # fmt: skip
    return {
        **dict.fromkeys(nothing),
        "id": identifier,
        "object": "subscription",
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": at,
        "billing_mode": {"flexible": None, "type": "classic"},
        "cancel_at_period_end": False,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": at,
        "currency": of["currency"],
        "customer": new_id("cus", 14),
        "default_tax_rates": [],
        "description": params.get("subscription_data", {}).get("description"),
        "discounts": [],
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": {"object": "list", "data": [item], "has_more": False, "url": "/v1/subscription_items"},
        "latest_invoice": None,
        "livemode": of["livemode"],
        "metadata": params.get("subscription_data", {}).get("metadata", {}),
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "start_date": at,
        "status": "active",
    }


def invoice(of: Object, amount: int, reason: str, *, at: int) -> Object:
    """An invoice of a subscription, open: one a period."""
    parent = {
        "quote_details": None,
        "subscription_details": {"metadata": dict(of["metadata"]), "subscription": of["id"]},
        "type": "subscription_details",
    }
    nothing = (
        "account_country", "account_name", "account_tax_ids", "application", "automatically_finalizes_at",
        "confirmation_secret", "custom_fields", "customer_account", "customer_address", "customer_email",
        "customer_name", "customer_phone", "customer_shipping", "customer_tax_exempt", "default_payment_method",
        "default_source", "description", "due_date", "ending_balance", "footer", "from_invoice", "hosted_invoice_url",
        "invoice_pdf", "last_finalization_error", "latest_revision", "next_payment_attempt", "number", "on_behalf_of",
        "receipt_number", "rendering", "shipping_cost", "shipping_details", "statement_descriptor", "status_details",
        "test_clock", "threshold_reason", "total_pretax_credit_amounts", "webhooks_delivered_at",
    )  # fmt: skip
    none = dict.fromkeys(
        (
            "amount_overpaid", "amount_paid", "amount_paid_off_stripe", "amount_shipping", "attempt_count",
            "post_payment_credit_notes_amount", "pre_payment_credit_notes_amount", "starting_balance",
        ),
        0,
    )  # fmt: skip
    return {
        **dict.fromkeys(nothing),
        **none,
        "id": new_id("in"),
        "object": "invoice",
        "amount_due": amount,
        "amount_remaining": amount,
        "attempted": False,
        "auto_advance": True,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None, "status": None},
        "billing_reason": reason,
        "collection_method": "charge_automatically",
        "created": at,
        "currency": of["currency"],
        "customer": of["customer"],
        "customer_tax_ids": [],
        "default_tax_rates": [],
        "discounts": [],
        "effective_at": at,
        "issuer": {"type": "self"},
        "lines": {"object": "list", "data": [], "has_more": False, "url": "/v1/invoices/lines"},
        "livemode": of["livemode"],
        "metadata": {},
        "parent": parent,
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "period_end": at,
        "period_start": at,
        "status": "open",
        "status_transitions": {
            "finalized_at": at,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "subtotal": amount,
        "subtotal_excluding_tax": amount,
        "total": amount,
        "total_discount_amounts": [],
        "total_excluding_tax": amount,
        "total_taxes": [],
    }


def invoice_payment(of: Object, intent: Object, *, at: int) -> Object:
    """Which payment paid an invoice."""
    return {
        "id": new_id("inpay"),
        "object": "invoice_payment",
        "amount_paid": of["amount_due"],
        "amount_requested": of["amount_due"],
        "created": at,
        "currency": of["currency"],
        "invoice": of["id"],
        "is_default": True,
        "livemode": of["livemode"],
        "payment": {"payment_intent": intent["id"], "type": "payment_intent"},
        "status": "paid",
        "status_transitions": {"canceled_at": None, "paid_at": at},
    }

"""The fake Stripe's parameters and objects, held against the official library's own classes."""

import inspect
import typing
from typing import Any

import pytest
import stripe
from stripe import params as sdk_params
from stripe.params import checkout as sdk_checkout_params

from tests.fakes.stripe import FakeStripe, shapes, wire

CLASSES: dict[str, type[stripe.StripeObject]] = {
    "checkout.session": stripe.checkout.Session,
    "payment_intent": stripe.PaymentIntent,
    "charge": stripe.Charge,
    "refund": stripe.Refund,
    "dispute": stripe.Dispute,
    "event": stripe.Event,
    "subscription": stripe.Subscription,
    "invoice": stripe.Invoice,
    "invoice_payment": stripe.InvoicePayment,
}
# Stripe leaves these out unless they are expanded, or sends them in special cases only.
LEFT_OUT = {
    "checkout.session": {"line_items"},
    "payment_intent": {"hooks", "managed_payments", "payment_details", "payment_record", "presentment_details"},
    "charge": {"authorization_code", "level3", "presentment_details", "refunds", "transfer"},
    "refund": {
        "customer",
        "customer_account",
        "description",
        "failure_balance_transaction",
        "failure_reason",
        "instructions_email",
        "next_action",
        "pending_reason",
        "presentment_details",
    },
    "dispute": {"intended_submission_method"},
    "event": {"account", "context"},
    "subscription": set(),
    "invoice": {"payments"},
    "invoice_payment": set(),
}


@pytest.fixture
def objects() -> dict[str, dict[str, Any]]:
    """One object of each kind, from a payment that was refunded and one that was disputed."""
    with FakeStripe() as fake:
        fake.control.set_webhooks(lose=True)
        price = {"currency": "pln", "unit_amount": 4900, "product_data": {"name": "Bundle"}}
        params = {
            "mode": "payment",
            "line_items": [{"price_data": price, "quantity": 1}],
            "success_url": "https://portal.example/return",
        }
        first, second = fake.world.create_session(params), fake.world.create_session(params)
        fake.control.pay(first["id"])
        fake.control.refund(first["payment_intent"])
        fake.control.pay(second["id"], "blik")
        fake.control.dispute(second["payment_intent"])
        monthly = {**price, "recurring": {"interval": "month", "interval_count": 1}}
        third = {**params, "mode": "subscription", "line_items": [{"price_data": monthly, "quantity": 1}]}
        fake.control.pay(fake.world.create_session(third)["id"])
        return {kind: fake.world.all(kind)[0] for kind in CLASSES}


def annotations(cls: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(inspect.getmro(cls)):
        if issubclass(base, stripe.StripeObject) and base is not stripe.StripeObject:
            names = {
                name: kind for name, kind in vars(base).get("__annotations__", {}).items() if not name.startswith("_")
            }
            found |= {name: kind for name, kind in names.items() if typing.get_origin(kind) is not typing.ClassVar}
    found.pop("deleted", None)
    found.pop("OBJECT_NAME", None)
    return found


def unknown_keys(thing: dict[str, Any], cls: type, path: str) -> list[str]:
    """The keys, at any depth, that the library does not know there."""
    known = annotations(cls)
    found = [f"{path}.{key}" for key in thing if key not in known]
    inner: dict[str, type] = getattr(cls, "_inner_class_types", {})
    for key, value in thing.items():
        if key in inner and isinstance(value, dict):
            found += unknown_keys(value, inner[key], f"{path}.{key}")
    return found


@pytest.mark.parametrize("kind", CLASSES)
def test_objects_have_the_fields_of_the_pinned_version_and_no_other(
    objects: dict[str, dict[str, Any]], kind: str
) -> None:
    thing = objects[kind]
    assert unknown_keys(thing, CLASSES[kind], kind) == []
    assert set(annotations(CLASSES[kind])) - set(thing) == LEFT_OUT[kind]


@pytest.mark.parametrize("kind", CLASSES)
def test_the_library_makes_its_own_classes_of_them(objects: dict[str, dict[str, Any]], kind: str) -> None:
    made = stripe.StripeClient("sk_test_1").deserialize(objects[kind], api_mode="V1")
    assert type(made) is CLASSES[kind]


def test_the_version_is_the_librarys() -> None:
    assert stripe.api_version == shapes.API_VERSION


def hints_of(typed: Any) -> dict[str, Any]:
    """The annotations as types, with the names that the library imports elsewhere, or for type checkers only."""
    elsewhere = {"StripeContext": object, "Mapping": typing.Mapping}
    return typing.get_type_hints(typed, {**vars(inspect.getmodule(typed)), **elsewhere})


def unknown_params(spec: wire.Hash, typed: Any, path: str = "") -> list[str]:
    """The parameters of the fake that the library's typed dictionary does not have."""
    hints = hints_of(typed)
    found = []
    for name, kind in spec.fields.items():
        if name not in hints:
            found.append(f"{path}{name}")
            continue
        below = kind.item if isinstance(kind, wire.Items) else kind
        if isinstance(below, wire.Hash) and (inner := _typed_dict(hints[name])):
            found += unknown_params(below, inner, f"{path}{name}.")
    return found


def _typed_dict(hint: Any) -> Any:
    if typing.is_typeddict(hint):
        return hint
    return next((found for part in typing.get_args(hint) if (found := _typed_dict(part))), None)


@pytest.mark.parametrize(
    ("spec", "typed"),
    [
        (wire.SESSION_CREATE, sdk_checkout_params.SessionCreateParams),
        (wire.SESSION_LIST, sdk_checkout_params.SessionListParams),
        (wire.INTENT_LIST, sdk_params.PaymentIntentListParams),
        (wire.REFUND_CREATE, sdk_params.RefundCreateParams),
        (wire.REFUND_LIST, sdk_params.RefundListParams),
        (wire.SUBSCRIPTION_CANCEL, sdk_params.SubscriptionCancelParams),
        (wire.DISPUTE_LIST, sdk_params.DisputeListParams),
        (wire.EVENT_LIST, sdk_params.EventListParams),
    ],
)
def test_parameters_are_those_of_the_pinned_version(spec: wire.Hash, typed: Any) -> None:
    assert unknown_params(spec, typed) == []
    assert not set(spec.refusals) & set(hints_of(typed))

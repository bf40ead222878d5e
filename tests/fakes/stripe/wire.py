"""Stripe's wire format: form bodies with bracketed names in, typed parameters or Stripe's own error bodies out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


class ApiError(Exception):
    """An answer with an `error` body. `is_stored`: whether an idempotency key remembers it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        kind: str = "invalid_request_error",
        is_stored: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.is_stored = status, code, param, is_stored
        self.headers = dict(headers or {})
        self.body: dict[str, Any] = {"message": message, "type": kind}
        if code:
            self.body["code"] = code
            self.body["doc_url"] = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"
        if param:
            self.body["param"] = param


def missing(kind: str, identifier: str, param: str = "id") -> ApiError:
    """No such object."""
    return ApiError(404, f"No such {kind}: '{identifier}'", code="resource_missing", param=param)


def decode(text: str) -> dict[str, Any]:
    """Turn `line_items[0][quantity]=1&expand[]=x` into nested dicts and lists."""
    root: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        head, *rest = name.split("[")
        keys = [head, *(part.removesuffix("]") for part in rest)]
        node = root
        for key in keys[:-1]:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise ApiError(400, "Invalid object", param=head)
        last = keys[-1] or str(len(node))
        node[last] = value
    return {key: _lists(value) for key, value in root.items()}


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    items = {key: _lists(item) for key, item in value.items()}
    if items and all(key.isdigit() for key in items):
        return [items[key] for key in sorted(items, key=int)]
    return items


@dataclass(frozen=True)
class Text:
    """A text; `choices` limits it."""

    required: bool = False
    longest: int = 5000
    choices: tuple[str, ...] = ()

    def read(self, value: Any, path: str) -> str:
        """The checked text."""
        if not isinstance(value, str):
            raise ApiError(400, f"Invalid string: {value!r}", param=path)
        if value == "":
            message = (
                f"You passed an empty string for '{path}'. We assume empty values are an attempt to unset a "
                f"parameter; however '{path}' cannot be unset."
            )
            raise ApiError(400, message, code="parameter_invalid_empty", param=path)
        if len(value) > self.longest:
            message = f"Invalid string: must be at most {self.longest} characters"
            raise ApiError(400, message, code="parameter_invalid_string", param=path)
        if self.choices and value not in self.choices:
            raise ApiError(400, f"Invalid {path}: must be one of {', '.join(self.choices)}", param=path)
        return value


@dataclass(frozen=True)
class Url(Text):
    """An address a browser may be sent to."""

    def read(self, value: Any, path: str) -> str:
        """The checked address."""
        text = super().read(value, path)
        if not re.match(r"https?://[^/\s]+", text):
            raise ApiError(400, "Not a valid URL", code="url_invalid", param=path)
        return text


@dataclass(frozen=True)
class Email(Text):
    """An e-mail address."""

    def read(self, value: Any, path: str) -> str:
        """The checked address."""
        text = super().read(value, path)
        if not _EMAIL.fullmatch(text):
            raise ApiError(400, f"Invalid email address: {text}", code="email_invalid", param=path)
        return text


@dataclass(frozen=True)
class Whole:
    """A whole number."""

    required: bool = False
    least: int | None = None

    def read(self, value: Any, path: str) -> int:
        """The number."""
        if not isinstance(value, str) or not re.fullmatch(r"-?[0-9]{1,18}", value):
            raise ApiError(400, f"Invalid integer: {value}", code="parameter_invalid_integer", param=path)
        number = int(value)
        if self.least is not None and number < self.least:
            message = f"This value must be greater than or equal to {self.least}."
            raise ApiError(400, message, code="parameter_invalid_integer", param=path)
        return number


@dataclass(frozen=True)
class Flag:
    """True or false."""

    required: bool = False

    def read(self, value: Any, path: str) -> bool:
        """The truth."""
        if value not in ("true", "false"):
            raise ApiError(400, f"Invalid boolean: {value}", param=path)
        return bool(value == "true")


@dataclass(frozen=True)
class Metadata:
    """Free keys, within Stripe's limits."""

    required: bool = False

    def read(self, value: Any, path: str) -> dict[str, str]:
        """The entries; an empty value unsets its key."""
        if not isinstance(value, dict) or len(value) > 50:
            raise ApiError(400, "Metadata can have at most 50 keys", param=path)
        for key, text in value.items():
            if not isinstance(text, str) or len(key) > 40 or len(text) > 500:
                message = "Metadata keys can be up to 40 characters long, values up to 500 characters"
                raise ApiError(400, message, code="parameter_invalid_string", param=f"{path}[{key}]")
        return {key: text for key, text in value.items() if text}


@dataclass(frozen=True)
class Items:
    """A list."""

    item: "Kind"
    required: bool = False
    most: int = 100

    def read(self, value: Any, path: str) -> list[Any]:
        """The checked items."""
        if not isinstance(value, list):
            raise ApiError(400, "Invalid array", param=path)
        if len(value) > self.most:
            raise ApiError(400, f"Array must have at most {self.most} items", param=path)
        return [self.item.read(item, f"{path}[{index}]") for index, item in enumerate(value)]


@dataclass(frozen=True)
class Hash:
    """An object with known keys; any other is refused, as Stripe does."""

    fields: Mapping[str, "Kind"]
    required: bool = False
    refusals: Mapping[str, str] = field(default_factory=dict)

    def read(self, value: Any, path: str = "") -> dict[str, Any]:
        """The checked fields."""
        if not isinstance(value, dict):
            raise ApiError(400, "Invalid object", param=path)
        found = {}
        for key, part in value.items():
            name = f"{path}[{key}]" if path else key
            if key in self.refusals:
                raise ApiError(400, self.refusals[key], code=f"{key}_no_longer_supported", param=name)
            if key not in self.fields:
                raise ApiError(400, f"Received unknown parameter: {name}", code="parameter_unknown", param=name)
            found[key] = self.fields[key].read(part, name)
        for key, kind in self.fields.items():
            if kind.required and key not in found:
                name = f"{path}[{key}]" if path else key
                raise ApiError(400, f"Missing required param: {name}.", code="parameter_missing", param=name)
        return found


Kind = Text | Whole | Flag | Metadata | Items | Hash

_RANGE = Hash({"gt": Whole(), "gte": Whole(), "lt": Whole(), "lte": Whole()})
_EXPAND = Items(Text())
_PAGE: dict[str, Kind] = {
    "limit": Whole(least=1),
    "starting_after": Text(),
    "ending_before": Text(),
    "created": _RANGE,
    "expand": _EXPAND,
}

RETRIEVE = Hash({"expand": _EXPAND})
SESSION_CREATE = Hash(
    {
        "mode": Text(required=True, choices=("payment", "setup", "subscription")),
        "line_items": Items(
            Hash(
                {
                    "price_data": Hash(
                        {
                            "currency": Text(required=True, longest=3),
                            "unit_amount": Whole(required=True, least=0),
                            "product_data": Hash(
                                {
                                    "name": Text(required=True),
                                    "description": Text(),
                                    "images": Items(Url()),
                                    "metadata": Metadata(),
                                },
                                required=True,
                            ),
                            "recurring": Hash(
                                {
                                    "interval": Text(required=True, choices=("day", "month", "week", "year")),
                                    "interval_count": Whole(least=1),
                                }
                            ),
                            "tax_behavior": Text(choices=("exclusive", "inclusive", "unspecified")),
                        },
                        required=True,
                    ),
                    "quantity": Whole(required=True, least=1),
                }
            ),
            required=True,
        ),
        "success_url": Url(required=True),
        "cancel_url": Url(),
        "client_reference_id": Text(longest=200),
        "customer_email": Email(longest=800),
        "expires_at": Whole(),
        "locale": Text(),
        "metadata": Metadata(),
        "payment_intent_data": Hash({"description": Text(), "metadata": Metadata(), "receipt_email": Email()}),
        "subscription_data": Hash({"description": Text(longest=500), "metadata": Metadata()}),
        "adaptive_pricing": Hash({"enabled": Flag()}),
        "allowed_payment_method_types": Items(Text()),
        "excluded_payment_method_types": Items(Text()),
        "submit_type": Text(choices=("auto", "book", "donate", "pay", "subscribe")),
        "ui_mode": Text(choices=("elements", "embedded_page", "form", "hosted_page")),
        "expand": _EXPAND,
    },
    refusals={
        "payment_method_types": "payment_method_types is no longer supported. Manage payment methods in the "
        "Dashboard, or use allowed_payment_method_types or excluded_payment_method_types."
    },
)
SESSION_LIST = Hash({**_PAGE, "payment_intent": Text(), "status": Text(choices=("complete", "expired", "open"))})
INTENT_LIST = Hash({**_PAGE, "customer": Text()})
REFUND_CREATE = Hash(
    {
        "payment_intent": Text(),
        "charge": Text(),
        "amount": Whole(),
        "reason": Text(choices=("duplicate", "fraudulent", "requested_by_customer")),
        "metadata": Metadata(),
        "expand": _EXPAND,
    }
)
REFUND_LIST = Hash({**_PAGE, "payment_intent": Text(), "charge": Text()})
DISPUTE_LIST = Hash({**_PAGE, "payment_intent": Text(), "charge": Text()})
EVENT_LIST = Hash({**_PAGE, "type": Text(), "types": Items(Text(), most=20), "delivery_success": Flag()})
SUBSCRIPTION_CANCEL = Hash({"invoice_now": Flag(), "prorate": Flag(), "expand": _EXPAND})

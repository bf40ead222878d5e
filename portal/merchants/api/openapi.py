"""The API in OpenAPI 3.1: kept by hand beside the code, and held to it by a test that checks real answers with it."""

from typing import Any

from portal.core.languages import LANGUAGES
from portal.merchants.api.reading import LARGEST_AMOUNT, LONGEST_NAME, LONGEST_VALUE, MOST_METADATA
from portal.merchants.api.routes import LARGEST_PAGE, LIMIT
from portal.payments.models import SessionStatus
from portal.payments.refund_models import RefundReason

Schema = dict[str, Any]

_STATUSES = [status.value for status in SessionStatus]
_MODES = ["test", "live"]
_INSTANT: Schema = {"type": "string", "format": "date-time", "pattern": "Z$"}
EXAMPLE_ID = "3f0c8a52-7d1e-4b8f-9c55-0d6f1f6b2a10"
EXAMPLE_WISH: Schema = {
    "amount_minor": 4900,
    "currency": "PLN",
    "description": "Order 1042",
    "success_url": "https://shop.example.com/thanks",
    "cancel_url": "https://shop.example.com/basket",
    "customer_email": "buyer@example.com",
    "customer_name": "Jan Kowalski",
    "metadata": {"order": "1042"},
}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


_TEXT: Schema = {"type": "string"}
_ENTRY: Schema = {"type": ["string", "number", "boolean", "null"]}

SESSION: Schema = {
    "type": "object",
    "description": "Something to be paid.",
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "object": {"const": "session"},
        "merchant_id": {"type": "string", "format": "uuid"},
        "amount": {"type": "string", "pattern": r"^[0-9]+(\.[0-9]{2,3})?$", "description": "In whole units, exact."},
        "amount_minor": {"type": "integer", "minimum": 1, "description": "In the smallest unit of the currency."},
        "refunded_minor": {"type": "integer", "minimum": 0, "description": "What has gone back of it."},
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "mode": {"enum": _MODES},
        "status": {"enum": _STATUSES, "description": "paid and failed are final."},
        "payment_status": {"enum": ["not_started", "completed"]},
        "description": {"type": "string", "maxLength": 200},
        "success_url": _or_null({"type": "string", "format": "uri"}),
        "cancel_url": _or_null({"type": "string", "format": "uri"}),
        "url": {"type": "string", "format": "uri", "description": "The pay page: send your customer there."},
        "created_at": _INSTANT,
        "expires_at": _INSTANT,
        "paid_at": _or_null(_INSTANT),
        "payment_provider": _or_null(_TEXT),
        "provider_reference": _or_null(_TEXT),
        "stripe_intent_id": _or_null(
            {"type": "string", "description": "The same as provider_reference.", "deprecated": True}
        ),
        "metadata": {
            "type": "object",
            "properties": {
                "customer_email": _or_null(_TEXT),
                "customer_name": _or_null(_TEXT),
                "webhook_sources": {"type": "array", "items": _TEXT, "description": "Providers that sent a webhook."},
            },
            "required": ["customer_email", "customer_name", "webhook_sources"],
            "additionalProperties": _ENTRY,
        },
    },
}
SESSION["required"] = list(SESSION["properties"])

WISH: Schema = {
    "type": "object",
    "additionalProperties": False,
    "required": ["currency"],
    "anyOf": [{"required": ["amount_minor"]}, {"required": ["amount"]}],
    "properties": {
        "amount_minor": {"type": "integer", "minimum": 1, "maximum": LARGEST_AMOUNT,
                         "description": "In the smallest unit: 4900 is 49.00 PLN, or 4900 JPY."},
        "amount": {"type": ["string", "number"], "description": "Instead of amount_minor, in whole units: \"49.00\"."},
        "currency": {"type": "string", "minLength": 3, "maxLength": 3, "description": "ISO 4217."},
        "mode": {"enum": _MODES, "description": "Must be the key's; may be left out."},
        "success_url": {"type": "string", "maxLength": 2000,
                        "description": "Your page after paying; we add session_id. In test mode also http://localhost."},
        "cancel_url": {"type": "string", "maxLength": 2000, "description": "Your page for who did not pay."},
        "description": {"type": "string", "maxLength": 200, "description": "The buyer and the invoice read this."},
        "customer_email": {"type": "string", "maxLength": 254, "description": "The receipt and a 7-day link go there."},
        "customer_name": {"type": "string", "maxLength": 120},
        "locale": {"enum": list(LANGUAGES), "description": "Language of invoice and mail."},
        "metadata": {"type": "object", "maxProperties": MOST_METADATA,
                     "propertyNames": {"maxLength": LONGEST_NAME, "pattern": "^[A-Za-z0-9_.-]+$"},
                     "additionalProperties": {**_ENTRY, "maxLength": LONGEST_VALUE},
                     "description": "Your own notes, given back to you."},
    },
}  # fmt: skip

_REASONS = [reason.value for reason in RefundReason]
EXAMPLE_REFUND: Schema = {"amount_minor": 1000, "reason": "requested_by_customer"}

REFUND_WISH: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "amount_minor": {"type": "integer", "minimum": 1, "maximum": LARGEST_AMOUNT,
                         "description": "How much, in the smallest unit of the session's currency; all that is left "
                                        "when neither amount is sent."},
        "amount": {"type": ["string", "number"], "description": "Instead of amount_minor, in whole units: \"10.00\"."},
        "reason": {"enum": _REASONS, "default": "requested_by_customer", "description": "The provider is told so."},
    },
}  # fmt: skip

REFUND: Schema = {
    "type": "object",
    "description": "Money of a session that goes back.",
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "object": {"const": "refund"},
        "session_id": {"type": "string", "format": "uuid"},
        "amount": SESSION["properties"]["amount"],
        "amount_minor": SESSION["properties"]["amount_minor"],
        "currency": SESSION["properties"]["currency"],
        "status": {
            "enum": ["pending", "succeeded", "failed"],
            "description": "A succeeded one may still fail, when the bank sends the money back.",
        },
        "reason": {"enum": _REASONS},
        "failure": _or_null({"type": "string", "description": "Why it failed, as the provider says it."}),
        "created_at": _INSTANT,
        "succeeded_at": _or_null(_INSTANT),
    },
}
REFUND["required"] = list(REFUND["properties"])

REFUND_LIST: Schema = {
    "type": "object",
    "additionalProperties": False,
    "required": ["object", "data"],
    "properties": {
        "object": {"const": "list"},
        "data": {"type": "array", "items": {"$ref": "#/components/schemas/Refund"}},
    },
}

ERROR: Schema = {
    "type": "object",
    "description": "Every refusal has this shape.",
    "additionalProperties": False,
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "additionalProperties": False,
            "required": ["type", "code", "message", "field", "fields", "request_id"],
            "properties": {
                "type": {
                    "enum": [
                        "invalid_request", "authentication", "permission", "not_found", "conflict", "invalid_values",
                        "rate_limit", "server_error",
                    ],
                    "description": "What to do about it. After rate_limit and server_error, try again later.",
                },
                "code": {"type": "string", "description": "What exactly, for your program."},
                "message": {"type": "string", "description": "What exactly, for a person."},
                "field": _or_null(_TEXT),
                "fields": {
                    "type": "array",
                    "description": "Every wrong field.",
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["field", "code", "message"],
                        "properties": {"field": _TEXT, "code": _TEXT, "message": _TEXT},
                    },
                },
                "request_id": {"type": ["string", "null"], "description": "Tell us this when you ask for help."},
            },
        }
    },
}  # fmt: skip

LIST: Schema = {
    "type": "object",
    "additionalProperties": False,
    "required": ["object", "data", "has_more", "next_cursor"],
    "properties": {
        "object": {"const": "list"},
        "data": {"type": "array", "items": {"$ref": "#/components/schemas/Session"}},
        "has_more": {"type": "boolean"},
        "next_cursor": _or_null({"type": "string", "description": "Send it as cursor for the next page."}),
    },
}

STATUS: Schema = {
    "type": "object",
    "additionalProperties": False,
    "required": ["status", "payment_status", "payment_provider", "paid_at"],
    "properties": {
        "status": {"enum": _STATUSES},
        "payment_status": {"enum": ["not_started", "completed"]},
        "payment_provider": _or_null(_TEXT),
        "paid_at": _or_null({"type": "string", "format": "date-time"}),
    },
}

_PRICE: Schema = {
    "type": "object",
    "additionalProperties": False,
    "required": ["amount", "amount_minor", "currency"],
    "properties": {
        "amount": {"type": "string", "pattern": r"^[0-9]+(\.[0-9]{2,3})?$"},
        "amount_minor": {"type": "integer", "minimum": 1},
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
    },
}
SITE: Schema = {
    "type": "object",
    "description": "A hosted website.",
    "additionalProperties": False,
    "required": ["id", "slug", "title", "status", "is_for_sale", "url", "page_url", "purchase_price", "monthly_price"],
    "properties": {
        "object": {"const": "site"},
        "id": {"type": "string", "format": "uuid"},
        "slug": _TEXT,
        "title": _TEXT,
        "summary": _TEXT,
        "status": {"enum": ["preview", "owned", "active"]},
        "is_for_sale": {"type": "boolean"},
        "url": {"type": "string", "format": "uri", "description": "Where the site is served."},
        "page_url": {"type": "string", "format": "uri", "description": "Where it can be bought."},
        "purchase_price": _PRICE,
        "monthly_price": _PRICE,
    },
}  # fmt: skip

_ERRORS = {
    "400": "The request cannot be read, or names something unknown.",
    "401": "The key is missing, unknown, revoked or expired.",
    "403": "The key may not do this, or the merchant is suspended.",
    "404": "There is no such session for this key.",
    "409": "There is nothing left to give back, or a bank decides about the money.",
    "413": "The body is larger than 256 KiB.",
    "415": "The body is not said to be JSON.",
    "422": "Some values are wrong, or an Idempotency-Key came with another request.",
    "429": "Too many requests with this key. Wait for Retry-After seconds.",
    "503": "Not available right now. Nothing was lost; try again.",
}


def _answer(description: str, schema: str) -> Schema:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": description, "content": content}


def _refusals(*statuses: str) -> Schema:
    return {status: _answer(_ERRORS[status], "Error") for status in statuses}


_ID: Schema = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"},
             "description": "The id of a payment."}  # fmt: skip
_SLUG: Schema = {"name": "slug", "in": "path", "required": True, "schema": _TEXT,
               "description": "The last part of the site's address."}  # fmt: skip
_REPEAT: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "Your own name for this payment. Asking again within 24 hours gives the first answer to the letter, "
    "with Idempotent-Replayed: true, and opens nothing new. Two at once: the second waits for the first.",
}


_REPEAT_REFUND = (
    "Your own name for this refund. Asking again within 24 hours gives the first answer to the letter, and no money "
    "twice."
)


def document(origin: str) -> Schema:
    """The whole description, for this installation."""
    query = [
        ("cursor", {"type": "string"}, "The next_cursor of the answer before."),
        ("limit", {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": 25}, "How many."),
        ("status", {"enum": _STATUSES}, "Only these."),
    ]
    parameters = [
        {"name": name, "in": "query", "schema": schema, "description": words} for name, schema, words in query
    ]
    create: Schema = {
        "operationId": "createSession",
        "summary": "Open a payment",
        "description": "Needs the right sessions:write. Send your customer to the url of the answer.",
        "parameters": [_REPEAT],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/SessionWish"}, "example": EXAMPLE_WISH}
            },
        },
        "responses": {
            "201": _answer("The payment was opened.", "Session"),
            **_refusals("400", "401", "403", "413", "415", "422", "429", "503"),
        },
    }
    listing: Schema = {
        "operationId": "listSessions",
        "summary": "List payments",
        "description": "Needs the right sessions:read. Newest first; a test key sees test payments only.",
        "parameters": parameters,
        "responses": {
            "200": _answer("A page of payments.", "SessionList"),
            **_refusals("400", "401", "403", "422", "429", "503"),
        },
    }
    reading: Schema = {
        "operationId": "getSession",
        "summary": "Read a payment",
        "description": "Needs the right sessions:read.",
        "parameters": [_ID],
        "responses": {
            "200": _answer("The payment.", "Session"),
            **_refusals("400", "401", "403", "404", "429", "503"),
        },
    }
    refund: Schema = {
        "operationId": "createRefund",
        "summary": "Give money back",
        "description": "Needs the right refunds:write. All that is left of a paid session, or a part of it.",
        "parameters": [_ID, {**_REPEAT, "description": _REPEAT_REFUND}],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/RefundWish"}, "example": EXAMPLE_REFUND}
            },
        },
        "responses": {
            "201": _answer("It is on its way. The webhook session.refunded says when it has gone back.", "Refund"),
            **_refusals("400", "401", "403", "404", "409", "413", "415", "422", "429", "503"),
        },
    }
    refunds: Schema = {
        "operationId": "listRefunds",
        "summary": "See what went back",
        "description": "Needs the right sessions:read. Newest first.",
        "parameters": [_ID],
        "responses": {
            "200": _answer("The refunds of the session.", "RefundList"),
            **_refusals("400", "401", "403", "404", "429", "503"),
        },
    }
    status: Schema = {
        "operationId": "getStatus",
        "summary": "See how a payment stands",
        "description": "Open to everybody who has the id; tells nothing about the buyer.",
        "security": [],
        "parameters": [_ID],
        "responses": {"200": _answer("How it stands.", "Status"), "404": {"description": "There is no such payment."}},
    }
    site: Schema = {
        "operationId": "getSite",
        "summary": "Read a site",
        "description": "Open to everybody; tells nothing about its owner.",
        "security": [],
        "parameters": [_SLUG],
        "responses": {"200": _answer("The site.", "Site"), "404": {"description": "There is no such site."}},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Payments API",
            "version": "1",
            "description": f"JSON over HTTPS. A key allows {LIMIT.replace('per', 'requests per')}.",
        },
        "servers": [{"url": origin}],
        "security": [{"key": []}],
        "paths": {
            "/api/v1/sessions": {"post": create, "get": listing},
            "/api/v1/sessions/{id}": {"get": reading},
            "/api/v1/sessions/{id}/refunds": {"post": refund, "get": refunds},
            "/session/{id}/status": {"get": status},
            "/api/v1/sites/{slug}": {"get": site},
        },
        "components": {
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, sk_test_… or sk_live_…, in the header and never in an address.",
                }
            },
            "schemas": {
                "Session": SESSION, "SessionList": LIST, "SessionWish": WISH, "Refund": REFUND,
                "RefundList": REFUND_LIST, "RefundWish": REFUND_WISH, "Status": STATUS, "Error": ERROR, "Site": SITE,
            },
        },
    }  # fmt: skip

"""`/docs`: the API for people to read, and its OpenAPI document for tools."""

import json
from typing import Any

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from portal.core import htmx
from portal.core.access import public
from portal.core.addresses import origin
from portal.merchants.api import openapi

bp = Blueprint("docs", __name__, url_prefix="/docs")


@bp.get("")
@public
def show() -> ResponseReturnValue:
    """The API with its fields, answers and commands to copy, from the same document."""
    described = document()
    return htmx.render("merchants/docs.html", document=described, operations=operations(described), examples=examples())


@bp.get("/openapi.json")
@public
def openapi_json() -> ResponseReturnValue:
    """The document itself."""
    return jsonify(document())


def document() -> dict[str, Any]:
    """The description of this installation's API."""
    return openapi.document(origin())


def operations(described: dict[str, Any]) -> list[dict[str, Any]]:
    """Every operation with what the page shows of it."""
    found = []
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            found.append(
                {
                    "method": method.upper(),
                    "path": path,
                    "id": operation["operationId"],
                    "summary": operation["summary"],
                    "description": operation["description"],
                    "parameters": operation.get("parameters", []),
                    "fields": {name: _words(one) for name, one in _fields(operation, described).items()},
                    "responses": operation["responses"],
                }
            )
    return found


def _fields(operation: dict[str, Any], described: dict[str, Any]) -> dict[str, Any]:
    """What may stand in the body that an operation takes."""
    if "requestBody" not in operation:
        return {}
    name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    fields: dict[str, Any] = described["components"]["schemas"][name]["properties"]
    return fields


def _words(field: dict[str, Any]) -> str:
    """What is said about a field: its meaning, its choices, its length."""
    said = [field.get("description", "")]
    if "enum" in field:
        said.append(f"One of {', '.join(field['enum'])}.")
    if "maxLength" in field:
        said.append(f"Up to {field['maxLength']} characters.")
    return " ".join(filter(None, said))


def examples() -> dict[str, str]:
    """A command to copy for each operation. `$KEY` is an API key, `$ID` a session's id."""
    base = origin()
    body = json.dumps(openapi.EXAMPLE_WISH, indent=2)
    key = '-H "Authorization: Bearer $KEY"'
    return {
        "createSession": (
            f"curl -sS {base}/api/v1/sessions {key} \\\n"
            f"  -H 'Content-Type: application/json' -H 'Idempotency-Key: order-1042' \\\n  -d '{body}'"
        ),
        "listSessions": f'curl -sS "{base}/api/v1/sessions?limit=10&status=paid" {key}',
        "getSession": f'curl -sS "{base}/api/v1/sessions/$ID" {key}',
        "getSite": f'curl -sS "{base}/api/v1/sites/$SLUG"',
        "createRefund": (
            f"curl -sS {base}/api/v1/sessions/$ID/refunds {key} \\\n"
            f"  -H 'Content-Type: application/json' -H 'Idempotency-Key: refund-1042' \\\n"
            f"  -d '{json.dumps(openapi.EXAMPLE_REFUND)}'"
        ),
        "listRefunds": f'curl -sS "{base}/api/v1/sessions/$ID/refunds" {key}',
        "getStatus": f'curl -sS "{base}/session/$ID/status"',
    }

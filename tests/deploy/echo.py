"""A WSGI app that says what reached it; tests put it where the portal would be."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """Answer with the request's headers, address and the length of its body."""
    seen = {name: value for name, value in environ.items() if isinstance(value, str)}
    seen["body_length"] = str(len(environ["wsgi.input"].read()))
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(seen).encode()]

"""The fake Stripe's REST API: routes, lists, `expand`, and idempotency keys."""

import threading
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from tests.fakes.stripe import wire
from tests.fakes.stripe.shapes import Object
from tests.fakes.stripe.wire import ApiError
from tests.fakes.stripe.world import World

Answer = Callable[[World, dict[str, Any], str], Object]


def _listed(kind: str, *filters: str) -> Answer:
    def answer(world: World, params: dict[str, Any], _identifier: str) -> Object:
        world.tick()
        found = [
            thing
            for thing in world.all(kind)
            if all(params[name] == thing[name] for name in filters if name in params) and _is_wanted(thing, params)
        ]
        return _page(found, params, f"/v1/{_PATHS[kind]}")

    return answer


def _is_wanted(thing: Object, params: dict[str, Any]) -> bool:
    created: dict[str, int] = params.get("created", {})
    compare = {
        "gt": thing["created"].__gt__,
        "gte": thing["created"].__ge__,
        "lt": thing["created"].__lt__,
        "lte": thing["created"].__le__,
    }
    if not all(compare[name](limit) for name, limit in created.items()):
        return False
    if thing["object"] != "event":
        return True
    types = params.get("types") or ([params["type"]] if "type" in params else None)
    if types and not any(_fits(thing["type"], wanted) for wanted in types):
        return False
    is_delivered = thing["pending_webhooks"] == 0
    return bool(params.get("delivery_success", is_delivered) == is_delivered)


def _fits(kind: str, wanted: str) -> bool:
    return kind == wanted or (wanted.endswith("*") and kind.startswith(wanted[:-1]))


def _page(found: list[Object], params: dict[str, Any], url: str) -> Object:
    """Newest first; `starting_after` goes to older ones and `ending_before` to newer ones."""
    limit = min(params.get("limit", 10), 100)
    ids = [thing["id"] for thing in found]
    if cursor := params.get("starting_after"):
        if cursor not in ids:
            raise wire.missing("object", cursor, "starting_after")
        rest = found[ids.index(cursor) + 1 :]
        taken = rest[:limit]
    elif cursor := params.get("ending_before"):
        if cursor not in ids:
            raise wire.missing("object", cursor, "ending_before")
        rest = found[: ids.index(cursor)]
        taken = rest[-limit:]
    else:
        rest, taken = found, found[:limit]
    return {"object": "list", "data": taken, "has_more": len(rest) > len(taken), "url": url}


_PATHS = {
    "checkout.session": "checkout/sessions",
    "payment_intent": "payment_intents",
    "charge": "charges",
    "refund": "refunds",
    "dispute": "disputes",
    "event": "events",
}


def _one(kind: str, param: str) -> Answer:
    return lambda world, _params, identifier: world.get(kind, identifier, param)


@dataclass(frozen=True)
class Route:
    """One call: what it takes and what answers it. `{id}` in the path stands for an object's id."""

    method: str
    path: str
    params: wire.Hash
    answer: Answer


ROUTES = (
    Route("POST", "checkout/sessions", wire.SESSION_CREATE, lambda world, params, _id: world.create_session(params)),
    Route("GET", "checkout/sessions", wire.SESSION_LIST, _listed("checkout.session", "payment_intent", "status")),
    Route("GET", "checkout/sessions/{id}", wire.RETRIEVE, lambda world, _params, found: world.session(found)),
    Route(
        "POST",
        "checkout/sessions/{id}/expire",
        wire.RETRIEVE,
        lambda world, _params, found: world.expire_session(found),
    ),
    Route("GET", "payment_intents", wire.INTENT_LIST, _listed("payment_intent", "customer")),
    Route("GET", "payment_intents/{id}", wire.RETRIEVE, _one("payment_intent", "intent")),
    Route("GET", "charges/{id}", wire.RETRIEVE, _one("charge", "id")),
    Route("GET", "invoices/{id}", wire.RETRIEVE, _one("invoice", "invoice")),
    Route("GET", "subscriptions/{id}", wire.RETRIEVE, _one("subscription", "id")),
    Route(
        "DELETE",
        "subscriptions/{id}",
        wire.SUBSCRIPTION_CANCEL,
        lambda world, _params, found: world.subscriptions.cancel(found),
    ),
    Route("POST", "refunds", wire.REFUND_CREATE, lambda world, params, _id: world.refund(params)),
    Route("GET", "refunds", wire.REFUND_LIST, _listed("refund", "payment_intent", "charge")),
    Route("GET", "refunds/{id}", wire.RETRIEVE, _one("refund", "id")),
    Route("GET", "disputes", wire.DISPUTE_LIST, _listed("dispute", "payment_intent", "charge")),
    Route("GET", "disputes/{id}", wire.RETRIEVE, _one("dispute", "dispute")),
    Route("GET", "events", wire.EVENT_LIST, _listed("event")),
    Route("GET", "events/{id}", wire.RETRIEVE, _one("event", "id")),
)


def call(world: World, method: str, path: str, encoded: str) -> Object:
    """Answer one call. Raises ApiError."""
    for route in ROUTES:
        identifier = _match(route.path, path.removeprefix("/v1/"))
        if identifier is not None and route.method == method:
            params = route.params.read(wire.decode(encoded))
            with world.lock:
                answer = deepcopy(route.answer(world, params, identifier))
                for expansion in params.get("expand", ()):
                    _expand(world, answer, expansion.split("."))
            return answer
    message = (
        f"Unrecognized request URL ({method}: {path}). If you are trying to list objects, remove the trailing slash."
    )
    raise ApiError(404, message)


def _match(pattern: str, path: str) -> str | None:
    """The id in the path, "" where there is none, None when the path is another one."""
    wanted, given = pattern.split("/"), path.split("/")
    if len(wanted) != len(given):
        return None
    identifier = ""
    for one, other in zip(wanted, given, strict=True):
        if one == "{id}":
            identifier = other
        elif one != other:
            return None
    return identifier


def _expand(world: World, thing: Object, names: list[str]) -> None:
    name, *rest = names
    if name == "data" and isinstance(thing.get("data"), list):
        for item in thing["data"]:
            _expand(world, item, rest)
        return
    if thing.get("object") == "invoice" and name == "payments":
        # A list of its own, which an invoice shows only when it is asked for.
        mine = [one for one in reversed(world.all("invoice_payment")) if one["invoice"] == thing["id"]]
        thing[name] = {"object": "list", "data": deepcopy(mine), "has_more": False, "url": "/v1/invoice_payments"}
        return
    if name not in thing:
        message = f"This property cannot be expanded ({name})."
        raise ApiError(400, message, param="expand")
    value = thing[name]
    if isinstance(value, str) and value in world.objects:
        thing[name] = value = deepcopy(world.objects[value])
    if rest and isinstance(value, dict):
        _expand(world, value, rest)


@dataclass
class Remembered:
    """The first answer under an idempotency key; None while it is being worked out."""

    request: tuple[str, str, dict[str, Any]]
    answer: tuple[int, bytes] | None = None


class IdempotencyKeys:
    """Gives the first answer again, refuses other parameters, and forgets what failed validation."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Remembered] = {}

    def enter(self, key: str, method: str, path: str, encoded: str) -> tuple[int, bytes] | None:
        """The earlier answer, or None when this is the first call, to be followed by `leave`. Raises ApiError."""
        if len(key) > 255:
            raise ApiError(400, "Idempotency keys may be at most 255 characters long.", kind="idempotency_error")
        request = (method, path, wire.decode(encoded))
        with self._lock:
            known = self._known.get(key)
            if known is None:
                self._known[key] = Remembered(request)
                return None
            if known.request != request:
                message = (
                    "Keys for idempotent requests can only be used with the same parameters they were first used "
                    f"with. Try using a key other than '{key}' if you meant to execute a different request."
                )
                raise ApiError(400, message, kind="idempotency_error")
            if known.answer is None:
                message = f"There is currently another in-progress request using this Idempotent Key ({key})."
                raise ApiError(409, message, code="idempotency_key_in_use", kind="idempotency_error")
            return known.answer

    def leave(self, key: str, answer: tuple[int, bytes] | None) -> None:
        """Remember the answer, or forget the key."""
        with self._lock:
            if answer is None:
                self._known.pop(key, None)
            else:
                self._known[key].answer = answer

"""The fake's HTTP side: addresses, keys, and what can go wrong on the way."""

import base64
import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Self

from tests.fakes.easypost.delivery import Switches, Webhooks
from tests.fakes.easypost.world import ApiError, World
from tests.fakes.listening import Answer, Request, Server, html_answer, json_answer
from tests.fakes.serving import Dropped

API_KEY, WEBHOOK_SECRET = "EZTKfakefakefakefakefakefake", "sekret-für-webhooks"


@dataclass
class Trouble:
    """What goes wrong with the next calls; `calls` is how many of them, `on` which ("buy", "" for all)."""

    kind: str = ""  # "slow", "silent" (done, but no answer), "dropped", "500", "502", "429", "garbage", "half"
    on: str = ""
    calls: int = 0
    seconds: float = 0.5


@dataclass
class Seen:
    """A request that came in."""

    method: str
    path: str
    body: Any = field(default=None)


class FakeEasyPost:
    """Listens on 127.0.0.1; use it with `with`."""

    def __init__(self, webhook_url: str = "", *, port: int = 0, mode: str = "test") -> None:
        self.webhooks = Webhooks(webhook_url, WEBHOOK_SECRET)
        self.world = World(self.webhooks.announce, mode=mode)
        self.requests: list[Seen] = []
        self.trouble = Trouble()
        self._lock = threading.Lock()
        self._server = Server(port, self._answer)
        self.world.url = self._server.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.webhooks.stop()
        self._server.end()

    @property
    def api_base(self) -> str:
        """For EASYPOST_API_BASE."""
        return f"{self.world.url}/v2"

    def set_trouble(self, kind: str, *, on: str = "", calls: int = 1, seconds: float = 0.5) -> None:
        """Let the next calls go wrong."""
        self.trouble = Trouble(kind, on, calls, seconds)

    def set_webhooks(self, **changes: Any) -> None:
        """Send webhooks, in a certain way."""
        self.webhooks.switches = Switches(**{"is_on": True, **changes})

    def calls(self, ending: str) -> int:
        """How many requests had a path that ends so."""
        return sum(seen.path.endswith(ending) for seen in self.requests)

    def _answer(self, request: Request) -> Answer:
        if request.path == "/":
            return html_answer(200, self._page())
        if request.path.startswith("/files/postage_label/"):
            return self._label(request.path)
        if request.path.startswith("/control/"):
            return self._control(request.path)
        self.requests.append(Seen(request.method, request.path, json.loads(request.body or b"null")))
        trouble = self._take_trouble(request)
        if trouble is not None and trouble.kind in ("500", "502", "429", "garbage", "dropped"):
            return _broken(trouble.kind)
        if trouble is not None and trouble.kind == "slow":
            time.sleep(trouble.seconds)
        answer = self._carry_out(request)
        if trouble is not None and trouble.kind == "silent":
            # What was asked for happened; whoever asked never learns it.
            time.sleep(trouble.seconds)
            raise Dropped
        if trouble is not None and trouble.kind == "half":
            return Answer(answer.status, answer.body, answer.headers, is_half=True)
        return answer

    def _carry_out(self, request: Request) -> Answer:
        if not _is_ours(request.headers.get("authorization", "")):
            refusal = {"code": "APIKEY.INACTIVE", "message": "This API key is no longer active.", "errors": []}
            return json_answer(401, {"error": refusal})
        try:
            status, value = self._route(request)
        except ApiError as error:
            return json_answer(error.status, error.body)
        return json_answer(status, value)

    def _route(self, request: Request) -> tuple[int, Any]:
        parts = request.path.strip("/").split("/")
        values = json.loads(request.body or b"{}") or {}
        match (request.method, *parts):
            case ("POST", "v2", "shipments"):
                return 201, self.world.create_shipment(values)
            case ("GET", "v2", "shipments", reference):
                return 200, self.world.get_shipment(reference)
            case ("POST", "v2", "shipments", reference, "buy"):
                return 200, self.world.buy(reference, values)
            case ("POST", "v2", "shipments", reference, "refund"):
                return 200, self.world.refund(reference)
            case ("GET", "v2", "trackers", reference):
                return 200, self.world.get_tracker(reference)
            case _:
                raise ApiError(404, "NOT_FOUND", "The requested resource could not be found.")

    def _take_trouble(self, request: Request) -> Trouble | None:
        with self._lock:
            trouble = self.trouble
            if trouble.calls < 1 or not request.path.endswith(trouble.on):
                return None
            trouble.calls -= 1
            return Trouble(trouble.kind, trouble.on, 0, trouble.seconds)

    def _label(self, path: str) -> Answer:
        content = self.world.labels.get(path.rsplit("/", 1)[1].removesuffix(".pdf"))
        if content is None:
            return Answer(404)
        return Answer(200, content, {"Content-Type": "application/pdf"})

    def _control(self, path: str) -> Answer:
        """The page's links: `/control/scan/<tracker>/<status>`."""
        _empty, _control, _scan, tracker, status = path.split("/")
        self.world.scan(tracker, status)
        return Answer(303, b"", {"Location": "/"})

    def _page(self) -> str:
        """What has been bought, with a link for everything that can happen to a parcel next."""
        steps = ("pre_transit", "in_transit", "out_for_delivery", "failure", "delivered", "return_to_sender")
        rows = "".join(
            f"<li>{tracker['carrier']} {tracker['tracking_code']}: {tracker['status']} "
            + " ".join(f'<a href="/control/scan/{tracker["id"]}/{step}">{step}</a>' for step in steps)
            for tracker in self.world.trackers.values()
        )
        return f"<!doctype html><title>Fake EasyPost</title><h1>Parcels</h1><ul>{rows or '<li>none yet'}</ul>"


def _is_ours(authorization: str) -> bool:
    scheme, _space, value = authorization.partition(" ")
    if scheme == "Basic":
        value = base64.b64decode(value).decode().rstrip(":")
    return value == API_KEY


def _broken(kind: str) -> Answer:
    if kind == "dropped":
        raise Dropped
    if kind == "429":
        error = {"code": "RATE_LIMITED", "message": "Too many requests.", "errors": []}
        return json_answer(429, {"error": error}, Retry_After="1")
    if kind == "500":
        return json_answer(500, {"error": {"code": "INTERNAL_SERVER_ERROR", "message": "Oops.", "errors": []}})
    if kind == "502":
        return html_answer(502, "<html><h1>Bad gateway</h1></html>")
    return json_answer(200, {"object": "Something", "surprise": True})

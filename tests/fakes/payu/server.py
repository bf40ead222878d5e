"""The fake PayU's sockets: API, pay pages and control API on one port."""

import contextlib
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.fakes.payu import pages
from tests.fakes.payu.control import NAMES, Control
from tests.fakes.payu.delivery import Notifications
from tests.fakes.payu.world import Refusal, World
from tests.fakes.serving import Dropped, Handler, Server
from tests.fakes.stripe.faults import Fault, Faults

# Those of PayU's public sandbox point of sale.
POS_ID = "300746"
CLIENT_SECRET = "2ee86a66e5d97e3fadc400c9f19b065d"
SECOND_KEY = "b6ca15b0d1020e8094d9b5f8d163db54"
TOKEN_PATH, ORDERS_PATH = "/pl/standard/user/oauth/authorize", "/api/v2_1/orders"
_HANGS_AT_MOST = 60.0


@dataclass
class Call:
    """A request to the API, as the tests may want to see it."""

    method: str
    path: str
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        """The body as it was meant."""
        return json.loads(self.body)


@dataclass
class FakePayU:
    """One point of sale at a PayU of our own.

    `with FakePayU() as fake:` listens on a free port of 127.0.0.1 until the block ends. Point `PAYU_API_URL` at
    `fake.url`, and use `fake.control` to pay, to break things and to look. Notifications go to the address that each
    order names, unless `webhook_url` says otherwise ("": nowhere).
    """

    webhook_url: str | None = None
    port: int = 0
    second_key: str = SECOND_KEY
    client_secret: str = CLIENT_SECRET
    token_seconds: int = 43199
    webhooks: Notifications = field(init=False)
    world: World = field(init=False)
    faults: Faults = field(init=False, default_factory=Faults)
    tokens: set[str] = field(init=False, default_factory=set)
    control: Control = field(init=False)
    calls: list[Call] = field(init=False, default_factory=list)
    _server: Server | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.webhooks = Notifications(url=self.webhook_url, second_key=self.second_key)
        self.world = World(self.webhooks.announce, pos_id=POS_ID)
        self.control = Control(self.world, self.webhooks, self.faults, self.tokens)

    @property
    def url(self) -> str:
        """The address to use as the API's base."""
        return self.world.url

    def calls_to(self, method: str, path: str) -> list[Call]:
        """The calls so far whose path begins like this."""
        return [call for call in self.calls if call.method == method and call.path.startswith(path)]

    def start(self) -> Self:
        """Listen, and begin sending notifications."""
        self._server = Server(self.port, _Handler, self)
        self.port = self._server.server_port
        self.world.url = f"http://127.0.0.1:{self.port}"
        self._server.run("fake-payu")
        self.webhooks.start()
        return self

    def stop(self) -> None:
        """End everything, hanging calls included."""
        self.faults.clear()
        self.webhooks.stop()
        if self._server:
            self._server.end()
            self._server = None

    def __enter__(self) -> Self:
        return self if self._server else self.start()

    def __exit__(self, *_problem: object) -> None:
        self.stop()


class _Handler(Handler):
    def answer(self, method: str, sent: bytes) -> None:
        parts = urlsplit(self.path)
        body = sent.decode("utf-8", "replace")
        if parts.path.startswith(("/api/", "/pl/")):
            self._api(method, parts.path, body)
        elif parts.path.startswith("/_control/"):
            self._control(method, parts.path.removeprefix("/_control/"), body)
        elif parts.path == "/pay/":
            self._pay(method, parse_qs(parts.query), body)
        else:
            self._html(404, pages.message_page("There is nothing here."))

    # -- the API ------------------------------------------------------------------------------------------------

    def _api(self, method: str, path: str, body: str) -> None:
        fake = self.server.owner
        fake.calls.append(Call(method, path, dict(self.headers.items()), body))
        fault = fake.faults.take(method, path)
        if fault and fault.kind == "hang":
            fake.faults.released.wait(_HANGS_AT_MOST)
            raise Dropped
        if fault and fault.kind == "refused":
            raise Dropped
        if fault and fault.kind == "latency":
            time.sleep(fault.seconds)
        status, answer = self._answer(method, path, body, fault)
        if fault and fault.kind == "lost_answer":
            raise Dropped
        headers = {"Content-Type": "application/json", "Correlation-Id": f"{secrets.token_hex(8)}-fake"}
        if isinstance(answer, dict) and status == 302:
            headers["Location"] = answer["redirectUri"]
        encoded = json.dumps(answer).encode()
        if fault and fault.kind == "garbage":
            headers["Content-Type"], encoded = "text/html", b"<html><body>Bad gateway</body></html>"
        self.send(status, encoded, headers, is_half=bool(fault and fault.kind == "half"))

    def _answer(self, method: str, path: str, body: str, fault: Fault | None) -> tuple[int, Any]:
        if fault and fault.kind == "status":
            code = "GENERAL_ERROR" if fault.status >= 500 else "ERROR_VALUE_INVALID"
            return fault.status, {"status": {"statusCode": code, "statusDesc": "An injected fault"}}
        try:
            if path == TOKEN_PATH:
                return self._authorize(body)
            scheme, _, token = self.headers.get("Authorization", "").partition(" ")
            if scheme != "Bearer" or token not in self.server.owner.tokens:
                raise Refusal(401, "UNAUTHORIZED", "Unauthorized access")
            return self._call(method, path.removeprefix(ORDERS_PATH).strip("/").split("/"), body)
        except Refusal as refusal:
            return refusal.http_status, refusal.body

    def _authorize(self, body: str) -> tuple[int, Any]:
        form = {name: values[0] for name, values in parse_qs(body).items()}
        wanted = {
            "grant_type": "client_credentials",
            "client_id": POS_ID,
            "client_secret": self.server.owner.client_secret,
        }
        if form != wanted:
            return 401, {"error": "invalid_client", "error_description": "Bad client credentials"}
        token = secrets.token_hex(16)
        self.server.owner.tokens.add(token)
        lifetime = self.server.owner.token_seconds
        return 200, {
            "access_token": token,
            "token_type": "bearer",
            "expires_in": lifetime,
            "grant_type": form["grant_type"],
        }

    def _call(self, method: str, names: list[str], body: str) -> tuple[int, Any]:
        world = self.server.owner.world
        try:
            sent = json.loads(body) if body else {}
        except ValueError:
            raise Refusal(400, "ERROR_SYNTAX", "Not JSON") from None
        match method, names:
            case "POST", [""]:
                return 302, world.create(sent)
            case "GET", [order_id]:
                return 200, world.retrieve(order_id)
            case "DELETE", [order_id]:
                return 200, world.cancel(order_id)
            case "POST", [order_id, "captures"]:
                return 200, world.capture(order_id)
            case "POST", [order_id, "refunds"]:
                return 200, world.refund(order_id, sent)
            case "GET", [order_id, "refunds"]:
                return 200, world.list_refunds(order_id)
        raise Refusal(404, "DATA_NOT_FOUND", "No such address")

    # -- people -------------------------------------------------------------------------------------------------

    def _pay(self, method: str, query: dict[str, list[str]], body: str) -> None:
        world = self.server.owner.world
        order_id, token = query.get("orderId", [""])[0], query.get("token", [""])[0]
        page = world.pages.get(order_id)
        if page is None or page["token"] != token:
            self._html(404, pages.message_page("There is no such order."))
            return
        back = page["continue_url"]
        order = world.order(order_id)
        if method == "GET":
            self._html(200, pages.pay_page(order, back))
            return
        action = parse_qs(body).get("action", [""])[0]
        happenings = {
            "pay": world.pay,
            "wait": world.wait,
            "decline": world.decline,
            "lose": lambda one: world.pay(one, lose_webhook=True),
            "leave": world.order,
        }
        if action not in happenings:
            self._html(400, pages.pay_page(order, back))
            return
        with contextlib.suppress(Refusal):  # Another click was faster.
            happenings[action](order_id)
        is_refused = order["status"] == "CANCELED"
        mark = ("&" if "?" in back else "?") + "error=501" if is_refused else ""
        self.send(303, b"", {"Location": back + mark})

    def _control(self, method: str, name: str, body: str) -> None:
        control = self.server.owner.control
        headers = {"Content-Type": "application/json"}
        try:
            if name == "state" and method == "GET":
                answer: Any = control.state()
            elif name in NAMES and method == "POST":
                answer = getattr(control, name)(**json.loads(body or "{}"))
            else:
                self.send(404, json.dumps({"error": f"no control named {name}"}).encode(), headers)
                return
        except (Refusal, TypeError, ValueError, KeyError) as error:
            self.send(400, json.dumps({"error": str(error)}).encode(), headers)
            return
        self.send(200, json.dumps(answer).encode(), headers)

    # -- bytes --------------------------------------------------------------------------------------------------

    def _html(self, status: int, text: str) -> None:
        self.send(status, text.encode(), {"Content-Type": "text/html; charset=utf-8"})

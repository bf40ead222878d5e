"""The fake Stripe's sockets: API, pay pages and control API on one port."""

import base64
import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.fakes.serving import Dropped, Handler, Server
from tests.fakes.stripe import api, pages, shapes
from tests.fakes.stripe.control import NAMES, Control
from tests.fakes.stripe.delivery import Webhooks
from tests.fakes.stripe.faults import Fault, Faults
from tests.fakes.stripe.wire import ApiError
from tests.fakes.stripe.world import World

API_KEY = "sk_test_fake"
WEBHOOK_SECRET = "whsec_fake"
_HANGS_AT_MOST = 60.0


@dataclass
class Call:
    """A request to the API, as the tests may want to see it."""

    method: str
    path: str
    headers: dict[str, str]
    body: str


@dataclass
class FakeStripe:
    """One account at a Stripe of our own.

    `with FakeStripe(webhook_url, secret) as fake:` listens on a free port of 127.0.0.1 until the block ends. Point
    `STRIPE_API_BASE` at `fake.url`, and use `fake.control` to pay, to break things and to look.
    """

    webhook_url: str = ""
    secret: str = WEBHOOK_SECRET
    api_key: str = API_KEY
    port: int = 0
    livemode: bool = False
    webhooks: Webhooks = field(init=False)
    world: World = field(init=False)
    faults: Faults = field(init=False, default_factory=Faults)
    control: Control = field(init=False)
    calls: list[Call] = field(init=False, default_factory=list)
    keys: api.IdempotencyKeys = field(init=False, default_factory=api.IdempotencyKeys)
    _server: Server | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.webhooks = Webhooks(url=self.webhook_url, secrets=[self.secret])
        self.world = World(self.webhooks.announce, livemode=self.livemode)
        self.control = Control(self.world, self.webhooks, self.faults)

    @property
    def url(self) -> str:
        """The address to use as the API's base."""
        return self.world.url

    def start(self) -> Self:
        """Listen, and begin sending webhooks."""
        self._server = Server(self.port, _Handler, self)
        self.port = self._server.server_port
        self.world.url = f"http://127.0.0.1:{self.port}"
        self._server.run("fake-stripe")
        self.webhooks.start()
        return self

    def stop(self) -> None:
        """End everything, hanging calls included."""
        self.faults.clear()
        self.world.stop()
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
        if parts.path.startswith("/v1/"):
            self._api(method, parts.path, parts.query if method == "GET" else body, body)
        elif parts.path.startswith("/_control/"):
            self._control(method, parts.path.removeprefix("/_control/"), body)
        elif parts.path.startswith("/c/pay/"):
            self._pay(method, parts.path.removeprefix("/c/pay/"), body)
        elif parts.path in ("/", "/dashboard"):
            self._dashboard(method, body)
        else:
            self._html(404, pages.message_page("Not found", "There is nothing here."))

    # -- the API ------------------------------------------------------------------------------------------------

    def _api(self, method: str, path: str, encoded: str, body: str) -> None:
        fake = self.server.owner
        fake.calls.append(Call(method, path, dict(self.headers.items()), body))
        fault = fake.faults.take(method, path)
        if fault:
            self._before(fault)
        try:
            status, answer, headers = self._answer(method, path, encoded, fault)
        except ApiError as error:
            status, answer, headers = error.status, _encode({"error": error.body}), error.headers
        if fault and fault.kind == "lost_answer":
            raise Dropped
        self._send_api(status, answer, headers, fault)

    def _before(self, fault: Fault) -> None:
        if fault.kind == "hang":
            self.server.owner.faults.released.wait(_HANGS_AT_MOST)
            raise Dropped
        if fault.kind == "refused":
            raise Dropped

    def _answer(self, method: str, path: str, encoded: str, fault: Fault | None) -> tuple[int, bytes, dict[str, str]]:
        self._authenticate()
        fake = self.server.owner
        key = self.headers.get("Idempotency-Key") if method == "POST" else None
        if key is None:
            return 200, _encode(self._compute(method, path, encoded, fault)), {}
        headers = {"Idempotency-Key": key}
        if remembered := fake.keys.enter(key, method, path, encoded):
            replayed = {"Idempotent-Replayed": "true"}
            if remembered[0] >= 500:
                replayed["Stripe-Should-Retry"] = "false"
            return *remembered, {**headers, **replayed}
        answer: tuple[int, bytes] | None = None
        try:
            answer = 200, _encode(self._compute(method, path, encoded, fault))
            return *answer, headers
        except ApiError as error:
            error.headers.update(headers)
            if error.is_stored:
                answer = error.status, _encode({"error": error.body})
            raise
        finally:
            fake.keys.leave(key, answer)

    def _compute(self, method: str, path: str, encoded: str, fault: Fault | None) -> shapes.Object:
        if fault and fault.kind == "latency":
            time.sleep(fault.seconds)
        if fault and fault.kind == "status":
            raise _injected(fault)
        return api.call(self.server.owner.world, method, path, encoded)

    def _authenticate(self) -> None:
        scheme, _, given = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            given = base64.b64decode(given).decode("utf-8", "replace").partition(":")[0]
        if not given:
            message = "You did not provide an API key. You need to provide your API key in the Authorization header."
            raise ApiError(401, message)
        if given != self.server.owner.api_key:
            raise ApiError(401, f"Invalid API Key provided: {given[:8]}****")

    def _send_api(self, status: int, answer: bytes, headers: dict[str, str], fault: Fault | None) -> None:
        headers = {
            "Content-Type": "application/json",
            "Request-Id": shapes.new_id("req", 14),
            "Stripe-Version": self.headers.get("Stripe-Version", shapes.API_VERSION),
            **headers,
        }
        if fault and fault.kind == "garbage":
            headers["Content-Type"] = "text/html"
            answer = b"<html><body>Bad gateway</body></html>"
        self.send(status, answer, headers, is_half=bool(fault and fault.kind == "half"))

    # -- people -------------------------------------------------------------------------------------------------

    def _pay(self, method: str, identifier: str, body: str) -> None:
        world = self.server.owner.world
        try:
            session = world.session(identifier)
        except ApiError:
            self._html(404, pages.message_page("Not found", "There is no such payment page."))
            return
        name = world.names[identifier]
        if method == "GET":
            self._html(200, pages.pay_page(session, name))
            return
        action = parse_qs(body).get("action", [""])[0]
        happening = _happenings(world).get(action)
        if happening is None:
            self._html(400, pages.pay_page(session, name, "Choose how to pay."))
        elif session["status"] == "expired":
            self._html(200, pages.pay_page(session, name))
        elif action == "decline" and session["status"] == "open":
            self._html(200, pages.pay_page(happening(identifier), name, "Your card was declined."))
        else:
            with contextlib.suppress(ApiError):  # Another click was faster.
                session = happening(identifier)
            # A second click finds the session complete and goes where the first one went.
            is_done = session["status"] == "complete"
            target = session["success_url"] if is_done else session["cancel_url"] or session["success_url"]
            self._redirect(target.replace("{CHECKOUT_SESSION_ID}", identifier))

    def _dashboard(self, method: str, body: str) -> None:
        world = self.server.owner.world
        if method == "POST":
            form = {key: values[0] for key, values in parse_qs(body).items()}
            try:
                if form.get("action") == "refund":
                    world.refund({"payment_intent": form.get("payment_intent", "")})
                elif form.get("action") == "dispute":
                    world.dispute(form.get("payment_intent", ""))
            except ApiError as error:
                self._html(error.status, pages.message_page("That did not work", str(error)))
                return
            self._redirect("/dashboard")
            return
        world.tick()
        self._html(200, pages.dashboard(world))

    def _control(self, method: str, name: str, body: str) -> None:
        control = self.server.owner.control
        try:
            if name == "state" and method == "GET":
                answer: Any = control.state()
            elif name in NAMES and method == "POST":
                answer = getattr(control, name)(**json.loads(body or "{}"))
            else:
                self.send(404, _encode({"error": f"no control named {name}"}), {"Content-Type": "application/json"})
                return
        except (ApiError, TypeError, ValueError) as error:
            self.send(400, _encode({"error": str(error)}), {"Content-Type": "application/json"})
            return
        self.send(200, _encode(answer), {"Content-Type": "application/json"})

    # -- bytes --------------------------------------------------------------------------------------------------

    def _html(self, status: int, text: str) -> None:
        self.send(status, text.encode(), {"Content-Type": "text/html; charset=utf-8"})

    def _redirect(self, target: str) -> None:
        self.send(303, b"", {"Location": target})


def _encode(value: Any) -> bytes:
    return json.dumps(value, indent=2).encode()


def _injected(fault: Fault) -> ApiError:
    if fault.status == 429:
        return ApiError(429, "Request rate limit exceeded.", code="rate_limit")
    return ApiError(
        fault.status,
        "Sorry! There was an error while talking to one of our backends.",
        kind="api_error",
        is_stored=fault.is_stored,
    )


def _happenings(world: World) -> dict[str, Callable[[str], shapes.Object]]:
    """What each button of the pay page does."""
    return {
        "card": world.pay,
        "blik": lambda session: world.pay(session, "blik"),
        "decline": world.decline,
        "twice": world.pay_twice,
        "late": lambda session: world.pay_late(session, seconds=world.late_seconds),
        "late_fail": lambda session: world.pay_late(session, seconds=world.late_seconds, succeeds=False),
        "lose": lambda session: world.pay(session, lose_webhook=True),
        "after_expiry": world.pay_after_expiry,
        "expire": world.expire_session,
    }

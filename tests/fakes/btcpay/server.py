"""The fake BTCPay Server's sockets: the Greenfield API, the checkout page and a control API on one port."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from tests.fakes.btcpay.delivery import Webhooks
from tests.fakes.btcpay.world import ApiError, World, refusal
from tests.fakes.serving import Dropped, Handler, Server
from tests.fakes.stripe.faults import Fault, Faults

API_KEY = "f9b4fake"
STORE_ID = "Fpuu6SqcR5RUF1o3eVjrpTKmNNmZWBd5Vadrz9f6RnQT"
WEBHOOK_SECRET = "btcpay_fake_secret"
_HANGS_AT_MOST = 60.0
_JSON = {"Content-Type": "application/json; charset=utf-8"}
# The form's value and the button's words on the checkout page.
CHOICES = {
    "pay": "Pay, confirmed at once",
    "unconfirmed": "Pay, and wait for confirmations",
    "half": "Pay half of it",
    "double": "Pay twice the price",
    "lose": "Pay, and lose the webhooks",
    "late": "Let it expire, then pay",
    "expire": "Let it expire",
}


@dataclass
class Call:
    """A request to the API, as the tests may want to see it."""

    method: str
    path: str
    body: str


@dataclass
class FakeBTCPay:
    """One store at a BTCPay Server of our own.

    `with FakeBTCPay(webhook_url) as fake:` listens on a free port of 127.0.0.1 until the block ends.
    """

    webhook_url: str = ""
    secret: str = WEBHOOK_SECRET
    api_key: str = API_KEY
    store_id: str = STORE_ID
    port: int = 0
    webhooks: Webhooks = field(init=False)
    world: World = field(init=False)
    faults: Faults = field(init=False, default_factory=Faults)
    calls: list[Call] = field(init=False, default_factory=list)
    _server: Server | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.webhooks = Webhooks(self.webhook_url, self.secret)
        self.world = World(self.webhooks.announce, self.store_id)

    @property
    def url(self) -> str:
        """The server's address."""
        return self.world.url

    def __enter__(self) -> Self:
        self._server = Server(self.port, _Handler, self)
        self.port = self._server.server_port
        self.world.url = f"http://127.0.0.1:{self.port}"
        self._server.run("fake-btcpay")
        self.webhooks.start()
        return self

    def __exit__(self, *_problem: object) -> None:
        self.faults.clear()
        self.webhooks.stop()
        if self._server:
            self._server.end()
            self._server = None

    def act(self, invoice_id: str, action: str) -> None:
        """What a button of the checkout page does."""
        world = self.world
        actions: dict[str, Callable[[], object]] = {
            "pay": lambda: world.pay(invoice_id),
            "unconfirmed": lambda: world.pay(invoice_id, confirm=False),
            "half": lambda: world.pay(invoice_id, "0.5"),
            "double": lambda: world.pay(invoice_id, "2"),
            "lose": lambda: self._untold(lambda: world.pay(invoice_id)),
            "late": lambda: (world.expire(invoice_id), world.pay(invoice_id)),
            "expire": lambda: world.expire(invoice_id),
        }
        with world.lock:
            actions[action]()

    def _untold(self, happening: Callable[[], object]) -> None:
        self.webhooks.lose = True
        happening()
        self.webhooks.lose = False


class _Handler(Handler):
    @property
    def fake(self) -> FakeBTCPay:
        owner: FakeBTCPay = self.server.owner
        return owner

    def answer(self, method: str, body: bytes) -> None:
        parts = urlsplit(self.path)
        text = body.decode("utf-8", "replace")
        if parts.path.startswith("/api/v1/"):
            self._api(method, [unquote(part) for part in parts.path.split("/")[3:]], parts.query, text)
        elif parts.path.startswith("/i/"):
            self._page(method, parts.path.removeprefix("/i/"), text)
        elif parts.path.startswith("/_control/"):
            self._control(method, parts.path.removeprefix("/_control/"), text)
        else:
            self.send(404, b"", {"Content-Type": "text/html"})

    def _api(self, method: str, path: list[str], query: str, text: str) -> None:
        fake = self.fake
        fake.calls.append(Call(method, self.path, text))
        fault = fake.faults.take(method, urlsplit(self.path).path)
        if fault and fault.kind == "hang":
            fake.faults.released.wait(_HANGS_AT_MOST)
        if fault and fault.kind in ("hang", "refused"):
            raise Dropped
        try:
            if self.headers.get("Authorization") != f"token {fake.api_key}":
                raise refusal("unauthenticated", "Authentication is required for accessing this endpoint", 401)
            if fault and fault.kind == "status":
                raise refusal("injected", "Sorry", fault.status)
            with fake.world.lock:
                status, value = 200, _route(fake.world, method, path, parse_qs(query), json.loads(text or "{}"))
        except ApiError as error:
            status, value = error.status, error.body
        if fault and fault.kind == "lost_answer":
            raise Dropped
        self._send_json(status, value, fault)

    def _send_json(self, status: int, value: Any, fault: Fault | None = None) -> None:
        body = json.dumps(value, indent=2).encode()
        if fault and fault.kind == "garbage":
            self.send(200, b"<html><body>Bad gateway</body></html>", {"Content-Type": "text/html"})
        else:
            self.send(status, body, _JSON, is_half=bool(fault and fault.kind == "half"))

    def _page(self, method: str, invoice_id: str, text: str) -> None:
        world = self.fake.world
        try:
            invoice = world.invoice(invoice_id)
        except ApiError as error:
            self.send(error.status, b"There is no such invoice.", {"Content-Type": "text/plain"})
            return
        target = invoice["checkout"].get("redirectURL") or "/"
        if method == "POST":
            self.fake.act(invoice_id, parse_qs(text).get("action", ["pay"])[0])
            self.send(303, b"", {"Location": target})
            return
        buttons = "".join(
            f"<p><button name='action' value='{value}'>{escape(words)}</button></p>" for value, words in CHOICES.items()
        )
        page = (
            f"<!doctype html><html lang='en'><title>Invoice</title><h1>{escape(invoice['amount'])} "
            f"{escape(invoice['currency'])}</h1><p>{invoice['status']}. A stand-in: no coins move here.</p>"
            f"<form method='post'>{buttons}</form><p><a href='{escape(target)}'>Back to the shop</a></p></html>"
        )
        self.send(200, page.encode(), {"Content-Type": "text/html; charset=utf-8"})

    def _control(self, method: str, name: str, text: str) -> None:
        world = self.fake.world
        names = ("pay", "confirm", "double_spend", "expire", "mark", "pay_out")
        if name == "state" and method == "GET":
            deliveries = [asdict(one) for one in self.fake.webhooks.deliveries]
            self._send_json(200, {"invoices": list(world.invoices.values()), "deliveries": deliveries})
        elif name in names and method == "POST":
            try:
                with world.lock:
                    self._send_json(200, getattr(world, name)(**json.loads(text or "{}")))
            except (ApiError, KeyError, TypeError, ValueError) as error:
                self._send_json(400, {"error": str(error)})
        else:
            self._send_json(404, {"error": f"no control named {name}"})


def _route(world: World, method: str, path: list[str], query: dict[str, list[str]], body: dict[str, Any]) -> Any:
    """Answer one call of the API. Raises ApiError."""
    match method, path:
        case "GET", ["pull-payments", refund_id, "payouts"]:
            if refund_id not in world.payouts:
                raise refusal("pullpayment-not-found", "The pull payment was not found", 404)
            return world.payouts[refund_id]
        case _, ["stores", store_id, *_] if store_id != world.store_id:
            raise refusal("store-not-found", "The store was not found", 404)
        case "GET", ["stores", _, "invoices"]:
            return world.list_invoices(query)
        case "POST", ["stores", _, "invoices"]:
            return world.create_invoice(body)
        case "GET", ["stores", _, "invoices", invoice_id]:
            return world.invoice(invoice_id)
        case "DELETE", ["stores", _, "invoices", invoice_id]:
            world.invoice(invoice_id)["archived"] = True
            return None
        case "GET", ["stores", _, "invoices", invoice_id, "payment-methods"]:
            world.invoice(invoice_id)
            return world.payment_methods(invoice_id)
        case "POST", ["stores", _, "invoices", invoice_id, "status"]:
            return world.mark(invoice_id, body.get("status", ""))
        case "POST", ["stores", _, "invoices", invoice_id, "refund"]:
            return world.refund(invoice_id, body)
        case "GET", ["stores", _, "payouts"]:
            return [payout for payouts in world.payouts.values() for payout in payouts]
        case "GET", ["stores", _, "pull-payments"]:
            return [one for one in world.refunds.values() if not one["archived"] or "includeArchived" in query]
    raise refusal("not-found", "There is no such address", 404)

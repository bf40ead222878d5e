"""The fake Recurrente's sockets: API, pay pages and control on one port."""

import json
import math
import time
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any, Self

from tests.fakes.listening import Answer, Request, Server, html_answer, json_answer, redirect
from tests.fakes.recurrente.world import ApiError, Object, World
from tests.fakes.serving import Dropped
from tests.fakes.standard_webhooks import StandardWebhooks, quick_switches
from tests.fakes.stripe.delivery import Switches
from tests.fakes.stripe.faults import Fault, Faults

PUBLIC_KEY = "pk_test_fake"
SECRET_KEY = "sk_test_fake"
WEBHOOK_SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"
_HANGS_AT_MOST = 60.0
# What `POST /_control/<name>` may call; arguments are the JSON body's.
CONTROLS = (
    "pay", "pay_again", "begin_transfer", "arrive", "decline", "refund", "dispute", "renew", "fail_renewal", "cancel",
    "pause", "unpause",
)  # fmt: skip
# The button's value, what it says, and the words below it.
CHOICES = (
    ("card", "Pagar con tarjeta", "4242 4242 4242 4242. The money is there at once."),
    ("transfer", "Transferencia bancaria", "The money arrives later: press the next button on this page again."),
    ("arrive", "The transfer arrives", "What the bank does an hour later."),
    ("decline", "Use a card that is declined", "You stay here and may try again."),
    ("lose", "Pay, and lose the webhook", "The money is there, but the shop is not told."),
)


@dataclass
class FakeRecurrente:
    """`with FakeRecurrente(webhook_url) as fake:` listens until the block ends. RECURRENTE_API_URL is its `api_url`."""

    webhook_url: str = ""
    secret: str = WEBHOOK_SECRET
    secret_key: str = SECRET_KEY
    public_key: str = PUBLIC_KEY
    port: int = 0
    live_mode: bool = False
    webhooks: StandardWebhooks = field(init=False)
    world: World = field(init=False)
    faults: Faults = field(init=False, default_factory=Faults)
    calls: list[Request] = field(init=False, default_factory=list)
    events: list[Object] = field(init=False, default_factory=list)  # Everything that was to be told, sent or not.
    _server: Server | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.webhooks = StandardWebhooks(
            url=self.webhook_url, secrets=[self.secret], switches=quick_switches(), prefix="svix"
        )
        self.world = World(self._announce, live_mode=self.live_mode)

    def _announce(self, events: list[Object], is_lost: bool) -> None:
        self.events.extend(events)
        self.webhooks.announce(events, is_lost)

    @property
    def api_url(self) -> str:
        """What to set as the API's address."""
        return f"{self.world.url}/api"

    def set_webhooks(self, **switches: Any) -> None:
        """Change how webhooks are delivered; see `Switches`. They are sent in test mode too, which really is not so."""
        self.world.sends_in_test_mode = True
        self.webhooks.switches = Switches(**{**asdict(self.webhooks.switches), **switches})

    def __enter__(self) -> Self:
        self._server = Server(self.port, self._handle)
        self.world.url = self._server.url
        self.webhooks.start()
        return self

    def __exit__(self, *_problem: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End everything, hanging calls included."""
        self.faults.clear()
        self.webhooks.stop()
        if self._server:
            self._server.end()
            self._server = None

    def _handle(self, request: Request) -> Answer:
        if request.path.startswith("/api/"):
            return self._api(request)
        if request.path.startswith("/checkout-session/"):
            return self._pay(request, request.path.removeprefix("/checkout-session/"))
        if request.path.startswith("/_control/"):
            return self._control(request)
        return html_answer(404, "There is nothing here.")

    # -- the API ------------------------------------------------------------------------------------------------

    def _api(self, request: Request) -> Answer:
        self.calls.append(request)
        fault = self.faults.take(request.method, request.path.removeprefix("/api"))
        if fault:
            self._before(fault)
        try:
            answer = self._answer(request)
        except ApiError as error:
            answer = json_answer(error.status, error.body)
        if fault and fault.kind == "lost_answer":
            raise Dropped
        if fault and fault.kind == "garbage":
            return html_answer(200, "<html><body>Bad gateway</body></html>")
        if fault and fault.kind == "half":
            answer.is_half = True
        if fault and fault.kind == "late_failure":  # It was done, and the answer says that something went wrong.
            return json_answer(500, {"message": "Internal server error", "errors": {}})
        return answer

    def _before(self, fault: Fault) -> None:
        if fault.kind == "latency":
            time.sleep(fault.seconds)
        if fault.kind == "hang":
            self.faults.released.wait(_HANGS_AT_MOST)
        if fault.kind in ("hang", "refused"):
            raise Dropped

    def _answer(self, request: Request) -> Answer:
        if request.headers.get("x-secret-key") != self.secret_key:
            raise ApiError(401, "Unauthorized", secret_key="is invalid")
        resource, _, identifier = request.path.removeprefix("/api/").partition("/")
        call = (request.method, resource, bool(identifier))
        if call == ("POST", "checkouts", False):
            made = self.world.create_checkout(json.loads(request.body))
            # All that is documented of this answer.
            return json_answer(201, {"id": made["id"], "checkout_url": made["checkout_url"]})
        if call == ("GET", "checkouts", True):
            return json_answer(200, self.world.get_checkout(identifier))
        if call == ("GET", "checkouts", False):
            return self._list(request)
        if call == ("POST", "refunds", False):
            return json_answer(201, self.world.refund(json.loads(request.body)))
        if call == ("GET", "refunds", True) and identifier in self.world.refunds:
            return json_answer(200, self.world.refunds[identifier])
        if call == ("GET", "subscriptions", True):
            return json_answer(200, self.world.get_subscription(identifier))
        if call == ("DELETE", "subscriptions", True):
            return json_answer(200, self.world.cancel(identifier))
        if call == ("GET", "test", False):
            return json_answer(200, {"message": "Hello Recurrente!"})
        raise ApiError(404, "Not found")

    def _list(self, request: Request) -> Answer:
        found = self.world.list_checkouts(request.query.get("from_time"), request.query.get("until_time"))
        page, items = int(request.query.get("page", "1")), int(request.query.get("items", "10"))
        pages = max(1, math.ceil(len(found) / items))
        shown = found[(page - 1) * items : page * items]
        return json_answer(200, shown, Total_Pages=str(pages), Current_Page=str(page))

    # -- people -------------------------------------------------------------------------------------------------

    def _pay(self, request: Request, reference: str) -> Answer:
        try:
            checkout = self.world.get_checkout(reference)
            if request.method == "GET":
                return html_answer(200, _page(checkout, is_closed=self.world.is_closed(checkout)))
            return self._act(checkout, request.form.get("action", ""))
        except ApiError as error:
            return html_answer(error.status, f"<p>{escape(str(error))}</p>")

    def _act(self, checkout: Object, action: str) -> Answer:
        reference = checkout["id"]
        if action == "decline":
            self.world.decline(reference)
            return html_answer(200, _page(checkout, message="Tarjeta rechazada."))
        happening = {
            "card": lambda: self.world.pay(reference),
            "lose": lambda: self.world.pay(reference, lose_webhook=True),
            "transfer": lambda: self.world.begin_transfer(reference),
            "arrive": lambda: self.world.arrive(reference),
        }.get(action)
        if happening is None:
            return html_answer(400, _page(checkout, message="Choose how to pay."))
        if checkout["status"] != "paid":  # A second click goes where the first one went.
            happening()
        return redirect(checkout["success_url"])

    def _control(self, request: Request) -> Answer:
        name = request.path.removeprefix("/_control/")
        if name == "state":
            world = self.world
            sent = [asdict(one) for one in self.webhooks.deliveries]
            return json_answer(200, {"checkouts": world.checkouts, "payments": world.payments, "deliveries": sent})
        if name not in CONTROLS:
            return json_answer(404, {"error": f"no control named {name}"})
        try:
            return json_answer(200, getattr(self.world, name)(**json.loads(request.body or b"{}")))
        except (ApiError, TypeError, KeyError, ValueError) as error:
            return json_answer(400, {"error": repr(error)})


def _page(checkout: Object, *, message: str = "", is_closed: bool = False) -> str:
    item = checkout["items"][0]
    amount = f"{item['currency']} {item['amount_in_cents'] / 100:,.2f}"
    if checkout["status"] == "paid" or is_closed:
        words = "Ya fue pagado." if checkout["status"] == "paid" else "Este enlace ha vencido."
        form = f"<p role='status'>{words}</p>"
    else:
        form = "".join(
            f"<li><form method='post'><button name='action' value='{value}'>{label}</button></form> {note}</li>"
            for value, label, note in CHOICES
        )
    alert = f"<p role='alert'>{escape(message)}</p>" if message else ""
    mark = "" if checkout["live_mode"] else "<p><strong>PRUEBA</strong></p>"
    return (
        '<!doctype html><html lang="es"><head><meta charset="utf-8"><title>Recurrente</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"></head><body>'
        f"<p>A stand-in for Recurrente. No money moves here.</p>{mark}<h1>{escape(item['name'])}</h1><p>{amount}</p>"
        f"{alert}<ul>{form}</ul><p><a href='{escape(checkout['cancel_url'] or '/')}'>Cancelar</a></p></body></html>"
    )

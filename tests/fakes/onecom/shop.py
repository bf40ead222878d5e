"""The shop: a page behind the link, and a sender that signs each message and tries again until it is taken."""

import itertools
import json
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from html import escape
from typing import Any, Self
from urllib.parse import quote

from tests.fakes.listening import Answer, Request, Server, html_answer, redirect
from tests.fakes.standard_webhooks import StandardWebhooks, quick_switches
from tests.fakes.stripe.delivery import Switches

WEBHOOK_SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"
Object = dict[str, Any]
_WORDS = {"completed": "Pay", "pending": "Pay by transfer", "failed": "Be refused"}


@dataclass
class OneComShop:
    """`with OneComShop(webhook_url) as shop:` listens until the block ends; ONECOM_CHECKOUT_URL is `shop.link`."""

    webhook_url: str = ""
    secret: str = WEBHOOK_SECRET
    port: int = 0
    says_amounts: bool = True  # Off: messages hold the reference alone.
    sender: StandardWebhooks = field(init=False)
    events: list[Object] = field(init=False, default_factory=list)
    url: str = field(init=False, default="")
    _server: Server | None = field(init=False, default=None)
    _numbers: "itertools.count[int]" = field(init=False, default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.sender = StandardWebhooks(
            url=self.webhook_url, secrets=[self.secret], switches=quick_switches(), agent="onecom-sender/1"
        )

    @property
    def link(self) -> str:
        """The template that the portal is configured with."""
        return self.url + "/pay?reference={reference}&amount={amount}&currency={currency}&back={return_url}"

    def __enter__(self) -> Self:
        self._server = Server(self.port, self._handle)
        self.url = self._server.url
        self.sender.start()
        return self

    def __exit__(self, *_problem: object) -> None:
        self.sender.stop()
        if self._server:
            self._server.end()
            self._server = None

    def set_webhooks(self, **switches: Any) -> None:
        """Change how messages are delivered; see `Switches`."""
        self.sender.switches = Switches(**{**asdict(self.sender.switches), **switches})

    def tell(self, event_type: str, reference: str, **data: Any) -> Object:
        """Send one message, again and again until it is taken. Values of None are left out."""
        number = next(self._numbers)
        told = {"reference": reference, "transaction_id": f"oc_{number}", **data}
        at = datetime.fromtimestamp(int(time.time()), UTC).isoformat().replace("+00:00", "Z")
        values = {key: value for key, value in told.items() if value is not None}
        body = json.dumps({"type": event_type, "timestamp": at, "data": values}).encode()
        event = {"id": f"evt_{number}", "type": event_type, "body": body, "pending_webhooks": 1}
        self.events.append(event)
        self.sender.announce([event])
        return event

    def pay(self, reference: str, amount: int | None, currency: str | None, outcome: str = "completed") -> Object:
        """The buyer pays what the link says, whatever that is: the shop believes it."""
        if not self.says_amounts:
            return self.tell(f"payment.{outcome}", reference, transaction_id=None)
        return self.tell(f"payment.{outcome}", reference, amount=amount, currency=currency, status=outcome)

    def _handle(self, request: Request) -> Answer:
        if request.path != "/pay":
            return html_answer(404, "There is nothing here.")
        query = request.query
        if request.method == "GET":
            buttons = "".join(f"<button name='action' value='{name}'>{text}</button> " for name, text in _WORDS.items())
            asked = "&".join(f"{key}={quote(value, safe='')}" for key, value in query.items())
            return html_answer(
                200,
                '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A shop</title>'
                '<link rel="icon" href="data:,"></head><body>'
                f"<p>A stand-in for a shop at One.com. No money moves here.</p><h1>{escape(query['amount'])} "
                f"{escape(query['currency'])}</h1><form method='post' action='/pay?{escape(asked)}'>{buttons}</form>"
                "</body></html>",
            )
        self.pay(query["reference"], int(query["amount"]), query["currency"], request.form.get("action", "completed"))
        return redirect(query["back"])

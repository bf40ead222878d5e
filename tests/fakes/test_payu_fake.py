"""The fake PayU behaves as PayU does where it matters, and misbehaves when told to."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.payu import CLIENT_SECRET, POS_ID, RETRIES, SECOND_KEY, FakePayU, sign
from tests.fakes.payu.pages import CHOICES
from tests.fakes.serving import serving

WANTED = {
    "merchantPosId": POS_ID,
    "customerIp": "203.0.113.7",
    "description": "Automation bundle",
    "currencyCode": "PLN",
    "totalAmount": "4900",
    "products": [{"name": "Automation bundle", "unitPrice": "4900", "quantity": "1"}],
    "extOrderId": "ps_1",
    "continueUrl": "http://shop.example/return",
}


@dataclass
class Shop:
    """The other end of the notifications."""

    url: str = ""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)  # Used up one by one; then 200.

    def told(self) -> list[str]:
        """The statuses that were told, in order."""
        bodies = [json.loads(body) for _headers, body in self.got]
        return [str((body.get("order") or body["refund"])["status"]) for body in bodies]


@pytest.fixture
def shop() -> Iterator[Shop]:
    found = Shop()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.got.append((dict(self.headers.items()), body))
            self.send_response(found.answers.pop(0) if found.answers else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # The base class's name.
            """Stay quiet."""

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as address:
        found.url = f"{address}/notify"
        yield found


@pytest.fixture
def fake(shop: Shop) -> Iterator[FakePayU]:
    with FakePayU() as running:
        running.control.set_webhooks(hour=0.6)  # A minute of PayU's schedule takes 10 ms.
        yield running


@pytest.fixture
def api(fake: FakePayU) -> Iterator[httpx.Client]:
    """Somebody who was let in."""
    form = {"grant_type": "client_credentials", "client_id": POS_ID, "client_secret": CLIENT_SECRET}
    with httpx.Client(base_url=fake.url) as client:
        token = client.post("/pl/standard/user/oauth/authorize", data=form).json()
        assert (token["token_type"], token["expires_in"]) == ("bearer", 43199)
        client.headers["Authorization"] = f"Bearer {token['access_token']}"
        yield client


def create(api: httpx.Client, shop: Shop, **changes: Any) -> httpx.Response:
    return api.post("/api/v2_1/orders", json={**WANTED, "notifyUrl": shop.url, **changes})


def test_an_order_is_answered_by_302_with_json(api: httpx.Client, shop: Shop) -> None:
    answer = create(api, shop)
    assert answer.status_code == 302
    assert answer.json()["status"] == {"statusCode": "SUCCESS"}
    assert answer.headers["Location"] == answer.json()["redirectUri"]
    assert answer.headers["Correlation-Id"]
    found = api.get(f"/api/v2_1/orders/{answer.json()['orderId']}").json()
    assert [(order["status"], order["totalAmount"]) for order in found["orders"]] == [("NEW", "4900")]


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"extOrderId": "taken"}, 400, "ERROR_ORDER_NOT_UNIQUE"),
        ({"customerIp": ""}, 400, "ERROR_VALUE_MISSING"),
        ({"customerIp": "0.0.0.0"}, 400, "ERROR_VALUE_INVALID"),
        ({"totalAmount": 4900}, 400, "ERROR_VALUE_INVALID"),
        ({"totalAmount": "49.00"}, 400, "ERROR_VALUE_INVALID"),
        ({"visibleDescription": "x" * 81}, 400, "ERROR_VALUE_INVALID"),
        ({"currencyCode": "CHF"}, 400, "ERROR_INCONSISTENT_CURRENCIES"),
        ({"merchantPosId": "1"}, 403, "ERROR_VALUE_INVALID"),
        ({"surprise": 1}, 400, "ERROR_SYNTAX"),
    ],
)
def test_what_payu_refuses(api: httpx.Client, shop: Shop, changes: dict[str, Any], status: int, code: str) -> None:
    create(api, shop, extOrderId="taken")
    answer = create(api, shop, **{"extOrderId": "another", **changes})
    assert (answer.status_code, answer.json()["status"]["statusCode"]) == (status, code)


def test_whoever_is_not_let_in_does_nothing(fake: FakePayU, api: httpx.Client, shop: Shop) -> None:
    fake.control.end_tokens()
    assert create(api, shop).status_code == 401
    assert fake.world.orders == {}
    wrong = {"grant_type": "client_credentials", "client_id": POS_ID, "client_secret": "x"}
    refused = api.post("/pl/standard/user/oauth/authorize", data=wrong)
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")


def test_notifications_are_signed_in_both_headers(fake: FakePayU, api: httpx.Client, shop: Shop) -> None:
    fake.control.pay(create(api, shop).json()["orderId"])
    fake.webhooks.wait_idle()
    assert shop.told() == ["PENDING", "COMPLETED"]
    for headers, body in shop.got:
        assert headers["OpenPayu-Signature"] == headers["X-OpenPayU-Signature"] == sign(body, SECOND_KEY, "MD5")
    first, last = (json.loads(body) for _headers, body in shop.got)
    assert "localReceiptDateTime" in last
    assert "localReceiptDateTime" not in first


def test_only_200_ends_the_repetition(fake: FakePayU, api: httpx.Client, shop: Shop) -> None:
    shop.answers = [201, 204, 404, 503, 302]
    fake.control.wait(create(api, shop).json()["orderId"])
    fake.webhooks.wait_idle()
    assert [one.status for one in fake.webhooks.deliveries] == [201, 204, 404, 503, 302, 200]
    assert [one.attempt for one in fake.webhooks.deliveries] == [1, 2, 3, 4, 5, 6]


def test_after_twenty_times_payu_gives_up(fake: FakePayU, api: httpx.Client, shop: Shop) -> None:
    fake.control.set_webhooks(hour=0.0)
    shop.answers = [500] * 50
    fake.control.wait(create(api, shop).json()["orderId"])
    fake.webhooks.wait_idle()
    assert len(shop.got) == 20 == 1 + len(RETRIES)
    assert RETRIES[-1] == 72 * 3600
    assert list(RETRIES) == sorted(RETRIES)


@pytest.mark.parametrize(
    ("switches", "told"),
    [
        ({"order": "reversed"}, ["COMPLETED", "PENDING"]),
        ({"copies": 2}, ["PENDING", "PENDING", "COMPLETED", "COMPLETED"]),
        ({"lose": True}, []),
        ({"lose_rate": 1.0}, []),
        ({"double_rate": 1.0}, ["PENDING", "PENDING", "COMPLETED", "COMPLETED"]),
    ],
)
def test_notifications_go_wrong_when_told_to(
    fake: FakePayU, api: httpx.Client, shop: Shop, switches: dict[str, Any], told: list[str]
) -> None:
    fake.control.set_webhooks(**switches)
    fake.control.pay(create(api, shop).json()["orderId"])
    fake.webhooks.wait_idle()
    assert shop.told() == told
    assert len(fake.webhooks.sent) == 2


def test_a_payment_that_must_be_received_waits_for_the_capture(fake: FakePayU, api: httpx.Client, shop: Shop) -> None:
    fake.control.set_auto_receive(is_on=False)
    order = create(api, shop).json()["orderId"]
    fake.control.pay(order)
    assert api.post(f"/api/v2_1/orders/{order}/captures").status_code == 200
    fake.webhooks.wait_idle()
    assert shop.told() == ["PENDING", "WAITING_FOR_CONFIRMATION", "COMPLETED"]


def test_a_refund_goes_its_way(fake: FakePayU, api: httpx.Client, shop: Shop) -> None:
    order = create(api, shop).json()["orderId"]
    path = f"/api/v2_1/orders/{order}/refunds"
    wanted = {"refund": {"description": "Back", "amount": "1000", "extRefundId": "r1"}}
    assert api.post(path, json=wanted).status_code == 400
    fake.control.pay(order)
    made = api.post(path, json=wanted).json()["refund"]
    assert api.post(path, json=wanted).json()["refund"]["refundId"] == made["refundId"]
    assert made["status"] == "PENDING"
    too_much = {"refund": {"description": "Back", "amount": "3901", "extRefundId": "r2"}}
    assert api.post(path, json=too_much).json()["status"]["codeLiteral"] == "AMOUNT_TO_BIG"
    fake.control.move_refund(made["refundId"], "FINALIZED")
    assert [one["status"] for one in api.get(path).json()] == ["FINALIZED"]
    fake.webhooks.wait_idle()
    assert shop.told() == ["PENDING", "COMPLETED", "FINALIZED"]


def test_an_order_can_be_cancelled_until_it_is_final(fake: FakePayU, api: httpx.Client, shop: Shop) -> None:
    path = f"/api/v2_1/orders/{create(api, shop).json()['orderId']}"
    assert api.delete(path).status_code == 200
    assert api.delete(path).status_code == 400
    assert api.get(path).json()["orders"][0]["status"] == "CANCELED"
    assert api.get("/api/v2_1/orders/nothing").json()["status"]["statusCode"] == "DATA_NOT_FOUND"


@pytest.mark.parametrize("action", [value for value, _label, _note in CHOICES])
def test_each_button_of_the_page_leads_back_to_the_shop(
    fake: FakePayU, api: httpx.Client, shop: Shop, action: str
) -> None:
    page = create(api, shop).json()["redirectUri"]
    assert "Automation bundle" in api.get(page).text
    answer = api.post(page, data={"action": action})
    mark = "?error=501" if action == "decline" else ""
    assert (answer.status_code, answer.headers["Location"]) == (303, f"http://shop.example/return{mark}")


def test_a_page_needs_its_token_and_a_known_button(fake: FakePayU, api: httpx.Client, shop: Shop) -> None:
    page = create(api, shop).json()["redirectUri"]
    assert api.get(re.sub("token=[^&]+", "token=x", page)).status_code == 404
    assert api.post(page, data={"action": "steal"}).status_code == 400


def test_everything_can_be_controlled_over_http(fake: FakePayU, api: httpx.Client, shop: Shop) -> None:
    order = create(api, shop).json()["orderId"]
    assert api.post("/_control/pay", json={"order": order}).json()["status"] == "COMPLETED"
    assert api.get("/_control/state").json()["orders"][0]["status"] == "COMPLETED"
    assert api.post("/_control/pay", json={"order": order}).status_code == 400
    assert api.post("/_control/nothing").status_code == 404


def test_it_runs_by_itself() -> None:
    command = [sys.executable, "-m", "tests.fakes.payu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        url = re.search(r"http://127\.0\.0\.1:\d+", lines[0])
        assert url is not None
        assert httpx.get(f"{url[0]}/_control/state").json()["orders"] == []
        assert f"PAYU_WEBHOOK_SECRET={SECOND_KEY}" in lines[3]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0

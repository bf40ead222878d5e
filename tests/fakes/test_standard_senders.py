"""The fake Recurrente and the shop at One.com behave as their documentation says, on their own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.onecom import OneComShop
from tests.fakes.recurrente import SECRET_KEY, FakeRecurrente
from tests.fakes.serving import serving
from tests.fakes.standard_webhooks import FASTER, GAPS, quick_switches

ITEM = {"name": "A course", "amount_in_cents": 9500, "currency": "USD"}


class Receiver:
    """Answers with the given statuses in turn, then with 200; keeps what came."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.came: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.came.append(({name.lower(): value for name, value in self.headers.items()}, body))
                status = receiver.statuses.pop(0) if receiver.statuses else 200
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # The base class's name.
                """Stay quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = ""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    with serving(found.server) as address:
        found.url = f"{address}/webhooks"
        yield found


def call(fake: FakeRecurrente, method: str, path: str, **options: Any) -> httpx.Response:
    given = {"X-SECRET-KEY": SECRET_KEY, **options.pop("headers", {})}
    return httpx.request(method, fake.api_url + path, headers=given, trust_env=False, **options)


def test_the_rhythm_is_the_documented_one() -> None:
    assert GAPS == (5, 300, 1800, 7200, 18000, 36000, 36000)
    assert quick_switches().gaps[1:] == tuple(gap / FASTER for gap in GAPS[1:])


@pytest.mark.parametrize("status", [301, 302, 400, 404, 409, 500, 503])
def test_whatever_is_not_2xx_is_sent_again_with_the_same_id(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status] * 3
    with FakeRecurrente(receiver.url) as fake:
        fake.set_webhooks(gaps=(0.01,) * 7)
        made = fake.world.create_checkout({"items": [ITEM], "metadata": {}})
        fake.world.names = "old"
        fake.world.pay(made["id"])
        fake.webhooks.wait_idle()
    assert len(receiver.came) == 4
    assert len({headers["svix-id"] for headers, _ in receiver.came}) == 1
    assert len({body for _, body in receiver.came}) == 1


def test_it_gives_up_after_eight_tries(receiver: Receiver) -> None:
    receiver.statuses = [500] * 20
    with OneComShop(receiver.url) as shop:
        shop.set_webhooks(gaps=(0.01,) * len(GAPS))
        shop.tell("payment.completed", "ps_1", amount=1, currency="PLN")
        shop.sender.wait_idle()
    assert len(receiver.came) == 8


def test_a_payment_is_announced_twice_and_in_test_mode_not_at_all(receiver: Receiver) -> None:
    with FakeRecurrente(receiver.url) as fake:
        quiet = fake.world.create_checkout({"items": [ITEM]})
        fake.world.pay(quiet["id"])
        fake.webhooks.wait_idle()
        assert receiver.came == []
        fake.set_webhooks()
        loud = fake.world.create_checkout({"items": [ITEM]})
        fake.world.pay(loud["id"])
        fake.webhooks.wait_idle()
    told = [json.loads(body) for _, body in receiver.came]
    assert [one["event_type"] for one in told] == ["payment_intent.succeeded", "intent.succeeded"]
    assert len({one["payment"]["id"] for one in told}) == 1
    assert len({headers["svix-id"] for headers, _ in receiver.came}) == 2


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({"items": [ITEM]}, 201), ({"items": []}, 422), ({}, 422), ({"items": [{**ITEM, "currency": "PLN"}]}, 422),
        ({"items": [{**ITEM, "amount_in_cents": 0}]}, 422), ({"items": [{**ITEM, "quantity": 10}]}, 422),
        ({"items": [ITEM], "metadata": {"k" * 41: "v"}}, 422), ({"items": [ITEM], "metadata": {"k": "v" * 501}}, 422),
        ({"items": [ITEM], "expires_at": "2020-01-01T00:00:00Z"}, 422),
    ],
)  # fmt: skip
def test_what_a_checkout_may_hold(values: dict[str, Any], status: int) -> None:
    with FakeRecurrente() as fake:
        answer = call(fake, "POST", "/checkouts", json=values)
        assert answer.status_code == status
        assert set(answer.json()) == ({"id", "checkout_url"} if status == 201 else {"message", "errors"})


def test_lists_have_their_pages_in_headers() -> None:
    with FakeRecurrente() as fake:
        for _ in range(25):
            fake.world.create_checkout({"items": [ITEM]})
        answer = call(fake, "GET", "/checkouts", params={"page": 3})
        assert (len(answer.json()), answer.headers["Total-Pages"], answer.headers["Current-Page"]) == (5, "3", "3")
        none = call(fake, "GET", "/checkouts", params={"until_time": "2020-01-01T00:00:00Z"})
        assert none.json() == []


def test_a_payment_is_given_back_once() -> None:
    with FakeRecurrente() as fake:
        made = fake.world.create_checkout({"items": [ITEM]})
        payment = fake.world.pay(made["id"])["payment"]["id"]
        first = call(fake, "POST", "/refunds", json={"payment_intent_id": payment})
        assert (first.status_code, first.json()["customer_refunded_amount_in_cents"]) == (201, 9500)
        assert call(fake, "GET", f"/refunds/{first.json()['id']}").json() == first.json()
        again = call(fake, "POST", "/refunds", json={"payment_intent_id": payment})
        assert (again.status_code, again.json()["message"]) == (422, "Payment has already been refunded")


def test_keys_are_looked_at() -> None:
    with FakeRecurrente() as fake:
        assert call(fake, "GET", "/test").status_code == 200
        refused = call(fake, "GET", "/test", headers={"X-SECRET-KEY": "sk_test_other"})
        assert (refused.status_code, set(refused.json())) == (401, {"message", "errors"})


def test_a_closed_or_paid_page_takes_no_money() -> None:
    with FakeRecurrente() as fake:
        made = fake.world.create_checkout({"items": [ITEM], "success_url": "http://127.0.0.1:9/ok"})
        page = made["checkout_url"]
        assert httpx.post(page, data={"action": "nonsense"}, trust_env=False).status_code == 400
        for _ in range(2):  # The second click goes where the first one went.
            assert httpx.post(page, data={"action": "card"}, trust_env=False).status_code == 303
        assert len(fake.world.payments) == 1
        assert "Ya fue pagado" in httpx.get(page, trust_env=False).text
        old = fake.world.create_checkout({"items": [ITEM], "expires_at": "2999-01-01T00:00:00Z"})
        fake.world.offset = 40_000_000_000.0
        assert "vencido" in httpx.get(old["checkout_url"], trust_env=False).text
        assert httpx.post(old["checkout_url"], data={"action": "card"}, trust_env=False).status_code == 422


def test_controls_work_over_http() -> None:
    with FakeRecurrente() as fake:
        made = fake.world.create_checkout({"items": [ITEM]})
        control = f"{fake.world.url}/_control"
        paid = httpx.post(f"{control}/pay", json={"reference": made["id"]}, trust_env=False)
        assert paid.json()["status"] == "paid"
        assert httpx.post(f"{control}/pay", json={"reference": "ch_none"}, trust_env=False).status_code == 400
        assert httpx.post(f"{control}/stop", json={}, trust_env=False).status_code == 404
        assert made["id"] in httpx.get(f"{control}/state", trust_env=False).json()["checkouts"]


@pytest.mark.parametrize("name", ["recurrente", "onecom"])
def test_it_can_be_run(name: str) -> None:
    root = Path(__file__).resolve().parents[2]
    program = [sys.executable, "-m", f"tests.fakes.{name}"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=root) as running:
        assert running.stdout is not None
        first = running.stdout.readline()
        url = next(word.rstrip(",") for word in first.split() if word.startswith("http://"))
        assert httpx.get(f"{url}/nothing", trust_env=False).status_code == 404
        running.terminate()
        assert running.wait(10) == 0

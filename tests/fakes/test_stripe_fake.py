"""The fake Stripe behaves as Stripe does where it matters, and misbehaves when told to."""

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import stripe as sdk

from tests.fakes.serving import serving
from tests.fakes.stripe import FakeStripe
from tests.fakes.stripe.pages import CHOICES

SECRET = "whsec_fake"
RETURN = "http://portal.example/return?checkout={CHECKOUT_SESSION_ID}"


@dataclass
class Shop:
    """The other end of the webhooks."""

    url: str = ""
    got: list[tuple[str, bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)  # Used up one by one; then 200.

    def types(self) -> list[str]:
        return [json.loads(body)["type"] for _header, body in self.got]


@pytest.fixture
def shop() -> Iterator[Shop]:
    found = Shop()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.got.append((self.headers["Stripe-Signature"], body))
            self.send_response(found.answers.pop(0) if found.answers else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # The base class's name.
            """Stay quiet."""

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as address:
        found.url = f"{address}/webhooks/stripe"
        yield found


@pytest.fixture
def fake(shop: Shop) -> Iterator[FakeStripe]:
    with FakeStripe(shop.url, SECRET) as running:
        running.control.set_webhooks(gaps=(0.02, 0.02, 0.02))
        yield running


@pytest.fixture
def client(fake: FakeStripe) -> sdk.StripeClient:
    return sdk.StripeClient(fake.api_key, base_addresses={"api": fake.url}, max_network_retries=0)


def params(**changes: Any) -> Any:
    price = {"currency": "pln", "unit_amount": 4900, "product_data": {"name": "Bundle & <b>bolts</b>"}}
    return {
        "mode": "payment",
        "line_items": [{"price_data": price, "quantity": 1}],
        "success_url": RETURN,
        "cancel_url": "http://portal.example/cart",
        "metadata": {"session_id": "ps_1"},
        "payment_intent_data": {"metadata": {"session_id": "ps_1"}},
        **changes,
    }


def checkout(client: sdk.StripeClient, **changes: Any) -> sdk.checkout.Session:
    return client.v1.checkout.sessions.create(params(**changes))


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any) -> None:
        return None


def browse(url: str, **form: str) -> tuple[int, str, str]:
    """Status, place to go next, and page; as a browser that follows nothing."""
    opener = urllib.request.build_opener(NoRedirect)
    data = urlencode(form).encode() if form else None
    try:
        with opener.open(url, data, timeout=5) as answer:
            return answer.status, "", answer.read().decode()
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.headers.get("Location", ""), answer.read().decode()


# -- webhooks ------------------------------------------------------------------------------------------------------


def test_one_payment_is_told_by_two_events_signed_as_stripe_signs(
    client: sdk.StripeClient, fake: FakeStripe, shop: Shop
) -> None:
    fake.control.pay(checkout(client).id)
    fake.webhooks.wait_idle()
    assert shop.types() == ["payment_intent.succeeded", "checkout.session.completed"]
    for header, body in shop.got:
        event = sdk.Webhook.construct_event(body, header, SECRET)
        assert event.api_version == sdk.api_version
        assert event.data.object["metadata"]["session_id"] == "ps_1"


def test_a_refused_webhook_comes_again_with_a_fresh_signature(
    client: sdk.StripeClient, fake: FakeStripe, shop: Shop
) -> None:
    shop.answers = [500, 404]
    fake.control.set_webhooks(enabled_events=("checkout.session.completed",))
    fake.control.pay(checkout(client).id)
    fake.webhooks.wait_idle()
    assert [delivery.status for delivery in fake.webhooks.deliveries] == [500, 404, 200]
    assert [delivery.attempt for delivery in fake.webhooks.deliveries] == [1, 2, 3]
    assert len({body for _header, body in shop.got}) == 1


def test_it_gives_up_when_the_gaps_are_used_up_and_keeps_the_event(
    client: sdk.StripeClient, fake: FakeStripe, shop: Shop
) -> None:
    shop.answers = [500] * 50
    fake.control.set_webhooks(enabled_events=("checkout.session.completed",), gaps=(0.01, 0.01))
    fake.control.pay(checkout(client).id)
    fake.webhooks.wait_idle()
    assert len(fake.webhooks.deliveries) == 3
    (left,) = client.v1.events.list({"delivery_success": False}).data
    assert left.type == "checkout.session.completed"
    shop.answers = []
    fake.control.resend(left.id)
    fake.webhooks.wait_idle()
    assert client.v1.events.list({"delivery_success": False}).data == []


def test_reordered_and_doubled(client: sdk.StripeClient, fake: FakeStripe, shop: Shop) -> None:
    fake.control.set_webhooks(order="reversed", copies=2)
    fake.control.pay(checkout(client).id)
    fake.webhooks.wait_idle()
    assert shop.types() == ["checkout.session.completed"] * 2 + ["payment_intent.succeeded"] * 2
    assert len({json.loads(body)["id"] for _header, body in shop.got}) == 2


def test_some_are_lost_and_some_doubled_by_the_seed(client: sdk.StripeClient, fake: FakeStripe, shop: Shop) -> None:
    fake.control.set_webhooks(lose_rate=0.2, double_rate=0.2, order="shuffled", delay=0.05)
    for _ in range(50):
        fake.control.pay(checkout(client).id)
    fake.webhooks.wait_idle()
    ids = [json.loads(body)["id"] for _header, body in shop.got]
    assert 60 <= len(set(ids)) <= 95
    assert len(set(ids)) < len(ids)
    assert len(client.v1.events.list({"delivery_success": False, "limit": 100}).data) == 100 - len(set(ids))


def test_both_secrets_sign_while_one_is_rolled(client: sdk.StripeClient, fake: FakeStripe, shop: Shop) -> None:
    fake.webhooks.secrets = ["whsec_new", SECRET]
    fake.control.pay(checkout(client).id)
    fake.webhooks.wait_idle()
    header, body = shop.got[0]
    for secret in ("whsec_new", SECRET):
        sdk.WebhookSignature.verify_header(body, header, secret, tolerance=300)


def test_a_clock_that_is_wrong_shows_in_the_signature(client: sdk.StripeClient, fake: FakeStripe, shop: Shop) -> None:
    fake.control.set_webhooks(skew=-600)
    fake.control.pay(checkout(client).id)
    fake.webhooks.wait_idle()
    header, body = shop.got[0]
    with pytest.raises(sdk.SignatureVerificationError, match="tolerance"):
        sdk.WebhookSignature.verify_header(body, header, SECRET, tolerance=300)


def test_everything_can_be_subscribed_to(client: sdk.StripeClient, fake: FakeStripe, shop: Shop) -> None:
    fake.control.set_webhooks(enabled_events=("*",))
    fake.control.pay(checkout(client).id)
    fake.webhooks.wait_idle()
    assert shop.types() == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "checkout.session.completed",
    ]


# -- what happens --------------------------------------------------------------------------------------------------


def test_paying_twice_is_two_payments_for_one_purchase(client: sdk.StripeClient, fake: FakeStripe, shop: Shop) -> None:
    fake.control.pay_twice(checkout(client).id)
    fake.webhooks.wait_idle()
    assert shop.types().count("payment_intent.succeeded") == 2
    assert shop.types().count("checkout.session.completed") == 1
    intents = [json.loads(body)["data"]["object"] for _header, body in shop.got]
    assert {intent["metadata"]["session_id"] for intent in intents} == {"ps_1"}


def test_paying_late_tells_first_that_nothing_is_paid(client: sdk.StripeClient, fake: FakeStripe, shop: Shop) -> None:
    session = checkout(client)
    fake.control.pay_late(session.id, seconds=0.05)
    while len(shop.got) < 4:
        fake.webhooks.wait_idle()
    assert shop.types() == [
        "payment_intent.processing",
        "checkout.session.completed",
        "payment_intent.succeeded",
        "checkout.session.async_payment_succeeded",
    ]
    assert client.v1.checkout.sessions.retrieve(session.id).payment_status == "paid"


def test_money_can_come_after_the_page_has_expired(client: sdk.StripeClient, fake: FakeStripe, shop: Shop) -> None:
    fake.control.pay_after_expiry(checkout(client).id)
    fake.webhooks.wait_idle()
    assert shop.types() == ["checkout.session.expired", "payment_intent.succeeded"]


def test_a_session_expires_by_the_clock(client: sdk.StripeClient, fake: FakeStripe, shop: Shop) -> None:
    session = checkout(client)
    fake.control.advance(24 * 3600 - 5)
    assert client.v1.checkout.sessions.retrieve(session.id).status == "open"
    fake.control.advance(10)
    fake.webhooks.wait_idle()
    assert shop.types() == ["checkout.session.expired"]
    assert client.v1.checkout.sessions.retrieve(session.id).url is None


def test_a_refund_may_fail_after_it_succeeded(client: sdk.StripeClient, fake: FakeStripe, shop: Shop) -> None:
    fake.control.set_refunds("fails_later")
    fake.control.set_late(0.05)
    intent = fake.control.pay(checkout(client).id)["payment_intent"]
    refund = client.v1.refunds.create({"payment_intent": intent})
    assert refund.status == "succeeded"
    while "refund.failed" not in shop.types():
        fake.webhooks.wait_idle()
    assert client.v1.refunds.retrieve(refund.id).status == "failed"


def test_a_pending_refund_goes_through_when_told(client: sdk.StripeClient, fake: FakeStripe) -> None:
    fake.control.set_refunds("pending")
    intent = fake.control.pay(checkout(client).id)["payment_intent"]
    refund = client.v1.refunds.create({"payment_intent": intent})
    fake.control.settle_refund(refund.id)
    assert client.v1.refunds.retrieve(refund.id).status == "succeeded"


def test_a_dispute_opens_and_closes(client: sdk.StripeClient, fake: FakeStripe, shop: Shop) -> None:
    intent = fake.control.pay(checkout(client).id)["payment_intent"]
    dispute = fake.control.dispute(intent)
    fake.control.close_dispute(dispute["id"], "lost")
    fake.webhooks.wait_idle()
    assert shop.types()[-2:] == ["charge.dispute.created", "charge.dispute.closed"]
    (found,) = client.v1.disputes.list({"payment_intent": intent}).data
    assert found.status == "lost"


# -- the API -------------------------------------------------------------------------------------------------------


def test_payment_method_types_are_refused_as_since_endive(client: sdk.StripeClient) -> None:
    with pytest.raises(sdk.InvalidRequestError) as refusal:
        checkout(client, payment_method_types=["card"])
    assert refusal.value.http_status == 400
    assert refusal.value.param == "payment_method_types"


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"colour": "red"}, "parameter_unknown", "colour"),
        ({"line_items": [{"price_data": {"colour": "red"}}]}, "parameter_unknown", "line_items[0][price_data][colour]"),
        ({"success_url": ""}, "parameter_invalid_empty", "success_url"),
        ({"success_url": "javascript:alert(1)"}, "url_invalid", "success_url"),
        ({"expires_at": "soon"}, "parameter_invalid_integer", "expires_at"),
        ({"expires_at": 1}, None, "expires_at"),
        ({"mode": "gift"}, None, "mode"),
        ({"client_reference_id": "x" * 201}, "parameter_invalid_string", "client_reference_id"),
        ({"metadata": {"k" * 41: "x"}}, "parameter_invalid_string", f"metadata[{'k' * 41}]"),
    ],
)
def test_wrong_parameters_are_refused_by_name(
    client: sdk.StripeClient, changes: dict[str, Any], code: str | None, param: str
) -> None:
    with pytest.raises(sdk.InvalidRequestError) as refusal:
        checkout(client, **changes)
    assert (refusal.value.code, refusal.value.param) == (code, param)


def test_a_wrong_key_is_401(fake: FakeStripe) -> None:
    with pytest.raises(sdk.AuthenticationError):
        checkout(sdk.StripeClient("sk_test_other", base_addresses={"api": fake.url}))


def test_a_used_key_replays_and_says_so(client: sdk.StripeClient) -> None:
    first = client.v1.checkout.sessions.create(params(), {"idempotency_key": "k1"})
    again = client.v1.checkout.sessions.create(params(), {"idempotency_key": "k1"})
    assert first.id == again.id
    assert again.last_response is not None
    assert again.last_response.headers["idempotent-replayed"] == "true"
    with pytest.raises(sdk.IdempotencyError):
        client.v1.checkout.sessions.create(params(locale="pl"), {"idempotency_key": "k1"})
    with pytest.raises(sdk.IdempotencyError):
        client.v1.checkout.sessions.expire(first.id, {}, {"idempotency_key": "k1"})


def test_lists_are_paged_both_ways(client: sdk.StripeClient) -> None:
    made = [checkout(client).id for _ in range(5)]
    newest_first = list(reversed(made))
    page = client.v1.checkout.sessions.list({"limit": 2})
    assert [session.id for session in page.data] == newest_first[:2]
    assert page.has_more is True
    assert [session.id for session in page.auto_paging_iter()] == newest_first
    before = client.v1.checkout.sessions.list({"limit": 2, "ending_before": newest_first[3]})
    assert [session.id for session in before.data] == newest_first[1:3]


def test_events_are_filtered_by_type_and_time(client: sdk.StripeClient, fake: FakeStripe) -> None:
    fake.control.pay(checkout(client).id)
    kinds = {event.type for event in client.v1.events.list({"types": ["checkout.session.completed"]}).data}
    assert kinds == {"checkout.session.completed"}
    assert client.v1.events.list({"created": {"gt": fake.world.now() + 5}}).data == []
    assert len(client.v1.events.list({"type": "payment_intent.*"}).data) == 2
    with pytest.raises(sdk.InvalidRequestError):
        client.v1.events.list({"types": [f"type.{number}" for number in range(21)]})


def test_expand_puts_the_object_in_place_of_its_id(client: sdk.StripeClient, fake: FakeStripe) -> None:
    session = checkout(client)
    fake.control.pay(session.id)
    found = client.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent.latest_charge"]})
    assert isinstance(found.payment_intent, sdk.PaymentIntent)
    assert isinstance(found.payment_intent.latest_charge, sdk.Charge)
    with pytest.raises(sdk.InvalidRequestError):
        client.v1.checkout.sessions.retrieve(session.id, {"expand": ["colour"]})


# -- people --------------------------------------------------------------------------------------------------------


def test_the_page_shows_what_is_paid_and_every_way_it_can_go(client: sdk.StripeClient) -> None:
    status, _next, page = browse(str(checkout(client).url).partition("#")[0])
    assert status == 200
    assert "49.00 PLN" in page
    assert "Bundle &amp; &lt;b&gt;bolts&lt;/b&gt;" in page
    assert re.findall(r"value='(\w+)'", page) == [value for value, _label, _note in CHOICES]
    assert "href='http://portal.example/cart'" in page


def test_blik_is_offered_for_zloty_only(client: sdk.StripeClient) -> None:
    price = {"currency": "usd", "unit_amount": 4900, "product_data": {"name": "Bundle"}}
    session = checkout(client, line_items=[{"price_data": price, "quantity": 1}])
    assert "BLIK" not in browse(str(session.url).partition("#")[0])[2]


@pytest.mark.parametrize(
    ("action", "kinds"),
    [
        ("card", ["payment_intent.succeeded", "checkout.session.completed"]),
        ("blik", ["payment_intent.succeeded", "checkout.session.completed"]),
        ("twice", ["payment_intent.succeeded", "checkout.session.completed", "payment_intent.succeeded"]),
        ("late", ["payment_intent.processing", "checkout.session.completed"]),
        ("late_fail", ["payment_intent.processing", "checkout.session.completed"]),
        ("lose", []),
    ],
)
def test_each_way_of_paying_leads_back_to_the_shop(
    client: sdk.StripeClient, fake: FakeStripe, shop: Shop, action: str, kinds: list[str]
) -> None:
    session = checkout(client)
    status, target, _page = browse(f"{fake.url}/c/pay/{session.id}", action=action)
    assert (status, target) == (303, RETURN.replace("{CHECKOUT_SESSION_ID}", session.id))
    fake.webhooks.wait_idle()
    assert shop.types() == kinds


@pytest.mark.parametrize(
    ("action", "kinds"),
    [
        ("expire", ["checkout.session.expired"]),
        ("after_expiry", ["checkout.session.expired", "payment_intent.succeeded"]),
    ],
)
def test_an_expired_page_leads_back_to_the_cart(
    client: sdk.StripeClient, fake: FakeStripe, shop: Shop, action: str, kinds: list[str]
) -> None:
    session = checkout(client)
    address = f"{fake.url}/c/pay/{session.id}"
    assert browse(address, action=action)[:2] == (303, "http://portal.example/cart")
    assert "expired" in browse(address)[2]
    assert "expired" in browse(address, action="card")[2]
    fake.webhooks.wait_idle()
    assert shop.types() == kinds


def test_a_declined_card_may_be_followed_by_a_good_one(client: sdk.StripeClient, fake: FakeStripe, shop: Shop) -> None:
    address = f"{fake.url}/c/pay/{checkout(client).id}"
    status, _next, page = browse(address, action="decline")
    assert status == 200
    assert "Your card was declined." in page
    assert browse(address, action="card")[0] == 303
    fake.webhooks.wait_idle()
    assert shop.types() == [
        "payment_intent.payment_failed",
        "payment_intent.succeeded",
        "checkout.session.completed",
    ]
    assert len(fake.world.all("payment_intent")) == 1


def test_a_second_click_goes_where_the_first_went_and_pays_nothing(client: sdk.StripeClient, fake: FakeStripe) -> None:
    address = f"{fake.url}/c/pay/{checkout(client).id}"
    assert browse(address, action="card") == browse(address, action="card")
    assert len(fake.world.all("charge")) == 1
    assert "paid already" in browse(address)[2]


def test_the_dashboard_refunds_and_disputes(client: sdk.StripeClient, fake: FakeStripe, shop: Shop) -> None:
    intent = fake.control.pay(checkout(client).id)["payment_intent"]
    assert intent in browse(f"{fake.url}/")[2]
    assert browse(f"{fake.url}/dashboard", action="refund", payment_intent=intent)[0] == 303
    assert browse(f"{fake.url}/dashboard", action="refund", payment_intent=intent)[0] == 400
    assert browse(f"{fake.url}/dashboard", action="dispute", payment_intent=intent)[0] == 303
    fake.webhooks.wait_idle()
    assert shop.types()[-3:] == ["charge.refunded", "refund.created", "charge.dispute.created"]


# -- from outside --------------------------------------------------------------------------------------------------


def control(fake: FakeStripe, name: str, **arguments: Any) -> Any:
    address = f"{fake.url}/_control/{name}"
    data = None if name == "state" else json.dumps(arguments).encode()
    with urllib.request.urlopen(address, data, timeout=5) as answer:
        return json.load(answer)


def test_everything_can_be_done_over_http(client: sdk.StripeClient, fake: FakeStripe) -> None:
    session = checkout(client)
    control(fake, "set_webhooks", lose=True)
    control(fake, "add_fault", kind="status", status=500, path="/v1/refunds")
    intent = control(fake, "pay", session=session.id)["payment_intent"]
    with pytest.raises(sdk.APIError):
        client.v1.refunds.create({"payment_intent": intent})
    state = control(fake, "state")
    assert state["checkout.session"][0]["payment_status"] == "paid"
    assert state["webhooks"]["lose"] is True
    control(fake, "reset")
    assert control(fake, "state")["checkout.session"] == []


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("unknown", {}),
        ("__init__", {}),
        ("pay", {}),
        ("pay", {"session": "cs_unknown"}),
        ("set_webhooks", {"lsoe": True}),
        ("add_fault", {"kind": "status", "colour": "red"}),
    ],
)
def test_a_wrong_order_is_refused(fake: FakeStripe, name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(urllib.error.HTTPError) as refusal:
        control(fake, name, **arguments)
    with refusal.value:
        assert refusal.value.code in (400, 404)


def test_it_runs_as_a_program_until_it_is_told_to_stop() -> None:
    command = [sys.executable, "-m", "tests.fakes.stripe", "--webhook-url", "http://127.0.0.1:1/webhooks/stripe"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert found
            client = sdk.StripeClient("sk_test_fake", base_addresses={"api": found[0]})
            assert checkout(client).status == "open"
            process.send_signal(signal.SIGTERM)
            assert "STRIPE_API_BASE" in process.stdout.read()
            assert process.wait(10) == 0
        finally:
            process.kill()

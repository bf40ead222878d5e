"""How long a single buyer waits on an idle machine: from the provider's webhook to the unlocked package."""

import http.client
import json
import statistics
import time

from bench.harness import Bench, Report
from portal.payments.models import PaymentSession
from tests import factories
from tests.orders import shop
from tests.payments import signed
from tests.servers import web

_PAYMENTS = 20
_PATIENCE = 30.0


def run(bench: Bench, report: Report) -> None:
    """One payment after the other, each through the web server and a worker of its own process."""
    report.section("One payment at a time, from the POST of its webhook to the unlocked package")
    with bench.app("latency") as app:
        package = factories.make_package()
        environment = bench.environment(app)
        with web.web(environment) as server, web.worker(environment):
            seconds = []
            for number in range(_PAYMENTS):
                email = f"buyer-{number}@example.com"
                browser = shop.ready(app.test_client(), package, email=email)
                shop.place(browser)
                seconds.append(_unlocked_after(server.port, shop.sessions()[-1], email))
    report.fact("median, slowest", f"{statistics.median(seconds):.2f} s, {max(seconds):.2f} s")
    report.ratio("median seconds / the second that a buyer is promised", statistics.median(seconds), at_most=1)


def _unlocked_after(port: int, session: PaymentSession, email: str) -> float:
    body = json.dumps(signed.checkout_event(session))
    headers = {"Stripe-Signature": signed.signature(body), "Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    started = time.perf_counter()
    connection.request("POST", "/webhooks/stripe", body, headers)
    status = connection.getresponse().status
    connection.close()
    if status != http.HTTPStatus.OK:
        raise RuntimeError(f"the webhook was answered {status}")
    while not shop.owned_by(email):
        if time.perf_counter() - started > _PATIENCE:
            raise RuntimeError("nothing was unlocked")
        time.sleep(0.005)
    return time.perf_counter() - started

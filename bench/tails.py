"""What a stream of webhooks does to the slowest catalogue pages."""

import http.client
import json
import threading
import time

from bench.harness import Bench, Report, wrk
from bench.pages import cookie_of
from bench.webhooks import served
from tests import factories
from tests.payments import signed

_SECONDS = 8
_WEBHOOKS_A_SECOND = 200


def run(bench: Bench, report: Report) -> None:
    """The 99th percentile of a light load of catalogue pages, quiet and with 200 webhooks a second."""
    report.section(f"Tails with {_WEBHOOKS_A_SECOND} webhooks a second")
    with bench.app("tails") as app:
        for _ in range(24):
            factories.make_package()
        headers = {"Cookie": cookie_of(app, factories.make_user())}
        session = signed.make_session()
        bodies = []
        for number in range(_SECONDS * _WEBHOOKS_A_SECOND):
            body = json.dumps(signed.checkout_event(session, payment=f"pi_{number}"))
            bodies.append((body, signed.signature(body)))
        with served(bench, bench.environment(app), "wsgi:app") as (url, _pid):
            wrk(f"{url}/packages", seconds=3, headers=headers, connections=2)
            quiet = wrk(f"{url}/packages", seconds=_SECONDS, headers=headers, connections=2)
            sent: list[int] = []
            stream = threading.Thread(target=_send, args=(int(url.rpartition(":")[2]), bodies, sent))
            stream.start()
            busy = wrk(f"{url}/packages", seconds=_SECONDS, headers=headers, connections=2)
            stream.join()
    report.fact("p99 quiet, busy", f"{quiet.p99_seconds * 1000:.0f} ms, {busy.p99_seconds * 1000:.0f} ms")
    report.fact("webhooks answered 200", f"{sent.count(200)} of {len(bodies)}, the last after {_SECONDS} s or later")
    report.ratio("p99 of the catalogue, busy / quiet", busy.p99_seconds / quiet.p99_seconds, at_most=3)


def _send(port: int, bodies: list[tuple[str, str]], sent: list[int]) -> None:
    """Post at a steady pace over one connection; falls behind rather than sending in bursts."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    started = time.monotonic()
    for number, (body, signature) in enumerate(bodies):
        time.sleep(max(started + number / _WEBHOOKS_A_SECOND - time.monotonic(), 0))
        headers = {"Stripe-Signature": signature, "Content-Type": "application/json"}
        connection.request("POST", "/webhooks/stripe", body, headers)
        answer = connection.getresponse()
        answer.read()
        sent.append(answer.status)
    connection.close()

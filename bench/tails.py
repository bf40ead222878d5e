"""What a stream of webhooks, and a flood of log-ins, do to the slowest catalogue pages."""

import http.client
import json
import re
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlencode

from bench.harness import Bench, Report, wrk
from bench.pages import cookie_of
from bench.webhooks import served
from tests import factories
from tests.payments import signed

_SECONDS = 8
_ROUNDS = 3
_WEBHOOKS_A_SECOND = 200
_LOG_INS_A_SECOND = 200
_GUESSERS = 16
_TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


def run(bench: Bench, report: Report) -> None:
    """The 99th percentile of a light load of catalogue pages: quiet, with the webhooks, with the flood."""
    report.section(f"Tails with {_WEBHOOKS_A_SECOND} webhooks a second, and with {_LOG_INS_A_SECOND} log-ins a second")
    with bench.app("tails") as app:
        for _ in range(24):
            factories.make_package()
        headers = {"Cookie": cookie_of(app, factories.make_user())}
        session = signed.make_session()
        bodies = []
        for number in range(_ROUNDS * _SECONDS * _WEBHOOKS_A_SECOND):
            body = json.dumps(signed.checkout_event(session, payment=f"pi_{number}"))
            bodies.append((body, signed.signature(body)))
        with served(bench, bench.environment(app, TRUSTED_PROXIES="1"), "wsgi:app") as (url, _pid):
            port = int(url.rpartition(":")[2])

            def p99(seconds: int = _SECONDS) -> float:
                return wrk(f"{url}/packages", seconds=seconds, headers=headers, connections=2).p99_seconds

            p99(seconds=3)
            sent: Counter[int] = Counter()
            tried: Counter[int] = Counter()
            # In turn, so that a busy moment of the machine hits all three; each round has webhooks of its own.
            rounds = []
            for one in range(_ROUNDS):
                mine = bodies[one::_ROUNDS]
                rounds.append(
                    (
                        p99(),
                        _meanwhile(p99, [lambda mine=mine: _send(port, mine, sent)]),
                        _meanwhile(
                            p99,
                            [lambda n=n: _guess(port, n, time.monotonic() + _SECONDS, tried) for n in range(_GUESSERS)],
                        ),
                    )
                )
            quiet, busy, flooded = (statistics.median(values) for values in zip(*rounds, strict=True))
    report.fact(
        "p99 quiet, webhooks, log-ins (medians of the rounds)",
        ", ".join(f"{one * 1000:.0f} ms" for one in (quiet, busy, flooded)),
    )
    report.fact("webhooks answered 200", f"{sent[200]} of {len(bodies)}, the last after {_SECONDS} s or later")
    report.fact(
        "log-ins looked at, sent away as too many", f"{tried[401] + tried[422]}, {tried[503]} of {tried.total()}"
    )
    report.ratio("p99 of the catalogue, with webhooks / quiet", busy / quiet, at_most=3)
    report.ratio("p99 of the catalogue, with log-ins / quiet", flooded / quiet, at_most=3)


def _meanwhile(measure: Callable[[], float], streams: list[Callable[[], None]]) -> float:
    threads = [threading.Thread(target=stream) for stream in streams]
    for thread in threads:
        thread.start()
    measured = measure()
    for thread in threads:
        thread.join()
    return measured


def _send(port: int, bodies: list[tuple[str, str]], sent: Counter[int]) -> None:
    """Post at a steady pace over one connection; falls behind rather than sending in bursts."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    started = time.monotonic()
    for number, (body, signature) in enumerate(bodies):
        time.sleep(max(started + number / _WEBHOOKS_A_SECOND - time.monotonic(), 0))
        headers = {"Stripe-Signature": signature, "Content-Type": "application/json"}
        connection.request("POST", "/webhooks/stripe", body, headers)
        answer = connection.getresponse()
        answer.read()
        sent[answer.status] += 1
    connection.close()


def _guess(port: int, number: int, end: float, tried: Counter[int]) -> None:
    """Guess passwords, each of another account from another network, at a steady pace with the other guessers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/login")
    page = connection.getresponse()
    token = _TOKEN.search(page.read().decode())
    cookie = (page.headers["Set-Cookie"] or "").partition(";")[0]
    if token is None:
        raise RuntimeError("the log-in page has no form")
    # One after the other: sixteen at the same moment would be a burst, which this does not measure.
    guess, started = 0, time.monotonic() + number / _LOG_INS_A_SECOND
    while time.monotonic() < end:
        guess += 1
        time.sleep(max(started + guess * _GUESSERS / _LOG_INS_A_SECOND - time.monotonic(), 0))
        form = {"csrf_token": token[1], "email": f"somebody{number}-{guess}@example.com", "password": "wrong 1"}
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": cookie,
            "X-Forwarded-For": f"10.{number}.{guess >> 8 & 255}.{guess & 255}",
        }
        connection.request("POST", "/login", urlencode(form), headers)
        answer = connection.getresponse()
        answer.read()
        tried[answer.status] += 1
    connection.close()

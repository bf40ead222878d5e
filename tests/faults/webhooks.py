"""Orders that wait to be paid, and signed webhooks posted to a real server over real connections."""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from portal.core import clock, sealed
from portal.core.db import db, unit_of_work
from portal.orders.services import cart as carts
from portal.orders.services import placing
from portal.orders.services.cart import CartOwner
from portal.payments.models import PaymentSession
from tests.faults.portal import Portal
from tests.payments import signed


def place_orders(portal: Portal, count: int, *, provider: str = "stripe") -> list[PaymentSession]:
    """Orders of as many guests, each with something to pay, made from inside."""
    sessions = []
    for _ in range(count):
        at, owner = clock.now(), CartOwner(token=sealed.new_token())
        with unit_of_work():
            carts.add_to_cart(owner, portal.packages[0], 1, at=at)
        with unit_of_work():
            cart = carts.keep_details(
                owner, email=f"{sealed.new_token()[:12].lower()}@example.com", name="Jan", billing={}, at=at
            )
            assert cart is not None
            placed = placing.place_order(owner, cart.checkout_key, provider=provider, locale="en", placed=(), at=at)
        sessions.append(placed.session)
    db.session.rollback()
    return sessions


def post(portal: Portal, event: dict[str, Any] | str, *, timeout: float = 20) -> tuple[int, float]:
    """Post a signed event on a connection of its own; the status (0: no answer) and the seconds it took."""
    body = event if isinstance(event, str) else json.dumps(event)
    headers = {"Content-Type": "application/json", "Stripe-Signature": signed.signature(body)}
    return send(portal, "POST", "/webhooks/stripe", body.encode(), headers, timeout=timeout)


def send(
    portal: Portal,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    *,
    port: int | None = None,
    timeout: float = 20,
) -> tuple[int, float]:
    """One request on a connection of its own; the status (0: no answer) and the seconds it took."""
    started = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port or portal.port, timeout=timeout)
    try:
        connection.request(method, path, body, {"Host": f"localhost:{portal.port}", **(headers or {})})
        response = connection.getresponse()
        response.read()
        return response.status, time.monotonic() - started
    except (OSError, http.client.HTTPException):
        return 0, time.monotonic() - started
    finally:
        connection.close()


def at_once(work: list[Callable[[], Any]]) -> list[Any]:
    """Run everything in a thread of its own, released by one barrier."""
    barrier = threading.Barrier(len(work))
    results: list[Any] = []

    def run(one: Callable[[], Any]) -> None:
        barrier.wait()
        results.append(one())

    threads = [threading.Thread(target=run, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@dataclass
class Load:
    """What came of a steady trickle of webhooks: every answer with its time, and the events that got a yes."""

    answers: list[tuple[float, int, float]] = field(default_factory=list)
    acknowledged: set[tuple[str, str]] = field(default_factory=set)

    def statuses(self) -> Counter[int]:
        """How often each status was answered."""
        return Counter(status for _at, status, _seconds in self.answers)

    def slowest(self, status: int) -> float:
        """The longest wait for an answer of this status."""
        return max((seconds for _at, one, seconds in self.answers if one == status), default=0.0)


@contextmanager
def trickle(portal: Portal, sessions: list[PaymentSession], *, every: float = 0.05) -> Iterator[Load]:
    """While the block lasts, post the payments of `sessions` one after another, each until it is taken."""
    load, stop = Load(), threading.Event()
    events = [signed.checkout_event(session) for session in sessions]

    def run() -> None:
        for event in events:
            while not stop.is_set():
                status, seconds = post(portal, event)
                load.answers.append((time.monotonic(), status, seconds))
                if status == 200:
                    load.acknowledged.add(("stripe", event["id"]))
                    break
                stop.wait(every)
            if stop.wait(every):
                return

    thread = threading.Thread(target=run, name="trickle")
    thread.start()
    try:
        yield load
    finally:
        stop.set()
        thread.join()

"""What no provider sends: bad lengths, endless bodies, bodies that never come. 4xx, no memory, and others go on."""

import gzip
import json
import socket
import time
from pathlib import Path

import pytest

from portal.core import clock
from tests.faults import webhooks
from tests.faults.portal import Portal
from tests.payments import signed
from tests.servers import nginx, processes

pytestmark = [
    pytest.mark.slow_fault,
    pytest.mark.xdist_group("faults_hostile"),
    pytest.mark.parametrize("own_database", ["sqlite"], indirect=True),
]
CAP = 256 * 1024
SLOW_CONNECTIONS = 16
MOST_MEMORY = 20 * 1024 * 1024


def resident(pids: set[int]) -> int:
    """The memory of processes that is not shared with others, in bytes."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Clean", "Private_Dirty")):
                total += int(line.split()[1]) * 1024
    return total


def raw(portal: Portal, head: str, *chunks: bytes, seconds: float = 20) -> int:
    """Send these very bytes; the status of the answer, 0 when the connection was closed without one."""
    with socket.create_connection(("127.0.0.1", portal.port), timeout=seconds) as connection:
        try:
            connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n")
            for chunk in chunks:
                connection.sendall(chunk)
        except OSError:
            pass  # It was refused before everything was sent: the answer says so.
        try:
            line = connection.makefile("rb").readline()
        except OSError:
            return 0
    return int(line.split()[1]) if line else 0


def head(portal: Portal, *lines: str) -> str:
    wanted = ["POST /webhooks/stripe HTTP/1.1", f"Host: localhost:{portal.port}", "Connection: close", *lines]
    return "\n".join(wanted) + "\n"


def test_hostile_requests_are_refused_and_cost_nothing(portal: Portal) -> None:
    [session] = webhooks.place_orders(portal, 1)
    body = json.dumps(signed.checkout_event(session))
    signature = f"Stripe-Signature: {signed.signature(body)}"
    brackets = "[" * CAP
    deep = f"Stripe-Signature: {signed.signature(brackets)}"
    with portal.serve() as server:
        for _ in range(20):
            webhooks.send(portal, "GET", "/packages")
        before = resident(server.pids())
        size = len(body)
        piece = b"10000\r\n" + b"[" * 0x10000 + b"\r\n"
        ten_megabytes = [b"[" * 1_000_000] * 10
        tries = {
            "two lengths": raw(
                portal, head(portal, signature, f"Content-Length: {size}", f"Content-Length: {size + 1}"), body.encode()
            ),
            "length and chunks": raw(
                portal,
                head(portal, signature, "Content-Length: 3", "Transfer-Encoding: chunked"),
                f"{size:x}\r\n{body}\r\n0\r\n\r\n".encode(),
            ),
            "no length, too much": raw(
                portal, head(portal, signature, "Transfer-Encoding: chunked"), *[piece] * 160, b"0\r\n\r\n"
            ),
            "10 MB": raw(portal, head(portal, signature, "Content-Length: 10000000"), *ten_megabytes),
            "10 MB announced as little": raw(portal, head(portal, signature, "Content-Length: 9"), *ten_megabytes),
            "gzip": raw(
                portal,
                head(
                    portal, signature, "Content-Encoding: gzip", f"Content-Length: {len(gzip.compress(body.encode()))}"
                ),
                gzip.compress(body.encode()),
            ),
            "deep, rightly signed": raw(portal, head(portal, deep, f"Content-Length: {CAP}"), brackets.encode()),
            "not a number": raw(portal, head(portal, signature, "Content-Length: many"), body.encode()),
            "negative": raw(portal, head(portal, signature, "Content-Length: -1"), body.encode()),
            "no body": raw(portal, head(portal, signature)),
        }
        # A length that contradicts the chunks is either refused or, as the standard allows, not looked at.
        assert tries.pop("length and chunks") in (200, 400)
        assert {name: status for name, status in tries.items() if status not in (400, 411, 413)} == {}
        assert tries["no length, too much"] == tries["10 MB"] == 413
        grown = resident(server.pids()) - before
        print(f"{tries}; memory grew by {grown / 1024 / 1024:.1f} MB")
        assert grown < MOST_MEMORY
        assert webhooks.post(portal, body)[0] == 200
    assert portal.check() == []


def trickle_bodies(portal: Portal, port: int, *, rounds: int) -> list[tuple[int, float]]:
    """How the shelf answers while sixteen senders of webhooks send one byte every half second."""
    slow = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(SLOW_CONNECTIONS)]
    try:
        at = int(clock.now().timestamp())
        start = head(portal, f"Stripe-Signature: t={at},v1=00", "Content-Length: 60").replace("\n", "\r\n") + "\r\n"
        for connection in slow:
            connection.sendall(start.encode())
        answers: list[tuple[int, float]] = []
        for _ in range(rounds):
            for connection in slow:
                connection.sendall(b"x")
            time.sleep(0.5)
            answers += [webhooks.send(portal, "GET", "/packages", port=port, timeout=2) for _ in range(4)]
        return answers
    finally:
        for connection in slow:
            connection.close()


def in_front(portal: Portal, port: int, *, is_buffering: bool) -> str:
    """What `deploy/nginx/portal.conf` says about bodies, in front of the portal."""
    return f"""
    server {{
      listen 127.0.0.1:{port};
      location / {{
        proxy_pass http://127.0.0.1:{portal.port};
        proxy_set_header Host $http_host;
        proxy_http_version 1.1;
        proxy_request_buffering {"on" if is_buffering else "off"};
      }}
    }}
    """


def test_bodies_that_hardly_come_hold_up_nobody(portal: Portal) -> None:
    """Behind nginx, as deployed: it keeps a body until it is whole, so no thread of the portal waits for one."""
    port = processes.free_port()
    with portal.serve(), nginx.running(in_front(portal, port, is_buffering=True), port=port):
        quiet = sorted(webhooks.send(portal, "GET", "/packages", port=port)[1] for _ in range(20))
        answers = trickle_bodies(portal, port, rounds=5)
        busy = sorted(seconds for _status, seconds in answers)
        print(f"median {quiet[10] * 1000:.0f} ms quiet, {busy[10] * 1000:.0f} ms beside {SLOW_CONNECTIONS} slow bodies")
        assert {status for status, _seconds in answers} == {200}
        assert webhooks.send(portal, "GET", "/healthz", port=port)[0] == 200


def test_control_without_buffering_slow_bodies_hold_up_everybody(portal: Portal) -> None:
    """What the test above is worth: let nginx pass bodies on as they come, and the shelf hangs."""
    port = processes.free_port()
    with portal.serve() as server, nginx.running(in_front(portal, port, is_buffering=False), port=port):
        assert 0 in {status for status, _seconds in trickle_bodies(portal, port, rounds=1)}
        server.kill()

"""SIGKILL at every named point while one order is placed and paid: everything happens once, and goes on by itself."""

import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from sqlalchemy import update

from portal.core import clock
from portal.core.db import db
from portal.core.money import Money
from portal.core.outbox import MessageStatus, OutboxMessage
from portal.payments.models import EventStatus, ProviderEvent
from portal.payments.refund_models import CreditNote
from portal.payments.services.refunding import Wish, request_refund
from tests.faults.portal import Buyer, Portal, committed, wait_for
from tests.servers import web

pytestmark = [pytest.mark.slow_fault, pytest.mark.xdist_group("faults_kills")]

IN_THE_WORKER = (
    "settle-after-session",
    "fulfil-after-payment",
    "fulfil-after-enrolment",
    "settle-after-invoice",
    "settle-before-commit",
    "outbox-before-handler",
    "outbox-before-done",
    "mail-after-send",
)
IN_THE_WEB_SERVER = (
    "cart-after-lock",
    "place-before-insert",
    "place-before-commit",
    "start-before-provider",
    "sandbox-call",
    "start-after-provider",
    "accept-after-insert",
)
IN_A_REFUND = (
    "refund-before-provider",
    "refund-after-provider",
    "refund-after-status",
    "refund-after-order",
    "refund-before-commit",
)
IN_A_CANCELLATION = (
    "let-go-before-commit",
    "end-before-provider",
    "end-after-provider",
)  # tests/faults/test_cancellations.py
IN_A_DEPLOYMENT = (
    "deploy-claimed",
    "deploy-file-written",
    "deploy-before-rename",
    "deploy-after-rename",
    "deploy-config-written",
    "deploy-before-reload",
    "deploy-before-switch",
    "deploy-between-links",
    "deploy-after-switch",
    "deploy-before-done",
)  # tests/faults/test_deploys.py
IN_A_DOMAIN = (
    "domain-seen",
    "domain-attempt-counted",
    "domain-issued",
    "domain-kept",
    "domain-files-written",
    "domain-configured",
    "domain-visited",
)  # tests/faults/test_domains.py
# Inside a transaction of their own, or around a call whose other end is the test's: tests/payments/test_refunds.py and
# tests/merchants, tests/sites and tests/production let them fail there; those of quotes are where
# tests/quotes/test_deciding.py lets
# another be faster.
BY_RAISING = (
    "refund-after-record",
    "webhook-after-post",
    "accept-quote-after-check",
    "convert-after-check",
    "convert-before-insert",
    "destroy-after-check",
    "buy-after-look",
    "buy-before-carrier",
    "buy-after-carrier",
    "parcel-after-look",
    "ship-after-look",
    "version-before-commit",
    "change-drafted",
    "change-stored",
    "change-before-commit",
)
# Stuck work goes on within this time without a person; a lease may be no longer, sweep and start included.
RESUMED_WITHIN = timedelta(seconds=90)


def points_in_the_code() -> set[str]:
    """Every point there is, read from the code."""
    files = Path(web.ROOT, "portal").rglob("*.py")
    return {point for file in files for point in re.findall(r"\bfault\(\"([a-z-]+)\"\)", file.read_text())}


def test_every_point_is_tried() -> None:
    groups = (
        IN_THE_WORKER, IN_THE_WEB_SERVER, IN_A_REFUND, IN_A_CANCELLATION, IN_A_DEPLOYMENT, IN_A_DOMAIN, BY_RAISING,
    )  # fmt: skip
    assert points_in_the_code() == {point for group in groups for point in group}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def armed(points: tuple[str, ...], marks: Path) -> str:
    return ",".join(f"{point}=kill-once:{marks}" for point in points)


def let_leases_end(longest: timedelta = RESUMED_WITHIN - timedelta(seconds=30)) -> None:
    """Do what time does to work whose worker died, having seen that it would not take too long."""
    at = clock.now()
    with committed() as session:
        for model, waiting in ((OutboxMessage, MessageStatus.PENDING), (ProviderEvent, EventStatus.PENDING)):
            late = db.session.scalars(
                db.select(model.available_at).where(model.status == waiting, model.available_at > at)
            ).all()
            # What was taken up after the look at the clock has its time from then on.
            assert all(one <= clock.now() + longest for one in late), late
            session.execute(
                update(model).where(model.status == waiting, model.available_at > at).values(available_at=at)
            )


def letters_by_id(portal: Portal) -> dict[str, list[str]]:
    """Who got which mail, each Message-ID once: a mail box drops the second copy."""
    found: dict[str, set[str]] = {}
    for path in portal.mailbox():
        text = path.read_text(errors="replace")
        recipient = re.search(r"^To: (.+)$", text, re.MULTILINE)
        number = re.search(r"^Message-ID: (.+)$", text, re.MULTILINE | re.IGNORECASE)
        assert recipient is not None
        assert number is not None
        found.setdefault(recipient[1], set()).add(number[1])
    return {recipient: sorted(numbers) for recipient, numbers in found.items()}


def test_the_worker_dies_at_every_point(portal: Portal, marks: Path) -> None:
    """One payment, and the process that works on it is killed at each point in turn."""
    with portal.serve(), portal.work(PORTAL_FAULTS=armed(IN_THE_WORKER, marks)), Buyer(portal) as buyer:
        number = buyer.order(portal.packages[3])
        buyer.pay()

        def has_recovered() -> bool:
            let_leases_end()
            return portal.is_quiet()

        wait_for(has_recovered, seconds=60, say=lambda: f"{names(marks)} {portal.check(is_quiet=True)}")
        assert names(marks) == set(IN_THE_WORKER)
        assert portal.is_unlocked(number)
        assert {len(ids) for to, ids in letters_by_id(portal).items() if buyer.email in to} == {2}


def test_the_worker_dies_at_every_point_of_a_refund(portal: Portal, marks: Path) -> None:
    """The process that asks the provider is killed at each point in turn; the money goes back once."""
    with portal.serve(), portal.work(PORTAL_FAULTS=armed(IN_A_REFUND, marks)), Buyer(portal) as buyer:
        number = buyer.order(provider="stripe")
        buyer.pay()
        wait_for(lambda: portal.is_unlocked(number))
        session_id = portal.session_of(number).id
        # A webhook would end the refund before the worker comes to the later points.
        portal.stripe.webhooks.wait_idle(10)
        portal.stripe.control.set_webhooks(lose_rate=1.0)
        with committed():
            wish = Wish((session_id,), key="k" * 20, amount=Money(1000, "PLN"))
            request_refund(wish, by="admin@example.com", at=clock.now())

        def has_recovered() -> bool:
            let_leases_end()
            return portal.order(number).refunded_minor == 1000 and portal.is_quiet()

        wait_for(has_recovered, seconds=60, say=lambda: f"{names(marks)} {portal.check(is_quiet=True)}")
        assert names(marks) == set(IN_A_REFUND)
        assert [one["amount"] for one in portal.stripe.world.all("refund")] == [1000]
        assert len(db.session.scalars(db.select(CreditNote)).all()) == 1


def test_the_whole_worker_dies_in_the_middle_of_settling(portal: Portal) -> None:
    """Not only the job's process: the machine's worker is gone, and a new one finds what was left."""
    with portal.serve(), Buyer(portal) as buyer:
        with portal.work(PORTAL_FAULTS="settle-before-commit=sleep:60,outbox-before-done=sleep:60") as worker:
            number = buyer.order()
            buyer.pay()
            queue = portal.redis.client()
            wait_for(lambda: any(b"wip" in key for key in queue.keys("rq:*")), say=worker.output)
            queue.close()
            worker.kill()
        assert not portal.is_unlocked(number)
        assert portal.check() == []
        with portal.work():
            let_leases_end()
            wait_for(lambda: portal.is_unlocked(number), seconds=30)
            portal.wait_until_quiet()


def test_a_worker_that_is_told_to_stop_leaves_nothing_half_done(portal: Portal) -> None:
    """As at every deployment: SIGTERM in the middle of settling. It finishes in time, or gives the work back."""
    with portal.serve(), Buyer(portal) as buyer:
        with portal.work(PORTAL_FAULTS="settle-before-commit=sleep:2") as worker:
            number = buyer.order()
            buyer.pay()
            queue = portal.redis.client()
            wait_for(lambda: any(b"wip" in key for key in queue.keys("rq:*")), say=worker.output)
            queue.close()
            worker.stop()
        assert portal.check() == []
        with portal.work():
            let_leases_end()
            wait_for(lambda: portal.is_unlocked(number), seconds=30)
            portal.wait_until_quiet()


# Each death costs a start of the server; what the points protect is the same on both databases.
@pytest.mark.parametrize("own_database", ["postgresql"], indirect=True)
def test_the_web_server_dies_at_every_point(portal: Portal, marks: Path) -> None:
    """The buyer repeats each click that got no answer; the server is started again as systemd does it."""
    settings = {**portal.settings, "PORTAL_FAULTS": armed(IN_THE_WEB_SERVER, marks)}
    with ExitStack() as stack:
        server = stack.enter_context(web.web(settings, port=portal.port))
        stack.enter_context(portal.work())
        buyer = stack.enter_context(Buyer(portal))

        def start_again_if_dead() -> None:
            assert server.process is not None
            server.process.wait(20)
            server.start()

        def insist(step: str, *arguments: str) -> requests.Response | None:
            for _ in range(len(IN_THE_WEB_SERVER) + 1):
                try:
                    result: requests.Response | None = getattr(buyer, step)(*arguments)
                    return result
                except requests.ConnectionError:
                    start_again_if_dead()
            raise AssertionError(f"{step} never worked: {names(marks)}")

        insist("fill_cart")
        answer = insist("press_pay")
        assert answer is not None
        number = buyer.sent_to(answer)
        insist("pay")
        wait_for((marks / "accept-after-insert").exists, say=server.output)
        start_again_if_dead()
        assert names(marks) == set(IN_THE_WEB_SERVER)

        def has_recovered() -> bool:
            let_leases_end()
            return portal.is_unlocked(number) and portal.is_quiet()

        wait_for(has_recovered, seconds=40, say=lambda: str(portal.check(is_quiet=True)))
        orders = [one for one in portal.all_orders() if one.email == buyer.email]
        assert [one.number for one in orders] == [number]
        assert len(portal.session_of(number).attempts) == 1
        assert server.process is not None
        assert server.process.poll() is None


def test_a_point_that_is_armed_kills(tmp_path: Path) -> None:
    """The control: what the tests above rely on really ends a process, once."""
    program = "from portal.core.faults import fault; fault('here'); print('survived')"
    settings = {"PORTAL_FAULTS": f"here=kill-once:{tmp_path}"}

    def run() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-c", program],
            cwd=web.ROOT,
            env={**os.environ, **settings},
            capture_output=True,
            check=False,
        )

    assert run().returncode == -signal.SIGKILL
    assert run().stdout == b"survived\n"

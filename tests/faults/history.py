"""A shop under siege: seeded clients buy, pay, double and lose webhooks, while a nemesis kills what keeps it going.

Then the faults stop, time passes, and every invariant must hold, and every payment a provider took must be on the
books. `python -m tests.faults.history --seeds 5 --seconds 60` runs it by hand.
"""

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import requests
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from portal.accounts.models import Role
from portal.core import clock, outbox
from portal.core import web as answers
from portal.core.db import db, unit_of_work
from portal.core.errors import PortalError
from portal.core.money import Money
from portal.core.outbox import MessageStatus, OutboxMessage
from portal.core.queues import QueueName
from portal.payments.models import EventStatus, Payment, ProviderEvent
from portal.payments.services import checking, draining
from portal.payments.services.refunding import Wish, request_refund
from tests import factories, sandbox
from tests.fakes.stripe.wire import ApiError
from tests.faults.portal import Buyer, Portal, Unfinished, installed
from tests.servers import postgres, redis, web

# What a request may meet while servers die: no answer, or a page that is not the one a buyer needs.
TROUBLE = (requests.RequestException, Unfinished, ApiError)


@dataclass
class Siege:
    """One history: what was done, by whom it was disturbed, and what must be true in the end."""

    portal: Portal
    seed: int
    done: Counter[str] = field(default_factory=Counter)
    acknowledged: set[tuple[str, str]] = field(default_factory=set)
    buyers: list[Buyer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def run(self, seconds: float) -> list[str]:
        """Do it, let things settle, and return every breach."""
        switches = {"lose_rate": 0.2, "double_rate": 0.2, "order": "shuffled", "delay": 0.3}
        self.portal.stripe.webhooks.seed = self.seed
        self.portal.stripe.control.set_webhooks(**switches)
        with self.portal.serve() as server, self.portal.work() as worker:
            nemesis = Nemesis(self.portal, worker, server, random.Random(self.seed + 1))
            clients = [threading.Thread(target=self._client, args=(number, seconds)) for number in range(2)]
            for client in clients:
                client.start()
            nemesis.disturb_until(time.monotonic() + seconds)
            for client in clients:
                client.join()
            self.done += nemesis.done
            nemesis.make_up()
            self.portal.stripe.control.set_webhooks(lose_rate=0.0, double_rate=0.0, delay=0.0)
            self.portal.stripe.webhooks.wait_idle(30)
        self._collect_acknowledged()
        for buyer in self.buyers:
            buyer.http.close()
        return self._settle()

    # -- the client -------------------------------------------------------------------------------------------------

    def _client(self, number: int, seconds: float) -> None:
        choose = random.Random(f"{self.seed}/{number}")
        mine: list[Buyer] = []
        actions: list[tuple[int, Callable[[random.Random, list[Buyer]], str]]] = [
            (5, self._buy), (5, self._pay), (2, self._leave), (2, self._look), (2, self._pay_again), (1, self._staff),
            (1, self._provider_acts), (2, self._give_back),
        ]  # fmt: skip
        end = time.monotonic() + seconds
        with self.portal.app.app_context():
            while time.monotonic() < end:
                [act] = choose.choices([one for _weight, one in actions], [weight for weight, _one in actions])
                try:
                    self.done[act(choose, mine) if mine else self._buy(choose, mine)] += 1
                except TROUBLE as error:
                    self.done[f"met {type(error).__name__}"] += 1
                    time.sleep(0.2)
                except OperationalError as error:
                    # Staff act without a browser here; a page would ask them to try again.
                    if getattr(error.orig, "sqlstate", None) not in answers._BUSY_STATES:
                        raise
                    self.done["met a busy row"] += 1
                finally:
                    db.session.remove()
                time.sleep(0.02)

    def _buy(self, choose: random.Random, mine: list[Buyer]) -> str:
        # Some come back with the address they bought with before.
        email = choose.choice(mine).email if mine and choose.random() < 0.2 else ""
        buyer = Buyer(self.portal, email=email)
        self.buyers.append(buyer)
        slugs = choose.sample(self.portal.packages, choose.randint(1, 2))
        buyer.fill_cart(*slugs)
        provider = choose.choice(["sandbox", "stripe"])
        for _ in range(3):
            try:
                buyer.sent_to(buyer.press_pay(provider))
                mine.append(buyer)
                return f"ordered for {provider}"
            except TROUBLE:
                time.sleep(0.2)
        return "gave up ordering"

    def _pay(self, choose: random.Random, mine: list[Buyer]) -> str:
        buyer = choose.choice(mine[-6:])
        if "/sandbox/" in buyer.page:
            action = choose.choice(["pay_card", "pay_blik", "pay_untold", "pay_twice", "decline"])
        else:
            action = choose.choice(["pay_card", "pay_card", "pay_twice", "decline"])
        buyer.pay(action)
        return f"pressed {action}"

    def _leave(self, choose: random.Random, mine: list[Buyer]) -> str:
        buyer = choose.choice(mine)
        if "/sandbox/" in buyer.page:
            buyer.pay("cancel")
        else:
            self.portal.stripe.control.expire(buyer.reference)
        return "left the provider's page"

    def _pay_again(self, choose: random.Random, mine: list[Buyer]) -> str:
        """From the order's page, perhaps at the other provider: two pages of one order may be open."""
        buyer = choose.choice(mine)
        path = f"/orders/{buyer.number}/cancelled"
        answer = buyer.post(
            f"/orders/{buyer.number}/pay", {"provider": choose.choice(["sandbox", "stripe"])}, page=path
        )
        if answer.status_code == 303 and "/orders/" not in answer.headers["Location"]:
            buyer.page = answer.headers["Location"]
        return "chose a provider again"

    def _look(self, choose: random.Random, mine: list[Buyer]) -> str:
        buyer = choose.choice(mine)
        status = buyer.get(f"/orders/{buyer.number}/return").status_code
        return f"looked at an order: {status}"

    def _provider_acts(self, choose: random.Random, _mine: list[Buyer]) -> str:
        """A webhook once more, long after the first; or money back, at the provider's dashboard."""
        control = self.portal.stripe.control
        paid = [one["id"] for one in self.portal.stripe.world.all("payment_intent") if one["status"] == "succeeded"]
        events = self.portal.stripe.world.all("event")
        if paid and choose.random() < 0.2:
            control.refund(choose.choice(paid), 100)
            return "refunded at the provider"
        given = [one["id"] for one in self.portal.stripe.world.all("refund") if one["status"] == "succeeded"]
        if given and choose.random() < 0.2:
            control.fail_refund(choose.choice(given))
            return "a refund came back"
        if paid and choose.random() < 0.1:
            dispute = control.dispute(choose.choice(paid))
            if choose.random() < 0.7:
                control.close_dispute(dispute["id"], choose.choice(["won", "lost"]))
            return "disputed at the bank"
        if events:
            control.resend(choose.choice(events)["id"])
        return "resent a webhook"

    def _give_back(self, choose: random.Random, _mine: list[Buyer]) -> str:
        """Staff give money back: all of a payment's rest, or a part, sometimes more than is left."""
        ids = db.session.scalars(select(Payment.session_id)).all()
        if not ids:
            return "nothing to give back yet"
        amount = Money(choose.choice([100, 2500, 4900]), "PLN") if choose.random() < 0.7 else None
        wish = Wish((choose.choice(ids),), key=f"{choose.getrandbits(80):020x}", amount=amount)
        try:
            with unit_of_work():
                request_refund(wish, by="staff@example.com", at=clock.now())
        except PortalError as error:
            return f"refund refused: {type(error).__name__}"
        return "gave money back"

    def _staff(self, choose: random.Random, _mine: list[Buyer]) -> str:
        """Resolve a conflict, or run a parked event or effect again."""
        stuck = [EventStatus.CONFLICT, EventStatus.UNMATCHED, EventStatus.FAILED]
        ids = db.session.scalars(select(ProviderEvent.id).where(ProviderEvent.status.in_(stuck))).all()
        effects = db.session.scalars(select(OutboxMessage.id).where(OutboxMessage.status == MessageStatus.FAILED)).all()
        try:
            with unit_of_work():
                if effects:
                    outbox.run_again(choose.choice(effects), at=clock.now())
                elif ids and choose.random() < 0.5:
                    draining.resolve(choose.choice(ids), by="staff@example.com", at=clock.now(), note="seen")
                elif ids:
                    draining.run_again(choose.choice(ids), by="staff@example.com", at=clock.now())
        except PortalError:
            return "staff were refused"
        return "staff acted"

    # -- the end ----------------------------------------------------------------------------------------------------

    def _collect_acknowledged(self) -> None:
        for delivery in self.portal.stripe.webhooks.deliveries:
            self.done[f"webhook answered {delivery.status}"] += 1
            if delivery.status == 200:
                self.acknowledged.add(("stripe", delivery.event_id))

    def taken(self) -> set[tuple[str, str]]:
        """The money that Stripe says it took."""
        intents = self.portal.stripe.world.all("payment_intent")
        return {("stripe", one["id"]) for one in intents if one["status"] == "succeeded"}

    def _settle(self) -> list[str]:
        """Let time pass in big steps, with a worker's work done in this process: it can move its clock."""
        found: list[str] = []
        for hours in (0.02, 0.1, 0.5, 1, 2, 4):
            with clock.shifted(timedelta(hours=hours)):
                work_through(self.portal)
            found = self.portal.check(is_quiet=True, acknowledged=self.acknowledged, taken=self.taken())
            if not found:
                break
        return found


def work_through(portal: Portal) -> None:
    """All that the worker and its ticker do in some minutes, once."""
    at = clock.now()
    with sandbox.carried_in_process(portal.app):
        checking.request_due_checks(at=at)
        checking.recover_events(at=at)
        for _round in range(4):
            draining.rematch_unmatched(at=at)
            for queue in QueueName:
                outbox.drain(queue)
            draining.drain_inbox()
    db.session.rollback()


@dataclass
class Nemesis:
    """Kills the worker, empties Redis, kills Redis; starts everything again after a moment."""

    portal: Portal
    worker: web.WorkerProcess
    server: web.Web
    random: random.Random
    done: Counter[str] = field(default_factory=Counter)

    def disturb_until(self, end: float) -> None:
        """In the main thread: processes end with the thread that started them."""
        deeds = [self._kill_worker, self._kill_a_job, self._kill_a_job, self._flush, self._flush, self._kill_redis]
        deeds.append(self._kill_web)
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(self.random.uniform(1.0, 4.0), left))
            deed = self.random.choice(deeds)
            deed()
            self.done[deed.__name__.strip("_").replace("_", " ")] += 1

    def make_up(self) -> None:
        """Faults are over: everything runs."""
        if self.portal.redis.process is None:
            self.portal.redis.start()
        for part in (self.worker, self.server):
            if part.process is None or part.process.poll() is not None:
                part.start()

    def _kill_worker(self) -> None:
        self.worker.kill()
        self.worker.start()

    def _kill_web(self) -> None:
        self.server.kill()
        self.server.start()

    def _kill_a_job(self) -> None:
        pids = sorted(self.worker.pids())
        if len(pids) > 2:
            with contextlib.suppress(ProcessLookupError, IndexError):
                os.kill(self.random.choice(pids[1:]), signal.SIGKILL)

    def _flush(self) -> None:
        client = self.portal.redis.client()
        client.flushall()
        client.close()

    def _kill_redis(self) -> None:
        self.portal.redis.kill()
        time.sleep(self.random.uniform(0.3, 1.5))
        self.portal.redis.start()


@contextlib.contextmanager
def place(kind: str) -> Iterator[Portal]:
    """A fresh installation on a database of this kind."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(redis.running())
        if kind == "sqlite":
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="portal-history-")))
            url = f"sqlite:///{folder / 'portal.db'}"
        else:
            url = stack.enter_context(postgres.running()).create_database("history")
        portal = stack.enter_context(installed(url, server))
        factories.make_user(email="staff@example.com", role=Role.STAFF)
        yield portal


def main() -> int:
    """Run some seeds, each on a fresh installation, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=int(time.time()))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    options = parser.parse_args()
    failed = 0
    for seed in range(options.first, options.first + options.seeds):
        with place(options.database) as portal:
            siege = Siege(portal, seed)
            breaches = siege.run(options.seconds)
        failed += bool(breaches)
        print(f"seed {seed}: {'FAILED' if breaches else 'holds'} {dict(siege.done)}", flush=True)
        for breach in breaches:
            print(f"  {breach}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""The shop as it runs in production, to be broken: web server and worker as processes, and a way to look inside."""

import itertools
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import requests
from flask import Flask
from sqlalchemy import select

from portal import config, create_app
from portal.catalogue.models import Package
from portal.core.db import db, dispose, unit_of_work
from portal.orders.models import Enrolment, Order
from portal.payments.models import PaymentSession
from tests import factories, invariants
from tests.fakes.stripe import FakeStripe
from tests.migrating import migrate_new
from tests.servers import processes, redis, web

SANDBOX_SECRET = "whsec_c2FuZGJveC1zZWNyZXQtZm9yLXRlc3RzLW9ubHk="
STRIPE_SECRET = "whsec_test_secret"
QUICK = ("--queues", "inbox", "webhooks", "mail", "default")
_TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')
_KEY = re.compile(r'name="key" value="([^"]+)"')
_numbers = itertools.count(1)


@dataclass
class Portal:
    """One installation: its settings, its database seen from inside, and what it is made of."""

    app: Flask
    redis: redis.RedisServer
    port: int
    settings: dict[str, str]
    folder: Path
    stripe: FakeStripe
    packages: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where the shop answers."""
        return f"http://localhost:{self.port}"

    def serve(self, *, workers: int = 1, **changes: str) -> AbstractContextManager[web.Web]:
        """The web server, while the block lasts."""
        return web.web({**self.settings, **changes}, port=self.port, workers=workers)

    def work(self, **changes: str) -> AbstractContextManager[web.WorkerProcess]:
        """The workers for quick work with the ticker, while the block lasts."""
        return web.worker({**self.settings, **changes}, *QUICK)

    def check(self, **more: Any) -> list[str]:
        """What the invariants say about the database now."""
        return invariants.check(db.session, **more)

    def order(self, number: str) -> Order:
        """An order as it is in the database now."""
        db.session.rollback()
        db.session.expire_all()
        return db.session.scalars(select(Order).where(Order.number == number)).one()

    def all_orders(self) -> list[Order]:
        """Every order, oldest first."""
        db.session.rollback()
        db.session.expire_all()
        return list(db.session.scalars(select(Order).order_by(Order.id)))

    def order_of(self, session: PaymentSession) -> Order:
        """The order a session pays, as it is in the database now."""
        db.session.rollback()
        db.session.expire_all()
        return db.session.get_one(Order, session.subject_id)

    def session_of(self, number: str) -> PaymentSession:
        """The newest payment session of an order."""
        order = self.order(number)
        return db.session.scalars(
            select(PaymentSession).where(PaymentSession.subject_id == order.id).order_by(PaymentSession.id.desc())
        ).first()

    def is_unlocked(self, number: str) -> bool:
        """Whether the buyer has what was ordered."""
        order = self.order(number)
        if order.user_id is None:
            return False
        return db.session.scalar(select(Enrolment.id).where(Enrolment.user_id == order.user_id)) is not None

    def is_quiet(self, *, taken: Any = ()) -> bool:
        """Whether nothing waits any more and every invariant holds."""
        return not invariants.is_working(db.session) and not self.check(is_quiet=True, taken=taken)

    def wait_until_quiet(self, *, seconds: float = 30, taken: Any = ()) -> None:
        """Wait until nothing waits any more and every invariant holds."""
        wait_for(
            lambda: self.is_quiet(taken=taken),
            seconds=seconds,
            say=lambda: "\n".join(self.check(is_quiet=True, taken=taken)),
        )

    def mailbox(self) -> list[Path]:
        """The mails that were sent, when the portal writes them to files."""
        return sorted(Path(self.settings["MAILBOX_PATH"]).glob("*.eml"))


def wait_for(ready: Callable[[], Any], *, seconds: float = 20, say: Callable[[], str] = lambda: "") -> float:
    """Wait until `ready()` is true; returns how long it took. Fails with what `say()` says."""
    started = time.monotonic()
    while not ready():
        if time.monotonic() - started > seconds:
            raise AssertionError(f"waited {seconds:.0f} s in vain. {say()}")
        time.sleep(0.05)
    return time.monotonic() - started


@contextmanager
def installed(database_url: str, redis_server: redis.RedisServer, **changes: str) -> Iterator[Portal]:
    """A migrated database with a small catalogue, and a fake Stripe; no process runs yet."""
    port = processes.free_port()
    with (
        tempfile.TemporaryDirectory(prefix="portal-faults-", dir="/tmp") as name,
        FakeStripe(webhook_url=f"http://127.0.0.1:{port}/webhooks/stripe", secret=STRIPE_SECRET) as stripe,
    ):
        folder = Path(name)
        environment = {
            "PORTAL_ENV": "testing",
            "SECRET_KEY": "a-secret-for-tests-only-0123456789abcdef",
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_server.url,
            "PORTAL_URL": f"http://localhost:{port}",
            "SITES_ROOT": str(folder / "sites"),
            "STORAGE_URL": f"file://{folder / 'storage'}",
            "MAILBOX_PATH": str(folder / "mailbox"),
            "SANDBOX_WEBHOOK_SECRET": SANDBOX_SECRET,
            "STRIPE_SECRET_KEY": stripe.api_key,
            "STRIPE_WEBHOOK_SECRET": STRIPE_SECRET,
            "STRIPE_API_BASE": stripe.url,
            # Each buyer of a test has an address of their own, and limits of their own.
            "TRUSTED_PROXIES": "1",
            "LOG_LEVEL": "WARNING",
            **changes,
        }
        app = create_app(config.load(environment))
        with app.app_context():
            migrate_new()
            portal = Portal(app, redis_server, port, environment, folder, stripe)
            seed(portal)
            yield portal
            db.session.remove()
        dispose(app)


def seed(portal: Portal) -> None:
    """Three packages and a bundle of two of them."""
    made: list[Package] = [factories.make_package(price_minor=4900 + 1000 * number) for number in range(3)]
    made.append(factories.make_package(price_minor=9900, children=made[:2]))
    portal.packages = [package.slug for package in made]


class Unfinished(AssertionError):
    """A page answered otherwise than a buyer needs it to go on."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__(f"{response.request.method} {response.url} -> {response.status_code}\n{response.text[:1500]}")
        self.status = response.status_code


class Buyer:
    """A guest with a browser: cookies, forms with their tokens, an address of their own."""

    def __init__(self, portal: Portal, *, email: str = "") -> None:
        number = next(_numbers)
        self.portal = portal
        self.email = email or f"guest{number}@example.com"
        self.number = ""
        self.page = ""
        self.http = requests.Session()
        self.http.headers["X-Forwarded-For"] = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_problem: object) -> None:
        self.http.close()

    def get(self, path: str) -> requests.Response:
        """Load a page."""
        return self.http.get(self._address(path), allow_redirects=False, timeout=30)

    def post(self, path: str, values: dict[str, str], *, page: str) -> requests.Response:
        """Send the form that stands on `page`."""
        shown = self.get(page)
        token = _TOKEN.search(shown.text)
        if token is None:
            raise Unfinished(shown)
        address = self._address(path)
        return self.http.post(address, {"csrf_token": token[1], **values}, allow_redirects=False, timeout=30)

    def fill_cart(self, *slugs: str) -> None:
        """Put packages into the cart and say who is buying."""
        for slug in slugs or self.portal.packages[:1]:
            self._go_on(self.post("/cart/add", {"slug": slug, "quantity": "1"}, page=f"/packages/{slug}"))
        details = {"email": self.email, "name": "Maria Wiśniewska", "country": "PL"}
        self._go_on(self.post("/checkout", details, page="/checkout"))

    def press_pay(self, provider: str = "sandbox") -> requests.Response:
        """Press Pay on the last screen."""
        shown = self.get("/checkout/review")
        token, key = _TOKEN.search(shown.text), _KEY.search(shown.text)
        if token is None or key is None:
            raise Unfinished(shown)
        values = {"csrf_token": token[1], "key": key[1], "provider": provider}
        return self.http.post(self._address("/checkout/review"), values, allow_redirects=False, timeout=60)

    def order(self, *slugs: str, provider: str = "sandbox") -> str:
        """From the shelf to the provider's page; returns the order's number."""
        self.fill_cart(*slugs)
        return self.sent_to(self.press_pay(provider))

    def sent_to(self, answer: requests.Response) -> str:
        """Follow to the provider's page; returns the order's number, found by the buyer's address."""
        self.page = self._go_on(answer).headers["Location"]
        db.session.rollback()
        statement = select(Order.number).where(Order.email == self.email).order_by(Order.id.desc())
        self.number = db.session.scalars(statement).first() or ""
        db.session.rollback()
        return self.number

    @property
    def reference(self) -> str:
        """The provider's id of the page."""
        return self.page.rpartition("/")[2].partition("#")[0]

    def pay(self, action: str = "pay_card") -> None:
        """Pay on the provider's page: a button of the sandbox, or `pay` and the like at the fake Stripe."""
        if self.page.startswith(self.portal.stripe.url):
            getattr(self.portal.stripe.control, "pay" if action == "pay_card" else action)(self.reference)
        else:
            path = "/" + self.page.split("/", 3)[3]
            self._go_on(self.post(path, {"action": action}, page=path))

    def _address(self, path: str) -> str:
        return f"{self.portal.url}{path}"

    @staticmethod
    def _go_on(response: requests.Response) -> requests.Response:
        if response.status_code != 303:
            raise Unfinished(response)
        return response


@contextmanager
def committed() -> Iterator[Any]:
    """Change rows from inside, as time or a person would."""
    with unit_of_work() as session:
        yield session

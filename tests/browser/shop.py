"""The whole portal as people meet it: web, worker, Redis, a database, the demo shop, and a Stripe of our own."""

import contextlib
import email
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from pathlib import Path

from portal.demo import PASSWORD, USERS
from portal.dev import settings
from tests.fakes.editor import API_KEY, MODEL, FakeEditor
from tests.fakes.stripe import FakeStripe
from tests.servers import dns, processes, redis, web
from tests.servers.dns import NameServer

ADDRESSES = {user.role.value: user.email for user in USERS}
BUNDLE = "starter-biuro"
# Where customers point their domains.
SITES_ADDRESS = "192.0.2.10"
CHILDREN = ("Asystent, który zna Twoją firmę", "Biuro na autopilocie", "Media społecznościowe w rytmie")


@dataclass
class Shop:
    """A running portal. `stripe` and `editor` are other companies; their controls make things happen there, and
    `name_server` says where domains lead."""

    url: str
    values: dict[str, str]
    stripe: FakeStripe
    editor: FakeEditor
    name_server: NameServer
    folder: Path
    states: dict[str, dict[str, object]] = field(default_factory=dict)

    def log_in_of(self, role: str) -> tuple[str, str]:
        """Address and password of a demo user."""
        return ADDRESSES[role], PASSWORD

    def mails_to(self, address: str) -> list[EmailMessage]:
        """Everything that was sent to an address so far, oldest first."""
        found = []
        for path in sorted((self.folder / "mailbox").glob("*.eml")):
            message = email.message_from_bytes(path.read_bytes(), _class=EmailMessage, policy=policy.default)
            if address in str(message["To"]):
                found.append(message)
        return found

    def mail(self, address: str, containing: str) -> EmailMessage:
        """The first mail to an address whose text has these words; waits until the worker has sent it."""
        found: list[EmailMessage] = []

        def arrived() -> bool:
            found[:] = [message for message in self.mails_to(address) if containing in text_of(message)]
            return bool(found)

        processes.wait_until(arrived, seconds=30, what=f"a mail to {address} with {containing!r}")
        return found[0]

    def link(self, address: str, path: str) -> str:
        """The link in a mail to this address that leads to a path, such as /set-up/."""
        pattern = re.compile(rf"{re.escape(self.url + path)}[^\s<>\"]+")
        match = pattern.search(text_of(self.mail(address, self.url + path)))
        assert match is not None
        return match[0]


def text_of(message: EmailMessage) -> str:
    """The plain text of a mail."""
    body = message.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def html_of(message: EmailMessage) -> str:
    """The HTML of a mail."""
    body = message.get_body(("html",))
    assert body is not None
    return str(body.get_content())


@contextmanager
def opened(
    folder: Path,
    *,
    database_url: str | None = None,
    environment: str = "testing",
    port: int | None = None,
    **more: str,
) -> Iterator[Shop]:
    """Start everything on fresh demo data in `folder`: SQLite unless told otherwise. `more` are further settings."""
    port, sites_port = port or processes.free_port(), processes.free_port()
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as parts:
        server = parts.enter_context(redis.running())
        stripe = parts.enter_context(FakeStripe(f"http://127.0.0.1:{port}/webhooks/stripe"))
        editor = parts.enter_context(FakeEditor())
        name_server = parts.enter_context(dns.running())
        # Nobody issues certificates here.
        domains = {
            "SITES_ADDRESSES": SITES_ADDRESS,
            "DNS_RESOLVERS": name_server.address,
            "ACME_DIRECTORY_URL": "https://127.0.0.1:9/directory",
        }
        given = processes.clean_environment(
            PORTAL_ENV=environment,
            REDIS_URL=server.url,
            STRIPE_SECRET_KEY=stripe.api_key,
            STRIPE_WEBHOOK_SECRET=stripe.secret,
            STRIPE_API_BASE=stripe.url,
            EDITOR_API_URL=editor.url,
            EDITOR_API_KEY=API_KEY,
            EDITOR_API_MODEL=MODEL,
            **({"DATABASE_URL": database_url} if database_url else {}),
            **{**domains, **more},
        )
        values = settings.environment(data=folder, port=port, sites_port=sites_port, given=given)
        web.flask(values, "db", "upgrade")
        web.flask(values, "load-demo")
        site = parts.enter_context(web.web(values, port=port))
        parts.enter_context(web.sites(values, port=sites_port))
        parts.enter_context(web.worker(values))
        yield Shop(site.url, values, stripe, editor, name_server, folder)

"""A mail server of the tests' own: keeps what it gets, and refuses or goes away when told to."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.servers import processes
from tests.servers.certificates import Certificate

LATER = "451 4.3.2 Try again later"
NEVER = "550 5.1.1 No such mailbox"
# Seconds; longer than anybody waits for a mail server.
_LONGEST_HANG = 60


@dataclass(frozen=True)
class Letter:
    """One accepted mail: what the envelope said, and the mail itself."""

    sender: str
    recipients: list[str]
    message: EmailMessage

    @property
    def text(self) -> str:
        """The plain text part."""
        part = self.message.get_body(("plain",))
        return part.get_content() if part is not None else ""

    @property
    def html(self) -> str:
        """The HTML part."""
        part = self.message.get_body(("html",))
        return part.get_content() if part is not None else ""


class SmtpServer:
    """A mail server on a port of its own that it keeps while it is down."""

    def __init__(self, *, certificate: Certificate | None = None, login: tuple[str, str] | None = None) -> None:
        """With a certificate it demands STARTTLS, with a log-in it demands that too."""
        self.port = processes.free_port()
        self.letters: list[Letter] = []
        self.attempts = 0
        self._answer: str | None = None
        self._may_answer = threading.Event()
        self._may_answer.set()
        self._certificate = certificate
        self._login = login
        self._controller: Controller | None = None

    def refuse(self, answer: str) -> None:
        """Answer every mail with this line (LATER, NEVER) until `accept()`."""
        self._answer = answer

    def hang(self) -> None:
        """Listen to every mail and say nothing, until `accept()`."""
        self._may_answer.clear()

    def accept(self) -> None:
        """Take mail again."""
        self._answer = None
        self._may_answer.set()

    def start(self) -> None:
        """Listen. The letters it already has stay."""
        options: dict[str, Any] = {}
        if self._certificate is not None:
            options |= {"tls_context": self._certificate.server_context(), "require_starttls": True}
        if self._login is not None:
            options |= {"authenticator": self._check_login, "auth_required": True}
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, ready_timeout=20, **options)
        self._controller.start()

    def stop(self) -> None:
        """Be down: connections are refused."""
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def settings(self) -> dict[str, str]:
        """The portal's environment for this server."""
        values = {
            "EMAIL_BACKEND": "smtp",
            "SMTP_HOST": "localhost",
            "SMTP_PORT": str(self.port),
            "SMTP_STARTTLS": "true" if self._certificate else "false",
        }
        if self._certificate is not None:
            values["SSL_CERT_FILE"] = str(self._certificate.root)
        if self._login is not None:
            values |= {"SMTP_USERNAME": self._login[0], "SMTP_PASSWORD": self._login[1]}
        return values

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Called by aiosmtpd with each complete mail."""
        self.attempts += 1
        await asyncio.to_thread(self._may_answer.wait, _LONGEST_HANG)
        if self._answer is not None:
            return self._answer
        content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        message = message_from_bytes(content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.letters.append(Letter(envelope.mail_from or "", list(envelope.rcpt_tos), message))
        return "250 OK"

    def _check_login(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object
    ) -> AuthResult:
        assert self._login is not None
        given = (data.login.decode(), data.password.decode()) if isinstance(data, LoginPassword) else None
        return AuthResult(success=given == self._login, handled=False)


@contextmanager
def running(*, certificate: Certificate | None = None, login: tuple[str, str] | None = None) -> Iterator[SmtpServer]:
    """A mail server that accepts everything."""
    server = SmtpServer(certificate=certificate, login=login)
    server.start()
    try:
        yield server
    finally:
        server.stop()

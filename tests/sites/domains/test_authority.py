"""What an authority may answer instead of a certificate, said by a server that says whatever a test wants."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from portal.sites.domains.authority import (
    Authority,
    AuthorityAway,
    AuthorityLimits,
    AuthorityRefused,
    new_key,
    read,
    thumbprint,
)
from tests.fakes.serving import serving
from tests.servers import certificates


@pytest.fixture
def empty_folders() -> None:
    """Nothing here needs an application."""


@dataclass
class Script:
    """The answers by path, each a status and a body; what is asked is written down."""

    url: str
    folder: Path
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def problem(self, path: str, kind: str, status: int = 429, detail: str = "come back later") -> None:
        self.answers[path] = (status, {"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail})


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    own = certificates.make(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(own.root))

    class Handler(BaseHTTPRequestHandler):
        def __getattr__(self, name: str) -> Any:
            """The library asks by GET, HEAD and POST, and is answered alike."""
            if name.startswith("do_"):
                return self._say
            raise AttributeError(name)

        def _say(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            told.asked.append(self.path)
            status, body = told.answers.get(self.path.rpartition("/ari/")[0] or self.path, (404, "nothing here"))
            content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            is_json = not isinstance(body, str)
            kind = "application/problem+json" if status >= 400 else "application/json"
            self.send_header("Content-Type", kind if is_json else "text/plain")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Replay-Nonce", "bm9uY2U")
            self.send_header("Location", f"{told.url}/account/1")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = own.server_context().wrap_socket(server.socket, server_side=True)
    told = Script(f"https://localhost:{server.server_address[1]}", tmp_path)
    told.answers = {
        "/directory": (200, {
            "newNonce": f"{told.url}/nonce", "newAccount": f"{told.url}/new-account", "newOrder": f"{told.url}/order",
            "renewalInfo": f"{told.url}/renewal/ari", "meta": {"caaIdentities": ["CA.example"]},
        }),
        "/nonce": (200, ""),
        "/new-account": (201, {"status": "valid"}),
    }  # fmt: skip
    with serving(server):
        yield told


def speaking(script: Script) -> Authority:
    return Authority(f"{script.url}/directory", new_key(), "staff@example.com")


def issue(script: Script) -> Any:
    return speaking(script).issue(["www.bakery.com"], new_key())


def test_its_names_are_those_of_its_directory(script: Script) -> None:
    assert speaking(script).identities() == ("ca.example",)
    script.answers["/directory"] = (200, {"newNonce": "x"})
    assert speaking(script).identities() == ()


def test_a_limit_is_told_from_a_refusal_and_from_trouble(script: Script) -> None:
    script.problem("/order", "rateLimited", detail="too many certificates already issued")
    with pytest.raises(AuthorityLimits, match="too many certificates"):
        issue(script)
    script.problem("/order", "rejectedIdentifier", 400, "policy forbids it")
    with pytest.raises(AuthorityRefused, match="policy forbids it"):
        issue(script)
    script.problem("/order", "serverInternal", 500)
    with pytest.raises(AuthorityAway):
        issue(script)
    script.problem("/new-account", "rateLimited")
    with pytest.raises(AuthorityLimits):
        issue(script)


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/directory", (503, "<html>Sorry</html>")),
        ("/directory", (200, "no JSON at all")),
        ("/directory", (200, {})),
        ("/directory", (200, [])),
        ("/order", (502, "")),
        ("/order", (201, "nonsense")),
        ("/order", (201, {"status": "pending"})),
        ("/order", (201, {"status": "pending", "authorizations": ["http://127.0.0.1:9/"], "identifiers": []})),
        ("/order", (201, {"status": 7, "identifiers": "x", "authorizations": 5})),
    ],
)
def test_nonsense_is_trouble_of_its_own(script: Script, path: str, answer: tuple[int, Any]) -> None:
    script.answers[path] = answer
    with pytest.raises((AuthorityAway, AuthorityRefused)):
        issue(script)


def test_an_authority_that_nobody_vouches_for_is_not_spoken_to(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(AuthorityAway):
        speaking(script).identities()
    assert script.asked == []


def test_an_authority_that_is_away_is_away(script: Script) -> None:
    away = Authority("https://127.0.0.1:9/directory", new_key())
    for ask in (away.identities, lambda: away.issue(["www.bakery.com"], new_key())):
        with pytest.raises(AuthorityAway):
            ask()


def test_it_may_say_when_to_renew(script: Script) -> None:
    chain = chain_pem(script.folder)
    start = datetime.now(UTC).replace(microsecond=0)
    window = {"start": start.isoformat(), "end": (start + timedelta(hours=1)).isoformat()}
    script.answers["/renewal"] = (200, {"suggestedWindow": window})
    wanted = speaking(script).renewal_time(chain)
    assert wanted is not None
    assert start <= wanted <= start + timedelta(hours=1)
    script.answers["/renewal"] = (500, "")
    assert speaking(script).renewal_time(chain) is None


def chain_pem(folder: Path) -> str:
    """A certificate with the key identifier of its issuer, as authorities issue them."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(77)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=90))
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def test_what_is_no_certificate_is_refused(script: Script) -> None:
    with pytest.raises(AuthorityRefused):
        read("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    issued = read(chain_pem(script.folder))
    assert issued.ends_at - issued.starts_at == timedelta(days=90)
    assert len(issued.fingerprint) == 64


def test_a_thumbprint_is_what_the_standard_says() -> None:
    first, second = new_key(), new_key()
    assert thumbprint(first) == thumbprint(first) != thumbprint(second)
    assert len(thumbprint(first)) == 43

"""deploy/: a real nginx takes the configuration and passes requests on as the portal expects them."""

import http.client
import json
import shlex
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.servers import certificates, nginx, processes

pytestmark = pytest.mark.xdist_group("deploy_nginx")

ROOT = Path(__file__).resolve().parent.parent.parent
HOST = "portal.example.com"


@dataclass(frozen=True)
class Site:
    """nginx on two ports, and what its clients trust."""

    http_port: int
    https_port: int
    trust: ssl.SSLContext
    access_log: Path

    def get(self, path: str, **options: Any) -> tuple[http.client.HTTPResponse, bytes]:
        return self.ask("GET", path, **options)

    def ask(
        self, method: str, path: str, *, body: bytes | None = None, **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        raw = socket.create_connection(("127.0.0.1", self.https_port), timeout=10)
        connection = http.client.HTTPConnection(HOST)
        connection.sock = self.trust.wrap_socket(raw, server_hostname=HOST)
        try:
            connection.request(
                method, path, body=body, headers={name.replace("_", "-"): value for name, value in headers.items()}
            )
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()


def web_command(socket_path: Path, app: str) -> list[str]:
    """What portal-web.service starts, with our folders and another app."""
    unit = (ROOT / "deploy" / "systemd" / "portal-web.service").read_text()
    [line] = [line.removeprefix("ExecStart=") for line in unit.splitlines() if line.startswith("ExecStart=")]
    changes = {
        "/opt/portal/.venv": str(ROOT / ".venv"),
        "/run/portal/web.sock": str(socket_path),
        "${WEB_WORKERS}": "1",
        "wsgi:app": app,
    }
    # Split first: the checkout's own path may hold a space.
    words = shlex.split(line)
    for old, new in changes.items():
        assert any(old in word for word in words), f"{old} is not in the unit any more"
        words = [word.replace(old, new) for word in words]
    return words


def replaced(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        assert old in text, f"{old} is not in the file any more"
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with nginx.prepared() as server:
        folder = server.folder
        certificate = certificates.make(folder, HOST)
        static = folder / "static"
        (static / "css").mkdir(parents=True)
        (static / "css" / "app.css").write_text("body { color: black }\n" * 100)
        http_port, https_port = processes.free_port(), processes.free_port()
        text = (ROOT / "deploy" / "nginx" / "portal.conf").read_text()
        # The machine may have no IPv6; the test talks to nginx over IPv4 either way.
        text = "\n".join(line for line in text.splitlines() if "listen [::]" not in line)
        server.configure(
            replaced(
                text,
                {
                    "listen 80": f"listen 127.0.0.1:{http_port}",
                    "listen 443": f"listen 127.0.0.1:{https_port}",
                    f"/etc/letsencrypt/live/{HOST}/fullchain.pem": str(certificate.chain),
                    f"/etc/letsencrypt/live/{HOST}/privkey.pem": str(certificate.key),
                    "/run/portal/web.sock": str(folder / "web.sock"),
                    "/opt/portal/static/": f"{static}/",
                    "/var/lib/portal/acme": str(folder / "acme"),
                    "/var/log/nginx/portal.access.log": str(folder / "portal.access.log"),
                },
            )
        )
        log = folder / "web.log"
        web = processes.start(
            web_command(folder / "web.sock", "tests.deploy.echo:app"),
            log=log,
            environment=processes.clean_environment(),
            cwd=ROOT,
            death_signal=15,
        )
        try:
            processes.wait_for_server(web, lambda: processes.answers_over(folder / "web.sock"), what="granian", log=log)
            # Started as root, nginx's workers are another user, who reaches the socket through its group on a server.
            # Only now: granian sets the socket's own permissions some time after its file is there.
            (folder / "web.sock").chmod(0o666)
            server.port = https_port
            server.start()
            yield Site(http_port, https_port, certificate.client_context(), folder / "portal.access.log")
        finally:
            processes.stop(web)


def test_a_request_reaches_the_portal_with_true_facts_about_its_sender(site: Site) -> None:
    forged = {
        "X_Forwarded_For": "203.0.113.9",
        "X_Forwarded_Proto": "http",
        "X_Forwarded_Host": "evil.example",
        "X_Forwarded_Prefix": "/evil",
        "X_Forwarded_Port": "1",
        "X_Real_IP": "203.0.113.9",
        "Forwarded": "for=203.0.113.9",
        "X_Request_ID": "chosen-by-the-client",
    }
    answer, body = site.get("/packages?page=2", HX_Request="true", **forged)
    seen = json.loads(body)
    assert answer.status == 200
    assert (seen["PATH_INFO"], seen["QUERY_STRING"], seen["HTTP_HX_REQUEST"]) == ("/packages", "page=2", "true")
    assert seen["HTTP_HOST"] == HOST
    assert seen["HTTP_X_FORWARDED_FOR"] == "127.0.0.1"
    assert seen["HTTP_X_FORWARDED_PROTO"] == "https"
    assert seen["HTTP_X_REQUEST_ID"] != "chosen-by-the-client"
    for name in ("X_FORWARDED_HOST", "X_FORWARDED_PREFIX", "X_FORWARDED_PORT", "X_REAL_IP", "FORWARDED"):
        assert f"HTTP_{name}" not in seen
    assert "203.0.113.9" not in body.decode()
    assert "evil" not in body.decode()


@pytest.mark.parametrize("path", ["/webhooks/stripe", "/api/v1/webhooks/stripe"])
def test_a_webhook_of_the_largest_size_passes_and_a_larger_one_does_not(site: Site, path: str) -> None:
    # The portal's own limit is 256 KiB: the request just above it must reach the portal, to get its answer.
    answer, body = site.ask("POST", path, body=b"x" * (256 * 1024 + 1))
    assert (answer.status, json.loads(body)["body_length"]) == (200, str(256 * 1024 + 1))
    answer, _ = site.ask("POST", path, body=b"x" * (258 * 1024))
    assert answer.status == 413


def test_a_form_may_be_larger_than_a_webhook_up_to_two_megabytes(site: Site) -> None:
    answer, body = site.ask("POST", "/account", body=b"x" * (1024 * 1024))
    assert (answer.status, json.loads(body)["body_length"]) == (200, str(1024 * 1024))
    answer, _ = site.ask("POST", "/account", body=b"x" * (3 * 1024 * 1024))
    assert answer.status == 413


@pytest.mark.parametrize("path", ["/quote", "/quotes/draft/files", "/quotes/Q-2026-014/files"])
def test_models_may_be_large_and_pass_whole(site: Site, path: str) -> None:
    size = 101 * 1024 * 1024
    answer, body = site.ask("POST", path, body=bytes(size))
    assert (answer.status, json.loads(body)["body_length"]) == (200, str(size))


def test_other_pages_of_quotes_take_no_more_than_any_form(site: Site) -> None:
    for path in ("/quotes/Q-2026-014/note", "/quotes/new", "/quotes/a/b/files"):
        answer, _ = site.ask("POST", path, body=b"x" * (3 * 1024 * 1024))
        assert answer.status == 413, path


def test_plain_http_is_sent_to_https_at_our_own_name(site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.http_port, timeout=10)
    connection.request("GET", "/packages?page=2", headers={"Host": HOST})
    answer = connection.getresponse()
    connection.close()
    assert (answer.status, answer.headers["Location"]) == (301, f"https://{HOST}/packages?page=2")


def test_a_foreign_host_name_gets_no_answer(site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.http_port, timeout=10)
    connection.request("GET", "/", headers={"Host": "evil.example"})
    with pytest.raises(http.client.RemoteDisconnected):
        connection.getresponse()
    connection.close()
    raw = socket.create_connection(("127.0.0.1", site.https_port), timeout=10)
    with raw, pytest.raises(ssl.SSLError, match="unrecognized name"):
        site.trust.wrap_socket(raw, server_hostname="evil.example")


def test_static_files_with_a_hash_are_kept_for_a_year_and_others_asked_for_again(site: Site) -> None:
    answer, _ = site.get("/static/css/app.css?v=0123456789abcdef", Accept_Encoding="gzip")
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=31536000")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    answer, _ = site.get("/static/css/app.css")
    assert answer.headers["Cache-Control"] == "no-cache"
    answer, _ = site.get("/static/../web.log")
    assert b"granian" not in answer.read()


def test_pages_are_not_compressed(site: Site) -> None:
    answer, _ = site.get("/", Accept_Encoding="gzip")
    assert answer.headers["Content-Encoding"] is None


def test_old_tls_is_refused(site: Site) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    # Deprecated in Python, which is the point: nothing old may be left.
    with pytest.warns(DeprecationWarning, match="TLSv1 is deprecated"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    raw = socket.create_connection(("127.0.0.1", site.https_port), timeout=10)
    with raw, pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
        context.wrap_socket(raw, server_hostname=HOST)


@pytest.mark.parametrize(
    "path",
    [
        "/verify/secret-token",
        "/set-up/secret-token",
        "/password/reset/secret-token?x=1",
        "/orders/ORD-20261121-AAAA/return?key=secret-token",
    ],
)
def test_tokens_of_mailed_links_do_not_reach_the_access_log(site: Site, path: str) -> None:
    site.get(path)
    site.get("/packages?q=after")
    processes.wait_until(lambda: "/packages?q=after" in site.access_log.read_text(), what="the access log")
    logged = site.access_log.read_text()
    assert path.split("secret")[0].rstrip("?key=") in logged
    assert "secret-token" not in logged

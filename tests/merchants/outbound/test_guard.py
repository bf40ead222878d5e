"""No address that a merchant gives leads to anything but the public internet, whatever its name resolves to."""

import socket
import ssl
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest

from portal.merchants.outbound import guard, posting
from portal.merchants.outbound.errors import RefusedAddress
from tests.fakes.receiver import Receiver

PUBLIC = "93.184.216.34"
# This machine, by a number that no rule of the product makes an exception for in live mode.
HERE = "127.0.0.1"

INSIDE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "169.254.0.1", "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1",
    "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16",
    "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1",
    "::ffff:10.0.0.1", "::ffff:169.254.169.254", f"::ffff:{PUBLIC}", "::7f00:1", "64:ff9b::7f00:1", "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:80ff:fffe", "100::1", "fec0::1", "2606:4700::1%eth0",
]  # fmt: skip

Resolver = Callable[..., None]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    """`resolver([...], [...])`: what the first look-up answers, and each later one; the last answer is kept."""
    answers: list[list[str]] = []

    def ask(_host: str, port: int, **_kinds: Any) -> list[tuple[Any, ...]]:
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        families = [socket.AF_INET6 if ":" in one else socket.AF_INET for one in found]
        return [(family, socket.SOCK_STREAM, 6, "", (one, port)) for family, one in zip(families, found, strict=True)]

    def say(*given: list[str]) -> None:
        answers.extend(given)
        monkeypatch.setattr(socket, "getaddrinfo", ask)

    return say


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Where connections were asked for; none of them is made."""
    asked: list[tuple[str, int]] = []

    class Silent(socket.socket):
        def connect(self, address: Any) -> None:
            asked.append((address[0], address[1]))
            raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "socket", Silent)
    return asked


def send(url: str, *, mode: str = "live", loopback: bool = False) -> posting.Outcome:
    return posting.post(url, b"{}", {"webhook-id": "evt_1"}, mode=mode, loopback=loopback)


def written(address: str) -> str:
    return f"[{address}]" if ":" in address else address


@pytest.mark.parametrize("address", INSIDE)
@pytest.mark.parametrize("mode", ["test", "live"])
def test_what_is_not_public_is_refused(address: str, mode: str) -> None:
    with pytest.raises(RefusedAddress):
        guard.check_address(ip_address(address), mode=mode, loopback=False)
    with pytest.raises(RefusedAddress):
        guard.read_url(f"https://{written(address)}/hooks", mode=mode, loopback=False)


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:4700::1111", "2a00:1450:4001::1"])
def test_what_is_public_is_not(address: str) -> None:
    target = guard.read_url(f"https://{written(address)}:8443/hooks?a=b", mode="live", loopback=False)
    assert (target.host, target.port, target.path) == (address, 8443, "/hooks?a=b")
    assert target.host_header == f"{written(address)}:8443"


@pytest.mark.parametrize(
    "host",
    [
        "2130706433", "0x7f000001", "0x7f.0.0.1", "0X7F.1", "017700000001", "0177.0.0.1", "127.1", "127.0.1",
        "1.2.3.4.5",
        "010.8.8.8", "127.0.0.1.", "a..b", "-a.example", "a_b.example", "localhost.", "%31%32%37.0.0.1", "a%00.example",
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["test", "live"])
def test_numbers_in_disguise_are_no_names(host: str, mode: str) -> None:
    with pytest.raises(RefusedAddress):
        guard.read_url(f"https://{host}/", mode=mode, loopback=True)


@pytest.mark.parametrize(
    "url",
    [
        "", "shop.example.com", "//shop.example.com/", "https://", "https:///hooks", "https:shop.example.com",
        "http://shop.example.com/", "ftp://shop.example.com/", "file:///etc/passwd", "gopher://shop.example.com/",
        "javascript:alert(1)", "data:text/plain,x", "unix:///run/docker.sock",
        "https://user@shop.example.com/", "https://user:password@shop.example.com/", "https://@shop.example.com/",
        "https://shop.example.com@127.0.0.1/", "https://shop.example.com#@127.0.0.1/", "https://shop.example.com/#part",
        "https://127.0.0.1\\@shop.example.com/", "https://shop.example.com\\@127.0.0.1/",
        "https://shop.example.com/a b", "https://shop.example.com/\r\nX-Mine: 1", "https://shop.example.com/\t",
        "https://shop.example.com/ż", "https://ｌｏｃａｌｈｏｓｔ/", "https://shop.example.com/\x00",
        "https://shop.example.com:0/", "https://shop.example.com:22/", "https://shop.example.com:25/",
        "https://shop.example.com:1023/", "https://shop.example.com:65536/", "https://shop.example.com:-1/",
        "https://shop.example.com:x/", "https://[::1/", "https://[v1.x]/", "https://[8.8.8.8]/",
        "https://" + "a" * 64 + ".example/",
        "https://" + "a." * 127 + "example/", "https://shop.example.com/" + "a" * 2_000,
    ],
)  # fmt: skip
def test_live_webhooks_go_to_a_whole_https_address(url: str) -> None:
    with pytest.raises(RefusedAddress):
        guard.read_url(url, mode="live", loopback=False)


@pytest.mark.parametrize("port", [80, 443, 1024, 8080, 65535])
def test_ports_of_programs_are_open(port: int) -> None:
    assert guard.read_url(f"https://shop.example.com:{port}/", mode="live", loopback=False).port == port


def test_plain_http_is_for_test_mode() -> None:
    assert guard.read_url("http://shop.example.com", mode="test", loopback=False).path == "/"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_this_machine_is_open_in_test_mode_when_the_setting_says_so(address: str) -> None:
    guard.check_address(ip_address(address), mode="test", loopback=True)
    for mode, loopback in (("test", False), ("live", True), ("live", False)):
        with pytest.raises(RefusedAddress):
            guard.check_address(ip_address(address), mode=mode, loopback=loopback)
    with pytest.raises(RefusedAddress):
        guard.check_address(ip_address("10.0.0.1"), mode="test", loopback=True)


@pytest.mark.parametrize(
    "found", [[PUBLIC, "10.0.0.1"], ["169.254.169.254", PUBLIC], [PUBLIC, "::1"], [PUBLIC, "::ffff:10.0.0.1"], [HERE]]
)
def test_one_inner_address_spoils_a_name(
    resolver: Resolver, connections: list[tuple[str, int]], found: list[str]
) -> None:
    resolver(found)
    outcome = send("https://shop.example.com/hooks")
    assert (outcome.http_code, outcome.is_delivered) == (None, False)
    assert outcome.error == "refused: This host is not on the public internet."
    assert connections == []


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_a_name_that_changes_its_mind_is_reached_where_it_was_checked(
    resolver: Resolver, connections: list[tuple[str, int]], scheme: str
) -> None:
    """Rebinding: the name is public when it is asked first, and inside at every later time."""
    resolver([PUBLIC, "8.8.8.8"], [HERE])
    outcome = send(f"{scheme}://shop.example.com:8443/hooks", mode="test")
    assert connections == [(PUBLIC, 8443), ("8.8.8.8", 8443)]
    assert outcome.error == "Connection refused"
    later = send(f"{scheme}://shop.example.com:8443/hooks", mode="test")
    assert later.error == "refused: This host is not on the public internet."
    assert len(connections) == 2


def test_the_request_names_the_host_and_goes_to_the_address(resolver: Resolver) -> None:
    resolver([HERE])
    with Receiver() as shop:
        outcome = send(f"http://shop.example.com:{shop.port}/hooks?a=b", mode="test", loopback=True)
    assert outcome.is_delivered
    (request,) = shop.received
    assert (request.path, request.headers["Host"]) == ("/hooks?a=b", f"shop.example.com:{shop.port}")


@pytest.mark.parametrize("code", ["301", "302", "303", "307", "308"])
def test_no_redirect_is_followed(resolver: Resolver, code: str) -> None:
    resolver([HERE])
    with Receiver() as inside, Receiver(answer=code, location=inside.url) as shop:
        outcome = send(f"http://shop.example.com:{shop.port}/hooks", mode="test", loopback=True)
        assert (outcome.http_code, outcome.is_delivered) == (int(code), False)
        assert (len(shop.received), len(inside.received)) == (1, 0)


def test_no_proxy_is_read_from_the_environment(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver([HERE])
    with Receiver() as proxy, Receiver() as shop:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert send(f"http://shop.example.com:{shop.port}/hooks", mode="test", loopback=True).is_delivered
        assert (len(shop.received), len(proxy.received)) == (1, 0)


def test_a_name_without_an_address_is_a_failed_try(resolver: Resolver, connections: list[tuple[str, int]]) -> None:
    resolver([])
    outcome = send("https://shop.example.com/")
    assert outcome.error == "the name cannot be resolved (gaierror)"
    assert connections == []


def test_https_wants_a_certificate_for_the_name(resolver: Resolver) -> None:
    """A program that speaks no TLS is not told anything."""
    resolver([HERE])
    with Receiver() as shop:
        outcome = send(f"https://shop.example.com:{shop.port}/hooks", mode="test", loopback=True)
        assert (outcome.http_code, shop.received) == (None, [])
    assert outcome.error is not None
    context = posting.strangers_tls()
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)

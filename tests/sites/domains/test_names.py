"""Which names may become a domain, and which never reach DNS, the database or a configuration."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.sites.domains.blocks import _NAME
from portal.sites.domains.errors import InvalidName
from portal.sites.domains.names import LONGEST, is_registered_itself, read_name, twin_of

OURS = {"portal.atelier.com", "sites.atelier-sites.com", "localhost"}
LONG = ".".join(["a" * 60, "b" * 60, "c" * 60, "d" * 52]) + ".example.com"


@pytest.fixture
def empty_folders() -> None:
    """Nothing here needs an application."""


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("www.example.com", "www.example.com"),
        (" EXAMPLE.Com. ", "example.com"),
        ("shop.example.co.uk", "shop.example.co.uk"),
        ("żółw.pl", "xn--w-uga1v8h.pl"),
        ("xn--w-uga1v8h.pl", "xn--w-uga1v8h.pl"),
        ("niño.example.com", "xn--nio-8ma.example.com"),
        ("ｅxample.com", "example.com"),
        ("my-shop.github.io", "my-shop.github.io"),
        (LONG[-LONGEST:].lstrip("."), LONG[-LONGEST:].lstrip(".")),
    ],
)
def test_a_name_is_kept_as_dns_writes_it(typed: str, name: str) -> None:
    assert read_name(typed, ours=OURS) == name
    assert _NAME.fullmatch(name)


@pytest.mark.parametrize(
    "typed",
    [
        "", ".", "..", "com", "co.uk", "github.io", "nothing", "foo.notatld", "localhost", "a.localhost", "my.local",
        "a.internal", "a.test", "a.onion", "1.0.0.127.in-addr.arpa", "127.0.0.1", "127.1", "0x7f.1", "2130706433",
        "[::1]", "::ffff:127.0.0.1", "1.2.3.4.", "169.254.169.254", "*.example.com", "*", "www.*.com",
        "portal.atelier.com", "x.portal.atelier.com", "atelier.com", "shop.atelier.com", "atelier-sites.com",
        "http://example.com", "example.com/path", "example.com:80", "user@example.com", "a b.com", "a\tb.com",
        "a\nb.com", "a.com;", "a.com;return 200", "a.com{}", "a.com\x00", "$host.com", "a\\b.com", '"a".com', "a'b.com",
        "a..com", ".a.com", "-a.com", "a-.com", "a_b.com", "~^.*$.com", "a%2eb.com", "xn--zzzzzz--.com", "xn--.com",
        "xn--a.com", "a\u202eb.com", "a\u200b.com", "①.com;", f"{'a' * 64}.com", f"{'ż' * 64}.pl", "x" * 1_000,
        "a." * 130 + "com", "y" * 100_000,
    ],
)  # fmt: skip
def test_a_hostile_or_senseless_name_is_refused(typed: str) -> None:
    with pytest.raises(InvalidName) as refusal:
        read_name(typed, ours=OURS)
    assert refusal.value.field == "name"


def test_the_longest_names_end_where_their_proof_would_not_fit() -> None:
    assert LONGEST == 245
    fits, is_longer = LONG[-LONGEST:], LONG[-LONGEST - 1 :]
    assert (len(fits), len(is_longer)) == (245, 246)
    assert read_name(fits, ours=OURS) == fits
    with pytest.raises(InvalidName, match="characters"):
        read_name(is_longer, ours=OURS)


@given(st.text(max_size=300))
def test_whatever_is_typed_becomes_a_plain_name_or_a_refusal(typed: str) -> None:
    try:
        name = read_name(typed, ours=OURS)
    except InvalidName:
        return
    assert _NAME.fullmatch(name)
    assert len(name) <= LONGEST
    assert read_name(name, ours=OURS) == name


def test_the_top_of_a_zone_is_known() -> None:
    assert is_registered_itself("example.co.uk")
    assert not is_registered_itself("www.example.co.uk")


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("example.com", "www.example.com"),
        ("www.example.com", "example.com"),
        ("example.co.uk", "www.example.co.uk"),
        ("my-shop.github.io", "www.my-shop.github.io"),
        ("www.com", "www.www.com"),
        ("shop.example.com", None),
        ("www.shop.example.com", None),
        ("www2.example.com", None),
    ],
)
def test_a_registered_name_and_its_www_are_a_pair(name: str, twin: str | None) -> None:
    assert twin_of(name) == twin
    assert twin is None or twin_of(twin) == name

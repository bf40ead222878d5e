"""What resolvers see: asked one by one and judged together; and who may issue certificates for a name."""

from collections.abc import Iterator

import pytest

from portal import config_sites
from portal.config import Settings
from portal.sites.domains import caa, resolvers
from portal.sites.domains.models import Reason
from portal.sites.domains.records import Sighting, judge
from portal.sites.domains.resolvers import CaaRecord, ResolverSilent
from tests.servers import dns, processes
from tests.servers.dns import NameServer

NAME, PROOF_NAME, PROOF = "www.bakery.com", "_portal.www.bakery.com", "portal-site=abc"
HERE, THERE = "192.0.2.10", "192.0.2.99"
RIGHT = Sighting("a", texts=(PROOF,), addresses=(HERE,))
SILENT = Sighting("b", problem="timeout")


@pytest.fixture
def empty_folders() -> None:
    """Nothing here needs an application."""


@pytest.fixture
def name_server() -> Iterator[NameServer]:
    with dns.running() as server:
        yield server


def test_what_is_seen_is_told_for_each_resolver(name_server: NameServer) -> None:
    with dns.running() as other:
        name_server.set(NAME, "CNAME", "sites.example.com.")
        name_server.set("sites.example.com", "A", HERE, "192.0.2.11")
        name_server.set("sites.example.com", "AAAA", "2001:DB8:0::1")
        # A long text comes in several strings, and other people's texts stand beside ours.
        name_server.set(PROOF_NAME, "TXT", '"portal-" "site=abc"', '"v=spf1 -all"')
        other.broken.add(NAME)
        dead = processes.free_port()
        seen = resolvers.look(
            NAME, PROOF_NAME, [("127.0.0.1", name_server.port), ("127.0.0.1", other.port), ("127.0.0.1", dead)]
        )
    assert seen[0] == Sighting(
        name_server.address, texts=(PROOF, "v=spf1 -all") if seen[0].texts[0] == PROOF else ("v=spf1 -all", PROOF),
        addresses=(HERE, "192.0.2.11", "2001:db8::1"), target="sites.example.com",
    )  # fmt: skip
    assert (seen[1].problem, seen[1].addresses) == ("servfail", ())
    assert seen[2].problem
    # A name that does not exist is an answer.
    assert resolvers.look("no.such.name", "_portal.no.such.name", [("127.0.0.1", name_server.port)]) == [
        Sighting(name_server.address)
    ]


def test_a_resolver_that_keeps_silent_is_left_after_some_seconds(
    name_server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolvers, "_SECONDS", 0.4)
    name_server.is_silent = True
    seen = resolvers.look(NAME, PROOF_NAME, [("127.0.0.1", name_server.port)])
    assert [one.problem for one in seen] == ["timeout"]


@pytest.mark.parametrize(
    ("sightings", "proven", "pointing", "reason", "is_certain"),
    [
        ([RIGHT], True, True, None, True),
        ([RIGHT, RIGHT, SILENT], True, True, None, True),
        ([RIGHT, SILENT, SILENT], False, False, Reason.DNS_AWAY, False),
        ([SILENT], False, False, Reason.DNS_AWAY, False),
        # One resolver alone, even if it was lied to, decides nothing.
        ([RIGHT, Sighting("b"), Sighting("c")], False, False, Reason.NO_ADDRESS, True),
        ([RIGHT, RIGHT, Sighting("c", addresses=(THERE,))], True, True, None, True),
        ([RIGHT, Sighting("b", addresses=(THERE,)), SILENT], False, False, Reason.ELSEWHERE, False),
        ([Sighting("a", texts=(PROOF,), addresses=(HERE, THERE))], True, False, Reason.ELSEWHERE, True),
        ([Sighting("a", texts=("portal-site=other",), addresses=(HERE,))], False, True, Reason.NO_PROOF, True),
        ([Sighting("a", texts=(f" {PROOF}",), addresses=(HERE,))], False, True, Reason.NO_PROOF, True),
        ([Sighting("a", texts=(PROOF,))], True, False, Reason.NO_ADDRESS, True),
    ],
)
def test_most_resolvers_decide(
    sightings: list[Sighting], proven: bool, pointing: bool, reason: Reason | None, is_certain: bool
) -> None:
    verdict = judge(sightings, proof=PROOF, ours={HERE})
    assert (verdict.is_proven, verdict.is_pointing, verdict.reason, verdict.is_certain) == (
        proven, pointing, reason, is_certain,
    )  # fmt: skip


def test_foreign_addresses_are_named() -> None:
    verdict = judge([Sighting("a", addresses=(HERE, THERE, "192.0.2.98"))], proof=PROOF, ours={HERE})
    assert verdict.detail == "192.0.2.98, 192.0.2.99"


def issue(value: str, *, flags: int = 0, tag: str = "issue") -> CaaRecord:
    return CaaRecord(flags, tag, value)


@pytest.mark.parametrize(
    ("records", "is_allowed"),
    [
        ([], True),
        ([issue("ca.example")], True),
        ([issue(" CA.example ; validationmethods=http-01")], True),
        ([issue("other.example"), issue("ca.example")], True),
        ([issue("other.example")], False),
        ([issue(";")], False),
        ([issue("notca.example")], False),
        ([issue("other.example", tag="issuewild")], True),
        ([issue("mailto:a@b.c", tag="iodef", flags=128)], True),
        ([issue("x", tag="unheard-of")], True),
        ([issue("x", tag="unheard-of", flags=128), issue("ca.example")], False),
    ],
)
def test_caa_records_say_who_may_issue(records: list[CaaRecord], is_allowed: bool) -> None:
    assert caa.allows(records, ("ca.example", "ca2.example")) is is_allowed


def test_an_authority_without_names_is_left_to_judge_for_itself() -> None:
    assert caa.allows([issue("other.example")], ())
    assert not caa.allows([issue("x", tag="unheard-of", flags=128)], ())


def test_the_nearest_name_with_caa_records_counts(name_server: NameServer) -> None:
    asked = [("127.0.0.1", processes.free_port()), ("127.0.0.1", name_server.port)]
    name_server.set("bakery.com", "CAA", '0 issue "ca.example"')
    assert resolvers.find_caa(NAME, asked[1:]) == [issue("ca.example")]
    name_server.set(NAME, "CAA", '128 issue ";"')
    assert resolvers.find_caa(NAME, asked[1:]) == [issue(";", flags=128)]
    assert resolvers.find_caa("none.org", asked[1:]) == []
    name_server.broken.add(NAME)
    with pytest.raises(ResolverSilent, match="servfail"):
        resolvers.find_caa(NAME, asked[1:])


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"sites_addresses": "sites.example.com"}, "SITES_ADDRESSES"),
        ({"sites_addresses": "192.0.2.1;"}, "SITES_ADDRESSES"),
        ({"dns_resolvers": ""}, "DNS_RESOLVERS"),
        ({"dns_resolvers": "one.one.one.one"}, "DNS_RESOLVERS"),
        ({"dns_resolvers": "1.1.1.1:99999"}, "DNS_RESOLVERS"),
        ({"dns_resolvers": ",".join(["1.1.1.1"] * 10)}, "DNS_RESOLVERS"),
        ({"acme_directory_url": "http://acme.example/directory"}, "ACME_DIRECTORY_URL"),
        ({"acme_directory_url": ""}, "ACME_DIRECTORY_URL"),
        ({"acme_contact": "nobody"}, "ACME_CONTACT"),
    ],
)
def test_a_wrong_setting_is_named(changes: dict[str, str], complaint: str) -> None:
    problems = config_sites.check(Settings(**changes))
    assert [problem.partition(":")[0] for problem in problems] == [complaint]


def test_settings_are_read_as_they_are_meant() -> None:
    settings = Settings(
        sites_addresses="192.0.2.1, 2001:DB8::1", dns_resolvers="1.1.1.1,127.0.0.1:5353,[2001:db8::5]:54"
    )
    assert config_sites.check(settings) == []
    assert config_sites.site_addresses(settings) == ["192.0.2.1", "2001:db8::1"]
    assert config_sites.resolvers(settings) == [("1.1.1.1", 53), ("127.0.0.1", 5353), ("2001:db8::5", 54)]

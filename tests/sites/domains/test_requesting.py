"""Asking for a domain, proving it, losing it and giving it up: the rules, without a server."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import text

from portal.accounts.models import User
from portal.core import audit, clock, mail, outbox
from portal.core.db import db, unit_of_work
from portal.core.invariants import Reach, get_invariant
from portal.core.outbox import OutboxMessage
from portal.core.state import history
from portal.sites.domains import jobs, queries
from portal.sites.domains.errors import DomainNotFound, DomainsClosed, DomainsNotOffered, DomainTaken, SiteHasDomain
from portal.sites.domains.models import (
    AuthorityAccount,
    Certificate,
    Domain,
    DomainCheck,
    DomainStatus,
    Reason,
)
from portal.sites.domains.services import checking, issuing, requesting, visiting
from portal.sites.domains.services.checking import Step
from portal.sites.services import keeping, ownership
from tests.crowd import all_at_once
from tests.sites.domains.support import (
    NAME,
    OURS,
    age,
    fresh,
    make_active_site,
    make_domain,
    make_live_domain,
    prove,
    see,
    sighting,
)
from tests.sites.support import make_site

WRONG = sighting(addresses=("192.0.2.99",))
SILENT = sighting(problem="timeout")
RIGHT = sighting(addresses=(OURS,))


def topics() -> list[str]:
    db.session.rollback()
    return [row.topic for row in db.session.scalars(db.select(OutboxMessage).order_by(OutboxMessage.id))]


def forget_effects() -> None:
    with unit_of_work():
        db.session.execute(db.delete(OutboxMessage))


def test_a_request_is_written_down_once(app: Flask, alice: User) -> None:
    site = make_active_site("bakery", alice)
    forget_effects()
    domain = make_domain(site, "WWW.Bakery-of-Alice.com.")
    assert (domain.name, domain.status, domain.proven_at) == (NAME, DomainStatus.REQUESTED, None)
    assert make_domain(site).id == domain.id
    with pytest.raises(SiteHasDomain):
        make_domain(site, "www.another-bakery.com")
    assert topics() == ["domain.due"]
    assert len(domain.token) == 32


def test_only_a_running_subscription_opens_domains(app: Flask, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_site("bakery", owner=alice)
    with pytest.raises(DomainsClosed):
        make_domain(site)
    active = make_active_site("other", alice)
    monkeypatch.setattr(queries, "is_offered", lambda: False)
    with pytest.raises(DomainsNotOffered):
        make_domain(active)


def test_a_name_that_was_proven_is_taken_and_one_that_was_only_asked_for_is_not(
    app: Flask, alice: User, bob: User
) -> None:
    first, second = make_active_site("alices", alice), make_active_site("bobs", bob)
    asked = make_domain(first)
    prove(make_domain(second))
    with pytest.raises(DomainTaken):
        make_domain(make_active_site("third", bob))
    # Whoever asked first and proves it later is told, and waits.
    late = prove(asked)
    assert (late.status, late.reason, late.proven_at) == (DomainStatus.FAILING, Reason.TAKEN, None)
    # Given up by the other, the name is theirs without another click.
    with unit_of_work():
        requesting.remove_domain(queries.get_domain(second), by="bob@example.com", at=clock.now())
    assert prove(asked).status is DomainStatus.VERIFIED


def test_the_other_name_of_a_pair_belongs_to_whoever_proved_one(app: Flask, alice: User, bob: User) -> None:
    apex = make_domain(make_active_site("alices", alice), "bakery-of-alice.com")
    www = make_domain(make_active_site("bobs", bob), NAME)
    # Both prove themselves by a record in the registered name's own zone: whoever can write there has both names.
    assert apex.proof_name == www.proof_name == "_portal.bakery-of-alice.com"
    assert (apex.twin, www.twin) == (NAME, "bakery-of-alice.com")
    assert prove(www).status is DomainStatus.VERIFIED
    late = prove(apex)
    assert (late.status, late.reason) == (DomainStatus.FAILING, Reason.TAKEN)
    with pytest.raises(DomainTaken):
        make_domain(make_active_site("third", alice), "bakery-of-alice.com")
    # Names below are nobody's pair, and prove themselves.
    shop = make_domain(make_active_site("shop", alice), "shop.bakery-of-alice.com")
    assert (shop.twin, shop.proof_name) == (None, "_portal.shop.bakery-of-alice.com")
    assert prove(shop).status is DomainStatus.VERIFIED


def test_a_twin_is_known_by_what_most_resolvers_say_and_never_stands_in_the_way(app: Flask, alice: User) -> None:
    domain = make_live_domain(make_active_site("bakery", alice))
    assert domain.lacks_twin is False
    for twin, is_pointing in (
        ([RIGHT, RIGHT, WRONG], True),
        # Nobody is sure: what was known stays.
        ([RIGHT, SILENT, WRONG], True),
        ([SILENT, SILENT, SILENT], True),
        ([WRONG, WRONG, RIGHT], False),
        ([SILENT, SILENT, RIGHT], False),
    ):
        assert see(domain, RIGHT, twin=twin) is Step.VISIT
        found = fresh(domain)
        assert (found.is_twin_pointing, found.lacks_twin) == (is_pointing, is_pointing)
        assert (found.status, found.reason) == (DomainStatus.LIVE, None)


def test_two_customers_who_prove_one_name_at_once_do_not_both_have_it(app: Flask, alice: User, bob: User) -> None:
    proven = prove_at_once(app, alice, bob)
    assert sorted(one.status for one in proven) == [DomainStatus.FAILING, DomainStatus.VERIFIED]
    assert sorted(str(one.reason) for one in proven) == ["None", "taken"]
    db.session.rollback()
    assert db.session.scalar(db.select(db.func.count()).select_from(AuthorityAccount)) == 1


@pytest.fixture
def without_index(app: Flask) -> Iterator[None]:
    """The guard of the race above taken away, and put back when the table is empty again."""
    definition = (
        "CREATE UNIQUE INDEX uq_domains_proven ON domains (proof_of) WHERE removed_at IS NULL AND proven_at IS NOT NULL"
    )
    with db.engine.begin() as connection:
        connection.execute(text("DROP INDEX uq_domains_proven"))
    yield
    db.session.rollback()
    with db.engine.begin() as connection:
        connection.execute(text("UPDATE domains SET proven_at = NULL"))
        connection.execute(text(definition))


@pytest.mark.usefixtures("without_index")
def test_control_without_the_index_both_would_have_it(app: Flask, alice: User, bob: User) -> None:
    proven = prove_at_once(app, alice, bob)
    assert [one.status for one in proven] == [DomainStatus.VERIFIED, DomainStatus.VERIFIED]


def prove_at_once(app: Flask, alice: User, bob: User) -> list[Domain]:
    asked = [make_domain(make_active_site("alices", alice)), make_domain(make_active_site("bobs", bob))]
    results = all_at_once(app, [lambda one=one: prove(one) for one in asked])  # type: ignore[misc]  # bound at once
    assert [result for result in results if isinstance(result, Exception)] == []
    return [fresh(one) for one in asked]


def test_nothing_is_served_or_spent_before_the_proof_is_seen(app: Flask, alice: User) -> None:
    domain = make_domain(make_active_site("bakery", alice))
    forget_effects()
    for seen in ([RIGHT], [sighting(texts=(domain.proof,))], [SILENT], [sighting(texts=("x",), addresses=(OURS,))]):
        assert see(domain, *seen) is Step.NOTHING
        assert fresh(domain).status is DomainStatus.REQUESTED
    assert topics() == []
    assert prove(domain).status is DomainStatus.VERIFIED
    assert topics() == ["domain.changed"]
    account = db.session.scalars(db.select(AuthorityAccount)).one()
    assert "PRIVATE KEY" not in account.key_sealed
    # And the proof has to stay until there is a certificate.
    assert see(domain, RIGHT) is Step.NOTHING
    assert (fresh(domain).status, fresh(domain).reason) == (DomainStatus.FAILING, Reason.NO_PROOF)
    assert see(domain, sighting(addresses=(OURS,), texts=(domain.proof,))) is Step.ISSUE


def test_a_live_domain_fails_only_when_most_agree_and_its_owner_hears_of_it_once(app: Flask, alice: User) -> None:
    domain = make_live_domain(make_active_site("bakery", alice))
    assert see(domain, SILENT, SILENT, WRONG) is Step.NOTHING
    assert see(domain, RIGHT, SILENT, WRONG) is Step.NOTHING
    assert fresh(domain).status is DomainStatus.LIVE
    # The proof may go: that the site is found there proves as much.
    assert see(domain, RIGHT) is Step.VISIT
    for _ in range(2):
        assert see(domain, WRONG, WRONG, RIGHT) is Step.NOTHING
    found = fresh(domain)
    assert (found.status, found.reason, found.live_since) == (DomainStatus.FAILING, Reason.ELSEWHERE, None)
    letters = list(db.session.scalars(db.select(mail.MailMessage)))
    assert [(one.template, one.to) for one in letters] == [("domain_failing", "alice@example.com")]
    outbox.drain("mail")
    db.session.rollback()
    letter = db.session.scalars(db.select(mail.MailMessage)).one()
    assert letter.status is mail.MailStatus.SENT
    for words in ("CNAME", NAME, "sites.localhost", "192.0.2.99", "/my/sites/bakery/domain"):
        assert words in (letter.text_body or ""), words
    # It has done its work, and is no record to mend.
    assert domain.proof not in (letter.text_body or "")


def test_an_expired_certificate_takes_the_domain_back_to_the_path(app: Flask, alice: User) -> None:
    domain = make_live_domain(make_active_site("bakery", alice))
    at = clock.now() + timedelta(days=91)
    assert see(domain, RIGHT, at=at) is Step.ISSUE
    assert (fresh(domain).status, fresh(domain).reason) == (DomainStatus.FAILING, Reason.EXPIRED)
    assert queries.find_live_address(domain.site) is None


def test_the_owner_hears_of_a_certificate_that_could_not_be_renewed(app: Flask, alice: User) -> None:
    domain = make_live_domain(make_active_site("bakery", alice))
    certificate = db.session.get_one(Certificate, domain.certificate_id)
    seen = visiting.Visited(domain.name, certificate.fingerprint, "", None)
    wanted = []
    for days in (40, 61, 77, 78, 88, 89):
        with unit_of_work():
            at = certificate.created_at + timedelta(days=days)
            wanted.append(visiting._judge(domain.id, seen, "", None, at=at))
            visiting.warn_of_end(domain.id, at=at)
    assert wanted == [False, True, True, True, True, True]
    letters = list(db.session.scalars(db.select(mail.MailMessage).order_by(mail.MailMessage.id)))
    assert [one.key for one in letters] == [
        f"certificate-ending:{certificate.id}:14", f"certificate-ending:{certificate.id}:3",
    ]  # fmt: skip
    breaches = get_invariant("certificate_ending").find(Reach(at=certificate.ends_at - timedelta(days=5)))
    assert [one.name for one in breaches] == [NAME]
    assert get_invariant("certificate_ending").find(Reach(at=clock.now())) == []
    # The authority may ask for an earlier renewal, and never for a later one.
    with unit_of_work():
        early = certificate.created_at + timedelta(days=10)
        assert visiting._judge(domain.id, seen, "", early, at=early + timedelta(hours=1))
    outbox.drain("mail")
    db.session.rollback()
    assert {one.status for one in db.session.scalars(db.select(mail.MailMessage))} == {mail.MailStatus.SENT}


def test_the_site_decides_whether_its_domain_is_on(app: Flask, alice: User) -> None:
    site = make_active_site("bakery", alice)
    domain = make_live_domain(site)
    with unit_of_work():
        ownership.deactivate(site, at=clock.now())
    with unit_of_work():
        assert checking.call_up(at=clock.now()) == 1
    outbox.drain("default")
    assert (fresh(domain).status, fresh(domain).reason) == (DomainStatus.FAILING, Reason.SITE_OFF)
    assert not [one for one in topics_of_mail() if one.startswith("domain")]
    with unit_of_work():
        assert checking.call_up(at=clock.now()) == 0
        ownership.activate(site, at=clock.now())
    with unit_of_work():
        assert [one.id for one in checking.list_due(at=clock.now(), limit=9)] == [domain.id]
    # A site that is gone for good takes its domain along: its address may become somebody else's.
    with unit_of_work():
        ownership.deactivate(site, at=clock.now())
        keeping.delete_site(site, by="staff", at=clock.now())
    with unit_of_work():
        keeping.purge_deleted(at=clock.now() + timedelta(days=31))
    with unit_of_work():
        checking.call_up(at=clock.now() + timedelta(minutes=5))
    outbox.drain("default")
    assert fresh(domain).is_removed


def topics_of_mail() -> list[str]:
    return [one.template for one in db.session.scalars(db.select(mail.MailMessage))]


def test_domains_are_called_up_when_their_time_has_come(app: Flask, alice: User) -> None:
    domain = make_domain(make_active_site("bakery", alice))
    forget_effects()
    jobs.watch_domains()
    jobs.watch_domains()
    assert topics() == ["domain.due"]
    # Looks come less and less often, and after two weeks without a proof the request is forgotten.
    waits = []
    for days in (0.0, 0.5, 3.0):
        at = domain.created_at + timedelta(days=days)
        see(domain, WRONG, at=at)
        waits.append(round((fresh(domain).next_check_at - at).total_seconds() / 60))
    assert waits == [1, 10, 60]
    age(domain, timedelta(days=15))
    forget_effects()
    with unit_of_work():
        checking.call_up(at=clock.now() + timedelta(days=4))
    outbox.drain("default")
    assert fresh(domain).is_removed


def test_only_the_newest_looks_are_kept(app: Flask, alice: User) -> None:
    domain = make_domain(make_active_site("bakery", alice))
    for number in range(25):
        see(domain, sighting(addresses=(f"192.0.2.{number}",)))
    kept = list(db.session.scalars(db.select(DomainCheck).order_by(DomainCheck.id.desc())))
    assert len(kept) == 20
    assert kept[0].sightings[0]["addresses"] == ["192.0.2.24"]


def test_removal_is_final_frees_the_name_and_can_be_repeated(app: Flask, alice: User, bob: User) -> None:
    domain = make_live_domain(make_active_site("bakery", alice))
    forget_effects()
    for _ in range(2):
        with unit_of_work():
            requesting.remove_domain(domain, by="alice@example.com", at=clock.now())
    assert topics() == ["domain.changed"]
    assert queries.find_domain(domain.site) is None
    with pytest.raises(DomainNotFound):
        queries.get_domain(domain.site)
    # Work that was under way finds nothing to do.
    checking.look_after(domain.id)
    issuing.acquire(domain.id)
    assert see(domain, RIGHT) is Step.NOTHING
    assert fresh(domain).status is DomainStatus.LIVE
    assert make_live_domain(make_active_site("bobs", bob)).status is DomainStatus.LIVE


def test_every_step_is_in_the_books(app: Flask, alice: User) -> None:
    domain = make_live_domain(make_active_site("bakery", alice))
    see(domain, WRONG)
    assert [change.became for change in history(fresh(domain))] == ["verified", "issuing", "live", "failing"]
    events = db.session.scalars(
        db.select(audit.AuditEvent.event)
        .where(audit.AuditEvent.subject == f"domains:{domain.id}")
        .order_by(audit.AuditEvent.id)
    )
    assert list(events) == ["domain.requested", "domain.verified", "domain.issuing", "domain.live", "domain.failing"]
    breaches = get_invariant("domain_failing").find(Reach(at=clock.now() + timedelta(days=8)))
    assert [one.name for one in breaches] == [NAME]
    assert get_invariant("domain_failing").find(Reach(at=clock.now())) == []


def test_a_domain_that_does_not_follow_its_site_is_on_the_board_until_it_does(app: Flask, alice: User) -> None:
    site = make_active_site("bakery", alice)
    domain = make_live_domain(site)
    rule, later = get_invariant("domain_against_site"), Reach(at=clock.now() + timedelta(minutes=11))
    assert rule.find(later) == []
    with unit_of_work():
        ownership.deactivate(site, at=clock.now())
    assert rule.find(Reach(at=clock.now())) == []
    for follows in (ownership.activate, ownership.deactivate):
        assert [one.subject for one in rule.find(later)] == [f"domains:{domain.id}"]
        assert rule.repair is not None
        with unit_of_work():
            rule.repair(domain.id, by="staff@example.com", at=clock.now())
        outbox.drain("default")
        db.session.rollback()
        assert rule.find(later) == []
        with unit_of_work():
            follows(site, at=clock.now())
    # Off with its site, as it should be; on again it fails for what it sees, and that is another rule's.
    assert (fresh(domain).status, rule.find(later)) == (DomainStatus.FAILING, [])

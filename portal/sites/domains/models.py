"""Domains, what was seen of them, their certificates, and the account under which these are asked for."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar

import idna
from sqlalchemy import JSON, ForeignKey, Index, String, Text, false, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.core.db import Base, UTCDateTime, status_column
from portal.core.state import Transitions
from portal.sites.models import Site

# Before the names of the records that prove a domain.
PROOF_LABEL = "_portal"
# An unproven request is forgotten after this, so that nobody is asked about it for ever.
UNPROVEN_DAYS = timedelta(days=14)
# A certificate is renewed so long before its end, unless the authority itself names a time.
RENEWED_BEFORE = timedelta(days=30)
# Browsers are told to come by HTTPS only once a domain has worked for so long without a break.
STABLE_AFTER = timedelta(days=7)
# Of each domain so many looks are kept.
CHECKS_KEPT = 20


class DomainStatus(StrEnum):
    """Where a domain stands; failing is any trouble, and `reason` says which."""

    REQUESTED = "requested"
    VERIFIED = "verified"
    ISSUING = "issuing"
    LIVE = "live"
    FAILING = "failing"


DOMAIN_TRANSITIONS: Transitions[DomainStatus] = {
    DomainStatus.REQUESTED: frozenset({DomainStatus.VERIFIED, DomainStatus.FAILING}),
    DomainStatus.VERIFIED: frozenset({DomainStatus.ISSUING, DomainStatus.FAILING}),
    DomainStatus.ISSUING: frozenset({DomainStatus.LIVE, DomainStatus.FAILING}),
    DomainStatus.LIVE: frozenset({DomainStatus.FAILING}),
    # Back to where the domain was: an unproven one is asked for anew, a proven one goes on from its certificate.
    DomainStatus.FAILING: frozenset(
        {DomainStatus.REQUESTED, DomainStatus.VERIFIED, DomainStatus.ISSUING, DomainStatus.LIVE}
    ),
}


class Reason(StrEnum):
    """Why a domain does not work, or not yet."""

    NO_PROOF = "no_proof"
    NO_ADDRESS = "no_address"
    ELSEWHERE = "elsewhere"
    DNS_AWAY = "dns_away"
    TAKEN = "taken"
    CAA = "caa"
    UNREACHABLE = "unreachable"
    AUTHORITY_REFUSED = "authority_refused"
    AUTHORITY_LIMITS = "authority_limits"
    AUTHORITY_AWAY = "authority_away"
    NGINX_REFUSED = "nginx_refused"
    NOT_SERVED = "not_served"
    EXPIRED = "expired"
    SITE_OFF = "site_off"


# A record of the customer's can mend these: a mail about one lists the records.
RECORD_REASONS = frozenset({Reason.NO_PROOF, Reason.NO_ADDRESS, Reason.ELSEWHERE, Reason.AUTHORITY_REFUSED})


class Domain(Base):
    """A name that a customer wants their site to be found under. `name` is in A-labels.

    Visitors type `example.com` and `www.example.com`: of such a pair `name` is the one that the owner asked for, `twin`
    the other one, which leads to it. Several customers may ask for one name; whoever proves it has it and its twin,
    which the index below holds for all time.
    """

    __tablename__ = "domains"

    MACHINES: ClassVar[Mapping[str, Transitions[Any]]] = {"status": DOMAIN_TRANSITIONS}

    id: Mapped[int] = mapped_column(primary_key=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("sites.id"))
    name: Mapped[str] = mapped_column(String(253))
    twin: Mapped[str | None] = mapped_column(String(253))
    # The name that is proven: of a pair the registered one, since whoever can write into its zone has both.
    proof_of: Mapped[str] = mapped_column(String(253))
    # Whether the twin was seen to lead to us, too; what nobody is sure of stays as it was.
    is_twin_pointing: Mapped[bool] = mapped_column(default=False, server_default=false())
    # What the TXT record has to say. No secret: it proves who can write into the domain's zone.
    token: Mapped[str] = mapped_column(String(43))
    status: Mapped[DomainStatus] = mapped_column(
        status_column(DomainStatus, "domain_status"), default=DomainStatus.REQUESTED
    )
    reason: Mapped[Reason | None] = mapped_column(status_column(Reason, "domain_reason"))
    # In the words of whoever refused: addresses that were seen, the authority, nginx. Shown as text.
    reason_detail: Mapped[str] = mapped_column(Text, default="")
    proven_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # Since when it has been working without a break, and since when it has not.
    live_since: Mapped[datetime | None] = mapped_column(UTCDateTime)
    failing_since: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # Tries for a certificate that were refused since the last one that succeeded; those that began and of whose end
    # nobody has heard, because the worker died; and when the newest began.
    attempts: Mapped[int] = mapped_column(default=0)
    unfinished: Mapped[int] = mapped_column(default=0, server_default="0")
    attempted_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # Not before this is a certificate asked for again; what a customer presses moves `next_check_at` alone.
    no_attempt_before: Mapped[datetime | None] = mapped_column(UTCDateTime)
    next_check_at: Mapped[datetime] = mapped_column(UTCDateTime)
    checked_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # Without a foreign key: the tables would point at each other.
    certificate_id: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    removed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    site: Mapped[Site] = relationship()
    certificate: Mapped["Certificate | None"] = relationship(
        primaryjoin="foreign(Domain.certificate_id) == Certificate.id", viewonly=True
    )

    __table_args__ = (
        Index(
            "uq_domains_site",
            "site_id",
            unique=True,
            postgresql_where=text("removed_at IS NULL"),
            sqlite_where=text("removed_at IS NULL"),
        ),
        Index(
            "uq_domains_proven",
            "proof_of",
            unique=True,
            postgresql_where=text("removed_at IS NULL AND proven_at IS NOT NULL"),
            sqlite_where=text("removed_at IS NULL AND proven_at IS NOT NULL"),
        ),
        Index(
            "ix_domains_due",
            "next_check_at",
            postgresql_where=text("removed_at IS NULL"),
            sqlite_where=text("removed_at IS NULL"),
        ),
        Index("ix_domains_status", "status", "id"),
    )

    @property
    def is_removed(self) -> bool:
        """Whether it is given up; the row stays for the books."""
        return self.removed_at is not None

    @property
    def shown_name(self) -> str:
        """The name as people read it: in their script, where it was made of one."""
        return _as_read(self.name)

    @property
    def shown_twin(self) -> str:
        """The twin as people read it; empty without one."""
        return _as_read(self.twin or "")

    @property
    def proof_name(self) -> str:
        """The name of the TXT record."""
        return f"{PROOF_LABEL}.{self.proof_of}"

    @property
    def proof(self) -> str:
        """What the TXT record says."""
        return f"portal-site={self.token}"

    @property
    def address(self) -> str:
        """Where visitors find the site once the domain is live."""
        return f"https://{self.name}/"

    @property
    def lacks_twin(self) -> bool:
        """Whether the twin leads to us, and stands in no certificate yet."""
        return self.is_twin_pointing and self.certificate is not None and not self.certificate.has_twin

    def is_stable(self, at: datetime) -> bool:
        """Whether browsers may be told to come by HTTPS only."""
        return self.live_since is not None and at >= self.live_since + STABLE_AFTER


def _as_read(name: str) -> str:
    try:
        return idna.decode(name) if name else ""
    except idna.IDNAError:
        return name


class DomainCheck(Base):
    """One look at a domain: what each resolver said, and what followed from it."""

    __tablename__ = "domain_checks"

    id: Mapped[int] = mapped_column(primary_key=True)
    domain_id: Mapped[int] = mapped_column(ForeignKey("domains.id"), index=True)
    at: Mapped[datetime] = mapped_column(UTCDateTime)
    # A list of `{"resolver", "texts", "addresses", "target", "problem"}`.
    sightings: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    is_proven: Mapped[bool]
    is_pointing: Mapped[bool]
    reason: Mapped[Reason | None] = mapped_column(status_column(Reason, "domain_check_reason"))
    reason_detail: Mapped[str] = mapped_column(Text, default="")


class Certificate(Base):
    """A certificate that was issued for a domain; the newest is served. Its key goes when the domain is given up."""

    __tablename__ = "domain_certificates"

    id: Mapped[int] = mapped_column(primary_key=True)
    domain_id: Mapped[int] = mapped_column(ForeignKey("domains.id"), index=True)
    # Whether it is for the domain's twin as well.
    has_twin: Mapped[bool] = mapped_column(default=False, server_default=false())
    chain_pem: Mapped[str] = mapped_column(Text)
    # The private key, sealed: it leaves the database for the disk of the site hosts only.
    key_sealed: Mapped[str] = mapped_column(Text)
    # SHA-256 of the certificate itself, by which it is recognised where it is served.
    fingerprint: Mapped[str] = mapped_column(String(64))
    starts_at: Mapped[datetime] = mapped_column(UTCDateTime)
    ends_at: Mapped[datetime] = mapped_column(UTCDateTime)
    # When the authority wants it to be renewed, if it said so.
    renew_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)

    def is_valid(self, at: datetime) -> bool:
        """Whether browsers take it."""
        return self.starts_at <= at < self.ends_at

    def is_to_renew(self, at: datetime) -> bool:
        """Whether the next one should be asked for; the authority may say earlier, and never later, than we do."""
        ours = self.ends_at - min(RENEWED_BEFORE, (self.ends_at - self.starts_at) / 3)
        return at >= (min(self.renew_at, ours) if self.renew_at is not None else ours)


class AuthorityAccount(Base):
    """Our account at one certificate authority; made once, and the same for every domain."""

    __tablename__ = "acme_accounts"

    id: Mapped[int] = mapped_column(primary_key=True)
    directory_url: Mapped[str] = mapped_column(String(255), unique=True)
    key_sealed: Mapped[str] = mapped_column(Text)
    # Of the key; what site hosts answer with when the authority looks whether a domain is ours. No secret.
    thumbprint: Mapped[str] = mapped_column(String(43))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)

"""Serving domains on a site host: the host's own worker writes what the database says, and nginx has the last word."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from portal.core import clock, outbox, sealed, settings
from portal.core.db import stop_reading, unit_of_work
from portal.core.faults import fault
from portal.core.queues import QueueName
from portal.sites import layout, nginx
from portal.sites.domains import blocks, certificate_files
from portal.sites.domains.blocks import Block
from portal.sites.domains.models import DomainStatus, Reason
from portal.sites.domains.services.accounts import find_account
from portal.sites.domains.services.issuing import KEY_PURPOSE
from portal.sites.domains.services.moving import APPLY, fail, locked, look_soon

_LEASE = timedelta(seconds=60)
_LOCK_SECONDS = 20
_AGAIN = timedelta(hours=1)
# In these states something waits for the hosts.
_WAITING = frozenset({DomainStatus.VERIFIED, DomainStatus.ISSUING})


@dataclass(frozen=True, slots=True)
class _Certificate:
    fingerprint: str
    chain_pem: str
    key_pem: str
    has_twin: bool


@dataclass(frozen=True, slots=True)
class _Plan:
    """What this host should serve of a domain; it holds no row and no transaction."""

    name: str
    twin: str | None
    slug: str
    thumbprint: str
    is_open: bool
    is_stable: bool
    certificate: _Certificate | None


@outbox.handles(APPLY, queue=QueueName.DEPLOY, lease=_LEASE)
def apply_on_host(domain_id: int, host: str) -> None:  # noqa: ARG001  # tells the messages of several hosts apart
    """Bring this host's nginx to what the database says of a domain; what it refuses is taken back and told.

    Raises layout.Busy and nginx.NginxAway, and whatever the disk raises: then it is tried again.
    """
    options = settings.current()
    if not options.nginx_config_dir:
        return
    # Read under the lock, so that of two changes the later one is what stays.
    with layout.locked(Path(options.sites_root), f"domain-{domain_id}", seconds=_LOCK_SECONDS):
        with unit_of_work():
            plan = _plan(domain_id, at=clock.now())
        stop_reading()
        try:
            is_changed = _serve(domain_id, plan)
        except (nginx.NginxRefused, ValueError) as error:
            with unit_of_work():
                _refused(domain_id, str(error), at=clock.now())
            return
    with unit_of_work():
        _applied(domain_id, is_changed=is_changed, at=clock.now())


def _plan(domain_id: int, *, at: datetime) -> _Plan | None:
    """None: nothing is served under the name, because nobody has proven it or it was given up."""
    domain = locked(domain_id)
    account = find_account()
    if domain.is_removed or domain.proven_at is None or account is None:
        return None
    found = domain.certificate if domain.certificate is not None and domain.certificate.is_valid(at) else None
    certificate = (
        _Certificate(
            fingerprint=found.fingerprint,
            chain_pem=found.chain_pem,
            key_pem=sealed.unseal(found.key_sealed, purpose=KEY_PURPOSE),
            has_twin=found.has_twin,
        )
        if found is not None
        else None
    )
    return _Plan(
        name=domain.name,
        twin=domain.twin,
        slug=domain.site.slug,
        thumbprint=account.thumbprint,
        is_open=domain.site.may_be_changed,
        is_stable=domain.is_stable(at),
        certificate=certificate,
    )


def _serve(domain_id: int, plan: _Plan | None) -> bool:
    options = settings.current()
    file = blocks.file_name(domain_id)
    if plan is None:
        is_changed = nginx.install({file: None}, options)
        certificate_files.keep_only(options, domain_id)
        return is_changed
    paths: tuple[Path, Path] | tuple[None, None] = (None, None)
    if plan.certificate is not None:
        one = plan.certificate
        paths = certificate_files.write(
            options, domain_id, one.fingerprint, chain_pem=one.chain_pem, key_pem=one.key_pem
        )
        fault("domain-files-written")
    block = Block(
        domain_id=domain_id, name=plan.name, twin=plan.twin, slug=plan.slug, thumbprint=plan.thumbprint,
        chain=paths[0], key=paths[1], has_twin=plan.certificate is not None and plan.certificate.has_twin,
        is_open=plan.is_open, is_stable=plan.is_stable,
    )  # fmt: skip
    is_changed = nginx.install({file: blocks.render(block, options)}, options)
    fault("domain-configured")
    certificate_files.keep_only(options, domain_id, *paths)
    return is_changed


def _applied(domain_id: int, *, is_changed: bool, at: datetime) -> None:
    domain = locked(domain_id)
    if not domain.is_removed and (is_changed or domain.status in _WAITING):
        look_soon(domain, at=at)


def _refused(domain_id: int, said: str, *, at: datetime) -> None:
    domain = locked(domain_id)
    if not domain.is_removed:
        fail(domain, Reason.NGINX_REFUSED, said, at=at, next_check_at=at + _AGAIN)

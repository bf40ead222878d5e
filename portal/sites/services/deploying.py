"""Bringing a version onto a site host: asked for in a transaction, carried out by the host's worker, step by step.

Until the link is switched nothing that visitors see has changed; the switch is one rename. Each step can be done again:
a worker that takes over from one that died finds out from the disk and the deployment's row how far it got. Of two
deployments of one site the one asked for last wins, in whatever order they run: each holds the site's lock while it
looks whether there is a newer one, and until it is through.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from sqlalchemy import select

from portal.core import audit, clock, files, outbox, settings
from portal.core.db import db, stop_reading, unit_of_work
from portal.core.faults import fault
from portal.core.queues import QueueName
from portal.core.state import transition
from portal.sites import layout, nginx, releases, storage
from portal.sites.changes.services.settling import note_served
from portal.sites.content.checking import FIRST_PAGE, Entry, read_manifest
from portal.sites.errors import SiteDeleted
from portal.sites.hosts import each_host
from portal.sites.layout import Place
from portal.sites.models import Deployment, DeploymentStatus, DeploymentStep, Site, SiteVersion
from portal.sites.releases import Content
from portal.sites.visiting import NotServed, Visit

log = structlog.get_logger(__name__)

REQUESTED = "deployment.requested"
# A worker that died is noticed after this; with the sweep and its start that stays below 90 seconds.
LEASE = timedelta(seconds=60)
_LOCK_SECONDS = 20
_VISIT_SECONDS = 5
# So many releases stay on the disk of a host, to go back to at once.
RELEASES_KEPT = 3
_SAID = 2_000
_BY = "job:deploy"


class DeploymentFailed(RuntimeError):
    """A step cannot be done, and would not be next time; visitors see what they saw before."""

    def __init__(self, step: str, said: str) -> None:
        super().__init__(said)
        self.step = step


@dataclass(frozen=True, slots=True)
class Job:
    """What one run needs to know; it holds no row and no transaction."""

    deployment_id: int
    site_id: int
    slug: str
    number: int
    entries: tuple[Entry, ...]
    names: dict[str, str]
    release: str | None
    previous: str | None

    @property
    def place(self) -> Place:
        """The site's folders on this host."""
        return layout.place_of(self.slug)

    @property
    def content(self) -> Content:
        """The version as a release is written from it."""
        return Content(self.slug, self.number, self.entries, self.read)

    def read(self, sha256: str) -> bytes:
        """Bytes from the storage. Raises FileNotFoundError."""
        return files.get(self.names.get(sha256, sha256))


def request_deployment(site: Site, version: SiteVersion, *, by: str, at: datetime) -> list[Deployment]:
    """Ask every site host to serve this version; those that still wait for an earlier one skip it.

    Raises SiteDeleted.
    """
    site = storage.lock_site(site.id)
    if site.is_deleted:
        raise SiteDeleted
    made = []
    for host in each_host():
        for waiting in _waiting(site, host.name):
            transition(waiting, DeploymentStatus.SUPERSEDED, by=by, at=at, values={"finished_at": at})
        deployment = Deployment(
            site_id=site.id, version_id=version.id, host=host.name, status=DeploymentStatus.QUEUED, asked_by=by,
            created_at=at,
        )  # fmt: skip
        db.session.add(deployment)
        db.session.flush()
        outbox.publish(REQUESTED, queue=host.queue, deployment_id=deployment.id)
        made.append(deployment)
    audit.record("deployment.requested", actor=by, subject=f"sites:{site.id}", after={"version": version.number})
    return made


def _waiting(site: Site, host: str) -> list[Deployment]:
    return list(
        db.session.scalars(
            select(Deployment)
            .where(
                Deployment.site_id == site.id,
                Deployment.host == host,
                Deployment.status == DeploymentStatus.QUEUED,
            )
            .with_for_update(of=Deployment)
            .execution_options(populate_existing=True)
        )
    )


def give_up(deployment_id: int) -> None:
    """The last try failed by something nobody foresaw: say so where people look. In the caller's transaction."""
    deployment = _locked(deployment_id)
    if deployment is not None and not deployment.is_final:
        said = {"error": "tried again and again without success", "finished_at": clock.now()}
        transition(deployment, DeploymentStatus.FAILED, by=_BY, at=clock.now(), values=said)


@outbox.handles(REQUESTED, queue=QueueName.DEPLOY, lease=LEASE, on_exhausted=give_up)
def carry_out(deployment_id: int) -> None:
    """Deploy on this host; what somebody else has done, or asked for since, is left alone.

    Raises layout.Busy while another worker is at the same site, and whatever storage and database raise: then it is
    tried again.
    """
    slug = db.session.scalar(
        select(Site.slug).join(Deployment, Deployment.site_id == Site.id).where(Deployment.id == deployment_id)
    )
    stop_reading()
    if slug is None:
        return
    with layout.locked(Path(settings.current().sites_root), slug, seconds=_LOCK_SECONDS):
        with unit_of_work():
            job = _begin(deployment_id, at=clock.now())
        if job is not None:
            stop_reading()
            _run(job)


def _begin(deployment_id: int, *, at: datetime) -> Job | None:
    """Take the work up, also after somebody who died; None when there is none any more."""
    deployment = _locked(deployment_id)
    if deployment is None or deployment.is_final:
        return None
    site = db.session.get_one(Site, deployment.site_id, populate_existing=True)
    if site.is_deleted or _is_outdated(deployment):
        _settle(deployment, DeploymentStatus.SUPERSEDED, at)
        return None
    is_first = deployment.status is DeploymentStatus.QUEUED
    if is_first:
        transition(deployment, DeploymentStatus.RUNNING, by=_BY, at=at, values={"started_at": at})
    _note(deployment_id, "started" if is_first else "resumed", at=at)
    version = db.session.get_one(SiteVersion, deployment.version_id)
    return Job(
        deployment_id=deployment.id,
        site_id=site.id,
        slug=site.slug,
        number=version.number,
        entries=tuple(read_manifest(version.manifest)),
        names=storage.names_of(version),
        release=deployment.release,
        previous=deployment.previous_release,
    )


def _is_outdated(deployment: Deployment) -> bool:
    newer = select(Deployment.id).where(
        Deployment.site_id == deployment.site_id, Deployment.host == deployment.host, Deployment.id > deployment.id
    )
    return db.session.scalars(newer.limit(1)).first() is not None


def _run(job: Job) -> None:
    fault("deploy-claimed")
    try:
        release = _prepare(job)
        _configure(job)
        previous = _remember(job, release)
        _switch(job, release, previous)
    except DeploymentFailed as failure:
        log.warning("deployment_failed", deployment_id=job.deployment_id, step=failure.step, said=str(failure))
        with unit_of_work():
            _note(job.deployment_id, failure.step, str(failure))
            _finish(job, DeploymentStatus.FAILED, error=str(failure))
        return
    try:
        _visit(job, release)
    except NotServed as failure:
        _go_back(job, previous, str(failure))
        return
    fault("deploy-before-done")
    with unit_of_work():
        _note(job.deployment_id, "live", release)
        _finish(job, DeploymentStatus.LIVE)
    releases.prune(job.place, keep=[release, previous], newest=RELEASES_KEPT)


def _prepare(job: Job) -> str:
    """The release's folder, written or found; its name is decided once and kept in the row."""
    with _failing_as("not_written"):
        found = releases.find(job.place, job.number, job.entries)
        if found is None:
            found = f"{job.number}-{job.deployment_id}"
            # One that is there under this name and not whole was damaged since: it cannot be the one that is served.
            releases.discard(job.place, found)
            releases.build(job.content, job.place.releases, name=found)
            fault("deploy-after-rename")
            _say(job, "written", f"{len(job.entries)} files, {sum(one.size for one in job.entries)} bytes: {found}")
        else:
            _say(job, "found", found)
    return found


def _configure(job: Job) -> None:
    """Let nginx know of the sites' folder, where it does not yet."""
    options = settings.current()
    if not options.nginx_config_dir:
        return
    try:
        is_new = nginx.install({nginx.PATHS_FILE: nginx.render(nginx.Server.of(options))}, options)
    except (nginx.NginxRefused, ValueError) as error:
        raise DeploymentFailed("refused", str(error)) from None
    except nginx.NginxAway as error:
        raise DeploymentFailed("nginx_away", str(error)) from None
    except OSError as error:
        raise DeploymentFailed("not_written", _words(error)) from None
    if is_new:
        _say(job, "configured")


def _remember(job: Job, release: str) -> str:
    """Write down what is served before the switch, once: whoever takes over later must not take our own for it."""
    if job.release == release and job.previous is not None:
        return job.previous
    previous = releases.current(job.place) or ""
    with unit_of_work():
        deployment = db.session.get_one(Deployment, job.deployment_id)
        deployment.release, deployment.previous_release = release, previous
    stop_reading()
    fault("deploy-before-switch")
    return previous


def _switch(job: Job, release: str, previous: str) -> None:
    if releases.current(job.place) == release:
        return
    with _failing_as("not_switched"):
        releases.switch(job.place, release)
    fault("deploy-after-switch")
    _say(job, "switched", f"{previous or '-'} → {release}")


def _visit(job: Job, release: str) -> None:
    """Look at the page as a visitor does. Raises NotServed."""
    options = settings.current()
    if not options.sites_check_url:
        _say(job, "not_visited")
        return
    first = next(entry for entry in job.entries if entry.path == FIRST_PAGE)
    visit = Visit(options.sites_check_url, options.sites_url, job.slug, release, first)
    visit.insist(seconds=_VISIT_SECONDS)
    _say(job, "visited", f"{options.sites_check_url}/{job.slug}/")


def _go_back(job: Job, previous: str, said: str) -> None:
    """Serve again what was served before; the page that failed is never more than a moment in front of people."""
    try:
        if previous:
            releases.switch(job.place, previous)
        else:
            releases.take_down(job.place)
    except (OSError, releases.Damaged) as error:
        said = f"{said}; and going back failed: {_words(error)}"
    log.warning("deployment_rolled_back", deployment_id=job.deployment_id, said=said)
    with unit_of_work():
        _note(job.deployment_id, "not_served", said)
        _note(job.deployment_id, "went_back", previous or "-")
        _finish(job, DeploymentStatus.ROLLED_BACK, error=said)


def _finish(job: Job, status: DeploymentStatus, *, error: str | None = None) -> None:
    """End the deployment; a live one takes the place of the one before, and its version is the site's from now on."""
    at = clock.now()
    site = storage.lock_site(job.site_id)
    deployment = db.session.get_one(Deployment, job.deployment_id, with_for_update=True, populate_existing=True)
    if status is DeploymentStatus.LIVE:
        live = db.session.scalars(
            select(Deployment).where(Deployment.site_id == site.id, Deployment.status == DeploymentStatus.LIVE)
        ).all()
        for one in live:
            if one.host == deployment.host:
                transition(one, DeploymentStatus.SUPERSEDED, by=_BY, at=at)
        # Another host may be ahead of this one.
        if not any(one.id > deployment.id for one in live):
            site.current_version_id, site.updated_at = deployment.version_id, at
    _settle(deployment, status, at, error=error)
    if status is DeploymentStatus.LIVE:
        note_served(site, at=at)


def _settle(deployment: Deployment, status: DeploymentStatus, at: datetime, *, error: str | None = None) -> None:
    transition(
        deployment, status, by=_BY, at=at, reason=error,
        values={"finished_at": at, "error": error[:_SAID] if error else None},
    )  # fmt: skip
    audit.record(
        f"deployment.{status.value}",
        actor=_BY,
        subject=f"sites:{deployment.site_id}",
        after={"deployment": deployment.id, "host": deployment.host},
        detail=error,
    )


def _locked(deployment_id: int) -> Deployment | None:
    found: Deployment | None = db.session.scalars(
        select(Deployment)
        .where(Deployment.id == deployment_id)
        .with_for_update(of=Deployment)
        .execution_options(populate_existing=True)
    ).one_or_none()
    return found


def _say(job: Job, step: str, detail: str = "") -> None:
    """One line of the log, to be read while the rest is still going on."""
    with unit_of_work():
        _note(job.deployment_id, step, detail)
    stop_reading()


def _note(deployment_id: int, step: str, detail: str = "", *, at: datetime | None = None) -> None:
    db.session.add(DeploymentStep(deployment_id=deployment_id, at=at or clock.now(), step=step, detail=detail[:_SAID]))


@contextmanager
def _failing_as(step: str) -> Iterator[None]:
    """What a disk says is the end of this deployment: a person has to make room, or look."""
    try:
        yield
    except FileNotFoundError as error:
        raise DeploymentFailed("content_missing", _words(error)) from None
    except (OSError, releases.Damaged) as error:
        raise DeploymentFailed(step, _words(error)) from None


def _words(error: Exception) -> str:
    """What went wrong, without the paths of this machine."""
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else f"{type(error).__name__}: {error}"

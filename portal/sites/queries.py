"""Reading sites, versions and deployments; whose they are is part of the question."""

from sqlalchemy import select
from sqlalchemy.orm import defer, joinedload

from portal.accounts.models import User
from portal.core.db import db
from portal.sites import storage
from portal.sites.changes.models import ChangeDraft
from portal.sites.content.checking import LARGEST_TEXT
from portal.sites.content.kinds import is_text
from portal.sites.errors import FileNotInVersion, SiteNotFound, VersionNotFound
from portal.sites.models import Deployment, DeploymentStatus, Site, SiteStatus, SiteVersion
from portal.sites.slugs import is_slug


def find_site(slug: str) -> Site | None:
    """The site at an address, whoever's it is and deleted or not."""
    if not is_slug(slug):
        return None
    site: Site | None = db.session.scalars(select(Site).where(Site.slug == slug)).one_or_none()
    return site


def get_site(slug: str, *, owner: User) -> Site:
    """A customer's own site. Raises SiteNotFound, also for somebody else's."""
    site = find_site(slug)
    if site is None or site.is_deleted or site.owner_id != owner.id:
        raise SiteNotFound
    return site


def list_own_sites(owner: User, *, limit: int = 100) -> list[Site]:
    """A customer's sites, newest first."""
    statement = select(Site).where(Site.owner_id == owner.id, Site.deleted_at.is_(None)).order_by(Site.id.desc())
    return list(db.session.scalars(statement.limit(limit)))


def get_public_site(slug: str) -> Site:
    """A site that everybody may look at. Raises SiteNotFound for one that is deleted or has nothing to show yet."""
    site = find_site(slug)
    if site is None or site.is_deleted or site.current_version_id is None:
        raise SiteNotFound
    return site


def get_site_by_id(site_id: int) -> Site:
    """Any site, for staff. Raises SiteNotFound."""
    site: Site | None = db.session.get(Site, site_id)
    if site is None:
        raise SiteNotFound
    return site


def list_for_sale(*, limit: int = 60) -> list[Site]:
    """The sites in the shop window, newest first."""
    statement = (
        select(Site)
        .where(Site.status == SiteStatus.PREVIEW, Site.deleted_at.is_(None), Site.current_version_id.is_not(None))
        .order_by(Site.id.desc())
        .limit(limit)
    )
    return list(db.session.scalars(statement))


def list_served_ids() -> list[int]:
    """The ids of all sites that visitors should find."""
    statement = select(Site.id).where(Site.deleted_at.is_(None), Site.current_version_id.is_not(None))
    return list(db.session.scalars(statement.order_by(Site.id)))


def list_versions(site: Site, *, limit: int = 100) -> list[SiteVersion]:
    """A site's versions, newest first, without their lists of files."""
    statement = (
        select(SiteVersion)
        .where(SiteVersion.site_id == site.id)
        .options(defer(SiteVersion.manifest))
        .order_by(SiteVersion.number.desc())
        .limit(limit)
    )
    return list(db.session.scalars(statement))


def get_version(site: Site, number: int) -> SiteVersion:
    """One version of a site. Raises VersionNotFound."""
    statement = select(SiteVersion).where(SiteVersion.site_id == site.id, SiteVersion.number == number)
    version: SiteVersion | None = db.session.scalars(statement).one_or_none()
    if version is None:
        raise VersionNotFound
    return version


def find_version_before(site: Site, number: int) -> SiteVersion | None:
    """The version that came before one, of those that are kept."""
    statement = (
        select(SiteVersion)
        .where(SiteVersion.site_id == site.id, SiteVersion.number < number)
        .order_by(SiteVersion.number.desc())
        .limit(1)
    )
    version: SiteVersion | None = db.session.scalars(statement).one_or_none()
    return version


def find_version_by_id(version_id: int | None) -> SiteVersion | None:
    """A version that is still kept."""
    return db.session.get(SiteVersion, version_id) if version_id is not None else None


def find_newest_version(site: Site) -> SiteVersion | None:
    """The version with the highest number, if there is one."""
    statement = select(SiteVersion).where(SiteVersion.site_id == site.id).order_by(SiteVersion.number.desc()).limit(1)
    version: SiteVersion | None = db.session.scalars(statement).one_or_none()
    return version


def find_wanted_version(site: Site) -> SiteVersion | None:
    """What visitors see, or will see once the deployments that are under way have ended."""
    statement = (
        select(SiteVersion)
        .join(Deployment, Deployment.version_id == SiteVersion.id)
        .where(
            Deployment.site_id == site.id,
            Deployment.status.in_([DeploymentStatus.QUEUED, DeploymentStatus.RUNNING, DeploymentStatus.LIVE]),
        )
        .order_by(Deployment.id.desc())
        .limit(1)
    )
    version: SiteVersion | None = db.session.scalars(statement).one_or_none()
    return version if version is not None else site.current_version


def list_deployments(site: Site, *, limit: int = 20) -> list[Deployment]:
    """A site's deployments on all hosts, newest first."""
    statement = (
        select(Deployment)
        .where(Deployment.site_id == site.id)
        .options(joinedload(Deployment.version).defer(SiteVersion.manifest))
        .order_by(Deployment.id.desc())
        .limit(limit)
    )
    return list(db.session.scalars(statement))


def list_live(site: Site) -> list[Deployment]:
    """What each host serves."""
    statement = (
        select(Deployment)
        .where(Deployment.site_id == site.id, Deployment.status == DeploymentStatus.LIVE)
        .options(joinedload(Deployment.version).defer(SiteVersion.manifest))
        .order_by(Deployment.host)
    )
    return list(db.session.scalars(statement))


def get_deployment(site: Site, deployment_id: int) -> Deployment:
    """One deployment of a site. Raises VersionNotFound."""
    deployment: Deployment | None = db.session.get(Deployment, deployment_id)
    if deployment is None or deployment.site_id != site.id:
        raise VersionNotFound
    return deployment


def read_file(version: SiteVersion | ChangeDraft, path: str) -> bytes:
    """A file of a version. Raises FileNotInVersion, or FileNotFoundError when the storage has lost it."""
    sha256 = version.paths.get(path)
    if sha256 is None:
        raise FileNotInVersion
    return storage.read(version, sha256)


def read_text(version: SiteVersion | ChangeDraft, path: str) -> str:
    """A file of a version as text, for reading and changing it. Raises FileNotInVersion for what is no text."""
    size = next((entry["size"] for entry in version.manifest if entry["path"] == path), None)
    if size is None or size > LARGEST_TEXT or not is_text(path):
        raise FileNotInVersion
    try:
        return read_file(version, path).decode("utf-8")
    except UnicodeDecodeError:
        raise FileNotInVersion from None

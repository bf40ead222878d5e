"""RQ entry points of hosted sites."""

from portal.core import clock, files, queues
from portal.core.db import stop_reading, unit_of_work
from portal.sites import storage
from portal.sites.changes.services import forgetting
from portal.sites.services import inspecting, keeping, retention


@queues.job
def tidy_up() -> None:
    """Let go of old versions, of bytes that nothing names, of sites that were deleted long ago, and of pictures of
    requests that were over long ago."""
    at = clock.now()
    with unit_of_work():
        names = keeping.purge_deleted(at=at)
    _delete(names)
    for site_id in retention.sites_with_too_many():
        with unit_of_work():
            retention.forget_old_versions(site_id)
    site_ids = retention.every_site()
    while site_ids:
        for site_id in site_ids:
            with unit_of_work():
                names = storage.forget_unused(site_id, at=at)
            _delete(names)
        site_ids = retention.every_site(after=site_ids[-1])
    while pictures := forgetting.pictures_to_forget(at=at):
        _delete(list(pictures.values()))
        with unit_of_work():
            forgetting.forget_pictures(pictures)


@queues.job
def inspect_releases() -> None:
    """Have every host compare what it serves with what it should."""
    with unit_of_work():
        inspecting.call_up(at=clock.now())


def _delete(names: list[str]) -> None:
    stop_reading()
    for name in names:
        files.delete(name)

"""SIGKILL between any two steps of a deployment: visitors never see half of one, and it goes on by itself."""

import os
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from sqlalchemy import select

from portal.core import clock
from portal.core.db import db
from portal.core.outbox import MessageStatus, OutboxMessage
from portal.sites import releases
from portal.sites.content.checking import read_manifest
from portal.sites.layout import Place
from portal.sites.models import Deployment, DeploymentStatus
from tests.faults.portal import Portal, committed, wait_for
from tests.faults.test_kills import IN_A_DEPLOYMENT, RESUMED_WITHIN, armed, let_leases_end, names
from tests.servers import web
from tests.sites.hosting import Visitors, get, site_host
from tests.sites.support import fresh, make_site, make_version, page, request

pytestmark = [pytest.mark.slow_fault, pytest.mark.xdist_group("faults_deploys")]


def work(portal: Portal, settings: dict[str, str], faults: str = "") -> AbstractContextManager[web.WorkerProcess]:
    return web.worker({**portal.settings, **settings, "PORTAL_FAULTS": faults}, "--queues", "deploy")


@pytest.mark.timeout(300)
def test_the_deploy_worker_dies_at_every_step(portal: Portal, marks: Path) -> None:
    """Ten deaths in one deployment; a visitor polls all the while."""
    with site_host() as host:
        settings = {name.upper(): value for name, value in host.settings().items()}
        site = make_site("bakery")
        request(site, make_version(site, page("one")))
        with work(portal, settings):
            wait_for(lambda: get_status(host.port) == 200, seconds=60)
            wait_until_quiet(portal)
        place = Place(host.root, "bakery")
        # Previews are written by the same code; here the deployment itself shall meet every point.
        version = make_version(site, {**page("two"), "a.css": b"a {}", "b/c.css": b"c {}"})
        with work(portal, settings):
            wait_until_quiet(portal)
        # As after an update of the portal: nginx needs a new file, and is told in this deployment.
        for path in host.config.glob("portal-sites.conf*"):
            path.write_text(path.read_text() + "# another\n")
        deployment = request(site, version)
        with Visitors(host.port, "/bakery/") as visitors, work(portal, settings, armed(IN_A_DEPLOYMENT, marks)):

            def has_recovered() -> bool:
                assert one_whole_release(place)
                let_leases_end()
                return fresh(deployment).status is DeploymentStatus.LIVE

            wait_for(has_recovered, seconds=120, say=lambda: f"{names(marks)} {fresh(deployment).status}")
        assert names(marks) == set(IN_A_DEPLOYMENT)
        assert visitors.failures == []
        assert set(visitors.answers) == {(200, page("one")["index.html"]), (200, page("two")["index.html"])}
        assert releases.is_whole(place.current.resolve(), read_manifest(version.manifest))
        assert not list(place.releases.glob(".*"))
        assert fresh(site).current_version_id == version.id
        log = [step.step for step in fresh(deployment).steps]
        assert log.count("started") == 1
        assert log.count("resumed") >= len(IN_A_DEPLOYMENT) - 1
        assert log.count("live") == 1


@pytest.mark.timeout(300)
def test_a_deployment_whose_whole_worker_died_goes_on_in_another(portal: Portal) -> None:
    with site_host() as host:
        settings = {name.upper(): value for name, value in host.settings().items()}
        site = make_site("florist")
        version = make_version(site, page("one"))
        deployment = request(site, version)
        with work(portal, settings, "deploy-before-switch=sleep:120") as worker:
            wait_for(lambda: fresh(deployment).release is not None, seconds=60, say=worker.output)
            worker.kill()
        assert fresh(deployment).status is DeploymentStatus.RUNNING
        with committed():
            waiting = db.session.scalars(select(OutboxMessage).where(OutboxMessage.status == MessageStatus.PENDING))
            late = max(message.available_at for message in waiting)
        assert late <= clock.now() + RESUMED_WITHIN
        with work(portal, settings):
            let_leases_end()
            wait_for(lambda: fresh(deployment).status is DeploymentStatus.LIVE, seconds=60)
        assert get(host.port, "/florist/")[2] == page("one")["index.html"]


def one_whole_release(place: Place) -> bool:
    """Whether the link leads to a folder that holds exactly what one of the site's versions says."""
    folder = Path(os.path.realpath(place.current))
    db.session.rollback()
    deployments = db.session.scalars(select(Deployment)).all()
    return any(releases.is_whole(folder, read_manifest(one.version.manifest)) for one in deployments)


def get_status(port: int) -> int:
    try:
        return get(port, "/bakery/")[0]
    except OSError:
        return 0


def wait_until_quiet(portal: Portal) -> None:
    def is_quiet() -> bool:
        db.session.rollback()
        pending = select(OutboxMessage.id).where(
            OutboxMessage.status == MessageStatus.PENDING, OutboxMessage.queue == "deploy"
        )
        return db.session.scalars(pending.limit(1)).first() is None

    wait_for(is_quiet, seconds=60, say=lambda: str(portal.url))

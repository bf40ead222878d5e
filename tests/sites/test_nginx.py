"""Sites on a real nginx: served with their headers, switched without a failed request, never broken by a bad file."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from portal import config, create_app
from portal.core import outbox
from portal.core.db import db, dispose
from portal.sites import layout, nginx, releases
from portal.sites.embedded import EmbeddedSites
from portal.sites.models import Deployment, DeploymentStatus
from portal.sites.responses import Rules, host_name
from tests.migrating import migrate_new
from tests.servers import processes, redis
from tests.sites.hosting import HOST, SiteHost, Visitors, get, load, site_host, small_disk
from tests.sites.support import FILES, deploy, fresh, make_live_site, make_site, make_version, page, request, steps

pytestmark = pytest.mark.xdist_group("sites_nginx")


@pytest.fixture
def empty_folders() -> None:
    """Each host of these tests has folders of its own."""


@pytest.fixture
def host() -> Iterator[SiteHost]:
    with site_host() as one:
        yield one


@pytest.fixture
def app(host: SiteHost, redis_server: redis.RedisServer, tmp_path: Path) -> Iterator[Flask]:
    """The portal of this site host, on a database of its own."""
    yield from portal_of(host, f"sqlite:///{tmp_path / 'sites.db'}", redis_server, tmp_path)


def portal_of(
    host: SiteHost, url: str, redis_server: redis.RedisServer, folder: Path, **changes: Any
) -> Iterator[Flask]:
    environment = {name.upper(): value for name, value in {**host.settings(), **changes}.items()}
    settings = config.load(
        {"PORTAL_ENV": "testing", "DATABASE_URL": url, "REDIS_URL": redis_server.url, "LOG_LEVEL": "ERROR",
         "PORTAL_URL": "http://localhost", "STORAGE_URL": f"file://{folder / 'storage'}", **environment}
    )  # fmt: skip
    app = create_app(settings)
    with app.app_context():
        migrate_new()
        yield app
        db.session.remove()
    dispose(app)


def test_the_first_deployment_brings_nginx_its_file_and_the_site_its_visitors(app: Flask, host: SiteHost) -> None:
    site = make_site("bakery")
    deployment = deploy(site, make_version(site))
    assert deployment.status is DeploymentStatus.LIVE, deployment.error
    assert steps(deployment) == ["started", "written", "configured", "switched", "visited", "live"]
    status, headers, body = get(host.port, "/bakery/")
    assert (status, body) == (200, FILES["index.html"])
    assert headers["content-security-policy"] == (
        "sandbox allow-scripts allow-forms allow-popups allow-popups-to-escape-sandbox allow-downloads; "
        "frame-ancestors http://localhost"
    )
    assert "allow-same-origin" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-cache"
    assert "set-cookie" not in headers
    second = deploy(site, make_version(site, page("two")))
    assert "configured" not in steps(second)


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/bakery/index.html", 200, FILES["index.html"]),
        ("/bakery/css/site.css", 200, FILES["css/site.css"]),
        ("/bakery/about/", 200, FILES["about/index.html"]),
        ("/bakery/none.html", 404, b"<h1>own 404</h1>"),
        ("/bakery/css/", 404, None),
        ("/bakery/.portal-release", 404, None),
        ("/bakery/../bakery/index.html", 200, FILES["index.html"]),
        ("/bakery/%2e%2e/.locks/bakery", 404, None),
        ("/bakery/..%2f..%2fetc%2fpasswd", 400, None),
        ("/bakery/releases/1-1/index.html", 404, None),
        ("/.locks/bakery", 404, None),
        ("/.previews/", 404, None),
        ("/BAKERY/", 404, None),
        ("/none/", 404, None),
        ("/", 302, None),
    ],
)
def test_nginx_and_the_embedded_server_answer_alike(
    app: Flask, host: SiteHost, path: str, status: int, body: bytes | None
) -> None:
    make_live_site("bakery", {**FILES, "404.html": b"<h1>own 404</h1>", "price list.pdf": b"%PDF"})
    found, headers, content = get(host.port, path)
    assert found == status
    if body is not None:
        assert content == body
    if status == 400 or "/../" in path or "%2e" in path:
        return  # nginx reads such addresses itself, before anything of ours.
    other_status, other_headers, other_content = embedded(app, path)
    assert other_status == status
    if body is not None:
        assert other_content == body
    for name in ("content-security-policy", "access-control-allow-origin", "referrer-policy", "cache-control",
                 "permissions-policy", "x-content-type-options", "x-robots-tag", "location"):  # fmt: skip
        assert other_headers.get(name) == headers.get(name), name
    if status == 200:
        assert other_headers["content-type"] == headers["content-type"]
        assert other_headers["etag"] == headers["etag"]


def embedded(app: Flask, path: str, method: str = "GET", **environ: str) -> tuple[int, dict[str, str], bytes]:
    """One request to the server without nginx."""
    told: dict[str, Any] = {}

    def start(status: str, headers: list[tuple[str, str]], *_more: Any) -> Any:
        told.update(status=int(status.split()[0]), headers={name.lower(): value for name, value in headers})

    serve = EmbeddedSites.of(app.config["SETTINGS"])
    asked = {"REQUEST_METHOD": method, "PATH_INFO": path, "REMOTE_ADDR": "10.0.0.1", **environ}
    body = serve(asked, start)
    content = b"".join(body)
    close = getattr(body, "close", None)
    if close is not None:
        close()
    return told["status"], told["headers"], content


def test_a_page_that_did_not_change_is_not_sent_again(app: Flask, host: SiteHost) -> None:
    site = make_live_site("bakery", {**page("one"), "a.css": b"a {}"})
    tag = get(host.port, "/bakery/")[1]["etag"]
    css = get(host.port, "/bakery/a.css")[1]["etag"]
    assert get(host.port, "/bakery/", **{"If-None-Match": tag})[0] == 304
    assert embedded(app, "/bakery/", HTTP_IF_NONE_MATCH=tag)[0] == 304
    deploy(site, make_version(site, {**page("two"), "a.css": b"a {}"}))
    assert get(host.port, "/bakery/", **{"If-None-Match": tag})[0] == 200
    assert get(host.port, "/bakery/a.css", **{"If-None-Match": css})[0] == 304


def test_only_what_a_page_loads_itself_is_readable_from_another_origin(app: Flask, host: SiteHost) -> None:
    make_live_site("bakery", {**FILES, "data.json": b"{}", "font.woff2": b"x", "doc.pdf": b"%PDF"})
    for path, allowed in (
        ("data.json", "*"),
        ("font.woff2", "*"),
        ("css/site.css", "*"),
        ("", None),
        ("doc.pdf", None),
    ):
        assert get(host.port, f"/bakery/{path}")[1].get("access-control-allow-origin") == allowed, path
    # Chromium shows no PDF in a sandbox.
    assert get(host.port, "/bakery/doc.pdf")[1]["content-security-policy"] == "frame-ancestors http://localhost"


def test_nobody_posts_to_a_site(app: Flask) -> None:
    make_live_site("bakery")
    assert embedded(app, "/bakery/", "POST")[0] == 405
    assert embedded(app, "/bakery/", "HEAD")[2] == b""


def test_every_version_has_an_address_of_its_own(app: Flask, host: SiteHost) -> None:
    site = make_live_site("bakery", page("one"))
    version = make_version(site, page("two"))
    outbox.drain("deploy")
    address = layout.preview_url("bakery", version.preview_name).partition(str(host.port))[2]
    status, headers, body = get(host.port, address)
    assert (status, body) == (200, page("two")["index.html"])
    assert headers["x-robots-tag"] == "noindex, nofollow"
    assert headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert get(host.port, address.replace(version.preview_key, "0" * 24))[0] == 404
    assert embedded(app, address)[2] == page("two")["index.html"]
    assert get(host.port, "/bakery/")[2] == page("one")["index.html"]


def test_fifty_deployments_and_rollbacks_fail_no_request(app: Flask, host: SiteHost, tmp_path: Path) -> None:
    site = make_live_site("bakery", page("zero"))
    versions = [fresh(site).current_version, make_version(site, page("one")), make_version(site, page("two"))]
    with Visitors(host.port, "/bakery/") as visitors, load(host.port, "/bakery/", tmp_path) as wrk:
        for number in range(50):
            assert deploy(site, versions[number % 3]).status is DeploymentStatus.LIVE
    assert wrk.failed == []
    assert wrk.requests > 1000
    whole = {(200, page(word)["index.html"]) for word in ("zero", "one", "two")}
    assert visitors.failures == []
    assert set(visitors.answers) == whole
    assert visitors.answers.total() > 100


def test_a_page_that_is_not_served_is_switched_back(
    app: Flask, host: SiteHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody's own block takes the address away: what was deployed is not what visitors would get."""
    monkeypatch.setattr("portal.sites.services.deploying._VISIT_SECONDS", 0.3)
    site = make_live_site("bakery", page("one"))
    first = layout.place_of("bakery").current.readlink()
    version = make_version(site, page("two"))
    outbox.drain("deploy")
    text = (host.config / nginx.PATHS_FILE).read_text()
    blocked = text.replace("location = / {", "location ^~ /bakery/ { return 503; }\n  location = / {")
    (host.config / nginx.PATHS_FILE).write_text(blocked)
    (host.config / f"{nginx.PATHS_FILE}.applied").write_text(nginx._hash(blocked))
    monkeypatch.setattr(nginx, "render", lambda _server: blocked)
    host.server.reload()
    processes.wait_until(lambda: get(host.port, "/bakery/")[0] == 503, what="the block")
    deployment = deploy(site, version)
    assert deployment.status is DeploymentStatus.ROLLED_BACK
    assert steps(deployment)[-2:] == ["not_served", "went_back"]
    assert "503" in (deployment.error or "")
    assert layout.place_of("bakery").current.readlink() == first
    assert fresh(site).current_version.number == 1


def test_a_first_deployment_that_is_not_served_leaves_nothing(app: Flask, host: SiteHost) -> None:
    host.server.stop()
    site = make_site("bakery")
    deployment = deploy(site, make_version(site))
    assert deployment.status is DeploymentStatus.FAILED
    assert steps(deployment)[-1] == "nginx_away"
    assert not layout.place_of("bakery").current.exists()


def test_without_nginx_running_the_old_release_stays(
    app: Flask, host: SiteHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.sites.services.deploying._VISIT_SECONDS", 0.3)
    site = make_live_site("bakery", page("one"))
    first = layout.place_of("bakery").current.readlink()
    host.server.stop()
    deployment = deploy(site, make_version(site, page("two")))
    assert deployment.status is DeploymentStatus.ROLLED_BACK
    assert "no answer" in (deployment.error or "")
    assert layout.place_of("bakery").current.readlink() == first


def test_a_configuration_that_nginx_refuses_never_stays(
    app: Flask, host: SiteHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_live_site("bakery", page("one"))
    before = (host.config / nginx.PATHS_FILE).read_text()
    monkeypatch.setattr(nginx, "render", lambda _server: before + "server { listen nowhere; }\n")
    deployment = deploy(site, make_version(site, page("two")))
    assert deployment.status is DeploymentStatus.FAILED
    assert steps(deployment)[-1] == "refused"
    assert "nowhere" in (deployment.error or "")
    assert (host.config / nginx.PATHS_FILE).read_text() == before
    host.server.check()
    assert get(host.port, "/bakery/")[2] == page("one")["index.html"]


@pytest.mark.parametrize("name", ["a b", "a;b", "a{b", "a\nb", 'a"b', "x" * 1000, "-a", "a/b", "$host", ""])
def test_no_host_name_breaks_out_of_the_configuration(name: str) -> None:
    with pytest.raises(ValueError, match="not a host name"):
        host_name(f"http://{name}" if "/" not in name else f"http://{name.replace('/', ';')}")


@pytest.mark.parametrize("value", ['a"; }', "a\nb", "$uri", "a{b", "a;b", "a\\b"])
def test_no_value_breaks_out_of_its_quotes(value: str) -> None:
    with pytest.raises(ValueError, match="cannot stand"):
        nginx.quoted(value)
    rules = Rules("http://localhost", is_https=False)
    server = nginx.Server(Path("/srv"), HOST, "http://localhost", rules, ("80",))
    assert nginx.render(server)
    with pytest.raises(ValueError, match="cannot stand"):
        nginx.render(dataclasses.replace(server, root=Path("/srv", value)))


def test_files_of_other_parts_are_put_in_and_taken_out(app: Flask, host: SiteHost) -> None:
    """What the domains' part does: one bad file of several changes nothing at all."""
    make_live_site("bakery")
    settings = app.config["SETTINGS"]
    port = processes.free_port()
    good = f"server {{ listen 127.0.0.1:{port}; return 200 good; }}\n"
    assert nginx.install({"domain-a.conf": good}, settings)
    processes.wait_until(lambda: get(port, "/")[0] == 200, what="the domain's server")
    assert not nginx.install({"domain-a.conf": good}, settings)
    with pytest.raises(nginx.NginxRefused):
        nginx.install(
            {"domain-a.conf": good.replace("good", "other"), "domain-b.conf": "server { nonsense; }"}, settings
        )
    assert (host.config / "domain-a.conf").read_text() == good
    assert not (host.config / "domain-b.conf").exists()
    host.server.check()
    assert nginx.install({"domain-a.conf": None}, settings)
    assert sorted(path.name for path in host.config.glob("*.conf")) == [nginx.PATHS_FILE]


@pytest.mark.parametrize("moment", ["written", "tested"])
def test_a_worker_that_died_at_the_configuration_is_made_up_for(app: Flask, host: SiteHost, moment: str) -> None:
    make_live_site("bakery")
    settings = app.config["SETTINGS"]
    before = (host.config / nginx.PATHS_FILE).read_text()
    nginx._put(host.config / nginx.PATHS_FILE, "server { nonsense; }" if moment == "written" else before + "# new\n")
    wanted = before + "# newer\n"
    assert nginx.install({nginx.PATHS_FILE: wanted}, settings)
    assert (host.config / nginx.PATHS_FILE).read_text() == wanted
    nginx._put(host.config / nginx.PATHS_FILE, "server { nonsense; }")
    with pytest.raises(nginx.NginxRefused):
        nginx.install({nginx.PATHS_FILE: "server { other nonsense; }"}, settings)
    assert (host.config / nginx.PATHS_FILE).read_text() == wanted


def test_a_full_disk_leaves_the_old_release_and_no_rubbish(
    host: SiteHost, redis_server: redis.RedisServer, tmp_path: Path
) -> None:
    with small_disk(host.root, kilobytes=512):
        for app in portal_of(host, f"sqlite:///{tmp_path / 'sites.db'}", redis_server, tmp_path):
            assert app
            site = make_live_site("bakery", page("one"))
            big = make_version(site, {**page("two"), "noise.txt": os.urandom(900_000)})
            with Visitors(host.port, "/bakery/") as visitors:
                deployment = deploy(site, big)
            assert deployment.status is DeploymentStatus.FAILED
            assert "No space left" in (deployment.error or "")
            assert set(visitors.answers) == {(200, page("one")["index.html"])}
            assert visitors.failures == []
            assert releases.names(layout.place_of("bakery")) == ["1-1"]
            assert not list(layout.place_of("bakery").releases.glob(".*"))
            assert deploy(site, make_version(site, page("three"))).status is DeploymentStatus.LIVE


def test_two_site_hosts_serve_the_same_from_one_storage(redis_server: redis.RedisServer, tmp_path: Path) -> None:
    """Each host has its own queue, folders and nginx; database and storage are one."""
    url = f"sqlite:///{tmp_path / 'sites.db'}"
    with site_host() as east, site_host() as west:
        both = {"sites_hosts": "east,west"}
        for app in portal_of(east, url, redis_server, tmp_path, **both, sites_host_name="east"):
            assert app
            site = make_site("bakery")
            request(site, make_version(site, page("one")))
            assert outbox.drain("deploy") == 0
            outbox.drain("deploy-east")
            assert get(east.port, "/bakery/")[2] == page("one")["index.html"]
            assert not (west.root / "bakery").exists()
            changed = dataclasses.replace(app.config["SETTINGS"], **west.settings(), sites_host_name="west")
            other = create_app(changed)
            with other.app_context():
                outbox.drain("deploy-west")
                db.session.remove()
            dispose(other)
            assert get(west.port, "/bakery/")[2] == page("one")["index.html"]
            db.session.rollback()
            live = {one.host: one.status for one in fresh_deployments()}
            assert live == {"east": DeploymentStatus.LIVE, "west": DeploymentStatus.LIVE}


def fresh_deployments() -> list[Deployment]:
    return list(db.session.scalars(db.select(Deployment).execution_options(populate_existing=True)))


def test_production_redirects_to_https_and_knows_its_certificate() -> None:
    rules = Rules("https://portal.example.com", is_https=True)
    text = nginx.render(
        nginx.Server(
            Path("/var/lib/portal/sites"), "sites.example.com", "https://portal.example.com", rules,
            ("80", "[::]:80"), ("443", "[::]:443"), "/etc/ssl/full.pem", "/etc/ssl/key.pem", "127.0.0.1:8099",
        )
    )  # fmt: skip
    assert "return 301 https://$server_name$request_uri;" in text
    assert "listen 443 ssl http2;" in text
    assert "Strict-Transport-Security" in text
    assert text.count("deny all;") == 1

"""nginx's file of one domain: nothing that was not looked at gets into it, and a real nginx takes it."""

import dataclasses
from pathlib import Path

import pytest

from portal.config import Settings
from portal.sites import nginx
from portal.sites.domains import blocks, certificate_files
from portal.sites.domains.blocks import Block
from portal.sites.domains.names import LONGEST
from tests.servers import certificates, processes
from tests.servers import nginx as servers

THUMBPRINT = "a" * 43
SETTINGS = Settings(sites_root="/srv/sites", sites_url="https://sites.example.com", nginx_listen="80,[::]:80")
BLOCK = Block(
    domain_id=7, name="www.bakery.com", twin="bakery.com", slug="bakery", thumbprint=THUMBPRINT, chain=None, key=None,
    has_twin=False, is_open=True, is_stable=False,
)  # fmt: skip


@pytest.fixture
def empty_folders() -> None:
    """Nothing here needs an application."""


@pytest.mark.parametrize(
    "changes",
    [
        {which: name}
        for which in ("name", "twin")
        for name in (
            "", "localhost", "a.com; return 200", "a.com;", "a.com{", "a.com}", "a.com\n", "a.com\nb.com",
            "a.com b.com",
            "*.a.com", ".a.com", "a.com.", "~^a$", "$host", "A.com", "ż.pl", "a_b.com", "a..com", f"{'a' * 64}.com",
            "x." * 500 + "com", '"a.com"', "a.com#", "a\\.com",
        )
    ]
    + [{"thumbprint": text} for text in ("", "a" * 42, "a" * 44, 'a"' + "a" * 41, "$" * 43, "a" * 42 + "\n")]
    + [{"slug": slug} for slug in ("", "..", "a/b", "A", 'a"b', "a;b")]
    + [{"chain": Path('/x"; y'), "key": Path("/k")}, {"chain": Path("/x"), "key": Path("/k${a}")}],
)  # fmt: skip
def test_what_could_mean_something_to_nginx_is_never_written(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"configuration|slug"):
        blocks.render(dataclasses.replace(BLOCK, **changes), SETTINGS)  # type: ignore[arg-type]  # by the table above


def test_a_domain_without_a_certificate_answers_challenges_and_leads_to_the_path() -> None:
    text = blocks.render(BLOCK, SETTINGS)
    assert text.count("server {") == 1
    assert "listen 80;\n  listen [::]:80;\n  server_name www.bakery.com bakery.com;" in text
    assert f'return 200 "$token.{THUMBPRINT}";' in text
    assert 'return 302 "https://sites.example.com/bakery/";' in text


def test_a_site_that_is_off_is_served_under_none_of_its_domain() -> None:
    paths = {"chain": Path("/c/7.crt"), "key": Path("/c/7.key")}
    served = blocks.render(dataclasses.replace(BLOCK, **paths), SETTINGS)  # type: ignore[arg-type]  # as above
    assert "return 301 https://www.bakery.com$request_uri;" in served
    assert 'root "/srv/sites/bakery/current";' in served
    assert "Strict-Transport-Security" not in served
    stable = blocks.render(dataclasses.replace(BLOCK, **paths, is_stable=True), SETTINGS)  # type: ignore[arg-type]  # as above
    assert 'Strict-Transport-Security "max-age=2592000"' in stable
    assert "includeSubDomains" not in stable
    off = blocks.render(dataclasses.replace(BLOCK, **paths, is_open=False, is_stable=True), SETTINGS)  # type: ignore[arg-type]  # as above
    assert off.count('return 302 "https://sites.example.com/bakery/";') == 2
    assert "root" not in off


def test_the_twin_leads_to_the_domain_and_tells_browsers_nothing_that_lasts() -> None:
    paths = {"chain": Path("/c/7.crt"), "key": Path("/c/7.key")}
    both = dataclasses.replace(BLOCK, **paths, has_twin=True, is_stable=True)  # type: ignore[arg-type]  # as above
    _plain, main, twin = blocks.render(both, SETTINGS).split("\n\n")[1:]
    assert "server_name www.bakery.com;" in main
    assert "Strict-Transport-Security" in main
    assert "server_name bakery.com;" in twin
    assert "location / { return 301 https://www.bakery.com$request_uri; }" in twin
    assert "Strict-Transport-Security" not in twin
    off = blocks.render(dataclasses.replace(both, is_open=False), SETTINGS)
    assert off.count('return 302 "https://sites.example.com/bakery/";') == 3
    alone = blocks.render(dataclasses.replace(both, twin=None, has_twin=False), SETTINGS)
    assert "server_name bakery.com" not in alone


def test_the_file_comes_after_that_of_all_sites() -> None:
    # The first server of an address answers for names that nobody has, and that must be no customer's.
    assert sorted([blocks.file_name(1), nginx.PATHS_FILE]) == [nginx.PATHS_FILE, blocks.file_name(1)]


def test_nginx_takes_the_longest_name_where_its_table_has_room(tmp_path: Path) -> None:
    certificate = certificates.make(tmp_path)
    name = (".".join(["a" * 60, "b" * 60, "c" * 60, "d" * 60]) + ".com")[-LONGEST:]
    ports = [processes.free_port(), processes.free_port()]
    settings = dataclasses.replace(
        SETTINGS, nginx_listen=f"127.0.0.1:{ports[0]}", nginx_listen_tls=f"127.0.0.1:{ports[1]}"
    )
    block = dataclasses.replace(BLOCK, name=name, chain=certificate.chain, key=certificate.key, is_stable=True)
    text = blocks.render(block, settings)
    # As in deploy/nginx/sites.conf.
    shipped = (Path(__file__).parents[3] / "deploy" / "nginx" / "sites.conf").read_text()
    room = next(line for line in shipped.splitlines() if line.startswith("server_names_hash_bucket_size"))
    # A name that is alone needs no table.
    neighbour = f"server {{ listen 127.0.0.1:{ports[0]}; server_name other.example; }}"
    with servers.prepared(ports[0]) as server:
        server.configure(f"{room}\n{neighbour}\n{text}")
        server.check()
        server.configure(f"{neighbour}\n{text}")
        with pytest.raises(servers.Refused, match="server_names_hash"):
            server.check()


def test_certificates_are_private_whole_and_replaced(tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, nginx_config_dir=str(tmp_path / "nginx"))
    first = certificate_files.write(settings, 7, "1" * 64, chain_pem="chain", key_pem="key")
    # What a worker that died has left is no obstacle.
    first[1].with_name(first[1].name + ".new").write_text("half")
    first[1].write_text("half")
    again = certificate_files.write(settings, 7, "1" * 64, chain_pem="chain", key_pem="key")
    assert again == first
    assert [path.read_text() for path in again] == ["chain", "key"]
    assert {path.stat().st_mode & 0o777 for path in again} == {0o600}
    certificate_files.write(settings, 70, "2" * 64, chain_pem="c", key_pem="k")
    second = certificate_files.write(settings, 7, "3" * 64, chain_pem="c", key_pem="k")
    certificate_files.keep_only(settings, 7, *second)
    left = sorted(path.name.partition("-")[0] for path in second[0].parent.iterdir())
    assert left == ["7", "7", "70", "70"]

"""nginx's servers for one domain: what certificate authorities ask for, HTTP to HTTPS, the site itself, and the way
from the domain's twin to it.

Everything that stands in it was looked at before and is quoted once more here; `nginx -t` has the last word.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from portal.config import Settings
from portal.sites import nginx
from portal.sites.domains.probing import CHALLENGES
from portal.sites.layout import Place
from portal.sites.responses import Rules
from portal.sites.slugs import is_slug

# After the file of all sites in nginx's order: the first server of an address answers for names that nobody has.
_FILE = "site-domain-{}.conf"
_NAME = re.compile(r"(?=.{4,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)+")
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")
_HTTPS = 443
# A month, without the names below: those are not ours.
HSTS = "max-age=2592000"


@dataclass(frozen=True, slots=True)
class Block:
    """What the servers of one domain depend on. Without a certificate there is no HTTPS; a site that is off, or has no
    certificate, is found under its path, where visitors are sent. `has_twin`: the certificate is for the twin, too."""

    domain_id: int
    name: str
    twin: str | None
    slug: str
    thumbprint: str
    chain: Path | None
    key: Path | None
    has_twin: bool
    is_open: bool
    is_stable: bool


def file_name(domain_id: int) -> str:
    """The name of a domain's file in nginx's folder."""
    return _FILE.format(domain_id)


def render(block: Block, settings: Settings) -> str:
    """The file of one domain. Raises ValueError for anything that cannot stand in it."""
    are_names = all(_NAME.fullmatch(name) for name in _names(block))
    if not (are_names and _THUMBPRINT.fullmatch(block.thumbprint) and is_slug(block.slug)):
        raise ValueError(f"cannot stand in nginx's configuration: {block.name[:60]!r}")
    folder = Place(Path(settings.sites_root), block.slug).current
    parts = ["# Written by the portal's deploy worker. Changes made here are lost.", _plain(block, settings)]
    if block.chain is not None and block.key is not None:
        parts.append(_secured(block, settings, block.name, _site(block, settings, folder)))
        if block.twin is not None and block.has_twin:
            # Without HSTS: a twin may leave us, and the certificate, while the domain stays.
            parts.append(_secured(block, settings, block.twin, _sent(f"return 301 {_main(block, settings)};")))
    return "\n\n".join(parts) + "\n"


def port_of(listen: str) -> int:
    """The first port of a setting such as `80,[::]:80`: where visitors come."""
    return int(nginx.listed(listen)[0].rpartition(":")[2])


def _names(block: Block) -> list[str]:
    return [block.name] if block.twin is None else [block.name, block.twin]


def _plain(block: Block, settings: Settings) -> str:
    is_served = block.is_open and block.chain is not None
    elsewhere = f"return 301 {_main(block, settings)};" if is_served else _to_path(block, settings)
    challenge = nginx.location(f"^{re.escape(CHALLENGES)}(?<token>[A-Za-z0-9_-]{{1,128}})$")
    return (
        "server {\n"
        + nginx.lines(nginx.listen_lines(nginx.listed(settings.nginx_listen)))
        + nginx.lines([f"server_name {' '.join(_names(block))};", "server_tokens off;", "default_type text/plain;"])
        + f'  {challenge} {{ return 200 "$token.{block.thumbprint}"; }}\n'
        + f"  location / {{ {elsewhere} }}\n}}"
    )


def _main(block: Block, settings: Settings) -> str:
    port = port_of(settings.nginx_listen_tls)
    return f"https://{block.name}{'' if port == _HTTPS else f':{port}'}$request_uri"


def _secured(block: Block, settings: Settings, name: str, content: str) -> str:
    listening = nginx.listen_lines(nginx.listed(settings.nginx_listen_tls), " ssl http2")
    return (
        "server {\n"
        + nginx.lines(
            [
                *listening,
                f"server_name {name};",
                f"ssl_certificate {nginx.quoted(str(block.chain))};",
                f"ssl_certificate_key {nginx.quoted(str(block.key))};",
                "ssl_protocols TLSv1.2 TLSv1.3;",
            ]
        )
        + (content if block.is_open else _sent(_to_path(block, settings)))
        + "}"
    )


def _sent(elsewhere: str) -> str:
    return nginx.lines(["server_tokens off;", f"location / {{ {elsewhere} }}"])


def _site(block: Block, settings: Settings, folder: Path) -> str:
    """A site on a host name of its own is an origin of its own: it needs no sandbox, and may be shown by the portal."""
    rules = Rules.of(settings)
    headers = {name: value for name, value in rules.fixed().items() if name != "Strict-Transport-Security"}
    headers["Content-Security-Policy"] = rules.framing
    if block.is_stable:
        headers["Strict-Transport-Security"] = HSTS
    return nginx.lines(
        [
            *nginx.serving(),
            *(f"add_header {name} {nginx.header_value(value)} always;" for name, value in headers.items()),
            f"root {nginx.quoted(str(folder))};",
            "error_page 404 /404.html;",
            "error_page 403 =404 /404.html;",
            f"{nginx.location('/' + re.escape('.'))} {{ return 404; }}",
            "location / { }",
        ]
    )


def _to_path(block: Block, settings: Settings) -> str:
    address = f"{settings.sites_url.rstrip('/')}/{block.slug}/"
    return f"return 302 {nginx.quoted(address)};"

"""The configuration of nginx on a site host: written by us, judged by `nginx -t`, put back when it is refused.

One file serves all sites by their paths, so a deployment changes a link and no configuration. Files for single domains
are put in by the same `install`.
"""

import hashlib
import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from portal.config import Settings
from portal.core.faults import fault
from portal.sites.content.kinds import MEDIA_TYPES, SHARED, TEXT
from portal.sites.layout import CURRENT, MARKER, PREVIEW_ADDRESS, PREVIEW_SHAPE, PREVIEWS, SLUG_SHAPE, locked
from portal.sites.responses import UNBOXED, Rules, host_name

PATHS_FILE = "portal-sites.conf"
# Beside each file: what it was before, and the hash of what nginx runs with. nginx includes *.conf only.
_BEFORE, _APPLIED = ".before", ".applied"
_COMMAND_SECONDS = 20
_LOCK_SECONDS = 30
_SAID = 2_000
_FORBIDDEN = frozenset("\"\\${};'")


class NginxRefused(RuntimeError):
    """`nginx -t` found something wrong; what was there before is there again. The message is nginx's own."""


class NginxAway(RuntimeError):
    """nginx could not be asked: it is not installed, does not run, or hangs."""


@dataclass(frozen=True, slots=True)
class Server:
    """What the generated file depends on. `listen_tls` is empty for plain HTTP; `check` is a loopback address."""

    root: Path
    host: str
    portal_url: str
    rules: Rules
    listen: tuple[str, ...]
    listen_tls: tuple[str, ...] = ()
    certificate: str = ""
    certificate_key: str = ""
    check: str = ""

    @classmethod
    def of(cls, settings: Settings) -> "Server":
        """As the settings say."""
        rules = Rules.of(settings)
        return cls(
            root=Path(settings.sites_root),
            host=host_name(settings.sites_url),
            portal_url=settings.portal_url.rstrip("/"),
            rules=rules,
            listen=listed(settings.nginx_listen),
            listen_tls=listed(settings.nginx_listen_tls) if rules.is_https else (),
            certificate=settings.nginx_certificate,
            certificate_key=settings.nginx_certificate_key,
            check=settings.sites_check_url.removeprefix("http://").rstrip("/"),
        )


def listed(text: str) -> tuple[str, ...]:
    """The addresses of one of the settings that name several."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def quoted(value: str) -> str:
    """A value between quotes. Raises ValueError for what could end them or mean something to nginx."""
    if not value.isprintable() or _FORBIDDEN & set(value):
        raise ValueError(f"cannot stand in nginx's configuration: {value[:60]!r}")
    return f'"{value}"'


def bare(value: str) -> str:
    """A value that stands between quotes with others."""
    return quoted(value)[1:-1]


def render(server: Server) -> str:
    """The file for all path-hosted sites. Raises ValueError for settings that cannot stand in it."""
    parts = [
        "# Written by the portal's deploy worker. Changes made here are lost.",
        _maps(server.rules),
        _redirect(server) if server.listen_tls else "",
        _server(server, _listening(server)),
        _check_server(server) if server.check else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _maps(rules: Rules) -> str:
    shared, unboxed = "|".join(sorted(SHARED)), "|".join(sorted(UNBOXED))
    return (
        "map $uri $portal_sites_policy {\n"
        f'  "~*\\.(?:{unboxed})$" {quoted(rules.framing)};\n'
        f"  default {header_value(rules.policy)};\n"
        "}\n"
        "map $uri $portal_sites_shared {\n"
        f'  "~*\\.(?:{shared})$" "*";\n'
        '  default "";\n'
        "}\n"
        "map $uri $portal_sites_robots {\n"
        f'  "~^/{PREVIEW_ADDRESS}/" "noindex, nofollow";\n'
        '  default "";\n'
        "}"
    )


def header_value(policy: str) -> str:
    """A header's parts are separated by semicolons, which are harmless between quotes; the parts are looked at."""
    return f'"{"; ".join(bare(part.strip()) for part in policy.split(";"))}"'


def _redirect(server: Server) -> str:
    return (
        "server {\n"
        + lines(listen_lines(server.listen))
        + f"  server_name {server.host};\n"
        + "  server_tokens off;\n"
        + "  location / { return 301 https://$server_name$request_uri; }\n}"
    )


def _listening(server: Server) -> list[str]:
    if not server.listen_tls:
        return listen_lines(server.listen)
    return [
        *listen_lines(server.listen_tls, " ssl http2"),
        f"ssl_certificate {quoted(server.certificate)};",
        f"ssl_certificate_key {quoted(server.certificate_key)};",
        "ssl_protocols TLSv1.2 TLSv1.3;",
    ]


def listen_lines(addresses: tuple[str, ...], options: str = "") -> list[str]:
    """Where a server listens."""
    return [f"listen {bare(address)}{options};" for address in addresses]


def _server(server: Server, listening: list[str], *, extra: str = "") -> str:
    return (
        "server {\n"
        + lines([*listening, f"server_name {server.host};"])
        + lines(body(server.rules))
        + f'  location = / {{ return 302 "{bare(server.portal_url)}/sites"; }}\n'
        + extra
        + site_locations(server.root)
        + "}"
    )


def _check_server(server: Server) -> str:
    """The same sites once more for the deploy worker on this machine, which sees there which release it is."""
    place = location(f"^/(?<site>{SLUG_SHAPE})/{re.escape(MARKER)}$")
    extra = f'  {place} {{ alias "{bare(str(server.root))}/$site/{CURRENT}/{MARKER}"; }}\n'
    listening = [*listen_lines((server.check,)), "allow 127.0.0.1;", "allow ::1;", "deny all;", "access_log off;"]
    return _server(server, listening, extra=extra)


def body(rules: Rules) -> list[str]:
    """What a server of sites by their paths says."""
    return [
        *serving(),
        "add_header Content-Security-Policy $portal_sites_policy always;",
        "add_header Access-Control-Allow-Origin $portal_sites_shared always;",
        "add_header X-Robots-Tag $portal_sites_robots always;",
        *(f"add_header {name} {header_value(value)} always;" for name, value in rules.fixed().items()),
    ]


def serving() -> list[str]:
    """What every server of hosted sites says, by path or by domain, beside its headers."""
    types = " ".join(
        f"{media} {' '.join(kinds)};"
        for media in dict.fromkeys(MEDIA_TYPES.values())
        if (kinds := [kind for kind, one in MEDIA_TYPES.items() if one == media])
    )
    texts = " ".join(sorted({MEDIA_TYPES[kind] for kind in TEXT} - {"text/html"}))
    return [
        "server_tokens off;",
        "absolute_redirect off;",
        "index index.html;",
        # A link that was switched is followed anew by the very next request.
        "open_file_cache off;",
        f"types {{ {types} }}",
        "default_type application/octet-stream;",
        "charset utf-8;",
        f"charset_types {texts};",
        "gzip on;",
        "gzip_vary on;",
        "gzip_min_length 1024;",
        f"gzip_types {texts};",
    ]


def location(pattern: str) -> str:
    """A location by regular expression; braces and spaces need the quotes."""
    return f'location ~ "{pattern}"'


def site_locations(root: Path) -> str:
    """Every site by its path, and every preview. nginx has decoded the path and taken out `..` before it gets here."""
    base = bare(str(root))
    site = f"(?<site>{SLUG_SHAPE})"
    version = f"{PREVIEW_ADDRESS}/{site}/(?<version>{PREVIEW_SHAPE})"
    return (
        f"  {location('/' + re.escape('.'))} {{ return 404; }}\n"
        f"  {location(f'^/{site}$')} {{ return 301 /$site/; }}\n"
        f"  {location(f'^/{site}/(?<rest>.*)$')} {{\n"
        "    error_page 404 /$site/404.html;\n"
        # A folder without a first page is not there, for whoever asks from outside.
        "    error_page 403 =404 /$site/404.html;\n"
        f'    alias "{base}/$site/{CURRENT}/$rest";\n'
        "  }\n"
        f"  {location(f'^/{version}/(?<rest>.*)$')} {{\n"
        f'    alias "{base}/{PREVIEWS}/$site/$version/$rest";\n'
        "  }\n"
        "  location / { return 404; }\n"
    )


def lines(directives: list[str]) -> str:
    """What stands inside a server's braces."""
    return "".join(f"  {directive}\n" for directive in directives)


def install(files: Mapping[str, str | None], settings: Settings) -> bool:
    """Give nginx these files (None: take it away) and let it read them. Returns whether anything had to change.

    Raises NginxRefused when the whole would not work: then everything is as it was, and nginx was not told. Raises
    NginxAway when nginx could not be asked; the next call goes on from there. Killed anywhere, the next call does too.
    """
    folder = Path(settings.nginx_config_dir)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(Path(settings.sites_root), "nginx", seconds=_LOCK_SECONDS):
        changed = {name: text for name, text in files.items() if not _is_applied(folder / name, text)}
        if not changed:
            return False
        for name, text in changed.items():
            _put(folder / name, text)
        fault("deploy-config-written")
        try:
            _run(settings.nginx_test_command)
        except (NginxRefused, NginxAway):
            for name in changed:
                _put_back(folder / name)
            raise
        fault("deploy-before-reload")
        try:
            _run(settings.nginx_reload_command)
        except NginxRefused as error:
            raise NginxAway(str(error)) from None
        for name, text in changed.items():
            _note_applied(folder / name, text)
        return True


def _is_applied(path: Path, text: str | None) -> bool:
    applied = path.with_name(path.name + _APPLIED)
    if text is None:
        return not path.exists() and not applied.exists()
    try:
        return path.read_text() == text and applied.read_text() == _hash(text)
    except FileNotFoundError:
        return False


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _put(path: Path, text: str | None) -> None:
    """Put a file in place, keeping what nginx runs with; an unfinished try of before is not what it runs with."""
    before, applied = path.with_name(path.name + _BEFORE), path.with_name(path.name + _APPLIED)
    if path.exists() and applied.exists() and applied.read_text() == _hash(path.read_text()):
        path.replace(before)
    if text is None:
        path.unlink(missing_ok=True)
        return
    unfinished = path.with_name(path.name + ".new")
    with unfinished.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _put_back(path: Path) -> None:
    before = path.with_name(path.name + _BEFORE)
    if before.exists():
        before.replace(path)
    else:
        path.unlink(missing_ok=True)


def _note_applied(path: Path, text: str | None) -> None:
    path.with_name(path.name + _BEFORE).unlink(missing_ok=True)
    applied = path.with_name(path.name + _APPLIED)
    if text is None:
        applied.unlink(missing_ok=True)
    else:
        applied.write_text(_hash(text))


def _run(command: str) -> None:
    """Run one of nginx's commands. Raises NginxRefused with what it said, or NginxAway."""
    words = shlex.split(command)
    try:
        done = subprocess.run(  # noqa: S603  # the command is a setting of this installation, and no shell reads it
            words, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False, errors="replace"
        )
    except FileNotFoundError:
        raise NginxAway(f"{words[0]}: not found") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NginxAway(f"{words[0]}: {type(error).__name__}") from None
    if done.returncode:
        raise NginxRefused((done.stderr + done.stdout).strip()[:_SAID] or f"exit code {done.returncode}")

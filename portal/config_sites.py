"""The settings of site hosts: which there are, how nginx is spoken to on one, and how customers' domains get there."""

import ipaddress
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from portal.config_checks import check_needed, is_address, is_origin

if TYPE_CHECKING:
    from portal.config import Settings

# The queue of a host is "deploy-" and its name, and a queue's name has 16 characters at most.
_HOST = re.compile(r"[a-z0-9]{1,9}")
_LISTEN = re.compile(r"(?:(?:[0-9.]+|\[[0-9a-fA-F:]+\]):)?[0-9]{1,5}")
_PATH = re.compile(r"/[A-Za-z0-9_./@+-]+")
_LOOPBACK = ("127.0.0.1", "::1")
_THIS_MACHINE = (*_LOOPBACK, "localhost")
_MOST_RESOLVERS = 9


@dataclass(frozen=True, slots=True)
class DomainSettings:
    """What customers' own domains need; they are offered once SITES_ADDRESSES is set."""

    sites_addresses: str = ""
    dns_resolvers: str = "1.1.1.1, 8.8.8.8, 9.9.9.9"
    acme_directory_url: str = "https://acme-v02.api.letsencrypt.org/directory"
    acme_contact: str = ""


def site_addresses(settings: DomainSettings) -> list[str]:
    """The public addresses of the site hosts, as `ipaddress` writes them. Raises ValueError for what is none."""
    return [str(ipaddress.ip_address(one)) for one in _listed(settings.sites_addresses)]


def resolvers(settings: DomainSettings) -> list[tuple[str, int]]:
    """The name servers that are asked, each with its port. Raises ValueError for what is none."""
    return [_resolver(one) for one in _listed(settings.dns_resolvers)]


def _resolver(text: str) -> tuple[str, int]:
    found = re.fullmatch(r"\[(?P<six>[0-9a-fA-F:]+)\](?::(?P<port>\d{1,5}))?", text)
    if found is None and text.count(":") == 1:
        found = re.fullmatch(r"(?P<six>[0-9.]+):(?P<port>\d{1,5})", text)
    address, port = (found["six"], int(found["port"] or 53)) if found else (text, 53)
    if not 0 < port < 65_536:
        raise ValueError(f"not a port: {port}")
    return str(ipaddress.ip_address(address)), port


def _listed(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]


@dataclass(frozen=True, slots=True)
class EditorSettings(DomainSettings):
    """The service that drafts changes of sites: an address that speaks the chat completions of OpenAI."""

    editor_api_url: str = ""
    editor_api_key: str = ""
    editor_api_model: str = ""

    @property
    def has_editor(self) -> bool:
        """Whether changes are drafted by a machine first."""
        return bool(self.editor_api_url)


def host_names(settings: "Settings") -> list[str]:
    """The site hosts that have a name; empty when there is one, without."""
    return [name.strip() for name in settings.sites_hosts.split(",") if name.strip()]


def check(settings: "Settings") -> list[str]:
    """What is wrong, with the setting's name before it."""
    names = host_names(settings)
    problems = []
    if not all(_HOST.fullmatch(name) for name in names) or len(set(names)) != len(names):
        problems.append("SITES_HOSTS: must be different names of 1 to 9 small letters and digits, separated by commas")
    if settings.sites_host_name and settings.sites_host_name not in names:
        problems.append("SITES_HOST_NAME: must be one of SITES_HOSTS")
    if settings.sites_check_url and not _is_loopback(settings.sites_check_url):
        problems.append("SITES_CHECK_URL: must be an address on this machine such as http://127.0.0.1:8099")
    problems += _check_domains(settings)
    problems += _check_editor(settings) if settings.has_editor else []
    return [*problems, *(_check_nginx(settings) if settings.nginx_config_dir else [])]


def _check_domains(settings: "Settings") -> list[str]:
    problems = []
    try:
        site_addresses(settings)
    except ValueError:
        problems.append("SITES_ADDRESSES: must be IP addresses such as 203.0.113.7, separated by commas")
    try:
        is_some = 0 < len(resolvers(settings)) <= _MOST_RESOLVERS
    except ValueError:
        is_some = False
    if not is_some:
        problems.append(
            "DNS_RESOLVERS: must be 1 to 9 addresses such as 1.1.1.1 or 127.0.0.1:5353, with commas between"
        )
    parts = urlsplit(settings.acme_directory_url)
    # Even on this machine: the library that speaks to it signs, and what it signs must not be changed on the way.
    if parts.scheme != "https" or not parts.hostname or not settings.acme_directory_url.isprintable():
        problems.append("ACME_DIRECTORY_URL: must be an address that begins with https://")
    if settings.acme_contact and not re.fullmatch(r"[^@\s]+@[^@\s]+", settings.acme_contact):
        problems.append("ACME_CONTACT: must be an e-mail address, or empty")
    return problems


def _check_editor(settings: "Settings") -> list[str]:
    problems = check_needed(settings, ["editor_api_model"], "with EDITOR_API_URL")
    url = settings.editor_api_url
    if not is_address(url):
        problems.append("EDITOR_API_URL: must be an address such as https://api.openai.com/v1")
    elif settings.is_production and not url.startswith("https://") and urlsplit(url).hostname not in _THIS_MACHINE:
        problems.append("EDITOR_API_URL: production needs https://, or an address on this machine")
    if not (settings.editor_api_key.isascii() and settings.editor_api_key.isprintable()):
        problems.append("EDITOR_API_KEY: must be printable characters, as they stand in a header")
    return problems


def _check_nginx(settings: "Settings") -> list[str]:
    why = "with NGINX_CONFIG_DIR: a deployment is looked at before it counts"
    problems = check_needed(settings, ["sites_check_url"], why)
    problems += [
        f"{name.upper()}: must be an absolute path of letters, digits and /._@+-"
        for name in ("nginx_config_dir", "sites_root")
        if not _PATH.fullmatch(getattr(settings, name))
    ]
    problems += [
        f"{name.upper()}: must be a command such as /usr/sbin/nginx -t -q"
        for name in ("nginx_test_command", "nginx_reload_command")
        if not _words(getattr(settings, name))
    ]
    is_https = settings.sites_url.startswith("https://")
    for name in ("nginx_listen", "nginx_listen_tls") if is_https else ("nginx_listen",):
        addresses = [one.strip() for one in getattr(settings, name).split(",")]
        if not all(_LISTEN.fullmatch(one) for one in addresses):
            problems.append(f"{name.upper()}: must be ports or addresses with ports, such as 80,[::]:80")
    if is_https:
        problems += [
            f"{name.upper()}: needed for a SITES_URL with https://, an absolute path"
            for name in ("nginx_certificate", "nginx_certificate_key")
            if not _PATH.fullmatch(getattr(settings, name))
        ]
    if settings.is_production and not is_https:
        problems.append("SITES_URL: production needs https://")
    return problems


def _is_loopback(url: str) -> bool:
    if not is_origin(url):
        return False
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname in _LOOPBACK and parts.port is not None


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return []

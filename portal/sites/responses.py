"""What every answer of a hosted site carries, whoever serves it: nginx by a generated file, the embedded server itself.

All path-hosted sites share one host name, so for a browser they would be one origin, and each could read the others'
storage and act in their name. The sandbox without `allow-same-origin` gives every page an origin of its own that
equals no other, not even itself: no cookies, no storage, no look into another page.
"""

import re
from dataclasses import dataclass

from portal.config import Settings
from portal.sites.content.kinds import SHARED, kind_of
from portal.sites.layout import PREVIEW_ADDRESS

# What a page may do nevertheless: run, send forms, open other places that are then themselves again, offer a download.
SANDBOX = "allow-scripts allow-forms allow-popups allow-popups-to-escape-sandbox allow-downloads"
# Chromium shows no document of this kind in a sandbox, and none of this kind can reach into a page.
UNBOXED = frozenset({"pdf"})
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Rules:
    """The answers' headers on one installation."""

    portal_origin: str
    is_https: bool

    @classmethod
    def of(cls, settings: Settings) -> "Rules":
        """As the settings say."""
        return cls(settings.portal_url.rstrip("/"), settings.sites_url.startswith("https://"))

    @property
    def framing(self) -> str:
        """Who may show a page in a frame: the portal, whose preview does."""
        return f"frame-ancestors {self.portal_origin}"

    @property
    def policy(self) -> str:
        """The sandbox."""
        return f"sandbox {SANDBOX}; {self.framing}"

    def fixed(self) -> dict[str, str]:
        """The same for every answer."""
        headers = {
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "strict-origin-when-cross-origin",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
            # Kept, but asked about: a page and its style sheet change together, at the moment of the deployment.
            "Cache-Control": "no-cache",
        }
        if self.is_https:
            headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
        return headers

    def policy_of(self, path: str) -> str:
        """The policy for a file."""
        return self.framing if kind_of(path) in UNBOXED else self.policy

    def headers_of(self, path: str) -> dict[str, str]:
        """Everything for one address; nginx does the same with two maps."""
        headers = {**self.fixed(), "Content-Security-Policy": self.policy_of(path)}
        if kind_of(path) in SHARED:
            # Its own page, too, is another origin: without this it could load neither its fonts nor its data.
            headers["Access-Control-Allow-Origin"] = "*"
        if path.startswith(f"/{PREVIEW_ADDRESS}/"):
            headers["X-Robots-Tag"] = "noindex, nofollow"
        return headers


def host_name(url: str) -> str:
    """The host of an address such as SITES_URL. Raises ValueError for one that no configuration should contain."""
    host = url.partition("://")[2].partition("/")[0].partition(":")[0].lower()
    if len(host) > 253 or not _HOST.fullmatch(host):
        raise ValueError(f"not a host name: {host[:60]!r}")
    return host

"""Looking whether a site is really served, the way a visitor gets it, after its link was switched."""

import hashlib
import http.client
import json
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from portal.sites.content.checking import FIRST_PAGE, Entry
from portal.sites.layout import MARKER
from portal.sites.responses import host_name

_TIMEOUT_SECONDS = 3
_LARGEST_MARKER = 2 * 1024 * 1024
_PAUSE_SECONDS = 0.1


class NotServed(RuntimeError):
    """The web server does not give what was deployed; the message says what it gave."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What must be found: this release of this site, and its first page byte for byte."""

    check_url: str
    sites_url: str
    slug: str
    release: str
    first_page: Entry

    def insist(self, *, seconds: float) -> None:
        """Look until it is there. Raises NotServed with the last answer: a server that was told to read a new
        configuration may need a moment."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.look()
            except NotServed:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE_SECONDS)
            else:
                return

    def look(self) -> None:
        """Look once. Raises NotServed."""
        try:
            said = json.loads(self._get(f"/{self.slug}/{MARKER}", _LARGEST_MARKER))
        except ValueError:
            raise NotServed("the release's own file is not JSON") from None
        if not isinstance(said, dict) or said.get("release") != self.release:
            shown = said.get("release") if isinstance(said, dict) else None
            raise NotServed(f"release {shown!r} is served instead of {self.release!r}")
        page = self._get(f"/{self.slug}/", self.first_page.size)
        if hashlib.sha256(page).hexdigest() != self.first_page.sha256:
            raise NotServed(f"another {FIRST_PAGE} is served than the version's")

    def _get(self, path: str, largest: int) -> bytes:
        place = urlsplit(self.check_url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port or 80, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request("GET", path, headers={"Host": host_name(self.sites_url), "Connection": "close"})
            answer = connection.getresponse()
            content = answer.read(largest + 1)
        except (OSError, http.client.HTTPException) as error:
            raise NotServed(f"no answer from {self.check_url}: {type(error).__name__}") from None
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise NotServed(f"{path} is answered with {answer.status}")
        return content

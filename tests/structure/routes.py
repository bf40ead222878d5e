"""Every address of the portal, who may use it, and whose thing it shows: a new route is decided about in routes.txt.

One line a route and method: method, address (converters left out), endpoint, access level, then marks:
`own` - what it shows belongs to somebody; a stranger gets 404, whatever their level, unless staff have a page for it.
`recent` - the password must have been given in the last 15 minutes.
`key` - for programs with an API key, which stands for the cookie and the token; nobody else gets past 401.
`signed` - no form posts to it: who may is decided by a signature, so there is no CSRF token.
"""

from dataclasses import dataclass
from pathlib import Path

from flask import Flask

from portal.core import access
from portal.core.access import Access

TABLE = Path(__file__).with_suffix(".txt").read_text()


@dataclass(frozen=True, order=True)
class Route:
    """One method of one address."""

    address: str
    method: str
    endpoint: str
    level: Access
    marks: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.method} {self.address} {self.endpoint} {' '.join([self.level, *sorted(self.marks)])}"

    @property
    def arguments(self) -> list[str]:
        """The names in its address."""
        return [part.split(">")[0] for part in self.address.split("<")[1:]]

    @property
    def is_owned(self) -> bool:
        """Whether what it shows belongs to somebody."""
        return "own" in self.marks

    def path(self, values: dict[str, str]) -> str:
        """Its address with its arguments filled in, by endpoint and name or by name alone."""
        path = self.address
        for name in self.arguments:
            path = path.replace(
                f"<{name}>", values.get(f"{self.endpoint}.{name}", values.get(name, "")) or f"no-{name}"
            )
        return path


def listed() -> list[Route]:
    """The table in routes.txt."""
    rows = [line.split() for line in TABLE.splitlines() if line.strip()]
    return [Route(row[1], row[0], row[2], Access(row[3]), frozenset(row[4:])) for row in rows]


def existing(app: Flask) -> list[Route]:
    """What the application really has; ownership and signatures cannot be read off it."""
    marks = {(route.method, route.address): route.marks & {"own", "signed", "key"} for route in listed()}
    found = []
    for rule in app.url_map.iter_rules():
        # The address without converters: /orders/<number> of /orders/<string(length=5):number>.
        address = "".join(part if is_static else f"<{part}>" for is_static, part in _parts(rule.rule))
        view = app.view_functions[rule.endpoint]
        recent = {"recent"} if getattr(view, "needs_recent", False) else set()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            level = access.level_of(app, rule.endpoint) or Access.PUBLIC
            known = marks.get((method, address), frozenset())
            found.append(Route(address, method, rule.endpoint, level, known | recent))
    return found


def _parts(rule: str) -> list[tuple[bool, str]]:
    parts = []
    for number, piece in enumerate(rule.replace(">", "<").split("<")):
        is_static = number % 2 == 0
        parts.append((is_static, piece if is_static else piece.rpartition(":")[2]))
    return parts

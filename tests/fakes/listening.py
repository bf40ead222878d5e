"""What the fakes with pages share: a server on a free port of 127.0.0.1 that leaves no thread behind."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes import serving


@dataclass
class Request:
    """What came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]  # With names in lower case.
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The fields of a posted form."""
        return {key: values[0] for key, values in parse_qs(self.body.decode()).items()}


@dataclass
class Answer:
    """What goes out."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_half: bool = False  # The connection ends in the middle of the body.


def json_answer(status: int, value: Any, **headers: str) -> Answer:
    """An answer in JSON; header names are written with underscores."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **named})


def html_answer(status: int, text: str) -> Answer:
    """A page."""
    return Answer(status, text.encode(), {"Content-Type": "text/html; charset=utf-8"})


def redirect(target: str) -> Answer:
    """Go there, with GET."""
    return Answer(303, b"", {"Location": target})


class Server(serving.Server):
    """Answers each request in a thread of its own by `handle_with`, which may raise Dropped."""

    def __init__(self, port: int, handle_with: Callable[[Request], Answer]) -> None:
        super().__init__(port, _Handler, handle_with)
        self.run("a fake company")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(serving.Handler):
    def answer(self, method: str, body: bytes) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        named = {name.lower(): value for name, value in self.headers.items()}
        answer: Answer = self.server.owner(Request(method, parts.path, query, named, body))
        self.send(answer.status, answer.body, dict(answer.headers), is_half=answer.is_half)

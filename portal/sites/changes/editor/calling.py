"""Calling the editor service: one request of OpenAI's chat completions, bounded in time and size.

https://platform.openai.com/docs/api-reference/chat/create
"""

import json
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from portal.core.tls import tls_context
from portal.sites.changes.editor.errors import EditorAway, EditorNonsense, EditorRefused

CONNECT_SECONDS, SILENCE_SECONDS, DEADLINE_SECONDS = 5.0, 60.0, 90.0
LARGEST_ANSWER = 2 * 1024 * 1024
_TOO_MANY, _SERVER_ERROR, _TIMEOUT = 429, 500, 408


@dataclass(frozen=True, slots=True)
class Service:
    """Where the service is and how it is spoken to; the key is never shown."""

    url: str
    model: str
    key: str = field(default="", repr=False)
    deadline_seconds: float = DEADLINE_SECONDS

    def complete(self, messages: list[dict[str, Any]]) -> str:
        """The model's words. Raises EditorAway, EditorRefused or EditorNonsense. No redirect is followed."""
        body = {"model": self.model, "messages": messages, "response_format": {"type": "json_object"}}
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        deadline = time.monotonic() + self.deadline_seconds
        limits = httpx.Timeout(min(SILENCE_SECONDS, self.deadline_seconds), connect=CONNECT_SECONDS)
        try:
            with (
                httpx.Client(timeout=limits, verify=tls_context(), trust_env=False) as client,
                client.stream("POST", f"{self.url.rstrip('/')}/chat/completions", json=body, headers=headers) as answer,
            ):
                content = _read(answer, deadline)
                status = answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise EditorAway(type(error).__name__) from None
        if status in (_TOO_MANY, _TIMEOUT) or status >= _SERVER_ERROR:
            raise EditorAway(f"status {status}")
        if status != httpx.codes.OK:
            raise EditorRefused(f"status {status}")
        return _words(content)


def _read(answer: httpx.Response, deadline: float) -> bytes:
    taken = bytearray()
    for piece in answer.iter_bytes():
        taken += piece
        if len(taken) > LARGEST_ANSWER:
            raise EditorNonsense("the answer is too long")
        if time.monotonic() > deadline:
            raise EditorAway("the answer takes too long")
    return bytes(taken)


def _words(content: bytes) -> str:
    try:
        choice = json.loads(content)["choices"][0]
        words = choice["message"]["content"]
    except (ValueError, RecursionError, LookupError, TypeError):
        raise EditorNonsense("this is no chat completion") from None
    if not isinstance(words, str) or choice.get("finish_reason") not in ("stop", None):
        # "length" is half an answer, "content_filter" none.
        raise EditorNonsense("the answer is not whole")
    return words

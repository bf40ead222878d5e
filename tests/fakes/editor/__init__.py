"""An editor service: OpenAI's chat completions on the wire, and an editor behind it that does what a test tells it."""

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from tests.fakes.listening import Answer, Request, Server, html_answer, json_answer
from tests.fakes.serving import Dropped

API_KEY, MODEL = "sk-fake-editor", "fake-editor-1"
# What the owner asks for, in the one language that this editor understands.
_REPLACE = re.compile(r'replace "(?P<find>.+?)" (?:with|by) "(?P<replace>.*?)"', re.IGNORECASE)

# What the model says to the portal's task: words, or a JSON value.
Mind = Callable[[dict[str, Any]], Any]


def obedient(task: dict[str, Any]) -> Any:
    """Replaces what it is told to, in the first file that has it; uses the picture when there is one."""
    edits: dict[str, list[dict[str, str]]] = {}
    for found in _REPLACE.finditer(f"{task['request']}\n{task['wish']}"):
        file = next((one for one in task["files"] if one["content"].count(found["find"]) == 1), None)
        if file is not None:
            edits.setdefault(file["path"], []).append({"find": found["find"], "replace": found["replace"]})
    if task["picture"]:
        page = task["page"] or "index.html"
        image = f'<h1><img src="{task["picture"]}" alt="The picture of the owner">'
        edits.setdefault(page, []).append({"find": "<h1>", "replace": image})
    if not edits:
        return {"cannot": 'I only know: replace "this" with "that".'}
    return {"files": [{"path": path, "edits": changes} for path, changes in edits.items()]}


@dataclass
class FakeEditor:
    """Listens on 127.0.0.1; use it with `with`. `mind` answers, unless `trouble` comes first, `times` times."""

    port: int = 0
    mind: Mind = obedient
    trouble: str = (
        ""  # "500", "429", "401", "400", "dropped", "half", "slow", "html", "empty", "huge", "length", "redirect"
    )
    times: int = 0
    seconds: float = 0.5
    # Called before each answer: what happens meanwhile.
    meanwhile: Callable[[], None] | None = None
    tasks: list[dict[str, Any]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._server = Server(self.port, self._answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.end()

    @property
    def url(self) -> str:
        """For EDITOR_API_URL."""
        return f"{self._server.url}/v1"

    def break_down(self, trouble: str, times: int = 1) -> None:
        """Let the next calls go wrong."""
        self.trouble, self.times = trouble, times

    def _answer(self, request: Request) -> Answer:
        if (request.method, request.path) != ("POST", "/v1/chat/completions"):
            return _error(404, "invalid_request_error", f"Unknown request URL: {request.method} {request.path}.")
        if request.headers.get("authorization") != f"Bearer {API_KEY}":
            return _error(401, "invalid_request_error", "Incorrect API key provided.", "invalid_api_key")
        asked = json.loads(request.body)
        self.requests.append(asked)
        if asked["model"] != MODEL:
            return _error(
                404, "invalid_request_error", f"The model `{asked['model']}` does not exist.", "model_not_found"
            )
        if self.meanwhile is not None:
            self.meanwhile()
        trouble = self._take_trouble()
        if trouble in _BROKEN:
            return _BROKEN[trouble]
        if trouble == "dropped":
            raise Dropped
        if trouble == "slow":
            time.sleep(self.seconds)
        task = json.loads(asked["messages"][-1]["content"])
        self.tasks.append(task)
        said = self.mind(task)
        words = said if isinstance(said, str) else json.dumps(said)
        answer = json_answer(200, _completion(words, "length" if trouble == "length" else "stop"))
        return Answer(answer.status, answer.body, answer.headers, is_half=trouble == "half")

    def _take_trouble(self) -> str:
        with self._lock:
            if self.times < 1:
                return ""
            self.times -= 1
            return self.trouble


def _completion(words: str, finish_reason: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 1_780_000_000,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": words, "refusal": None},
                "logprobs": None,
                "finish_reason": finish_reason,
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }


def _error(status: int, kind: str, message: str, code: str | None = None) -> Answer:
    return json_answer(status, {"error": {"message": message, "type": kind, "param": None, "code": code}})


_BROKEN = {
    "500": _error(500, "server_error", "The server had an error while processing your request."),
    "429": _error(429, "requests", "Rate limit reached for requests.", "rate_limit_exceeded"),
    "400": _error(400, "invalid_request_error", "'messages' is too long.", "context_length_exceeded"),
    "html": html_answer(200, "<h1>Welcome to our gateway</h1>"),
    "empty": json_answer(200, {"choices": []}),
    "huge": Answer(200, b" " * (3 * 1024 * 1024), {"Content-Type": "application/json"}),
}

"""What the editor service is told: the rules, the owner's request, and as much of the site as fits.

Everything about the site goes into one JSON object: whatever a page says, it ends where its string ends, and no text of
a page can pass for a request.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portal.sites.changes.pieces import text_of
from portal.sites.content.checking import FIRST_PAGE
from portal.sites.content.kinds import PAGES, kind_of

# Characters of site text in one request; longer files are named and not sent.
MOST_TEXT = 120_000
_SENT = ("html", "htm", "css", "js", "md", "txt", "svg")
_PROMPT = Path(__file__).with_name("prompts") / "system.txt"


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be drafted: the owner's words, and the texts of the site that the service may change."""

    request: str
    wish: str
    page: str
    picture: str | None
    texts: Mapping[str, str]
    other_files: tuple[str, ...]


def choose(contents: Mapping[str, bytes], page: str) -> dict[str, str]:
    """The texts that are sent: the page it is about first, then other pages, then the rest, the short ones first."""

    def urgency(path: str) -> tuple[bool, bool, int, int, str]:
        kind = kind_of(path)
        return path != page, path != FIRST_PAGE, 0 if kind in PAGES else 1, len(contents[path]), path

    chosen: dict[str, str] = {}
    left = MOST_TEXT
    for path in sorted(contents, key=urgency):
        text = text_of(contents[path], path) if kind_of(path) in _SENT else None
        if text is not None and len(text) <= left:
            chosen[path] = text
            left -= len(text)
    return chosen


def messages(task: Task) -> list[dict[str, Any]]:
    """The conversation as chat completions take it."""
    said = {
        "request": task.request,
        "wish": task.wish,
        "page": task.page,
        "picture": task.picture,
        "files": [{"path": path, "content": text} for path, text in task.texts.items()],
        "other_files": list(task.other_files),
    }
    return [
        {"role": "system", "content": _PROMPT.read_text()},
        {"role": "user", "content": json.dumps(said, ensure_ascii=False)},
    ]

"""What of the editor service's answer is believed: texts for the site's own files, and nothing else.

An address in an answer is text like any other. Nothing here opens one.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from portal.sites.changes.editor.errors import EditorCannot, EditorNonsense
from portal.sites.content.checking import LARGEST_TEXT
from portal.sites.content.kinds import is_text
from portal.sites.content.names import check_name
from portal.sites.errors import ContentRefused

MOST_FILES, MOST_EDITS = 20, 100
# Some models put their JSON between marks, whatever they are told.
_FENCED = re.compile(r"\s*```(?:json)?\s*(\{.*\})\s*```\s*", re.DOTALL)


def read_answer(words: str, texts: Mapping[str, str], others: frozenset[str]) -> dict[str, bytes]:
    """The files to write, by path. `texts` are those that were sent, `others` the names of those that were not.

    Raises EditorNonsense or EditorCannot.
    """
    fenced = _FENCED.fullmatch(words)
    try:
        said = json.loads(fenced[1] if fenced else words)
    except (ValueError, RecursionError):
        raise EditorNonsense("the words are no JSON") from None
    if not isinstance(said, dict):
        raise EditorNonsense("the words are no object")
    if isinstance(said.get("cannot"), str):
        raise EditorCannot(said["cannot"][:300])
    files = said.get("files")
    if not isinstance(files, list) or not 0 < len(files) <= MOST_FILES:
        raise EditorNonsense("there are no files, or too many")
    written: dict[str, bytes] = {}
    for file in files:
        path, text = _read_file(file, texts, others)
        if path in written:
            raise EditorNonsense("a file is there twice")
        try:
            written[path] = text.encode("utf-8")
        except UnicodeEncodeError:
            raise EditorNonsense("a file holds characters that are none") from None
        if len(written[path]) > LARGEST_TEXT:
            raise EditorNonsense("a file is too large")
    return written


def _read_file(file: Any, texts: Mapping[str, str], others: frozenset[str]) -> tuple[str, str]:
    path = file.get("path") if isinstance(file, dict) else None
    if not isinstance(path, str):
        raise EditorNonsense("a file has no path")
    try:
        check_name(path)
    except ContentRefused:
        raise EditorNonsense("a file's name is not one of a site") from None
    if not is_text(path) or path in others:
        raise EditorNonsense("a file is no text, or was not shown")
    content, edits = file.get("content"), file.get("edits")
    if isinstance(content, str) and edits is None:
        return path, content
    if content is None and isinstance(edits, list) and 0 < len(edits) <= MOST_EDITS and path in texts:
        return path, _edited(texts[path], edits)
    raise EditorNonsense("a file has neither content nor edits of what was sent")


def _edited(text: str, edits: list[Any]) -> str:
    for edit in edits:
        found, instead = (edit.get("find"), edit.get("replace")) if isinstance(edit, dict) else (None, None)
        if not isinstance(found, str) or not isinstance(instead, str) or not found or text.count(found) != 1:
            raise EditorNonsense("an edit has no place, or several")
        text = text.replace(found, instead)
        # Each may make it larger: a few that find what the last has written could double it again and again.
        if len(text) > LARGEST_TEXT:
            raise EditorNonsense("a file is too large")
    return text

"""Finding English where it should not be: what a page, a mail or an invoice says in another language."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from xml.etree.ElementTree import Element

import html5lib
from babel.messages.catalog import Message

from scripts import messages

PLACEHOLDER = re.compile(r"%\((\w+)\)([sd])|%%")
# Words that no English sentence does without, and that are none in Polish or Spanish.
_WORDS = """
the and your you with this that these are was were will have not for what please there here from of our they been
cannot could how when which who yet already every nothing again is it its be at if in or so than
"""
ENGLISH = frozenset(_WORDS.split())
_SPOKEN_ATTRIBUTES = ("aria-label", "title", "placeholder", "alt", "label")
# Machines' words: ids, topics, payloads, a mail as it was sent.
_UNSPOKEN = {"script", "style", "code", "pre", "template", "iframe"}


def texts(message: Message) -> tuple[str, ...]:
    """The English of a message: one text, or the singular and the plural."""
    return (message.id,) if isinstance(message.id, str) else tuple(message.id)


def forms(message: Message) -> tuple[str, ...]:
    """The translation of a message: one text, or one for each number there is in that language."""
    return (message.string,) if isinstance(message.string, str) else tuple(message.string or ())


def placeholders(text: str) -> list[str]:
    """What is filled into a text, with its kind."""
    return sorted(match[0] for match in PLACEHOLDER.finditer(text))


@lru_cache
def phrases(language: str) -> tuple[frozenset[str], re.Pattern[str]]:
    """The English texts that read differently in a language: those without placeholders, and a pattern of the rest."""
    plain, filled = set(), []
    for message in messages.messages(messages.read(language)):
        for text in set(texts(message)) - set(forms(message)):
            if not PLACEHOLDER.search(text):
                plain.add(text)
            elif re.search(r"[A-Za-z]{3}", PLACEHOLDER.sub("", text)):
                filled.append(".+".join(re.escape(part) for part in PLACEHOLDER.split(text)[::3]))
    return frozenset(plain), re.compile("|".join(filled))


def english(said: Iterable[str], language: str, *, data: Iterable[str] = ()) -> list[str]:
    """The English among some texts; `data` are names and descriptions that are not the portal's words."""
    plain, filled = phrases(language)
    kept = sorted(data, key=len, reverse=True)
    found = []
    for text in said:
        rest = text
        for part in kept:
            rest = rest.replace(part, " ")
        rest = " ".join(rest.split())
        # "e-mail" and "sales-automation" are one word each.
        words = set(re.findall(r"[\w@./-]+", rest.lower()))
        if rest in plain or filled.fullmatch(rest) or words & ENGLISH:
            found.append(text)
    return list(dict.fromkeys(found))


def spoken(html: str) -> list[str]:
    """What a page says, aloud or on paper: its texts, title, description and labels, not what machines read."""
    return [
        " ".join(text.split()) for text in _spoken(html5lib.parse(html, namespaceHTMLElements=False)) if text.strip()
    ]


def _spoken(element: Element, language: str | None = None) -> Iterator[str]:
    if not isinstance(element.tag, str) or element.tag in _UNSPOKEN:
        return
    here = element.get("lang") or language
    # A language's own name in the menu of languages, and the reference for developers, which is in English.
    if language is not None and here != language:
        return
    yield element.text or ""
    yield from (element.get(name) or "" for name in _SPOKEN_ATTRIBUTES)
    yield from (value for name, value in element.attrib.items() if name.startswith("data-text-"))
    if element.tag == "meta" and element.get("name") == "description":
        yield element.get("content") or ""
    for child in element:
        yield from _spoken(child, here)
        yield child.tail or ""

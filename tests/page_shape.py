"""The shape of a page: what is left when words, addresses and numbers in it no longer count.

Whether HTML is valid, labelled and free of inline code depends on its shape alone. Thousands of fetched pages have a
few hundred shapes, so `tests/pages.py` parses each shape once, instead of each page: that of the frame, which is most
of a page and nearly always the same, and that of what it frames.
"""

import re

# Only what is harmless wherever it stands is taken out; any other character stays, for the parser to look at.
_PLAIN = r"(?:[\w\s!#-%(-;=?-~–—…’‘“”„·×→←✓−€•]|&(?:amp|lt|gt|quot|#39|#34);)"
_TEXT = re.compile(rf">({_PLAIN}+)(?=<)")
_NAME = r"[\w\-.:]+"
_IDS = re.compile(rf' (id|for|aria-describedby|aria-labelledby|aria-controls|popovertarget)="({_NAME}(?: {_NAME})*)"')
_VALUE = re.compile(
    " (value|content|datetime|placeholder|title|alt|aria-label|class|href|src|action|formaction|hx-get|hx-post"
    rf'|hx-target|data-[a-z-]+)="({_PLAIN}+)"'
)
# Where somebody is.
_OTHERS = r'(?: (?!aria-current)[a-z-]+="[^"<>]*")*'
_HERE = re.compile(rf'(<a{_OTHERS}) aria-current="[a-z]+"({_OTHERS}>)')
_MAIN = re.compile(r"(<!doctype html>.*<main\b[^>]*>)(.*)(</main>.*)", re.DOTALL | re.IGNORECASE)
_ID = re.compile(r"""\sid\s*=\s*("[^"]*"|'[^']*'|[^\s"'>]+)""", re.IGNORECASE)
# One of everything that must not stand in another one of its kind.
_ANYTHING = '<h1>x</h1><form method="get" action="/"><label>x <input name="x"></label></form><a href="/">x</a>'
_ANY_FRAME = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>x</title></head><body><main>',
    "</main></body></html>",
)
_WORD = re.compile(r"[^\W_]")
_RUN = re.compile(r"\s*(javascript|js):")


def parts(html: str) -> list[str]:
    """A page that frames next to nothing, and another one with what it frames: if both are good, so is the page. What
    points from the one into the other makes them bad alone. A fragment is one part, and so is a page with an id in it
    twice."""
    match = _MAIN.fullmatch(html)
    ids = _ID.findall(html)
    if match is None or len(set(ids)) < len(ids):
        return [html]
    before, framed, after = match.groups()
    return [f"{before}{_ANYTHING}{after}", framed.join(_ANY_FRAME)]


def shape(html: str) -> str:
    """The same elements in the same order, with the same problems, but one word for every text."""
    html = _TEXT.sub(lambda match: f">{_word_for(match[1])}", html)
    html = _VALUE.sub(lambda match: f' {match[1]}="{_word_for(match[2])}"', html)
    html = _HERE.sub(r"\1\2", html)
    numbers: dict[str, str] = {}

    def numbered(match: re.Match[str]) -> str:
        names = (numbers.setdefault(name, f"n{len(numbers)}") for name in match[2].split(" "))
        return f' {match[1]}="{" ".join(names)}"'

    return _IDS.sub(numbered, html)


def _word_for(text: str) -> str:
    """One word instead of some; what is no word (a space, a dot) and what might run stays as it is."""
    if text.isspace():
        return " "
    return "x" if _WORD.search(text) and not _RUN.match(text) else text

"""The shape of a page: what is left when words, addresses and numbers in it no longer count.

Whether HTML is valid, labelled and free of inline code depends on its shape alone. Thousands of fetched pages have a
few hundred shapes, so `tests/pages.py` parses each shape once, instead of each page.
"""

import re

# Only what is harmless wherever it stands is taken out; any other character stays, for the parser to look at.
_PLAIN = r"(?:[\w\s!#-%(-;=?-~–—…’‘“”„·×→←✓−€•]|&(?:amp|lt|gt|quot|#39|#34);)"
_TEXT = re.compile(rf">({_PLAIN}+)(?=<)")
_IDS = re.compile(r' (id|for|aria-describedby|aria-labelledby|aria-controls|popovertarget)="([\w \-.:]+)"')
_VALUE = re.compile(
    " (value|content|datetime|placeholder|title|alt|aria-label|class|href|src|action|formaction|hx-get|hx-post"
    rf'|hx-target|data-[a-z-]+)="({_PLAIN}+)"'
)
_WORD = re.compile(r"[^\W_]")
_RUN = re.compile(r"\s*(javascript|js):")


def shape(html: str) -> str:
    """The same elements in the same order, with the same problems, but one word for every text."""
    html = _TEXT.sub(lambda match: f">{_word_for(match[1])}", html)
    html = _VALUE.sub(lambda match: f' {match[1]}="{_word_for(match[2])}"', html)
    numbers: dict[str, str] = {}

    def numbered(match: re.Match[str]) -> str:
        names = (numbers.setdefault(name, f"n{len(numbers)}") for name in match[2].split(" ") if name)
        return f' {match[1]}="{" ".join(names)}"'

    return _IDS.sub(numbered, html)


def _word_for(text: str) -> str:
    """One word instead of some; what is no word (a space, a dot) and what might run stays as it is."""
    if text.isspace():
        return " "
    return "x" if _WORD.search(text) and not _RUN.match(text) else text

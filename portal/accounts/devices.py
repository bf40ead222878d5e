"""A browser's description of itself, in two words a person recognises. A guess, and shown as no more than that."""

import re

# The first match counts: Edge and Opera also call themselves Chrome, and Chrome calls itself Safari.
_BROWSERS = (
    ("Edge", re.compile(r"\bEdg(?:e|A|iOS)?/")),
    ("Opera", re.compile(r"\b(?:OPR|Opera)/")),
    ("Samsung Internet", re.compile(r"\bSamsungBrowser/")),
    ("Firefox", re.compile(r"\b(?:Firefox|FxiOS)/")),
    ("Chrome", re.compile(r"\b(?:Headless)?(?:Chrome|CriOS|Chromium)/")),
    ("Safari", re.compile(r"\bSafari/")),
    ("curl", re.compile(r"^curl/")),
)
_SYSTEMS = (
    ("iPhone", re.compile(r"\biPhone\b")),
    ("iPad", re.compile(r"\biPad\b")),
    ("Android", re.compile(r"\bAndroid\b")),
    ("Windows", re.compile(r"\bWindows\b")),
    ("ChromeOS", re.compile(r"\bCrOS\b")),
    ("Mac", re.compile(r"\bMacintosh\b")),
    ("Linux", re.compile(r"\bLinux\b")),
)
_HAND_HELD = {"iPhone", "iPad", "Android"}


def browser_of(user_agent: str) -> str | None:
    """The browser's name, if it is one of those people use."""
    return _first(_BROWSERS, user_agent)


def system_of(user_agent: str) -> str | None:
    """The device or system's name, if it is a common one."""
    return _first(_SYSTEMS, user_agent)


def is_hand_held(user_agent: str) -> bool:
    """Whether it looks like a phone or a tablet."""
    return system_of(user_agent) in _HAND_HELD


def _first(patterns: tuple[tuple[str, re.Pattern[str]], ...], user_agent: str) -> str | None:
    return next((name for name, pattern in patterns if pattern.search(user_agent)), None)

"""Every page that people see has its picture in docs/screens, on a phone and a desktop."""

import re
from pathlib import Path

from scripts.screens.pages import is_page
from tests.structure.routes import listed

_SCREENS = Path(__file__).resolve().parents[2] / "docs" / "screens"
_CONTENTS = (_SCREENS / "README.md").read_text()


def test_every_page_has_its_picture() -> None:
    pages = {route.endpoint for route in listed() if route.method == "GET" and is_page(route.endpoint)}
    pictured = set(
        re.findall(r"^\| \S+ \| `\S+` (\S+) \| \[light\]\(\S+\.png\).* \| \[light\]\(\S+\.png\)", _CONTENTS, re.M)
    )
    assert sorted(pages - pictured) == [], "show them in a module of scripts/screens, and run make screens"


def test_the_list_of_pictures_is_true() -> None:
    named = set(re.findall(r"\((\S+\.png)\)", _CONTENTS))
    assert named == {picture.name for picture in _SCREENS.glob("*.png")}
    assert sum(picture.stat().st_size for picture in _SCREENS.glob("*.png")) < 20_000_000

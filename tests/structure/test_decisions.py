"""The index of the decisions lists every page, by number and title."""

import re

from tests.structure.source import ROOT

FOLDER = ROOT / "docs" / "decisions"
_ROW = re.compile(r"^\| \[(\d{4})\]\((\S+)\) \| (.+) \|$", re.MULTILINE)


def pages() -> list[tuple[str, str, str]]:
    """Number, file and title of every page, from the pages themselves."""
    found = []
    for path in sorted(FOLDER.glob("*.md")):
        if path.name != "README.md":
            title = path.read_text().splitlines()[0]
            found.append((path.name[:4], path.name, re.sub(r"^# *\d*\.? *", "", title)))
    return found


def test_every_decision_is_listed_with_its_title() -> None:
    assert _ROW.findall((FOLDER / "README.md").read_text()) == pages()


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [number for number, _name, _title in pages()] == [f"{n:04}" for n in range(1, len(pages()) + 1)]
    for number, name, _title in pages():
        assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", name), name
        assert (FOLDER / name).read_text().startswith(f"# {int(number)}. "), name

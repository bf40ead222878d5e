"""The built front-end files: every icon that is asked for is there, and the locks pin without naming addresses."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
VENDOR = ROOT / "static" / "vendor"
# icon("x"), icon='x' as a macro's argument, and the same where a view hands an icon's name to a template.
ASKED = re.compile(
    r"""\bicon\(\s*["']([a-z0-9-]+)["']|\bicon\s*=\s*["']([a-z0-9-]+)["']|\bicon["']:\s*["']([a-z0-9-]+)["']"""
)


def icons_asked_for() -> set[tuple[str, str]]:
    found = set()
    for folder, pattern in (("templates", "*.html"), ("portal", "*.py")):
        for path in (ROOT / folder).rglob(pattern):
            for match in ASKED.finditer(path.read_text()):
                found.add((next(filter(None, match.groups())), str(path.relative_to(ROOT))))
    return found


def test_every_icon_that_is_asked_for_is_in_the_sprite() -> None:
    sprite = set(re.findall(r'<symbol id="([^"]+)"', (VENDOR / "icons.svg").read_text()))
    asked = icons_asked_for()
    assert len(asked) > 30, "the search finds too few icons to mean anything"
    assert sorted((name, path) for name, path in asked if name not in sprite) == []


def test_the_manifest_tells_the_truth_about_each_built_file() -> None:
    manifest = json.loads((VENDOR / "manifest.json").read_text())
    assert {path.name for path in VENDOR.iterdir()} == {*manifest, "manifest.json"}
    pinned = json.loads((ROOT / "package.json").read_text())["devDependencies"]
    for name, facts in manifest.items():
        assert (VENDOR / name).stat().st_size == facts["bytes"]
        assert facts["package"] is None or facts["version"] == pinned[facts["package"]], name


def test_nothing_built_asks_for_another_server() -> None:
    """A font or map on somebody else's server would be refused by the policy, and would tell them who visits."""
    for path in (*VENDOR.glob("*.css"), *(ROOT / "static" / "css").glob("*.css")):
        text = path.read_text()
        assert not re.findall(r"""(?:url\(|@import)\s*["']?(?:https?:)?//""", text), path.name
    for path in (*VENDOR.glob("*.js"), *VENDOR.glob("*.css")):
        assert "sourceMappingURL" not in path.read_text()[-300:], path.name


def test_the_package_lock_pins_by_content_and_names_no_registry() -> None:
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    for name, facts in packages.items():
        if name:
            assert facts["integrity"].startswith("sha512-"), name
            assert "resolved" not in facts, name


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-test.txt", "scripts/uv.txt", "scripts/node.txt"])
def test_the_python_locks_pin_by_content_and_name_no_registry(name: str) -> None:
    text = (ROOT / name).read_text()
    entries = re.split(r"\n(?=\S)", "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#")))
    assert entries
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry
    assert "://" not in re.sub(r"#.*", "", text)
    assert "index-url" not in text

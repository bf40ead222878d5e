"""What is locked is everything that is needed, on whichever Python the portal is set up with."""

import re
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
_LOCKED = re.compile(r"^([\w.-]+)==([\w.]+)(?: ; (.*?))? \\$", re.MULTILINE)


def locked(text: str, environment: dict[str, str]) -> set[str]:
    """The packages that a locked file has installed somewhere."""
    lines = [Requirement(f"{name}=={version}" + (f"; {marker}" if marker else "")) for name, version, marker in
             _LOCKED.findall(text)]  # fmt: skip
    return {canonicalize_name(one.name) for one in lines if one.marker is None or one.marker.evaluate(environment)}


def needed(names: set[str], environment: dict[str, str]) -> Iterator[str]:
    """What the installed ones of some packages need there, but for extras that somebody may ask for."""
    for name in names:
        for line in distribution(name).requires or []:
            one = Requirement(line)
            if one.marker is None or one.marker.evaluate({**environment, "extra": ""}):
                yield canonicalize_name(one.name)


@pytest.mark.parametrize("version", ["3.11.0", "3.11.2", "3.11.9", "3.12.0", "3.13.1", "3.14.0"])
@pytest.mark.parametrize("file", ["requirements.txt", "requirements-test.txt"])
def test_every_python_finds_all_that_is_needed(file: str, version: str) -> None:
    environment = {name: str(value) for name, value in default_environment().items()}
    there = {**environment, "python_full_version": version, "python_version": version.rpartition(".")[0]}
    text = (ROOT / file).read_text()
    names = locked(text, there)
    assert len(names) > 50
    assert set(needed(names & locked(text, environment), there)) - names == set()

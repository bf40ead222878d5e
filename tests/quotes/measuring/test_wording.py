"""What is found about a file is said in the customer's language."""

import re
from pathlib import Path

import pytest
from flask import Flask
from flask_babel import force_locale

from portal.quotes.measuring import measure
from portal.quotes.measuring.outcomes import CODES
from portal.quotes.measuring.wording import sentence
from tests.quotes.measuring import models

NAMES = (
    "detail",
    "size",
    "object",
    "parts",
    "edges",
    "triangles",
    "x",
    "y",
    "z",
    "percent",
    "limit",
    "printer",
    "room",
)
VALUES = {**{name: name for name in NAMES}, "pieces": 2, "hollows": 1}


@pytest.mark.parametrize("language", ["en", "pl", "es"])
def test_every_finding_has_a_sentence(language: str, app: Flask) -> None:
    with force_locale(language):
        said = {code: sentence({"code": code, "values": VALUES}) for code in CODES}
    assert all(text.endswith((".", "%")) and "%(" not in text and "%%" not in text for text in said.values())
    if language != "en":
        assert not [code for code, text in said.items() if text == CODES[code][1] % VALUES]


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", "a value is not a number"), ("pl", "wartość nie jest liczbą"), ("es", "un valor no es un número")],
)
def test_the_detail_is_said_in_the_same_language(language: str, words: str, app: Flask, tmp_path: Path) -> None:
    path = tmp_path / "part.3mf"
    bad = models.mesh_xml([("nan", 0, 0), *models.CUBE[1:]])
    path.write_bytes(models.package(models.model_xml(models.object_xml(bad))))
    (found,) = measure(path)["problems"]
    with force_locale(language):
        said = sentence(found)
    assert re.search(rf"1: {words}", said)

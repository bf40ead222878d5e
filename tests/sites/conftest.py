"""Each test of sites has a folder of sites of its own."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask


@pytest.fixture(autouse=True)
def empty_folders(app: Flask) -> Iterator[None]:
    """Nothing of an earlier test is served."""
    shutil.rmtree(Path(app.config["SITES_ROOT"]), ignore_errors=True)
    yield
    shutil.rmtree(Path(app.config["SITES_ROOT"]), ignore_errors=True)

"""The store is as empty as the database at the beginning of each test of quotes."""

import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from portal.quotes.pricing.models import PriceBookVersion
from tests.quotes.factories import make_price_book


@pytest.fixture(autouse=True)
def empty_store(app: Flask) -> None:
    folder = Path(app.config["STORAGE_URL"].removeprefix("file://"))
    for path in folder.iterdir() if folder.is_dir() else ():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def book(app: Flask) -> PriceBookVersion:
    """The price book in force."""
    return make_price_book()


@pytest.fixture
def full_disk() -> Iterator[None]:
    """The system refuses to write more than 8 MB into one file, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)

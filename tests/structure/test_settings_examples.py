"""The example settings say what there is, and the production one starts once its blanks are filled."""

import dataclasses
import re
from pathlib import Path

import pytest

from portal import config
from portal.dev.settings import read_env_file

ROOT = Path(__file__).resolve().parent.parent.parent
# Read by the service's unit and by deploy/backup.py, not by the portal.
NOT_THE_PORTALS = {"WEB_WORKERS", "BACKUP_DAYS"}


def test_every_setting_is_in_the_example_and_nothing_else() -> None:
    text = (ROOT / ".env.example").read_text()
    named = re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=", text, flags=re.MULTILINE)
    assert sorted(named) == sorted(field.name.upper() for field in dataclasses.fields(config.Settings))


def test_the_example_says_the_defaults() -> None:
    loaded = config.load(read_env_file(ROOT / ".env.example"))
    assert loaded == config.Settings()


def production_example() -> dict[str, str]:
    values = read_env_file(ROOT / "deploy" / "portal.env.example")
    unknown = set(values) - {field.name.upper() for field in dataclasses.fields(config.Settings)}
    assert unknown == NOT_THE_PORTALS
    return values


def test_the_production_example_loads_once_it_has_a_secret() -> None:
    settings = config.load({**production_example(), "SECRET_KEY": "x" * 48})
    assert settings.is_production
    assert not settings.sandbox_enabled


def test_the_production_example_does_not_start_as_it_is() -> None:
    with pytest.raises(config.ConfigurationError, match="SECRET_KEY"):
        config.load(production_example())

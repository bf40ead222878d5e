"""The environment that `make run` gives its children."""

from pathlib import Path

import pytest

from portal import config
from portal.dev import settings


def environment(data: Path, env_file: Path | None = None, **given: str) -> dict[str, str]:
    return settings.environment(data=data, port=8123, sites_port=8124, given=given, env_file=env_file)


def test_the_defaults_are_a_development_portal_with_its_data_in_one_folder(tmp_path: Path) -> None:
    values = environment(tmp_path)
    loaded = config.load({**values, "REDIS_URL": "redis://localhost"})
    assert loaded.portal_env == "development"
    assert loaded.portal_url == "http://localhost:8123"
    assert loaded.sites_url == "http://sites.localhost:8124"
    assert loaded.database_url == f"sqlite:///{tmp_path}/portal.db"
    assert loaded.secret_key != config.DEVELOPMENT_SECRET
    for value in (loaded.sites_root, loaded.mailbox_path, loaded.storage_url.removeprefix("file://")):
        assert Path(value).is_relative_to(tmp_path)


def test_secrets_are_made_once_for_a_folder_and_read_by_its_owner_only(tmp_path: Path) -> None:
    first, second = environment(tmp_path), environment(tmp_path)
    (tmp_path / "other").mkdir()
    other = environment(tmp_path / "other")
    for name in ("SECRET_KEY", "SANDBOX_WEBHOOK_SECRET"):
        assert len(first[name]) >= 64
        assert first[name] == second[name] != other[name]
    for path in (tmp_path / "secret_key", tmp_path / "sandbox_webhook_secret"):
        assert path.stat().st_mode & 0o777 == 0o600


def test_the_given_environment_wins_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(
        "# ours\n"
        "\n"
        'BUSINESS_NAME="Two words"\n'
        "export MAIL_FROM = shop@example.com\n"
        "LOG_LEVEL=DEBUG\n"
        "STRIPE_API_BASE='http://localhost:1/#not-a-comment'\n"
        "EMAIL_BACKEND=smtp\n"
    )
    values = environment(tmp_path, file, LOG_LEVEL="ERROR")
    assert values["BUSINESS_NAME"] == "Two words"
    assert values["MAIL_FROM"] == "shop@example.com"
    assert values["STRIPE_API_BASE"] == "http://localhost:1/#not-a-comment"
    assert values["EMAIL_BACKEND"] == "smtp"
    assert values["LOG_LEVEL"] == "ERROR"


def test_a_wrong_line_of_the_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("LOG_LEVEL=DEBUG\nwhat is this\n")
    with pytest.raises(settings.BadEnvironmentFile, match=r"\.env, line 2"):
        environment(tmp_path, file)

"""Settings: every wrong one stops the start and is named, and production refuses what belongs to development."""

import dataclasses
import re
from pathlib import Path

import pytest

from portal import config, create_app
from portal.config import ConfigurationError, Settings
from tests.conftest import settings_for

GOOD = {
    "PORTAL_ENV": "production",
    "SECRET_KEY": "x" * 48,
    "PORTAL_URL": "https://portal.example.com",
    "DATABASE_URL": "postgresql+psycopg://portal@db/portal",
    "EMAIL_BACKEND": "smtp",
    "SANDBOX_ENABLED": "false",
    "PAYMENT_MODE": "live",
    "STRIPE_SECRET_KEY": "sk_live_1",
    "STRIPE_WEBHOOK_SECRET": "whsec_1",
}


def named(environment: dict[str, str]) -> list[str]:
    """The settings that are complained about."""
    try:
        config.load(environment)
    except ConfigurationError as error:
        return [problem.split(":")[0] for problem in error.problems]
    return []


def test_nothing_set_is_a_development_shop() -> None:
    settings = config.load({})
    assert settings == Settings()
    assert settings.portal_env == "development"
    assert not settings.is_production


def test_good_production_settings_load() -> None:
    assert config.load(GOOD).is_production


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("PORTAL_ENV", ["prod", "", "Production"]),
        ("EMAIL_BACKEND", ["sendmail", ""]),
        ("PAYMENT_MODE", ["real", ""]),
        ("DEFAULT_LANGUAGE", ["de", "EN", ""]),
        ("LOG_LEVEL", ["LOUD", "info", ""]),
        ("PORTAL_URL", ["portal.example.com", "ftp://x", "https://", "https://x/path", "http://[", "http://x:p", ""]),
        ("SITES_URL", ["sites.example.com", "https://x/sites"]),
        ("DATABASE_URL", ["mysql://x/y", "postgres://x/y", "postgresql://x/y", "", "postgresql+psycopg://x:p/y", "x"]),
        ("REDIS_URL", ["localhost:6379", "http://x", "redis://x:port/0", ""]),
        ("STORAGE_URL", ["/var/storage", "", "ftp://x", "file://"]),
        ("TRUSTED_PROXIES", ["-1", "10", "one", "1.0", ""]),
        ("SMTP_PORT", ["0", "65536", "smtp", ""]),
        ("SMTP_STARTTLS", ["maybe", "2"]),
        ("SANDBOX_ENABLED", ["ja"]),
        ("STAFF_SECOND_FACTOR", ["always"]),
        ("MAIL_FROM", ["nobody", "", "a b@c.pl", "a@b\nBcc: c@d.pl"]),
        ("BUSINESS_EMAIL", ["nobody"]),
        ("BUSINESS_TIMEZONE", ["Warsaw", "", "../../etc/passwd", "Europe/Nowhere"]),
        ("SANDBOX_WEBHOOK_SECRET", ["whsec_x", "short", "whsec_c2hvcnQ="]),
        ("STRIPE_SECRET_KEY", ["sk_live_1", "rk_live_1"]),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named(name: str, values: list[str]) -> None:
    for value in values:
        environment = {"STRIPE_WEBHOOK_SECRET": "whsec_1", name: value}
        assert named(environment) == [name], value


BTCPAY = {
    "BTCPAY_URL": "https://btcpay.example.com/sub",
    "BTCPAY_API_KEY": "k",
    "BTCPAY_STORE_ID": "s",
    "BTCPAY_WEBHOOK_SECRET": "one,two",
}


def test_btcpay_is_set_whole_or_not_at_all() -> None:
    assert named(BTCPAY) == []
    for name in BTCPAY:
        assert named({**BTCPAY, name: ""}) == [name]
    assert named({**BTCPAY, "BTCPAY_WEBHOOK_SECRET": " , "}) == ["BTCPAY_WEBHOOK_SECRET"]
    for url in ("btcpay.example.com", "ftp://x", "http://["):
        assert named({**BTCPAY, "BTCPAY_URL": url}) == ["BTCPAY_URL"]


def test_production_talks_to_btcpay_over_https() -> None:
    assert named({**GOOD, **BTCPAY}) == []
    assert named({**GOOD, **BTCPAY, "BTCPAY_URL": "http://btcpay.example.com"}) == ["BTCPAY_URL"]


def test_every_problem_is_told_at_once() -> None:
    assert named({"PORTAL_URL": "x", "REDIS_URL": "y", "LOG_LEVEL": "z"}) == ["LOG_LEVEL", "PORTAL_URL", "REDIS_URL"]
    assert named({"SMTP_PORT": "a", "TRUSTED_PROXIES": "b"}) == ["TRUSTED_PROXIES", "SMTP_PORT"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", config.DEVELOPMENT_SECRET), ("SECRET_KEY", "x" * 31), ("SECRET_KEY", ""),
        ("SANDBOX_ENABLED", "true"), ("PORTAL_URL", "http://portal.example.com"), ("EMAIL_BACKEND", "console"),
        ("STRIPE_SECRET_KEY", "sk_test_1"), ("PORTAL_FAULTS", "settle-before-commit=kill"),
    ],
)  # fmt: skip
def test_production_refuses(name: str, value: str) -> None:
    assert named({**GOOD, name: value}) == [name]


def test_production_refuses_its_own_defaults() -> None:
    assert set(named({"PORTAL_ENV": "production"})) == {"SECRET_KEY", "SANDBOX_ENABLED", "PORTAL_URL", "EMAIL_BACKEND"}


def test_a_provider_without_its_webhook_secret_is_refused() -> None:
    """Its webhooks could not be believed, so its money would never arrive."""
    assert named({"STRIPE_SECRET_KEY": "sk_test_1"}) == ["STRIPE_WEBHOOK_SECRET"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", True),
        ("true", True),
        ("YES", True),
        ("on", True),
        ("0", False),
        ("False", False),
        ("no", False),
        ("", False),
    ],
)
def test_people_write_yes_and_no_in_many_ways(text: str, expected: bool) -> None:
    assert config.load({"SMTP_STARTTLS": f" {text} "}).smtp_starttls is expected


def test_every_setting_can_be_read_from_the_environment() -> None:
    samples = {str: "a", bool: "true", int: "7"}
    for field in dataclasses.fields(Settings):
        try:
            settings = config.load({field.name.upper(): samples[type(field.default)]})
        except ConfigurationError:
            continue  # Read, and refused for its value.
        assert getattr(settings, field.name) in ("a", True, 7), field.name


def test_no_setting_is_read_past_the_settings() -> None:
    """What is not in `Settings` is neither checked nor listed in .env.example."""
    allowed = {"portal/config.py", "portal/core/faults.py", "portal/core/metrics.py"}
    root = Path(config.__file__).parent.parent
    readers = {
        str(path.relative_to(root))
        for path in (root / "portal").rglob("*.py")
        # What starts the portal hands the environment on.
        if path.parent.name != "dev" and re.search(r"os\.(environ(?!\.clear)|getenv)", path.read_text())
    }
    assert readers <= allowed


def test_secrets_are_in_no_representation_that_a_log_would_print() -> None:
    error = ConfigurationError(["SECRET_KEY: production needs a secret of 32 characters or more"])
    assert "x" * 31 not in str(error)
    with pytest.raises(ConfigurationError) as refusal:
        config.load({**GOOD, "SECRET_KEY": "hunter2", "DATABASE_URL": "mysql://user:hunter3@db/x"})
    assert "hunter" not in str(refusal.value)


def test_the_application_does_not_start_with_wrong_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "nonsense")
    with pytest.raises(ConfigurationError, match="REDIS_URL"):
        create_app()


def test_production_has_no_debugging_and_no_propagation(tmp_path: Path) -> None:
    settings = settings_for(
        "sqlite://", "redis://127.0.0.1:9/0", tmp_path, portal_env="production", sandbox_enabled=False,
        portal_url="https://portal.example.com",
    )  # fmt: skip
    app = create_app(settings)
    assert not app.debug
    assert not app.testing
    assert not app.config.get("PROPAGATE_EXCEPTIONS")
    assert app.config["SESSION_COOKIE_NAME"] == "__Host-portal"

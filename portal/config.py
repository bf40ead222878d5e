"""Settings from the environment, typed and checked: a wrong one stops the start and is named."""

import os
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from redis.connection import parse_url
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from portal import config_crypto, config_shipping, config_sites
from portal.config_checks import check_address, check_needed, check_together, is_address, is_origin
from portal.core.db import engine_options
from portal.core.languages import LANGUAGES

DEVELOPMENT_SECRET = "development-only-secret-key"  # noqa: S105  # refused in production, below
_ROOT = Path(__file__).resolve().parent.parent
_CHOICES = {
    "portal_env": ("development", "production", "testing"),
    "email_backend": ("console", "smtp"),
    "payment_mode": ("test", "live"),
    "default_language": tuple(LANGUAGES),
    "log_level": ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
}
# A deposit of more would leave less to pay than the rounding of many small lines can move between two invoices.
_RANGES = {
    "trusted_proxies": (0, 9),
    "smtp_port": (1, 65_535),
    "site_versions_kept": (1, 1_000),
    "deposit_percent": (0, 80),
}
_SHORTEST_KEY = 16
_PAYU_HOSTS = {"test": "secure.snd.payu.com", "live": "secure.payu.com"}
# What Standard Webhooks asks of a key (https://www.standardwebhooks.com).
_STANDARD_KEY = (24, 64)
_ONECOM_BLANKS = {"reference", "amount", "currency", "return_url"}
_SOCKET = re.compile(r"/.+|[^:/\s]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


class ConfigurationError(RuntimeError):
    """One or more settings are missing or wrong; the message names each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("wrong configuration:\n" + "\n".join(f"  - {problem}" for problem in problems))


@dataclass(frozen=True, slots=True)
class Settings(config_sites.EditorSettings):
    """Every setting; the field's name in upper case is the environment variable."""

    portal_env: str = "development"
    secret_key: str = DEVELOPMENT_SECRET
    database_url: str = f"sqlite:///{_ROOT / 'var' / 'portal.db'}"
    redis_url: str = "redis://127.0.0.1:6379/0"
    portal_url: str = "http://localhost:8000"
    sites_url: str = "http://sites.localhost:8001"
    sites_root: str = str(_ROOT / "var" / "sites")
    sites_hosts: str = ""
    sites_host_name: str = ""
    sites_check_url: str = ""
    site_versions_kept: int = 20
    nginx_config_dir: str = ""
    nginx_test_command: str = "nginx -t -q"
    nginx_reload_command: str = "nginx -s reload"
    nginx_listen: str = "80"
    nginx_listen_tls: str = "443"
    nginx_certificate: str = ""
    nginx_certificate_key: str = ""
    storage_url: str = f"file://{_ROOT / 'var' / 'storage'}"
    clamd_address: str = ""
    trusted_proxies: int = 0
    log_level: str = "INFO"
    metrics_token: str = ""

    business_name: str = "Atelier Nord"
    business_address: str = "ul. Prosta 20, 00-850 Warszawa, Poland"
    business_tax_id: str = ""
    business_email: str = "hello@atelier-nord.example"
    business_timezone: str = "Europe/Warsaw"
    default_language: str = "en"

    email_backend: str = "console"
    mail_from: str = "no-reply@atelier-nord.example"
    mailbox_path: str = str(_ROOT / "var" / "mailbox")
    smtp_host: str = "localhost"
    smtp_port: int = 587
    smtp_username: str = ""
    smtp_password: str = ""
    smtp_starttls: bool = True

    deposit_percent: int = 50

    payment_mode: str = "test"
    sandbox_enabled: bool = True
    sandbox_webhook_secret: str = ""
    stripe_secret_key: str = ""
    stripe_publishable_key: str = ""
    stripe_webhook_secret: str = ""
    stripe_api_base: str = ""
    payu_merchant_id: str = ""
    payu_client_id: str = ""
    payu_secret_key: str = ""
    payu_webhook_secret: str = ""
    payu_currencies: str = "PLN"
    payu_api_url: str = ""
    recurrente_public_key: str = ""
    recurrente_secret_key: str = ""
    recurrente_webhook_secret: str = ""
    recurrente_api_url: str = ""
    onecom_checkout_url: str = ""
    onecom_webhook_secret: str = ""
    onecom_require_amount: bool = True
    btcpay_url: str = ""
    btcpay_api_key: str = ""
    btcpay_store_id: str = ""
    btcpay_webhook_secret: str = ""
    web3_networks: str = ""
    web3_xpub: str = ""
    web3_webhook_secret: str = ""

    easypost_api_key: str = ""
    easypost_webhook_secret: str = ""
    easypost_api_base: str = ""
    ship_from_name: str = ""
    ship_from_company: str = ""
    ship_from_line1: str = ""
    ship_from_line2: str = ""
    ship_from_city: str = ""
    ship_from_state: str = ""
    ship_from_zip: str = ""
    ship_from_country: str = ""
    ship_from_phone: str = ""
    ship_from_email: str = ""
    customs_tariff_number: str = "3926.90"
    customs_origin_country: str = ""

    staff_second_factor: bool = False
    webhooks_to_loopback: bool = False

    @property
    def is_production(self) -> bool:
        """Whether real customers and real money are at the other end."""
        return self.portal_env == "production"

    def flask_config(self) -> dict[str, Any]:
        """What Flask and its extensions read, beside every setting under its upper-case name."""
        is_https = self.portal_url.startswith("https://")
        return {
            **{field.name.upper(): getattr(self, field.name) for field in fields(self)},
            "SETTINGS": self,
            "TESTING": self.portal_env == "testing",
            "SQLALCHEMY_DATABASE_URI": self.database_url,
            "SQLALCHEMY_ENGINE_OPTIONS": engine_options(self.database_url),
            # A __Host- cookie cannot be set by a neighbouring host; browsers take it over HTTPS only.
            "SESSION_COOKIE_NAME": "__Host-portal" if is_https else "portal_session",
            "SESSION_COOKIE_SECURE": is_https,
            "SESSION_COOKIE_HTTPONLY": True,
            "SESSION_COOKIE_SAMESITE": "Lax",
            "SESSION_REFRESH_EACH_REQUEST": False,
            "PERMANENT_SESSION_LIFETIME": 7 * 24 * 3600,
            "WTF_CSRF_TIME_LIMIT": None,
            "WTF_CSRF_SSL_STRICT": False,
            "MAX_CONTENT_LENGTH": 2 * 1024 * 1024,
            "MAX_FORM_PARTS": 1_000,
            "BABEL_DEFAULT_LOCALE": self.default_language,
            "BABEL_DEFAULT_TIMEZONE": self.business_timezone,
            # The limits library has its own name for a Redis behind a Unix socket.
            "RATELIMIT_STORAGE_URI": re.sub(r"^unix:", "redis+unix:", self.redis_url),
            "RATELIMIT_STORAGE_OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1},
            "RATELIMIT_IN_MEMORY_FALLBACK_ENABLED": True,
            "RATELIMIT_STRATEGY": "moving-window",
        }


def is_command_line() -> bool:
    """Whether `flask` was run from the command line, which says so itself: a server needs less than that."""
    return os.environ.get("FLASK_RUN_FROM_CLI") == "true"


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings. Raises ConfigurationError with every problem at once."""
    environment = os.environ if environment is None else environment
    problems: list[str] = []
    values: dict[str, Any] = {}
    for field in fields(Settings):
        name = field.name.upper()
        text = environment.get(name)
        if text is None:
            continue
        try:
            values[field.name] = _READERS[type(field.default)](text.strip())
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise ConfigurationError(problems)
    settings = Settings(**values)
    problems = [*_check(settings), *(_check_production(settings) if settings.is_production else [])]
    if settings.is_production and environment.get("PORTAL_FAULTS"):
        problems.append("PORTAL_FAULTS: makes the portal fail on purpose, and does not belong into production")
    if problems:
        raise ConfigurationError(problems)
    return settings


def _read_bool(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def _read_int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None


_READERS: dict[type, Callable[[str], Any]] = {str: str, bool: _read_bool, int: _read_int}


def _check(settings: Settings) -> list[str]:
    problems = [
        f"{name.upper()}: must be one of {', '.join(allowed)}"
        for name, allowed in _CHOICES.items()
        if getattr(settings, name) not in allowed
    ]
    problems += [
        f"{name.upper()}: must be from {lowest} to {highest}"
        for name, (lowest, highest) in _RANGES.items()
        if not lowest <= getattr(settings, name) <= highest
    ]
    problems += [
        f"{name.upper()}: must be an address such as https://portal.example.com"
        for name in ("portal_url", "sites_url")
        if not is_origin(getattr(settings, name))
    ]
    problems += [
        f"{name.upper()}: must be an e-mail address"
        for name in ("mail_from", "business_email")
        if not re.fullmatch(r"[^@\s]+@[^@\s]+", getattr(settings, name))
    ]
    problems += [f"{name}: {words}" for name, words in _check_servers(settings).items()]
    try:
        ZoneInfo(settings.business_timezone)
    except (ZoneInfoNotFoundError, ValueError):
        problems.append(f"BUSINESS_TIMEZONE: {settings.business_timezone!r} is not a time zone")
    problems += config_sites.check(settings)
    return [*problems, *_check_payments(settings), *config_shipping.check(settings)]


def _check_servers(settings: Settings) -> dict[str, str]:
    """Addresses of databases and stores, read by the libraries that will use them."""
    problems = {}
    try:
        make_url(settings.database_url)
        is_database = settings.database_url.startswith(("sqlite:///", "postgresql+psycopg://"))
    except (ArgumentError, ValueError):
        is_database = False
    if not is_database:
        problems["DATABASE_URL"] = "must begin with sqlite:/// or postgresql+psycopg://, and be a whole address"
    try:
        parse_url(settings.redis_url)  # type: ignore[no-untyped-call]  # untyped in the library
    except ValueError:
        problems["REDIS_URL"] = "must begin with redis://, rediss:// or unix://, and be a whole address"
    if not re.match(r"file:///.|s3://.", settings.storage_url):
        problems["STORAGE_URL"] = "must be file:///a/folder or s3://a-bucket"
    if settings.clamd_address and not _SOCKET.fullmatch(settings.clamd_address):
        problems["CLAMD_ADDRESS"] = "must be host:port, or the path of clamd's socket"
    return problems


def _check_payments(settings: Settings) -> list[str]:
    problems = []
    if settings.stripe_secret_key:
        problems += check_needed(settings, ["stripe_webhook_secret"], "when STRIPE_SECRET_KEY is set")
    wrong_kind = "_live_" if settings.payment_mode == "test" else "_test_"
    if wrong_kind in settings.stripe_secret_key:
        problems.append(f"STRIPE_SECRET_KEY: is not one for PAYMENT_MODE={settings.payment_mode}")
    if not all(length >= _SHORTEST_KEY for length in _key_lengths(settings.sandbox_webhook_secret)):
        problems.append("SANDBOX_WEBHOOK_SECRET: must be whsec_ and 16 bytes or more in base64")
    checks = (_check_payu, _check_recurrente, _check_onecom)
    problems += config_crypto.check(settings)
    return [*problems, *(problem for check in checks for problem in check(settings))]


def _key_lengths(secrets: str) -> list[int]:
    """How many bytes each of several `whsec_` secrets has; -1 for one that is none."""
    lengths = []
    for secret in filter(None, (part.strip() for part in secrets.split(","))):
        try:
            lengths.append(len(b64decode(secret.removeprefix("whsec_"), validate=True)))
        except ValueError:
            lengths.append(-1)
    return lengths


def _check_payu(settings: Settings) -> list[str]:
    account = ("payu_merchant_id", "payu_secret_key", "payu_webhook_secret")
    problems = check_together(settings, account, "for PayU")
    for name in ("payu_merchant_id", "payu_client_id"):
        if getattr(settings, name) and not re.fullmatch(r"[0-9]{1,20}", getattr(settings, name)):
            problems.append(f"{name.upper()}: must be PayU's number, such as 300746")
    currencies = [part.strip() for part in settings.payu_currencies.split(",") if part.strip()]
    if not currencies or any(not re.fullmatch(r"[A-Z]{3}", currency) for currency in currencies):
        problems.append("PAYU_CURRENCIES: must be currency codes such as PLN,EUR")
    host = urlsplit(settings.payu_api_url).hostname if is_origin(settings.payu_api_url) else None
    problems += check_address(settings, "payu_api_url", "https://secure.payu.com", is_good=is_origin)
    if host == _PAYU_HOSTS["test" if settings.payment_mode == "live" else "live"]:
        problems.append(f"PAYU_API_URL: is not one for PAYMENT_MODE={settings.payment_mode}")
    return problems


def _check_recurrente(settings: Settings) -> list[str]:
    problems = check_address(settings, "recurrente_api_url", "https://app.recurrente.com/api")
    if settings.recurrente_secret_key:
        problems += check_needed(settings, ["recurrente_webhook_secret"], "when RECURRENTE_SECRET_KEY is set")
    wrong_kind = "_live_" if settings.payment_mode == "test" else "_test_"
    problems += [
        f"{name.upper()}: is not one for PAYMENT_MODE={settings.payment_mode}"
        for name in ("recurrente_secret_key", "recurrente_public_key")
        if wrong_kind in getattr(settings, name)
    ]
    if not all(length >= _SHORTEST_KEY for length in _key_lengths(settings.recurrente_webhook_secret)):
        problems.append("RECURRENTE_WEBHOOK_SECRET: must be the whsec_ of the endpoint, in Svix's panel")
    return problems


def _check_onecom(settings: Settings) -> list[str]:
    problems = check_together(settings, ("onecom_checkout_url", "onecom_webhook_secret"), "for One.com")
    link, secret = settings.onecom_checkout_url, settings.onecom_webhook_secret
    shortest, longest = _STANDARD_KEY
    if not all(shortest <= length <= longest for length in _key_lengths(secret)):
        problems.append(f"ONECOM_WEBHOOK_SECRET: must be whsec_ and {shortest} to {longest} bytes in base64")
    blanks = set(re.findall(r"{([^{}]*)}", link))
    # No blank decides which server it leads to.
    is_plain = not (set(re.sub(r"{[^{}]*}", "", link)) | set("".join(link.split("/")[:3]))) & set("{}")
    if link and not (is_address(re.sub(r"[{}]", "", link)) and is_plain and blanks <= _ONECOM_BLANKS):
        problems.append(
            "ONECOM_CHECKOUT_URL: must be an address with no other blanks than "
            + ", ".join(f"{{{blank}}}" for blank in sorted(_ONECOM_BLANKS))
        )
    elif link and "reference" not in blanks:
        problems.append("ONECOM_CHECKOUT_URL: must hold {reference}, by which the payment is recognised")
    if link and settings.is_production and not link.startswith("https://"):
        problems.append("ONECOM_CHECKOUT_URL: production needs https://")
    return problems


def _check_production(settings: Settings) -> list[str]:
    problems = []
    if settings.secret_key == DEVELOPMENT_SECRET or len(settings.secret_key) < 32:
        problems.append("SECRET_KEY: production needs a secret of 32 characters or more")
    if settings.sandbox_enabled:
        problems.append("SANDBOX_ENABLED: the sandbox provider must be off in production")
    if settings.webhooks_to_loopback:
        problems.append("WEBHOOKS_TO_LOOPBACK: merchants' webhooks must not reach the portal's own machine")
    if not settings.portal_url.startswith("https://"):
        problems.append("PORTAL_URL: production needs https://")
    if settings.email_backend != "smtp":
        problems.append("EMAIL_BACKEND: production sends by smtp")
    return problems

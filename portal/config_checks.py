"""What checks of settings have in common: addresses are addresses, and what belongs together is set together."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from portal.config import Settings


def is_address(url: str) -> bool:
    """Whether it is an HTTP address of a server, with a path or without."""
    if not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and has_port


def is_origin(url: str) -> bool:
    """Whether it is an address without a path."""
    return is_address(url) and urlsplit(url).path in ("", "/")


def check_address(
    settings: "Settings", name: str, example: str, *, is_good: Callable[[str], bool] = is_address
) -> list[str]:
    """A setting that is empty or an address; in production one with https://."""
    url = getattr(settings, name)
    if url and not is_good(url):
        return [f"{name.upper()}: must be an address such as {example}"]
    if url and settings.is_production and not url.startswith("https://"):
        return [f"{name.upper()}: production needs https://"]
    return []


def check_needed(settings: "Settings", names: Sequence[str], why: str) -> list[str]:
    """Settings that must not be empty, and why; commas alone are empty too, where several secrets may stand."""
    return [f"{name.upper()}: needed {why}" for name in names if _is_empty(settings, name)]


def check_together(settings: "Settings", names: Sequence[str], why: str) -> list[str]:
    """Settings of which all are set or none."""
    return [] if all(_is_empty(settings, name) for name in names) else check_needed(settings, names, why)


def _is_empty(settings: "Settings", name: str) -> bool:
    return not getattr(settings, name).strip(" ,")

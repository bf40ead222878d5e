"""The networks and tokens of this installation, read from one setting and checked before anything starts."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable
from urllib.parse import urlsplit

from portal.core.money import Money, digits

Depth = int | Literal["safe", "finalized"]
ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_SYMBOL = re.compile(r"[A-Za-z0-9.]{1,12}")
_KEYS = {"name", "title", "chain_id", "rpc_urls", "symbol", "token", "decimals", "currencies", "confirmations", "test"}
_LONGEST_FILE = 100_000
_MOST_DECIMALS = 36
_DEEPEST = 10_000


@dataclass(frozen=True, slots=True)
class Network:
    """One token on one chain. `token` is its contract in lower case, None for the chain's own coin.

    A session currency in `currencies` is worth one whole token a unit: there are no exchange rates here.
    """

    name: str
    title: str
    chain_id: int
    rpc_urls: tuple[str, ...]
    symbol: str
    token: str | None
    decimals: int
    currencies: frozenset[str]
    confirmations: Depth
    is_test: bool

    def units_of(self, amount: Money) -> int:
        """An amount in the token's base units, exact."""
        return int(amount.amount_minor * 10 ** (self.decimals - digits(amount.currency)))

    def minor_of(self, units: int, currency: str) -> int:
        """Base units in minor units of a currency, rounded down."""
        return int(units // 10 ** (self.decimals - digits(currency)))


@runtime_checkable
class HasNetworks(Protocol):
    """The provider, for those who only show what it offers."""

    @property
    def networks(self) -> Mapping[str, Network]:
        """The configured networks by name."""


def read_networks(text: str, *, is_test: bool) -> tuple[Network, ...]:
    """Read `WEB3_NETWORKS`: a JSON list, or the path of a file with one. Raises ValueError saying what is wrong."""
    stripped = text.strip()
    if not stripped.startswith("["):
        stripped = _read_file(stripped)
    try:
        entries = json.loads(stripped)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(entries, list) or not entries:
        raise ValueError("must be a list with a network or more")
    networks = tuple(_network(entry, number) for number, entry in enumerate(entries, start=1))
    if len({network.name for network in networks}) != len(networks):
        raise ValueError("two networks have one name")
    # One transfer must belong to one network, or it could be counted for both.
    if len({(network.chain_id, network.token) for network in networks}) != len(networks):
        raise ValueError("one token of one chain stands there twice")
    for network in networks:
        if network.is_test != is_test:
            kind = "a test network" if network.is_test else "not a test network"
            raise ValueError(f"{network.name} is {kind}, which does not fit PAYMENT_MODE")
    return networks


def _read_file(path: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise ValueError("is neither JSON nor a file that can be read") from None
    if len(text) > _LONGEST_FILE:
        raise ValueError("is a file that is too long")
    return text


def _network(entry: Any, number: int) -> Network:
    if not isinstance(entry, dict):
        raise ValueError(f"network {number} is not an object")  # noqa: TRY004  # the setting's text is wrong
    name = entry.get("name")
    where = name if isinstance(name, str) and _NAME.fullmatch(name) else f"network {number}"
    unknown = sorted(set(entry) - _KEYS)
    if unknown:
        raise ValueError(f"{where} has unknown fields: {', '.join(unknown)[:100]}")
    problem = _first_problem(entry)
    if problem:
        raise ValueError(f"{where}: {problem}")
    token = entry.get("token")
    return Network(
        name=entry["name"],
        title=entry.get("title") or entry["name"],
        chain_id=entry["chain_id"],
        rpc_urls=tuple(entry["rpc_urls"]),
        symbol=entry["symbol"],
        token=token.lower() if token else None,
        decimals=entry["decimals"],
        currencies=frozenset(entry["currencies"]),
        confirmations=entry["confirmations"],
        is_test=entry.get("test", False),
    )


def _first_problem(entry: Mapping[str, Any]) -> str | None:
    confirmations = entry.get("confirmations")
    is_deep = _is_whole(confirmations, 1, _DEEPEST) or confirmations in ("safe", "finalized")
    currencies, urls = entry.get("currencies"), entry.get("rpc_urls")
    checks = (
        (_matches(entry.get("name"), _NAME), "name must be lower-case letters, digits and dashes"),
        (isinstance(entry.get("title", ""), str) and len(entry.get("title", "")) <= 40, "title must be a short text"),
        (_is_whole(entry.get("chain_id"), 1, 2**63 - 1), "chain_id must be a whole number"),
        (_are_texts(urls) and all(map(_is_url, urls or ())), "rpc_urls must be a list of http(s) addresses"),
        (_matches(entry.get("symbol"), _SYMBOL), "symbol must be the token's short name"),
        ("token" in entry and (entry["token"] is None or _matches(entry["token"], ADDRESS)),
         "token must be the contract's address, or null for the chain's own coin"),
        (_is_whole(entry.get("decimals"), 0, _MOST_DECIMALS), "decimals must be a whole number"),
        (_are_texts(currencies) and all(_CURRENCY.fullmatch(one) for one in currencies or ()),
         "currencies must be a list such as [\"USD\"]"),
        (is_deep, "confirmations must be a whole number, \"safe\" or \"finalized\""),
        (isinstance(entry.get("test", False), bool), "test must be true or false"),
    )  # fmt: skip
    found = next((words for is_right, words in checks if not is_right), None)
    if found is None and any(digits(currency) > entry["decimals"] for currency in entry["currencies"]):
        return "decimals are fewer than its currencies have"
    return found


def _matches(value: Any, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)

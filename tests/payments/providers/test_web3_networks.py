"""Which networks are offered is one setting; a wrong one stops the start and is named."""

import json
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from portal import config
from portal.config import ConfigurationError, Settings
from portal.core.money import Money
from portal.payments.providers.registry import Registry
from portal.payments.providers.web3.networks import read_networks
from portal.payments.providers.web3.routes import token_amount
from tests.fakes.chain.wallet import xprv_of
from tests.payments.providers.chain_support import WEBHOOK_SECRET, XPUB, with_chain

NETWORK: dict[str, Any] = {
    "name": "base",
    "title": "Base",
    "chain_id": 8453,
    "rpc_urls": ["https://rpc.example.com/v3/key"],
    "symbol": "USDC",
    "token": "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
    "decimals": 6,
    "currencies": ["USD"],
    "confirmations": "safe",
    "test": True,
}
COIN = {**NETWORK, "name": "eth", "chain_id": 1, "symbol": "ETH", "token": None, "decimals": 18, "currencies": ["ETH"]}


def read(*networks: dict[str, Any], is_test: bool = True) -> Any:
    return read_networks(json.dumps(list(networks)), is_test=is_test)


def test_a_network_is_read_from_the_setting_or_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "networks.json"
    path.write_text(json.dumps([NETWORK, COIN]), encoding="utf-8")
    networks = read_networks(str(path), is_test=True)
    assert networks == read(NETWORK, COIN)
    assert networks[0].token == "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913"
    assert networks[1].token is None


@pytest.mark.parametrize("missing", sorted(set(NETWORK) - {"title", "test"}))
def test_every_field_is_needed(missing: str) -> None:
    with pytest.raises(ValueError, match=missing if missing != "name" else "network 1"):
        read({key: value for key, value in NETWORK.items() if key != missing})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "Base"}, "name"),
        ({"name": "x" * 33}, "name"),
        ({"title": 5}, "title"),
        ({"chain_id": 0}, "chain_id"),
        ({"chain_id": True}, "chain_id"),
        ({"chain_id": "1"}, "chain_id"),
        ({"rpc_urls": []}, "rpc_urls"),
        ({"rpc_urls": ["ws://x"]}, "rpc_urls"),
        ({"rpc_urls": "https://x"}, "rpc_urls"),
        ({"symbol": "<b>"}, "symbol"),
        ({"token": "0x1"}, "token"),
        ({"token": ""}, "token"),
        ({"decimals": -1}, "decimals"),
        ({"decimals": 6.0}, "decimals"),
        ({"decimals": 1}, "fewer"),
        ({"currencies": ["usd"]}, "currencies"),
        ({"currencies": []}, "currencies"),
        ({"confirmations": 0}, "confirmations"),
        ({"confirmations": "latest"}, "confirmations"),
        ({"test": "yes"}, "test"),
        ({"test": False}, "PAYMENT_MODE"),
        ({"recipient": "0x0"}, "unknown fields: recipient"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read({**NETWORK, **change})


@pytest.mark.parametrize("text", ["[]", "[1]", "{}", "[", "/nowhere/at/all", "[" * 100_000, "\0"])
def test_something_else_than_networks_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is |must be"):
        read_networks(text, is_test=True)


def test_two_networks_are_told_apart() -> None:
    with pytest.raises(ValueError, match="one name"):
        read(NETWORK, COIN | {"name": "base"})
    with pytest.raises(ValueError, match="twice"):
        read(NETWORK, {**NETWORK, "name": "again", "token": str(NETWORK["token"]).lower()})


def test_test_money_is_not_offered_for_live_sessions() -> None:
    with pytest.raises(ValueError, match="PAYMENT_MODE"):
        read(NETWORK, is_test=False)
    assert read({**NETWORK, "test": False}, is_test=False)


def test_amounts_are_exact_in_base_units() -> None:
    usdc, ether = read(NETWORK, COIN)
    assert usdc.units_of(Money(4905, "USD")) == 49_050_000
    assert usdc.minor_of(49_059_999, "USD") == 4905
    assert ether.units_of(Money(2**62, "ETH")) == 2**62 * 10**16
    assert ether.minor_of(2**62 * 10**16 + 1, "ETH") == 2**62


@pytest.mark.parametrize(
    ("units", "decimals", "text"),
    [
        (49_000_000, 6, "49.00"),
        (1, 6, "0.000001"),
        (10**18, 18, "1.00"),
        (123_456_789_012_345_678_901, 18, "123.456789012345678901"),
        (5, 0, "5.00"),
        (0, 6, "0.00"),
    ],
)
def test_amounts_are_shown_with_every_digit(units: int, decimals: int, text: str) -> None:
    assert token_amount(units, decimals) == text


def problems(settings: Settings) -> list[str]:
    with pytest.raises(ConfigurationError) as refusal:
        Registry(settings)
    return [problem.split(":")[0] for problem in refusal.value.problems]


def test_whatever_is_wrong_is_named_at_the_start() -> None:
    good = with_chain(Settings(), NETWORK)
    assert Registry(good).get("web3")
    assert problems(replace(good, web3_networks="[]")) == ["WEB3_NETWORKS"]
    assert problems(replace(good, web3_xpub=XPUB[:-1])) == ["WEB3_XPUB"]
    assert problems(replace(good, web3_xpub=xprv_of(sha256(b"s").digest()))) == ["WEB3_XPUB"]
    assert problems(replace(good, web3_webhook_secret="whsec_short")) == ["WEB3_WEBHOOK_SECRET"]


def test_a_private_key_does_not_even_reach_the_provider() -> None:
    environment = {"WEB3_NETWORKS": json.dumps([NETWORK]), "WEB3_WEBHOOK_SECRET": WEBHOOK_SECRET}
    assert config.load({**environment, "WEB3_XPUB": XPUB}).web3_xpub == XPUB
    words = "test test test test test test test test test test test junk"
    for secret in (xprv_of(sha256(b"s").digest()), "tprv8Z", "0x" + "a1" * 32, "a1" * 32, words):
        with pytest.raises(ConfigurationError) as refusal:
            config.load({**environment, "WEB3_XPUB": secret})
        assert [problem.split(":")[0] for problem in refusal.value.problems] == ["WEB3_XPUB"]
        assert secret not in str(refusal.value)


def test_the_settings_are_set_together() -> None:
    usual = {"WEB3_NETWORKS": "[]", "WEB3_XPUB": XPUB, "WEB3_WEBHOOK_SECRET": WEBHOOK_SECRET}
    for name in usual:
        with pytest.raises(ConfigurationError) as refusal:
            config.load({**usual, name: ""})
        assert [problem.split(":")[0] for problem in refusal.value.problems] == [name]


def test_a_currency_without_a_token_worth_one_is_not_offered() -> None:
    registry = Registry(
        with_chain(Settings(), NETWORK, {**NETWORK, "name": "eur", "chain_id": 10, "currencies": ["EUR"]})
    )
    offered = {code: [one.name for one in registry.for_checkout(code)] for code in ("USD", "EUR", "PLN")}
    assert offered == {"USD": ["web3"], "EUR": ["web3"], "PLN": []}


def test_an_installation_without_it_loads_none_of_its_libraries() -> None:
    told = (
        "import sys; from portal import config, create_app;"
        "create_app(config.Settings(portal_env='testing', database_url='sqlite://', redis_url='redis://127.0.0.1:9/0'));"
        "print([name for name in ('coincurve', 'Crypto', 'httpx') if name in sys.modules])"
    )
    root = Path(__file__).resolve().parent.parent.parent.parent
    done = subprocess.run([sys.executable, "-c", told], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""PayU in an installation: its settings, the currencies its contract covers, and what checkout offers."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from portal import config
from portal.config import Settings
from portal.payments.providers.base import ProviderRejected
from portal.payments.providers.registry import Registry, UnknownProvider
from tests.core.test_config import GOOD
from tests.fakes.payu import CLIENT_SECRET, POS_ID, SECOND_KEY, FakePayU, sign
from tests.payments.providers.harness import request
from tests.payments.providers.payu_support import order

ACCOUNT = {"PAYU_MERCHANT_ID": POS_ID, "PAYU_SECRET_KEY": CLIENT_SECRET, "PAYU_WEBHOOK_SECRET": SECOND_KEY}
NOTHING = Settings(sandbox_enabled=False)
WITH_PAYU = replace(
    NOTHING, payu_merchant_id=POS_ID, payu_secret_key=CLIENT_SECRET, payu_webhook_secret=f"{SECOND_KEY}, old-key,"
)
GOLDEN = b'{"order":{"orderId":"O1","status":"PENDING","extOrderId":"x"}}'


def named(environment: dict[str, str]) -> list[str]:
    """The settings that are found wrong."""
    with pytest.raises(config.ConfigurationError) as refusal:
        config.load(environment)
    return [problem.partition(":")[0] for problem in refusal.value.problems]


def test_a_whole_account_loads() -> None:
    settings = config.load({**ACCOUNT, "PAYU_CURRENCIES": "PLN, EUR", "PAYU_CLIENT_ID": "7"})
    assert (settings.payu_merchant_id, settings.payu_currencies) == (POS_ID, "PLN, EUR")
    assert config.load({**GOOD, **ACCOUNT, "PAYU_API_URL": "https://secure.payu.com"}).is_production


@pytest.mark.parametrize("missing", list(ACCOUNT))
def test_half_an_account_is_refused(missing: str) -> None:
    """Without its second key no notification could be believed, and without the rest no order made."""
    assert named({name: value for name, value in ACCOUNT.items() if name != missing}) == [missing]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("PAYU_MERCHANT_ID", ["shop", "300 746", "3" * 21]),
        ("PAYU_CLIENT_ID", ["shop"]),
        ("PAYU_CURRENCIES", ["", "pln", "PLN;EUR", ",", "ZŁOTY"]),
        ("PAYU_API_URL", ["secure.payu.com", "ftp://secure.payu.com", "https://secure.payu.com/api", "https://"]),
    ],
)
def test_a_wrong_value_is_named(name: str, values: list[str]) -> None:
    for value in values:
        assert named({**ACCOUNT, name: value}) == [name], value


def test_test_and_live_are_not_mixed() -> None:
    assert named({**ACCOUNT, "PAYU_API_URL": "https://secure.payu.com"}) == ["PAYU_API_URL"]
    assert named({**GOOD, **ACCOUNT, "PAYU_API_URL": "https://secure.snd.payu.com/"}) == ["PAYU_API_URL"]
    assert named({**GOOD, **ACCOUNT, "PAYU_API_URL": "http://payu.example"}) == ["PAYU_API_URL"]


def test_it_is_off_until_it_is_configured() -> None:
    with pytest.raises(UnknownProvider):
        Registry(NOTHING).get("payu")
    assert Registry(WITH_PAYU).get("payu").title == "PayU"


@pytest.mark.parametrize(
    ("currencies", "offered"),
    [("PLN", ["PLN"]), ("PLN,EUR", ["PLN", "EUR"]), ("EUR", ["EUR"]), ("PLN, HUF ,", ["PLN", "HUF"])],
)
def test_checkout_offers_the_currencies_of_the_contract(currencies: str, offered: list[str]) -> None:
    registry = Registry(replace(WITH_PAYU, payu_currencies=currencies))
    assert [one for one in ("PLN", "EUR", "HUF", "USD") if registry.for_checkout(one)] == offered


def test_blik_is_for_zloty() -> None:
    registry = Registry(replace(WITH_PAYU, payu_currencies="PLN,EUR"))
    assert registry.methods("payu", "PLN") == ("card", "blik", "transfer")
    assert registry.methods("payu", "EUR") == ("card", "transfer")


def test_several_second_keys_stand_in_one_setting() -> None:
    provider = Registry(WITH_PAYU).get("payu")
    at = request().expires_at
    for key in (SECOND_KEY, "old-key"):
        assert (
            provider.parse_webhook({"OpenPayu-Signature": sign(GOLDEN, key)}, GOLDEN, at=at).delivery_key
            == "O1:PENDING"
        )


@pytest.mark.parametrize(("mode", "is_test"), [("test", True), ("live", False)])
def test_the_mode_decides_whose_money_it_is(mode: str, is_test: bool) -> None:
    provider = Registry(replace(WITH_PAYU, payment_mode=mode)).get("payu")
    body = json.dumps(order()).encode()
    headers = {"OpenPayu-Signature": sign(body, SECOND_KEY)}
    (event,) = provider.parse_webhook(headers, body, at=request().expires_at).events
    assert event.is_test is is_test


def test_a_client_id_of_its_own_and_the_portals_address_are_used() -> None:
    with FakePayU(webhook_url="") as fake:
        settings = replace(WITH_PAYU, payu_api_url=f"{fake.url}/", portal_url="https://shop.example/")
        Registry(settings).get("payu").start(request())
        (made,) = fake.world.orders.values()
        assert made["notifyUrl"] == "https://shop.example/api/v1/webhooks/payu"
        assert f"client_id={POS_ID}" in fake.calls[0].body
        with pytest.raises(ProviderRejected, match="right now"):
            Registry(replace(settings, payu_client_id="7")).get("payu").start(request(attempt=2))
        assert "client_id=7" in fake.calls[-1].body


def test_the_http_client_is_loaded_only_where_it_is_used() -> None:
    program = "import portal.payments.providers.registry, sys; sys.exit('httpx' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[3])

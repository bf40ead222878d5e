"""Which providers an installation has, and what checkout may offer."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from portal.config import Settings
from portal.payments.providers.base import InvalidSignature, Provider, SignatureProblem
from portal.payments.providers.registry import ROWS, Registry, Row, UnknownProvider
from portal.payments.providers.stripe import StripeProvider
from tests.fakes.stripe import FakeStripe, sign
from tests.payments.providers.harness import PROVIDERS, request

NOTHING = Settings(sandbox_enabled=False)
WITH_STRIPE = replace(NOTHING, stripe_secret_key="sk_test_1", stripe_webhook_secret="whsec_1")


def names(providers: tuple[Provider, ...]) -> list[str]:
    return [provider.name for provider in providers]


def test_nothing_is_on_until_it_is_configured() -> None:
    registry = Registry(NOTHING)
    assert registry.enabled() == ()
    assert registry.for_checkout("PLN") == ()
    with pytest.raises(UnknownProvider) as refusal:
        registry.get("stripe")
    assert refusal.value.status == 404


def test_a_configured_provider_is_on() -> None:
    registry = Registry(WITH_STRIPE)
    assert names(registry.enabled()) == ["stripe"]
    assert registry.get("stripe") is registry.enabled()[0]


@pytest.mark.parametrize("name", ["", "Stripe", "paypal", "../stripe", "stripe\0"])
def test_an_unknown_name_is_not_found(name: str) -> None:
    with pytest.raises(UnknownProvider):
        Registry(WITH_STRIPE).get(name)


def test_checkout_offers_what_takes_the_currency() -> None:
    registry = Registry(WITH_STRIPE)
    assert names(registry.for_checkout("PLN")) == ["stripe"]
    assert names(registry.for_checkout("UGX")) == []


def test_blik_is_for_zloty() -> None:
    registry = Registry(WITH_STRIPE)
    assert registry.methods("stripe", "PLN") == ("card", "blik")
    assert registry.methods("stripe", "USD") == ("card",)
    with pytest.raises(UnknownProvider):
        registry.methods("paypal", "PLN")


def test_the_address_of_the_api_is_a_setting() -> None:
    with FakeStripe() as fake:
        settings = replace(WITH_STRIPE, stripe_secret_key=fake.api_key, stripe_api_base=f"{fake.url}/")
        assert Registry(settings).get("stripe").start(request()).redirect_url.startswith(fake.url)


def test_several_secrets_stand_in_one_setting() -> None:
    provider = Registry(replace(WITH_STRIPE, stripe_webhook_secret="whsec_new, whsec_old,")).get("stripe")
    body = b'{"id":"evt_1","object":"event","type":"account.updated"}'
    at = request().expires_at
    for secret in ("whsec_new", "whsec_old"):
        headers = {"Stripe-Signature": sign(body, [secret], at=int(at.timestamp()))}
        assert provider.parse_webhook(headers, body, at=at).delivery_key == "evt_1"
    headers = {"Stripe-Signature": sign(body, [""], at=int(at.timestamp()))}
    with pytest.raises(InvalidSignature) as refusal:
        provider.parse_webhook(headers, body, at=at)
    assert refusal.value.reason is SignatureProblem.NO_MATCH


def test_a_provider_is_one_row() -> None:
    stripe = StripeProvider(api_key="sk_test_1", webhook_secrets=["whsec_1"])
    rows = (Row("mine", lambda _settings: stripe, takes=lambda currency: currency == "EUR"),)
    registry = Registry(NOTHING, rows)
    assert registry.get("mine") is stripe
    assert registry.for_checkout("EUR") == (stripe,)
    assert registry.for_checkout("PLN") == ()


def test_every_row_is_held_to_the_contract() -> None:
    assert {row.name for row in ROWS} == set(PROVIDERS)


def test_the_library_is_loaded_only_where_stripe_is_used() -> None:
    program = "import portal.payments.providers.registry, sys; sys.exit('stripe' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[3])

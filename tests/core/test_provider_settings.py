"""A wrong setting of Recurrente or One.com stops the start and is named."""

import pytest

from portal import config

KEY = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"
LINK = "https://shop.example/pay?ref={reference}"
RECURRENTE = {"RECURRENTE_SECRET_KEY": "sk_test_1", "RECURRENTE_WEBHOOK_SECRET": KEY}
ONECOM = {"ONECOM_CHECKOUT_URL": LINK, "ONECOM_WEBHOOK_SECRET": KEY}
PRODUCTION = {
    "PORTAL_ENV": "production", "SECRET_KEY": "x" * 48, "SANDBOX_ENABLED": "off", "EMAIL_BACKEND": "smtp",
    "PORTAL_URL": "https://portal.example", "PAYMENT_MODE": "live",
}  # fmt: skip


def problems(**environment: str) -> list[str]:
    """The names of the settings that are refused."""
    try:
        config.load(environment)
    except config.ConfigurationError as error:
        return [problem.partition(":")[0] for problem in error.problems]
    return []


@pytest.mark.parametrize(
    "environment",
    [
        {}, RECURRENTE, ONECOM, {**RECURRENTE, "RECURRENTE_PUBLIC_KEY": "pk_test_1"},
        {**RECURRENTE, "RECURRENTE_WEBHOOK_SECRET": f"{KEY}, {KEY},"},
        {**RECURRENTE, "RECURRENTE_API_URL": "http://127.0.0.1:9000/api"},
        {**ONECOM, "ONECOM_CHECKOUT_URL": "http://127.0.0.1:9/{currency}/{amount}?r={reference}&b={return_url}"},
        {**ONECOM, "ONECOM_REQUIRE_AMOUNT": "off"},
        {**PRODUCTION, **ONECOM, **RECURRENTE, "RECURRENTE_SECRET_KEY": "sk_live_1"},
    ],
)  # fmt: skip
def test_what_works(environment: dict[str, str]) -> None:
    assert problems(**environment) == []


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"RECURRENTE_SECRET_KEY": "sk_test_1"}, "RECURRENTE_WEBHOOK_SECRET"),
        ({**RECURRENTE, "RECURRENTE_WEBHOOK_SECRET": "whsec_c2hvcnQ="}, "RECURRENTE_WEBHOOK_SECRET"),
        ({**RECURRENTE, "RECURRENTE_WEBHOOK_SECRET": "nonsense!"}, "RECURRENTE_WEBHOOK_SECRET"),
        ({**RECURRENTE, "RECURRENTE_SECRET_KEY": "sk_live_1"}, "RECURRENTE_SECRET_KEY"),
        ({**RECURRENTE, "RECURRENTE_PUBLIC_KEY": "pk_live_1"}, "RECURRENTE_PUBLIC_KEY"),
        ({**PRODUCTION, **RECURRENTE}, "RECURRENTE_SECRET_KEY"),
        ({**RECURRENTE, "RECURRENTE_API_URL": "app.recurrente.com"}, "RECURRENTE_API_URL"),
        ({**RECURRENTE, "RECURRENTE_API_URL": "https://"}, "RECURRENTE_API_URL"),
        ({**RECURRENTE, "RECURRENTE_API_URL": "https://a b/api"}, "RECURRENTE_API_URL"),
        ({**PRODUCTION, "RECURRENTE_API_URL": "http://app.recurrente.com/api"}, "RECURRENTE_API_URL"),
        ({"ONECOM_CHECKOUT_URL": LINK}, "ONECOM_WEBHOOK_SECRET"),
        ({"ONECOM_WEBHOOK_SECRET": KEY}, "ONECOM_CHECKOUT_URL"),
        ({**ONECOM, "ONECOM_WEBHOOK_SECRET": "whsec_MDEyMzQ1Njc4OWFiY2RlZg=="}, "ONECOM_WEBHOOK_SECRET"),
        ({**ONECOM, "ONECOM_CHECKOUT_URL": "https://shop.example/pay"}, "ONECOM_CHECKOUT_URL"),
        ({**ONECOM, "ONECOM_CHECKOUT_URL": f"{LINK}&x={{secret}}"}, "ONECOM_CHECKOUT_URL"),
        ({**ONECOM, "ONECOM_CHECKOUT_URL": f"{LINK}&x={{"}, "ONECOM_CHECKOUT_URL"),
        ({**ONECOM, "ONECOM_CHECKOUT_URL": "javascript:{reference}"}, "ONECOM_CHECKOUT_URL"),
        ({**ONECOM, "ONECOM_CHECKOUT_URL": "https://{reference}/pay"}, "ONECOM_CHECKOUT_URL"),
        ({**PRODUCTION, **ONECOM, "ONECOM_CHECKOUT_URL": LINK.replace("https", "http")}, "ONECOM_CHECKOUT_URL"),
        ({**ONECOM, "ONECOM_REQUIRE_AMOUNT": "maybe"}, "ONECOM_REQUIRE_AMOUNT"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named(environment: dict[str, str], named: str) -> None:
    assert problems(**environment) == [named]


def test_an_amount_is_required_unless_somebody_said_otherwise() -> None:
    assert config.load({}).onecom_require_amount is True


SHIPS = {
    "EASYPOST_API_KEY": "EZTKtest", "EASYPOST_WEBHOOK_SECRET": "secret", "SHIP_FROM_LINE1": "ul. Prosta 20",
    "SHIP_FROM_CITY": "Warszawa", "SHIP_FROM_ZIP": "00-850", "SHIP_FROM_COUNTRY": "PL",
    "SHIP_FROM_PHONE": "+48221234567",
}  # fmt: skip


def test_a_carrier_with_all_it_needs_is_taken() -> None:
    assert config.load(SHIPS).easypost_api_key == "EZTKtest"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"EASYPOST_WEBHOOK_SECRET": " , "}, "EASYPOST_WEBHOOK_SECRET"),
        ({"EASYPOST_API_KEY": "EZAKreal"}, "EASYPOST_API_KEY"),
        ({"PAYMENT_MODE": "live"}, "EASYPOST_API_KEY"),
        ({"EASYPOST_API_BASE": "ftp://x"}, "EASYPOST_API_BASE"),
        ({"SHIP_FROM_COUNTRY": "Poland"}, "SHIP_FROM_COUNTRY"),
        ({"SHIP_FROM_PHONE": ""}, "SHIP_FROM_PHONE"),
        ({"SHIP_FROM_LINE1": ""}, "SHIP_FROM_LINE1"),
    ],
)
def test_a_carrier_that_lacks_something_stops_the_start(change: dict[str, str], named: str) -> None:
    with pytest.raises(config.ConfigurationError) as refusal:
        config.load({**SHIPS, **change})
    assert [problem.partition(":")[0] for problem in refusal.value.problems] == [named]

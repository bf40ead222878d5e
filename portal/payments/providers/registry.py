"""Which providers exist, and which of them are switched on. A new provider is one module and one row in `ROWS`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from flask_babel import lazy_gettext as _l

from portal.config import ConfigurationError, Settings
from portal.core.errors import NotFound
from portal.payments.providers.base import Provider, TakesSomeCurrencies

# A method that exists in these currencies only, whoever offers it.
_METHOD_CURRENCIES = {"blik": frozenset({"PLN"})}


class UnknownProvider(NotFound):
    """No such provider, or it is not switched on."""

    default = _l("This way to pay is not available.")


@dataclass(frozen=True, slots=True)
class Row:
    """One provider: `build` returns None while the settings for it are empty."""

    name: str
    build: Callable[[Settings], Provider | None]
    takes: Callable[[str], bool] = lambda _currency: True  # Which currencies, in upper case.


def _stripe(settings: Settings) -> Provider | None:
    if not settings.stripe_secret_key:
        return None
    # Here, because the SDK takes half a second to load.
    from portal.payments.providers.stripe import StripeProvider

    return StripeProvider(
        api_key=settings.stripe_secret_key,
        webhook_secrets=_list(settings.stripe_webhook_secret),
        api_base=settings.stripe_api_base or None,
    )


def _sandbox(settings: Settings) -> Provider | None:
    # Its settings are refused in production already; whoever builds them by hand is stopped here.
    if not settings.sandbox_enabled or settings.is_production:
        return None
    # Here, because it has tables of its own, and the contract must not need them.
    from portal.payments.providers.sandbox.keys import keys_of
    from portal.payments.providers.sandbox.provider import SandboxProvider

    return SandboxProvider(keys=keys_of(settings), portal_url=settings.portal_url)


def _btcpay(settings: Settings) -> Provider | None:
    if not settings.btcpay_url:
        return None
    # Here, because the HTTP client is loaded by those who use it.
    from portal.payments.providers.btcpay import BTCPayProvider

    return BTCPayProvider(
        url=settings.btcpay_url,
        api_key=settings.btcpay_api_key,
        store_id=settings.btcpay_store_id,
        webhook_secrets=_list(settings.btcpay_webhook_secret),
    )


def _web3(settings: Settings) -> Provider | None:
    if not settings.web3_networks:
        return None
    # Here, because the curve's library is loaded by those who use it.
    from portal.payments.providers.standard_webhooks import key_of
    from portal.payments.providers.web3.addresses import read_xpub
    from portal.payments.providers.web3.networks import read_networks
    from portal.payments.providers.web3.provider import ChainProvider

    named = "WEB3_NETWORKS"
    try:
        networks = read_networks(settings.web3_networks, is_test=settings.payment_mode == "test")
        named = "WEB3_XPUB"
        account = read_xpub(settings.web3_xpub)
        named = "WEB3_WEBHOOK_SECRET"
        keys = tuple(key_of(secret) for secret in _list(settings.web3_webhook_secret))
    except ValueError as error:
        raise ConfigurationError([f"{named}: {error}"]) from None
    return ChainProvider(account=account, networks=networks, keys=keys, portal_url=settings.portal_url)


def _list(text: str) -> tuple[str, ...]:
    """Several secrets in one setting, separated by commas: the current one first, the old one until it is retired."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


# In the order checkout shows them.
ROWS: tuple[Row, ...] = (
    Row("stripe", _stripe, takes=lambda currency: currency != "UGX"),
    Row("btcpay", _btcpay),
    Row("web3", _web3),
    Row("sandbox", _sandbox),
)


class Registry:
    """The providers of this installation, built once from the settings."""

    def __init__(self, settings: Settings, rows: Iterable[Row] = ROWS) -> None:
        self._rows: dict[str, Row] = {}
        self._providers: dict[str, Provider] = {}
        for row in rows:
            provider = row.build(settings)
            if provider is not None:
                self._rows[row.name] = row
                self._providers[row.name] = provider

    def get(self, name: str) -> Provider:
        """The provider with this name. Raises UnknownProvider."""
        try:
            return self._providers[name]
        except KeyError:
            raise UnknownProvider from None

    def enabled(self) -> tuple[Provider, ...]:
        """All that are switched on."""
        return tuple(self._providers.values())

    def for_checkout(self, currency: str) -> tuple[Provider, ...]:
        """Those that take this currency, in the order to show them."""
        return tuple(
            provider
            for name, provider in self._providers.items()
            if self._rows[name].takes(currency)
            and (not isinstance(provider, TakesSomeCurrencies) or provider.takes(currency))
        )

    def methods(self, name: str, currency: str) -> tuple[str, ...]:
        """How one can pay there in this currency: BLIK in PLN only, for instance. Raises UnknownProvider."""
        return tuple(
            method
            for method in self.get(name).capabilities.methods
            if currency in _METHOD_CURRENCIES.get(method, frozenset({currency}))
        )

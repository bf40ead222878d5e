"""Which providers exist, and which of them are switched on. A new provider is one module and one row in `ROWS`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from flask_babel import lazy_gettext as _l

from portal.config import ConfigurationError, Settings
from portal.core.errors import NotFound
from portal.payments.providers.base import Provider
from portal.payments.providers.onecom import OneComProvider

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
    is_make_believe: bool = False  # Moves no real money whatever the installation's mode is.


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


def _payu(settings: Settings) -> Provider | None:
    if not settings.payu_secret_key:
        return None
    # Here, because the HTTP client takes a quarter of a second to load.
    from portal.payments.providers.payu import LIVE_URL, SANDBOX_URL, PayUProvider

    usual = LIVE_URL if settings.payment_mode == "live" else SANDBOX_URL
    return PayUProvider(
        pos_id=settings.payu_merchant_id,
        client_id=settings.payu_client_id or settings.payu_merchant_id,
        client_secret=settings.payu_secret_key,
        webhook_secrets=_list(settings.payu_webhook_secret),
        currencies=_list(settings.payu_currencies),
        api_url=settings.payu_api_url or usual,
        portal_url=settings.portal_url,
    )


def _recurrente(settings: Settings) -> Provider | None:
    if not settings.recurrente_secret_key:
        return None
    # Here, because the HTTP client takes a while to load.
    from portal.payments.providers.recurrente import RecurrenteProvider

    return RecurrenteProvider(
        secret_key=settings.recurrente_secret_key,
        public_key=settings.recurrente_public_key,
        webhook_secrets=_list(settings.recurrente_webhook_secret),
        api_url=settings.recurrente_api_url or None,
    )


def _onecom(settings: Settings) -> Provider | None:
    if not settings.onecom_checkout_url:
        return None
    return OneComProvider(
        checkout_url=settings.onecom_checkout_url,
        webhook_secrets=_list(settings.onecom_webhook_secret),
        requires_amount=settings.onecom_require_amount,
    )


def _sandbox(settings: Settings) -> Provider | None:
    # Its settings are refused in production already; whoever builds them by hand is stopped here.
    if not settings.sandbox_enabled or settings.is_production:
        return None
    # Here, because it has tables of its own, and the contract must not need them.
    from portal.payments.providers.sandbox.keys import keys_of
    from portal.payments.providers.sandbox.provider import SandboxProvider

    is_development = settings.portal_env == "development"
    return SandboxProvider(keys=keys_of(settings), portal_url=settings.portal_url, shows_signatures=is_development)


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


def _is_agreed(provider: Provider, currency: str) -> bool:
    """Whether our account at the provider has this currency, as far as the account decides."""
    agreed = provider.capabilities.currencies
    return agreed is None or currency in agreed


# In the order checkout shows them.
ROWS: tuple[Row, ...] = (
    Row("stripe", _stripe, takes=lambda currency: currency != "UGX"),
    Row("payu", _payu),
    Row("recurrente", _recurrente, takes=lambda currency: currency in ("GTQ", "USD")),
    Row("onecom", _onecom),
    Row("btcpay", _btcpay),
    Row("web3", _web3),
    Row("sandbox", _sandbox, is_make_believe=True),
)


class Registry:
    """The providers of this installation, built once from the settings."""

    def __init__(self, settings: Settings, rows: Iterable[Row] = ROWS) -> None:
        self._mode = settings.payment_mode
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

    def mode_of(self, name: str) -> str:
        """Whether the money at a provider is real: test or live. Raises UnknownProvider.

        One installation has one set of credentials, of its own mode; the make-believe provider is a test always.
        """
        self.get(name)
        return "test" if self._rows[name].is_make_believe else self._mode

    def get_for(self, name: str, mode: str) -> Provider:
        """The provider, when its money is of this mode. Raises UnknownProvider.

        A test must never be paid with real money, nor a real sale with make-believe.
        """
        provider = self.get(name)
        if self.mode_of(name) != mode:
            raise UnknownProvider
        return provider

    def for_checkout(
        self, currency: str, mode: str | None = None, *, is_recurring: bool = False
    ) -> tuple[Provider, ...]:
        """Those that take this currency in this mode (by default the installation's), in the order to show them;
        with `is_recurring` those that charge again by themselves."""
        wanted = mode or self._mode
        return tuple(
            provider
            for name, provider in self._providers.items()
            if self._rows[name].takes(currency)
            and _is_agreed(provider, currency)
            and self.mode_of(name) == wanted
            and (provider.capabilities.recurring or not is_recurring)
        )

    def methods(self, name: str, currency: str) -> tuple[str, ...]:
        """How one can pay there in this currency: BLIK in PLN only, for instance. Raises UnknownProvider."""
        return tuple(
            method
            for method in self.get(name).capabilities.methods
            if currency in _METHOD_CURRENCIES.get(method, frozenset({currency}))
        )

"""Which providers exist, and which of them are switched on. A new provider is one module and one row in `ROWS`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from flask_babel import lazy_gettext as _l

from portal.config import Settings
from portal.core.errors import NotFound
from portal.payments.providers.base import Provider

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


def _sandbox(settings: Settings) -> Provider | None:
    # Its settings are refused in production already; whoever builds them by hand is stopped here.
    if not settings.sandbox_enabled or settings.is_production:
        return None
    # Here, because it has tables of its own, and the contract must not need them.
    from portal.payments.providers.sandbox.keys import keys_of
    from portal.payments.providers.sandbox.provider import SandboxProvider

    return SandboxProvider(keys=keys_of(settings), portal_url=settings.portal_url)


def _list(text: str) -> tuple[str, ...]:
    """Several secrets in one setting, separated by commas: the current one first, the old one until it is retired."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


# In the order checkout shows them.
ROWS: tuple[Row, ...] = (
    Row("stripe", _stripe, takes=lambda currency: currency != "UGX"),
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

    def for_checkout(self, currency: str, mode: str | None = None) -> tuple[Provider, ...]:
        """Those that take this currency in this mode (by default the installation's), in the order to show them."""
        wanted = mode or self._mode
        return tuple(
            self._providers[name]
            for name, row in self._rows.items()
            if row.takes(currency) and self.mode_of(name) == wanted
        )

    def methods(self, name: str, currency: str) -> tuple[str, ...]:
        """How one can pay there in this currency: BLIK in PLN only, for instance. Raises UnknownProvider."""
        return tuple(
            method
            for method in self.get(name).capabilities.methods
            if currency in _METHOD_CURRENCIES.get(method, frozenset({currency}))
        )

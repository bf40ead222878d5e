"""Money as integers in minor units; the digits of each currency are known here and nowhere else."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

# ISO 4217 currencies whose minor unit is not 1/100, as far as anything sold here can meet them.
_DIGITS = {
    "BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
    "BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0, "RWF": 0,
    "UGX": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
}  # fmt: skip
# ISO 4217: the currencies that are legal tender somewhere today. No funds, no metals, nothing withdrawn.
_CURRENCIES = frozenset({
    "AED", "AFN", "ALL", "AMD", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BGN", "BHD", "BIF", "BMD",
    "BND", "BOB", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF", "CLP", "CNY", "COP", "CRC", "CUP",
    "CVE", "CZK", "DJF", "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL", "GHS", "GIP",
    "GMD", "GNF", "GTQ", "GYD", "HKD", "HNL", "HTG", "HUF", "IDR", "ILS", "INR", "IQD", "IRR", "ISK", "JMD", "JOD",
    "JPY", "KES", "KGS", "KHR", "KMF", "KPW", "KRW", "KWD", "KYD", "KZT", "LAK", "LBP", "LKR", "LRD", "LSL", "LYD",
    "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR", "MVR", "MWK", "MXN", "MYR", "MZN", "NAD", "NGN",
    "NIO", "NOK", "NPR", "NZD", "OMR", "PAB", "PEN", "PGK", "PHP", "PKR", "PLN", "PYG", "QAR", "RON", "RSD", "RUB",
    "RWF", "SAR", "SBD", "SCR", "SDG", "SEK", "SGD", "SHP", "SLE", "SOS", "SRD", "SSP", "STN", "SYP", "SZL", "THB",
    "TJS", "TMT", "TND", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH", "UGX", "USD", "UYU", "UZS", "VES", "VND", "VUV",
    "WST", "XAF", "XCD", "XOF", "XPF", "YER", "ZAR", "ZMW", "ZWG",
})  # fmt: skip
BASIS_POINTS = 10_000
# PostgreSQL's bigint is the widest column an amount lives in.
MAX_MINOR = 2**63 - 1


class CurrencyMismatch(ValueError):
    """Two currencies met in one sum: a bug in the caller, never a customer's mistake."""


def digits(currency: str) -> int:
    """How many decimal places the currency is written with (ISO 4217)."""
    return _DIGITS.get(currency, 2)


def is_currency(code: str) -> bool:
    """Whether this is a currency that anybody can be asked to pay in."""
    return code in _CURRENCIES


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """An exact amount: `amount_minor` in the smallest unit, `currency` as three upper-case letters."""

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        if isinstance(self.amount_minor, bool) or not isinstance(self.amount_minor, int):
            raise TypeError(f"amount_minor must be an int, not {type(self.amount_minor).__name__}")
        if len(self.currency) != 3 or not self.currency.isascii() or not self.currency.isupper():
            raise ValueError(f"not a currency code: {self.currency!r}")
        if abs(self.amount_minor) > MAX_MINOR:
            raise ValueError("amount does not fit in 64 bits")

    def __add__(self, other: "Money") -> "Money":
        self._same_currency(other)
        return Money(self.amount_minor + other.amount_minor, self.currency)

    def __sub__(self, other: "Money") -> "Money":
        self._same_currency(other)
        return Money(self.amount_minor - other.amount_minor, self.currency)

    def __mul__(self, count: int) -> "Money":
        return Money(self.amount_minor * count, self.currency)

    def __lt__(self, other: "Money") -> bool:
        self._same_currency(other)
        return self.amount_minor < other.amount_minor

    def __le__(self, other: "Money") -> bool:
        self._same_currency(other)
        return self.amount_minor <= other.amount_minor

    def to_decimal(self) -> Decimal:
        """The amount in major units, exact: 6900 PLN is Decimal('69.00')."""
        return Decimal(self.amount_minor).scaleb(-digits(self.currency))

    @classmethod
    def parse(cls, text: str, currency: str) -> "Money":
        """Read an amount in major units as a person types it; raises ValueError when it is not exact."""
        try:
            amount = Decimal(text.strip().replace(" ", "").replace("\u00a0", "").replace(",", "."))
            minor = amount.scaleb(digits(currency)) if amount.is_finite() else None
        except ArithmeticError:
            # Not a number at all, or one like 1e999999999.
            raise ValueError(f"not an amount: {text!r}") from None
        if minor is None or minor != minor.to_integral_value():
            raise ValueError(f"not an amount in {currency}: {text!r}")
        return cls(int(minor), currency)

    def allocate(self, weights: Sequence[int]) -> list["Money"]:
        """Split by weights so that the parts add up to the whole; left-over units go to the first parts."""
        total = sum(weights)
        if total <= 0 or any(weight < 0 for weight in weights):
            raise ValueError("weights must be non-negative and not all zero")
        shares = [self.amount_minor * weight // total for weight in weights]
        left = self.amount_minor - sum(shares)
        takers = [index for index, weight in enumerate(weights) if weight]
        for index in takers[:left]:
            shares[index] += 1
        return [Money(share, self.currency) for share in shares]

    def _same_currency(self, other: "Money") -> None:
        if self.currency != other.currency:
            raise CurrencyMismatch(f"{self.currency} and {other.currency}")


def sum_money(amounts: Sequence[Money], currency: str) -> Money:
    """Add up amounts of one currency; an empty sum is zero of it."""
    total = Money(0, currency)
    for amount in amounts:
        total = total + amount
    return total


def largest_remainders(amount: int, weights: Sequence[int]) -> list[int]:
    """Split an amount in proportion to whole weights; the parts add up, and none is above its weight if the amount is
    not above their sum. Left-over units go to the largest remainders, the first of equal ones."""
    total = sum(weights)
    if total <= 0:
        raise ValueError("nothing to split by")
    shares = [amount * weight // total for weight in weights]
    remainders = [amount * weight % total for weight in weights]
    takers = sorted(range(len(weights)), key=lambda index: (-remainders[index], index))
    for index in takers[: amount - sum(shares)]:
        shares[index] += 1
    return shares


def tax_included(gross_minor: int, rate_basis_points: int) -> int:
    """The tax inside a gross amount, rounded half up to the minor unit: 23 % of 69.00 is 12.90."""
    rate = Decimal(rate_basis_points)
    tax = Decimal(gross_minor) * rate / (BASIS_POINTS + rate)
    return int(tax.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def tax_added(net_minor: int, rate_basis_points: int) -> int:
    """The tax on top of a net amount, rounded half up to the minor unit: 23 % on 56.10 is 12.90."""
    tax = Decimal(net_minor) * Decimal(rate_basis_points) / BASIS_POINTS
    return int(tax.quantize(Decimal(1), rounding=ROUND_HALF_UP))

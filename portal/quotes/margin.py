"""What a quote leaves us: what is asked for, without tax, against what its parts cost by their price book."""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from portal.core.money import tax_included
from portal.quotes.models import Quote
from portal.quotes.pricing.price import Price

_TENTH = Decimal("0.1")


@dataclass(frozen=True, slots=True)
class Margin:
    """All in minor units. `is_complete` says whether every part's cost is in it: one without a price has none."""

    asked_minor: int
    net_minor: int
    cost_minor: int
    is_complete: bool

    @property
    def left_minor(self) -> int:
        """What is left after tax and cost; below zero we pay for it."""
        return self.net_minor - self.cost_minor

    @property
    def percent(self) -> Decimal | None:
        """The same as a share of the price without tax; none of nothing."""
        if not self.net_minor:
            return None
        return (Decimal(self.left_minor) * 100 / self.net_minor).quantize(_TENTH, ROUND_HALF_UP)


def margin_of(price: Price, total_minor: int) -> Margin:
    """What would be left if `total_minor` were asked for the parts of a price."""
    net_minor = total_minor - tax_included(total_minor, price.tax_rate_basis_points)
    return Margin(total_minor, net_minor, price.cost_minor, price.is_complete)


def margin_of_quote(quote: Quote) -> Margin | None:
    """What a quote leaves at the total it stands at; none when nothing in it was priced."""
    if not quote.pricing:
        return None
    return margin_of(Price.from_json(quote.pricing), quote.total_minor)

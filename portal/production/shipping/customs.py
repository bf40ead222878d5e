"""What a customs office wants to know of a parcel that leaves the EU's customs territory, or goes between others.

Values are what the customer paid, spread over the parts by their prices; weights are the parts' own, and never more
than the parcel weighs. Council Regulation (EU) 952/2013, article 4, says what belongs to the territory.
"""

from collections.abc import Mapping
from typing import Any

from portal.core import settings
from portal.core.money import Money, largest_remainders
from portal.production.models import SalesOrder
from portal.production.shipping.boxes import counts_and_grams
from portal.production.shipping.carriers.base import Address, Customs, CustomsItem, Parcel

_EU = frozenset(
    {
        "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU",
        "LV", "MC", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
    }
)  # fmt: skip
# Places of member states where a parcel needs papers, by the beginning of their zip codes: Canary Islands, Ceuta and
# Melilla; Heligoland and Büsingen; Livigno; the Åland Islands.
_OUTSIDE = {"ES": ("35", "38", "51", "52"), "DE": ("27498", "78266"), "IT": ("23041",), "FI": ("22",)}
# Goods to Northern Ireland stay within the EU's rules.
_NORTHERN_IRELAND = "BT"


def needs_customs(origin: Address, destination: Address) -> bool:
    """Whether a parcel between these places crosses a customs border."""
    return bool(origin.country) and _territory(origin) != _territory(destination)


def _territory(address: Address) -> str:
    country, code = address.country.upper(), address.zip.upper().replace(" ", "")
    if country in _EU and not code.startswith(_OUTSIDE.get(country, ())):
        return "EU"
    if country == "GB" and code.startswith(_NORTHERN_IRELAND):
        return "EU"
    return f"{country}-outside" if country in _EU else country


def papers_for(sales_order: SalesOrder, parcel: Parcel, origin: Address) -> Customs | None:
    """The declaration for an order's parcel; None when it needs none."""
    destination = Address.of(sales_order.shipping_address)
    if not needs_customs(origin, destination):
        return None
    parts = _parts(sales_order.frozen) or [(_described(""), 1, 0, 0)]
    order = sales_order.order
    values = _spread(order.total_minor, [price for _words, _count, _grams, price in parts])
    weights = _weights(parcel.grams, [(count, grams) for _words, count, grams, _price in parts])
    configured = settings.current()
    items = tuple(
        CustomsItem(
            description=words,
            quantity=count,
            value=Money(value, order.currency),
            grams=grams,
            tariff_number=configured.customs_tariff_number,
            origin_country=configured.customs_origin_country or origin.country,
        )
        for (words, count, _grams, _price), value, grams in zip(parts, values, weights, strict=True)
    )
    return Customs(items, signer=origin.name)


def _parts(frozen: Mapping[str, Any]) -> list[tuple[str, int, int, int]]:
    """What each part is, how many there are, and the grams and the price of all of them."""
    items = frozen.get("items") or []
    found = counts_and_grams(frozen)
    return [
        (_described(item.get("material") or ""), count, count * grams, int(item.get("total_minor") or 0))
        for item, (count, grams) in zip(items, found, strict=False)
    ]


def _described(material: str) -> str:
    """In English, which every customs office reads."""
    return f"3D-printed part, {material.upper()}" if material else "3D-printed parts of plastic"


def _spread(amount: int, shares: list[int]) -> list[int]:
    """An amount over several things, none of which gets nothing."""
    parts = largest_remainders(amount, shares) if any(shares) else [0]
    if all(parts):
        return parts
    # Something would be worth or weigh nothing, which no carrier believes: everything begins with one.
    return [1 + part for part in largest_remainders(max(amount - len(shares), 0), [share + 1 for share in shares])]


def _weights(parcel_grams: int, parts: list[tuple[int, int]]) -> list[int]:
    """The grams of each kind of part; by their number when one is not known, and no more than the parcel has."""
    known = [grams for _count, grams in parts]
    if all(known) and sum(known) <= parcel_grams:
        return known
    return _spread(parcel_grams, known if all(known) else [count for count, _grams in parts])

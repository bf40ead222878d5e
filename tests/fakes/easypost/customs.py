"""The declaration that goes with a parcel across a border: https://docs.easypost.com/docs/customs-infos."""

import re
from typing import Any

from tests.fakes.easypost.errors import ApiError

_CONTENTS = (
    "documents", "gift", "merchandise", "returned_goods", "sample", "dangerous_goods", "humanitarian_donation", "other",
)  # fmt: skip
# Countries between which our tests send without a declaration.
_UNION = ("PL", "DE", "ES", "FR", "CZ", "SE")


def is_border(origin: dict[str, Any], destination: dict[str, Any]) -> bool:
    """Whether carriers want a declaration between these countries."""
    countries = {origin["country"], destination["country"]}
    return len(countries) > 1 and not countries <= set(_UNION)


def check(info: Any) -> Any:
    """A declaration as it came, or None. Raises ApiError for one that no carrier would take."""
    if info is None:
        return None
    items = info.get("customs_items")
    _demand(info.get("contents_type") in _CONTENTS, "contents_type", "is not included in the list")
    _demand(info.get("restriction_type") == "none", "restriction_type", "is not included in the list")
    _demand(bool(info.get("customs_signer")) or not info.get("customs_certify"), "customs_signer", "can't be blank")
    _demand(isinstance(items, list) and bool(items), "customs_items", "can't be blank")
    for item in items:
        for name in ("quantity", "value", "weight"):
            is_number = isinstance(item.get(name), int | float)
            _demand(is_number and item[name] > 0, name, "must be greater than 0")
        _demand(bool(item.get("description")), "description", "can't be blank")
        _demand(bool(re.fullmatch(r"[A-Z]{2}", item.get("origin_country") or "")), "origin_country", "is invalid")
        _demand(bool(re.fullmatch(r"[A-Z]{3}", item.get("currency") or "")), "currency", "is invalid")
        _demand(
            bool(re.fullmatch(r"[0-9.]{6,13}", item.get("hs_tariff_number") or "")), "hs_tariff_number", "is invalid"
        )
    return info


def _demand(is_right: bool, field: str, message: str) -> None:
    if not is_right:
        raise ApiError(422, "CUSTOMS_INFO.INVALID", "The customs declaration is wrong.", **{field: message})

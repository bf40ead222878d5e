"""Findings in the customer's language."""

from collections.abc import Mapping
from typing import Any

from flask_babel import gettext

from portal.quotes.measuring.outcomes import CODES


def sentence(found: Mapping[str, Any]) -> str:
    """What is wrong, where, and what to do, from a stored finding."""
    values = {"object": "?", **found["values"]}
    detail = str(values.get("detail") or "")
    return str(gettext(CODES[found["code"]][1], **{**values, "detail": gettext(detail) if detail else ""}))

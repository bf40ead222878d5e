"""What all queues of the work list have in common: their names, and the columns of a row."""

from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, Select, String, cast, literal, null

from portal.core.db import db

# A queue that long needs no exact number: the page says 99+.
LIMIT = 100


class WorkKind(StrEnum):
    """The queues, in the order in which their filters are shown."""

    CONFLICT = "conflict"
    UNMATCHED = "unmatched"
    PARKED = "parked"
    NO_INVOICE = "no_invoice"
    NO_ORDER = "no_order"
    UNFULFILLED = "unfulfilled"
    LATE = "late"
    MAIL = "mail"
    EFFECT = "effect"
    REFUND = "refund"
    DISPUTE = "dispute"
    PRODUCTION = "production"
    QUOTE = "quote"
    CHANGE = "change"


def row(
    kind: WorkKind,
    *,
    id: Any,  # noqa: A002  # the column's name in the result
    name: Any,
    note: Any,
    since: Any,
    detail: Any = None,
    amount_minor: Any = None,
    currency: Any = None,
    facts: Any = None,
) -> Select[Any]:
    """One branch's columns, the same for all; PostgreSQL wants to know the type even of what is missing."""
    columns: Select[Any] = db.select(
        literal(kind.value, String).label("kind"),
        id.label("id"),
        cast(name, String).label("name"),
        cast(note, String).label("note"),
        cast(null() if detail is None else detail, String).label("detail"),
        cast(null() if amount_minor is None else amount_minor, BigInteger).label("amount_minor"),
        cast(null() if currency is None else currency, String).label("currency"),
        since.label("since"),
        (cast(null(), JSON) if facts is None else facts).label("facts"),
    )
    return columns

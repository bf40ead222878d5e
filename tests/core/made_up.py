"""Rows of any table with values that its constraints let through, for tests that walk over every model."""

import itertools
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, Boolean, Enum, Integer, String, Text, inspect
from sqlalchemy.orm import Mapper

from portal.accounts.models import User
from portal.core.db import Base, UTCDateTime, db

_numbers = itertools.count(1)
AT = datetime(2026, 1, 21, 12, tzinfo=UTC)
# Columns whose check constraint wants one of a few words.
WORDS = {
    "payment_sessions.mode": "test", "merchants.first_key_mode": "test", "api_keys.mode": "test",
    "webhook_endpoints.mode": "test", "merchant_events.mode": "test", "model_files.format": "stl",
    "shipments.source": "by_hand",
}  # fmt: skip


def companions(model: type[Any], state: str) -> dict[str, Any]:
    """What else a check constraint wants of a row in some state; in the caller's transaction."""
    match model.__tablename__, str(state):
        case "sales_orders", held:
            return {"held_from": "confirmed" if held == "on_hold" else None}
        case "sites", "preview":
            return {"owner_id": None}
        case "sites", _:
            return {"owner_id": row(User).id}
        case "quotes", _:
            return {"number": _text(String(24))}
        case "site_changes", "accepted" | "live":
            return {"version_number": 1}
        case "subscriptions", standing:
            return {"grace_ends_at": AT if standing == "past_due" else None}
    return {}


def row(model: type[Any], **values: Any) -> Any:
    """A stored row of a model, in the caller's transaction; the rows it refers to are made as well."""
    mapper: Mapper[Any] = inspect(model)
    made = model()
    for attribute in mapper.column_attrs:
        column = attribute.columns[0]
        if attribute.key in values:
            setattr(made, attribute.key, values[attribute.key])
        elif not (column.primary_key and isinstance(column.type, Integer)) and not column.nullable:
            setattr(made, attribute.key, _value(column))
    db.session.add(made)
    db.session.flush()
    return made


def _value(column: Any) -> Any:
    for key in column.foreign_keys:
        parent = next(m for m in Base.registry.mappers if m.local_table is key.column.table)
        return row(parent.class_).id
    name = f"{column.table.name}.{column.name}"
    kind = column.type
    if isinstance(kind, Enum):
        return next(iter(kind.enum_class))
    if isinstance(kind, UTCDateTime):
        return AT
    if isinstance(kind, Boolean):
        return False
    if isinstance(kind, JSON):
        return {}
    if isinstance(kind, Integer):
        return 1
    if isinstance(kind, String | Text):
        return WORDS.get(name) or _text(kind)
    raise NotImplementedError(f"{name}: no made-up value for {kind!r}")


def _text(kind: String) -> str:
    number = str(next(_numbers))
    return number[-kind.length :] if kind.length else number

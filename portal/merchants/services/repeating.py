"""Requests that may be sent again: one key, one payment, one answer.

Everything happens in one transaction: the key is inserted first, then the work is done, then the answer is kept beside
the key. Whoever comes second with the same key waits at the unique index until the first has committed, and is given
the first one's answer to the letter. Should the first fail, nothing of it is there and the second does the work. So
there is no state "in progress" that a crash could leave behind; the wait is bounded by the database's lock time-out.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from portal.core.db import db, is_postgresql
from portal.merchants.errors import KeyReused
from portal.merchants.models import RepeatableAnswer

KEPT_FOR = timedelta(hours=24)
_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer as it was given first, and whether this is a repetition."""

    http_code: int
    body: str
    is_repeated: bool = False


def fingerprint(operation: str, body: Mapping[str, Any]) -> str:
    """What was asked, whatever order its fields came in."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(f"{operation}\n{text}".encode()).hexdigest()


def answer_once(
    merchant_id: int, mode: str, key: str, asked: str, work: Callable[[], Answer], *, at: datetime
) -> Answer:
    """Do the work under an idempotency key, in the caller's transaction, or give the answer it had before.

    `asked` is the request's fingerprint. Raises KeyReused when the key came with something else before.
    """
    mine = (
        RepeatableAnswer.merchant_id == merchant_id,
        RepeatableAnswer.mode == mode,
        RepeatableAnswer.key == key,
    )
    old = delete(RepeatableAnswer).where(*mine, RepeatableAnswer.created_at <= at - KEPT_FOR)
    db.session.execute(old.execution_options(synchronize_session=False))
    insert = postgresql.insert if is_postgresql() else sqlite.insert
    answer_id = db.session.scalar(
        insert(RepeatableAnswer)
        .values(merchant_id=merchant_id, mode=mode, key=key, fingerprint=asked, created_at=at)
        .on_conflict_do_nothing(index_elements=["merchant_id", "mode", "key"])
        .returning(RepeatableAnswer.id)
    )
    if answer_id is None:
        earlier = db.session.scalars(select(RepeatableAnswer).where(*mine)).one()
        if earlier.fingerprint != asked:
            raise KeyReused
        return Answer(earlier.http_code or 500, earlier.body or "", is_repeated=True)
    answer = work()
    kept = db.session.get_one(RepeatableAnswer, answer_id)
    kept.http_code, kept.body = answer.http_code, answer.body
    return answer


def forget_old(*, at: datetime) -> int:
    """Delete answers that are over a day old, some at a time; returns how many."""
    old = (
        select(RepeatableAnswer.id)
        .where(RepeatableAnswer.created_at <= at - KEPT_FOR)
        .order_by(RepeatableAnswer.created_at)
        .limit(_AT_ONCE)
    )
    gone = db.session.scalars(
        delete(RepeatableAnswer)
        .where(RepeatableAnswer.id.in_(old.scalar_subquery()))
        .returning(RepeatableAnswer.id)
        .execution_options(synchronize_session=False)
    )
    return len(gone.all())

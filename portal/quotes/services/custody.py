"""The custody log: who opened or took a copy of a customer's model, and when."""

from datetime import datetime, timedelta

from sqlalchemy import select

from portal.core.db import db
from portal.quotes.models import ModelAccess, ModelFile

DOWNLOADED, VIEWED, PICTURED = "downloaded", "viewed", "pictured"
DESTROYED, ERASED = "destroyed", "erased"
# A page with the picture on it is opened again and again; one line an hour says the same.
_PICTURES_APART = timedelta(hours=1)


def record_access(model: ModelFile, action: str, *, by: str, at: datetime) -> None:
    """Write a line of the log; looking at the picture again within the hour adds none."""
    if action == PICTURED and _looked_lately(model, by, at):
        return
    db.session.add(ModelAccess(model_file_id=model.id, actor=by, action=action, at=at))


def _looked_lately(model: ModelFile, by: str, at: datetime) -> bool:
    last = select(ModelAccess.id).where(
        ModelAccess.model_file_id == model.id,
        ModelAccess.actor == by,
        ModelAccess.action == PICTURED,
        ModelAccess.at > at - _PICTURES_APART,
    )
    return db.session.scalar(last.limit(1)) is not None

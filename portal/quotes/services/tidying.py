"""Letting go of what nobody needs: models that left their last quote, and visitors' drafts nobody came back to."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, exists, select

from portal.core import outbox
from portal.core.db import db
from portal.core.state import transition
from portal.quotes.models import ModelAccess, ModelFile, ModelFileStatus, Quote, QuoteItem, QuoteStatus

_ABANDONED_AFTER = timedelta(days=30)
_BATCH = 200


def drop_model(model_file_id: int, *, by: str, at: datetime) -> list[str]:
    """Mark a model that is in no quote any more as destroyed, and return the names in the store that are to be deleted.

    Nothing while a quote needs it. Of one that is destroyed already the names come again, for a try that broke off.
    """
    model = db.session.get_one(ModelFile, model_file_id, populate_existing=True, with_for_update=True)
    if model.status is not ModelFileStatus.DESTROYED:
        if db.session.scalar(select(exists().where(_uses(model.id)))):
            return []
        transition(model, ModelFileStatus.DESTROYED, by=by, at=at, values={"destroyed_at": at})
        db.session.add(ModelAccess(model_file_id=model.id, actor=by, action="destroyed", at=at))
    return [name for name in (model.storage_name, model.picture_name, model.mesh_name) if name]


def forget_abandoned_drafts(*, at: datetime) -> int:
    """Delete visitors' drafts that nobody touched for a month, and let go of their models; returns how many."""
    old = (
        select(Quote.id)
        .where(Quote.status == QuoteStatus.DRAFT, Quote.user_id.is_(None), Quote.updated_at < at - _ABANDONED_AFTER)
        .order_by(Quote.id)
        .limit(_BATCH)
        .with_for_update(skip_locked=True)
    )
    ids = list(db.session.scalars(old))
    models = list(db.session.scalars(select(QuoteItem.model_file_id).where(QuoteItem.quote_id.in_(ids)).distinct()))
    # Spelt out, because a bulk DELETE knows nothing of the ORM's cascades.
    db.session.execute(delete(QuoteItem).where(QuoteItem.quote_id.in_(ids)))
    db.session.execute(delete(Quote).where(Quote.id.in_(ids)))
    for model_file_id in models:
        outbox.publish("model_file.dropped", model_file_id=model_file_id)
    return len(ids)


def unknown_names(names: list[str]) -> list[str]:
    """Of names in the store, those that no row knows: what came in for a request that never ended."""
    known: set[str | None] = set()
    for column in (ModelFile.storage_name, ModelFile.picture_name, ModelFile.mesh_name):
        known.update(db.session.scalars(select(column).where(column.in_(names))))
    return [name for name in names if name not in known]


def publish_unmeasured(*, at: datetime, older_than: timedelta) -> int:
    """Have files looked at again that wait for longer than they should; returns how many. Their message got lost, or
    its tries ended while the scanner was away."""
    waiting = select(ModelFile.id).where(
        ModelFile.status == ModelFileStatus.UPLOADED, ModelFile.uploaded_at < at - older_than
    )
    ids = list(db.session.scalars(waiting.order_by(ModelFile.id).limit(_BATCH)))
    for model_file_id in ids:
        outbox.publish(
            "model_file.uploaded", key=_once_an_hour("uploaded", model_file_id, at), model_file_id=model_file_id
        )
    return len(ids)


def publish_unpictured(*, at: datetime, older_than: timedelta) -> int:
    """The same for pictures that were never tried."""
    waiting = select(ModelFile.id).where(
        ModelFile.status == ModelFileStatus.MEASURED,
        ModelFile.picture_name.is_(None),
        ModelFile.measured_at < at - older_than,
    )
    ids = list(db.session.scalars(waiting.order_by(ModelFile.id).limit(_BATCH)))
    for model_file_id in ids:
        outbox.publish(
            "model_file.measured", key=_once_an_hour("measured", model_file_id, at), model_file_id=model_file_id
        )
    return len(ids)


def _once_an_hour(what: str, model_file_id: int, at: datetime) -> str:
    """While the scanner is away a message is still waiting; one more an hour is enough."""
    return f"model_file:{model_file_id}:{what}:{at:%Y%m%d%H}"


def _uses(model_file_id: int) -> ColumnElement[bool]:
    return (QuoteItem.model_file_id == model_file_id) | (QuoteItem.revision_of_id == model_file_id)

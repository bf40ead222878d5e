"""Destroying a model at its owner's wish: at once in our books, then in the store, and last with a receipt.

What it measured stays, so that prices and orders made from it can be explained for ever.

The race: an order is made of a quote while one of its models is destroyed. Both take the row locks of the quotes first
and then look, so one of them comes second and is refused: no order is without its model.
"""

from datetime import datetime

from flask_babel import lazy_gettext as _l
from sqlalchemy import or_, select

from portal.accounts.models import User
from portal.core import audit, mail, outbox
from portal.core.db import db
from portal.core.faults import fault
from portal.core.state import transition
from portal.quotes import holds
from portal.quotes.errors import ModelIsNeeded, ModelNotFound
from portal.quotes.models import ModelAccess, ModelFile, ModelFileStatus, Quote, QuoteItem, QuoteStatus
from portal.quotes.services.custody import DESTROYED, ERASED
from portal.quotes.services.loading import QuoteOwner, is_owners_model, lock_by_id
from portal.quotes.services.repricing import in_force, reprice


def destroy_model(public_id: str, owner: QuoteOwner, *, at: datetime) -> ModelFile:
    """Destroy a model; its bytes, picture and mesh are deleted right after. Doing it again changes nothing.

    Raises ModelNotFound for anybody else's, or ModelIsNeeded while an open order is made from it.
    """
    model_id = db.session.scalar(select(ModelFile.id).where(ModelFile.public_id == public_id, is_owners_model(owner)))
    if model_id is None:
        raise ModelNotFound
    quotes = [lock_by_id(quote_id) for quote_id in _quotes_with(model_id)]
    model = db.session.get_one(ModelFile, model_id, populate_existing=True, with_for_update=True)
    if model.status is ModelFileStatus.DESTROYED:
        return model
    check_not_needed(model)
    fault("destroy-after-check")
    transition(model, ModelFileStatus.DESTROYED, by=owner.name, at=at, values={"destroyed_at": at})
    db.session.add(ModelAccess(model_file_id=model.id, actor=owner.name, action=DESTROYED, at=at))
    audit.record(
        "model_file.destroyed",
        actor=owner.name,
        subject=f"model_files:{model.id}",
        after={"name": model.name, "sha256": model.sha256},
    )
    outbox.publish("model_file.destroyed", model_file_id=model.id)
    _reprice(quotes, at=at)
    return model


def check_not_needed(model: ModelFile) -> None:
    """Raises ModelIsNeeded while an open order is made from it."""
    number = holds.needed_by(model.id)
    if number is not None:
        raise ModelIsNeeded(
            _l(
                "Order %(number)s is made from this model and has not arrived yet. You can destroy it as soon as the "
                "order is delivered or cancelled.",
                number=number,
            )
        )


def names_to_erase(model_file_id: int) -> list[str]:
    """What is in the store of a destroyed model; nothing of one that is not destroyed."""
    model = db.session.get_one(ModelFile, model_file_id, populate_existing=True)
    if model.status is not ModelFileStatus.DESTROYED:
        return []
    return [name for name in (model.storage_name, model.picture_name, model.mesh_name) if name]


def note_erased(model_file_id: int, *, by: str, at: datetime) -> None:
    """Write down that the bytes are gone, and send the owner the receipt. Once, however often it is said."""
    model = db.session.get_one(ModelFile, model_file_id, populate_existing=True, with_for_update=True)
    if find_access(model, ERASED) is not None:
        return
    db.session.add(ModelAccess(model_file_id=model.id, actor=by, action=ERASED, at=at))
    to = db.session.get(User, model.user_id) if model.user_id is not None else None
    if to is not None:
        mail.send(
            "model_destroyed",
            to=to.email,
            locale=to.locale,
            key=f"model_destroyed:{model.id}",
            model_file_id=model.id,
        )


def find_access(model: ModelFile, action: str) -> ModelAccess | None:
    """The newest line of the custody log about something that is done once."""
    return db.session.scalar(
        select(ModelAccess)
        .where(ModelAccess.model_file_id == model.id, ModelAccess.action == action)
        .order_by(ModelAccess.id.desc())
        .limit(1)
    )


def _quotes_with(model_id: int) -> list[int]:
    found = (
        select(Quote.id)
        .join(QuoteItem, QuoteItem.quote_id == Quote.id)
        .where(or_(QuoteItem.model_file_id == model_id, QuoteItem.revision_of_id == model_id))
        .distinct()
        .order_by(Quote.id)
    )
    return list(db.session.scalars(found))


def _reprice(quotes: list[Quote], *, at: datetime) -> None:
    drafts = [quote for quote in quotes if quote.status is QuoteStatus.DRAFT]
    db.session.flush()
    for quote in drafts:
        reprice(quote, in_force(at), at=at)

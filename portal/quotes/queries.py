"""Reads of quotes and models for the customer's pages."""

from sqlalchemy import select
from sqlalchemy.orm import joinedload, selectinload

from portal.core.db import db
from portal.core.paging import Page, paginate
from portal.quotes.errors import ModelNotFound
from portal.quotes.models import ModelAccess, ModelFile, ModelFileStatus, Quote, QuoteItem
from portal.quotes.services.loading import DRAFT, QuoteOwner, is_owners, is_owners_model


def page_of_quotes(user_id: int, *, before: str | None, after: str | None) -> Page[Quote]:
    """A customer's quotes with the names of their models, newest first."""
    statement = (
        select(Quote)
        .where(Quote.user_id == user_id)
        .options(selectinload(Quote.items).joinedload(QuoteItem.model_file))
    )
    return paginate(statement, Quote.id, before=before, after=after)


def get_model(public_id: str, *, owner: QuoteOwner) -> ModelFile:
    """A model of the owner's own, of which the bytes may be shown. Raises ModelNotFound for anybody else's, and for one
    that is locked away or destroyed."""
    model = get_own_model(public_id, owner=owner)
    if not is_kept(model):
        raise ModelNotFound
    return model


def get_own_model(public_id: str, *, owner: QuoteOwner) -> ModelFile:
    """A model of the owner's own in whatever state, to read about it. Raises ModelNotFound for anybody else's."""
    model = db.session.scalar(select(ModelFile).where(ModelFile.public_id == public_id, is_owners_model(owner)))
    if model is None:
        raise ModelNotFound
    return model


def is_kept(model: ModelFile) -> bool:
    """Whether its bytes are there and may be opened."""
    return model.status in (ModelFileStatus.UPLOADED, ModelFileStatus.MEASURED)


def accesses_page(model: ModelFile, *, before: str | None, after: str | None) -> Page[ModelAccess]:
    """A page of a model's custody log, newest first."""
    statement = select(ModelAccess).where(ModelAccess.model_file_id == model.id)
    return paginate(statement, ModelAccess.id, before=before, after=after)


def quote_of_model(model: ModelFile, *, owner: QuoteOwner) -> Quote | None:
    """The newest quote of the owner's that a model stands in: where its page leads back to."""
    stands_in = select(QuoteItem.quote_id).where(
        (QuoteItem.model_file_id == model.id) | (QuoteItem.revision_of_id == model.id)
    )
    mine = Quote.user_id == owner.user_id if owner.user_id is not None else is_owners(owner, DRAFT)
    return db.session.scalar(select(Quote).where(Quote.id.in_(stands_in), mine).order_by(Quote.id.desc()).limit(1))


def quote_for_mail(quote_id: int) -> Quote:
    """A quote with everything a mail or a paper says about it."""
    return db.session.scalars(
        select(Quote)
        .where(Quote.id == quote_id)
        .options(selectinload(Quote.items).joinedload(QuoteItem.model_file), joinedload(Quote.user))
    ).one()

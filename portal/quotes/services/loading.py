"""Finding a quote together with its owner: a customer's by its number, a visitor's draft by the browser's token."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, false, select
from sqlalchemy.orm import joinedload

from portal.accounts.models import User
from portal.core.db import db
from portal.core.sealed import token_hash
from portal.quotes.errors import ItemGone, NotADraft, QuoteNotFound
from portal.quotes.models import ModelFile, Quote, QuoteItem, QuoteStatus

# The name of a visitor's draft: it has no number, because a number is drawn for an account only.
DRAFT = "draft"


@dataclass(frozen=True, slots=True)
class QuoteOwner:
    """Whose quote is meant: a user's own, else the draft of the browser's token. `name` is who acts, for the logs."""

    user_id: int | None = None
    token: str | None = None
    name: str = "visitor"

    @classmethod
    def of(cls, user: User) -> "QuoteOwner":
        """A signed-in customer."""
        return cls(user_id=user.id, name=user.email)


def is_owners(owner: QuoteOwner, number: str) -> ColumnElement[bool]:
    """The condition that finds a quote of the owner's, and nobody else's."""
    if owner.user_id is not None:
        return (Quote.user_id == owner.user_id) & (Quote.number == number)
    if owner.token is not None and number == DRAFT:
        return (Quote.token_hash == token_hash(owner.token)) & Quote.user_id.is_(None)
    return false()


def is_owners_model(owner: QuoteOwner) -> ColumnElement[bool]:
    """The condition that finds models of the owner's: an account's own, or those in a visitor's draft."""
    if owner.user_id is not None:
        return ModelFile.user_id == owner.user_id
    is_in_row = (QuoteItem.model_file_id == ModelFile.id) | (QuoteItem.revision_of_id == ModelFile.id)
    return exists(
        select(QuoteItem.id).join(Quote, Quote.id == QuoteItem.quote_id).where(is_in_row, is_owners(owner, DRAFT))
    )


def get_quote(number: str, *, owner: QuoteOwner) -> Quote:
    """A quote of the owner's with its items and models, in one statement. Raises QuoteNotFound."""
    return _read(is_owners(owner, number))


def lock_quote(number: str, *, owner: QuoteOwner) -> Quote:
    """The same under a row lock: whoever changes a quote takes it first, and reads the items only then."""
    return lock_by_id(db.session.scalar(select(Quote.id).where(is_owners(owner, number))))


def lock_draft(number: str, *, owner: QuoteOwner) -> Quote:
    """The same, to change it. Raises NotADraft when it was sent."""
    quote = lock_quote(number, owner=owner)
    if quote.status is not QuoteStatus.DRAFT:
        raise NotADraft
    return quote


def lock_by_id(quote_id: int | None) -> Quote:
    """A quote under a row lock, for staff and for jobs. Raises QuoteNotFound."""
    if quote_id is None or db.session.scalar(select(Quote.id).where(Quote.id == quote_id).with_for_update()) is None:
        raise QuoteNotFound
    return _read(Quote.id == quote_id)


def find_draft_of_token(token: str | None) -> Quote | None:
    """A browser's draft."""
    owner = QuoteOwner(token=token)
    return db.session.scalar(select(Quote).where(is_owners(owner, DRAFT))) if token else None


def item_of(quote: Quote, item_id: int) -> QuoteItem:
    """A row of a loaded quote. Raises ItemGone."""
    for item in quote.items:
        if item.id == item_id:
            return item
    raise ItemGone


def _read(which: ColumnElement[bool]) -> Quote:
    quote = (
        db.session.scalars(
            select(Quote)
            .where(which)
            .options(joinedload(Quote.items).joinedload(QuoteItem.model_file), joinedload(Quote.user))
            .execution_options(populate_existing=True)
        )
        .unique()
        .one_or_none()
    )
    if quote is None:
        raise QuoteNotFound
    return quote

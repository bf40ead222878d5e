"""Beginning a draft, putting models into it, and keeping a visitor's draft in an account."""

import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select

from portal.accounts.models import User
from portal.core import audit, outbox, settings
from portal.core.db import db
from portal.core.numbering import next_number
from portal.core.sealed import token_hash
from portal.quotes.models import ModelFile, ModelFileStatus, Quote, QuoteItem, QuoteStatus
from portal.quotes.services.editing import check_room, next_position
from portal.quotes.services.loading import QuoteOwner, find_draft_of_token, lock_by_id, lock_draft
from portal.quotes.services.receiving import Received
from portal.quotes.services.repricing import InForce, default_options, in_force, reprice

SERIES = "Q"
_WIDTH = 3


def start_quote(owner: QuoteOwner, received: Sequence[Received], *, locale: str, at: datetime) -> Quote:
    """Begin a draft of files that were received; an account's gets its number, a visitor's waits under the token.

    Raises NoPriceBook.
    """
    force = in_force(at)
    quote = Quote(
        number=new_number(at) if owner.user_id is not None else None,
        token_hash=token_hash(owner.token) if owner.user_id is None and owner.token else None,
        user_id=owner.user_id,
        status=QuoteStatus.DRAFT,
        locale=locale,
        currency=force.book.currency,
        rush="standard",
        created_at=at,
        updated_at=at,
        items=[],
    )
    db.session.add(quote)
    db.session.flush()
    audit.record("quote.started", actor=owner.name, subject=f"quotes:{quote.id}", after={"number": quote.number})
    _put_in(quote, owner, received, force, at=at)
    return quote


def add_models(number: str, owner: QuoteOwner, received: Sequence[Received], *, at: datetime) -> Quote:
    """Put files that were received into a draft. Raises QuoteNotFound, NotADraft or QuoteFull."""
    quote, force = lock_draft(number, owner=owner), in_force(at)
    _put_in(quote, owner, received, force, at=at)
    return quote


def keep_draft(user: User, token: str, *, at: datetime) -> None:
    """Make a visitor's draft the account's: it gets its number, and its models their owner."""
    found = find_draft_of_token(token)
    if found is None:
        return
    quote = lock_by_id(found.id)
    if quote.user_id is not None:
        return
    quote.user_id, quote.token_hash = user.id, None
    quote.number = new_number(at)
    quote.updated_at = at
    for item in quote.items:
        item.model_file.user_id = item.model_file.user_id or user.id
    db.session.flush()
    audit.record("quote.kept", actor=user.email, subject=f"quotes:{quote.id}", after={"number": quote.number})


def newest_draft(user_id: int) -> str | None:
    """The number of the draft an account worked on last."""
    return db.session.scalar(
        select(Quote.number)
        .where(Quote.user_id == user_id, Quote.status == QuoteStatus.DRAFT)
        .order_by(Quote.updated_at.desc(), Quote.id.desc())
        .limit(1)
    )


def new_number(at: datetime) -> str:
    """Q-2026-014, by the year where the business is."""
    year = at.astimezone(settings.business_zone()).year
    return next_number(SERIES, year=year, width=_WIDTH)


def new_model(owner: QuoteOwner, one: Received, *, at: datetime) -> ModelFile:
    """A row about a file that was received; whoever adds it publishes `model_file.uploaded`."""
    return ModelFile(
        public_id=str(uuid.uuid4()),
        user_id=owner.user_id,
        name=one.name,
        format=one.format,
        size_bytes=one.size_bytes,
        sha256=one.sha256,
        storage_name=one.storage_name,
        status=ModelFileStatus.UPLOADED,
        measures={},
        uploaded_at=at,
    )


def _put_in(quote: Quote, owner: QuoteOwner, received: Sequence[Received], force: InForce, *, at: datetime) -> None:
    check_room(quote, more=len(received))
    usual = default_options(force.book)
    for one in received:
        model = new_model(owner, one, at=at)
        quote.items.append(
            QuoteItem(
                position=next_position(quote),
                model_file=model,
                material=usual.material,
                colour=usual.colour,
                finish=usual.finish,
                infill_percent=usual.infill_percent,
                quantity=1,
            )
        )
    db.session.flush()
    for item in quote.items[len(quote.items) - len(received) :]:
        outbox.publish("model_file.uploaded", model_file_id=item.model_file_id)
    reprice(quote, force, at=at)

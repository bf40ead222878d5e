"""The price-book rehearsal: what a draft would do to the quotes that are open now, before it is published."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import selectinload

from portal.core.db import db
from portal.quotes.models import ModelFile, Quote, QuoteItem, QuoteStatus
from portal.quotes.pricing.book import RUSH, PriceBook
from portal.quotes.pricing.price import Options, Part, Price, price_parts

MOST_QUOTES = 100


@dataclass(frozen=True, slots=True)
class Effect:
    """One open quote: its total as it stands, and as the draft would make it; both in its minor units.

    `new_minor` covers the parts that can be priced; `is_complete` says whether these are all. `loses` and `gains` are
    reasons for staff to look that only the old or only the new prices have. `follows`: a draft is priced anew as soon
    as the book is published; what was submitted keeps its price.
    """

    quote: Quote
    old_minor: int
    new_minor: int
    is_complete: bool
    loses: tuple[str, ...]
    gains: tuple[str, ...]
    follows: bool

    @property
    def difference_minor(self) -> int:
        """How much dearer it gets."""
        return self.new_minor - self.old_minor


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a draft does to the newest open quotes; `has_more` when there are others it was not tried with."""

    effects: tuple[Effect, ...]
    has_more: bool
    currency: str

    @property
    def dearer(self) -> int:
        """How many quotes cost more."""
        return sum(1 for one in self.effects if one.difference_minor > 0)

    @property
    def cheaper(self) -> int:
        """How many quotes cost less."""
        return sum(1 for one in self.effects if one.difference_minor < 0)

    @property
    def old_minor(self) -> int:
        """All of them as they stand."""
        return sum(one.old_minor for one in self.effects)

    @property
    def new_minor(self) -> int:
        """All of them as the draft would make them."""
        return sum(one.new_minor for one in self.effects)


def rehearse(draft: PriceBook, current: PriceBook | None, *, at: datetime) -> Rehearsal:
    """Price every open quote with a draft of the price book. Nothing is written.

    Drafts of quotes are compared with the prices in force, submitted ones with what they were computed at; a price
    that staff set by hand is not part of the comparison. Only quotes in the draft's currency can be compared.
    """
    quotes = list(
        db.session.scalars(
            select(Quote)
            .where(
                Quote.status.in_((QuoteStatus.DRAFT, QuoteStatus.PENDING)),
                or_(Quote.expires_at.is_(None), Quote.expires_at > at),
                Quote.currency == draft.currency,
                Quote.items.any(),
            )
            .order_by(Quote.id.desc())
            .limit(MOST_QUOTES + 1)
            .options(
                selectinload(Quote.items)
                .selectinload(QuoteItem.model_file)
                .load_only(ModelFile.id, ModelFile.name, ModelFile.measures, ModelFile.status, ModelFile.outcome)
            )
        )
    )
    effects = tuple(_effect(quote, draft, current) for quote in quotes[:MOST_QUOTES])
    return Rehearsal(effects, has_more=len(quotes) > MOST_QUOTES, currency=draft.currency)


def _effect(quote: Quote, draft: PriceBook, current: PriceBook | None) -> Effect:
    new = _price(quote, draft)
    follows = quote.status is QuoteStatus.DRAFT
    old_minor, old_review = _stands(quote)
    if follows and current is not None and current.currency == draft.currency:
        now = _price(quote, current)
        old_minor, old_review = now.total_minor, now.review
    return Effect(
        quote=quote,
        old_minor=old_minor,
        new_minor=new.total_minor,
        is_complete=new.is_complete,
        loses=tuple(code for code in old_review if code not in new.review),
        gains=tuple(code for code in new.review if code not in old_review),
        follows=follows,
    )


def _stands(quote: Quote) -> tuple[int, tuple[str, ...]]:
    stored: Mapping[str, Any] = quote.pricing or {}
    return quote.computed_total_minor, tuple(stored.get("review", ()))


def _price(quote: Quote, book: PriceBook) -> Price:
    parts = [
        Part(
            item.model_file.measures,
            Options(item.material, item.colour, item.finish, item.infill_percent),
            item.quantity,
        )
        for item in quote.items
    ]
    return price_parts(book, parts, rush=quote.rush if quote.rush in RUSH else RUSH[0])

"""Changing a draft: how each model is made, how soon, and what the customer wants to tell us.

Prices are never taken from a request: every change ends in `reprice`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask_babel import lazy_gettext as _l
from sqlalchemy import exists, select

from portal.core import outbox
from portal.core.db import db
from portal.core.state import transition
from portal.quotes.errors import InvalidInfill, InvalidOption, InvalidQuantity, ItemGone, ModelIsShared, QuoteFull
from portal.quotes.models import ModelFile, ModelFileStatus, Quote, QuoteItem
from portal.quotes.pricing.book import RUSH, Colour, Finish, Material, PriceBook
from portal.quotes.pricing.price import MOST_PIECES
from portal.quotes.services.loading import QuoteOwner, item_of, lock_draft
from portal.quotes.services.repricing import in_force, reprice

MAX_ITEMS = 50
LONGEST_NOTE = 2_000
UNITS = ("mm", "cm", "inch", "m")


@dataclass(frozen=True, slots=True)
class Wish:
    """How a model is to be made, as it was asked for: codes of the price book, checked before they count.

    `unit` is what a file without units was drawn in; None leaves it.
    """

    material: str
    colour: str
    finish: str
    infill_percent: int
    quantity: int
    unit: str | None = None

    @classmethod
    def nothing(cls) -> "Wish":
        """A wish that no quote can fulfil."""
        return cls(material="", colour="", finish="", infill_percent=0, quantity=0)


def change_item(number: str, owner: QuoteOwner, item_id: int, wish: Wish, *, at: datetime) -> Quote:
    """Make a model another way. Raises ItemGone, InvalidOption, InvalidQuantity, InvalidInfill or ModelIsShared."""
    quote, force = lock_draft(number, owner=owner), in_force(at)
    item = item_of(quote, item_id)
    material, colour, finish = _chosen(force.book, item, wish)
    _check_numbers(material, wish)
    if wish.unit is not None:
        _read_in(item.model_file, wish.unit, quote=quote, by=owner.name, at=at)
    item.material, item.colour, item.finish = material.code, colour.code, finish.code
    item.infill_percent, item.quantity = wish.infill_percent, wish.quantity
    reprice(quote, force, at=at)
    return quote


def remove_item(number: str, owner: QuoteOwner, item_id: int, *, at: datetime) -> Quote:
    """Take a model out; one that is already out is no error. A file that nothing needs any more is deleted."""
    quote, force = lock_draft(number, owner=owner), in_force(at)
    item = next((one for one in quote.items if one.id == item_id), None)
    if item is not None:
        quote.items.remove(item)
        db.session.flush()
        outbox.publish("model_file.dropped", model_file_id=item.model_file_id)
        reprice(quote, force, at=at)
    return quote


def duplicate_item(number: str, owner: QuoteOwner, item_id: int, *, at: datetime) -> Quote:
    """The same model once more, to have it in another material or colour as well. Raises ItemGone or QuoteFull."""
    quote, force = lock_draft(number, owner=owner), in_force(at)
    item = item_of(quote, item_id)
    check_room(quote)
    quote.items.append(copy_of(item, position=next_position(quote)))
    db.session.flush()
    reprice(quote, force, at=at)
    return quote


def set_note(number: str, owner: QuoteOwner, note: str, *, at: datetime) -> Quote:
    """Keep what the customer wants to tell the shop; a person will read it before the price is firm."""
    quote, force = lock_draft(number, owner=owner), in_force(at)
    quote.note = note.replace("\x00", "").strip()[:LONGEST_NOTE]
    reprice(quote, force, at=at)
    return quote


def choose_rush(number: str, owner: QuoteOwner, rush: str, *, times: int = 1, at: datetime) -> Quote:
    """Choose how soon, and `times` as many of everything. Raises InvalidOption or InvalidQuantity."""
    quote, force = lock_draft(number, owner=owner), in_force(at)
    if rush not in RUSH:
        raise InvalidOption(field="rush")
    if times < 1 or any(item.quantity * times > MOST_PIECES for item in quote.items):
        raise InvalidQuantity(field="times")
    for item in quote.items:
        item.quantity *= times
    quote.rush = rush
    reprice(quote, force, at=at)
    return quote


def choose_quantity(number: str, owner: QuoteOwner, rush: str, quantity: int, *, at: datetime) -> Quote:
    """Choose how soon and how many of the only model in the quote. Raises ItemGone when there are others by now."""
    quote, force = lock_draft(number, owner=owner), in_force(at)
    if rush not in RUSH:
        raise InvalidOption(field="rush")
    if not 1 <= quantity <= MOST_PIECES:
        raise InvalidQuantity(field="quantity")
    if len(quote.items) != 1:
        raise ItemGone
    quote.items[0].quantity, quote.rush = quantity, rush
    reprice(quote, force, at=at)
    return quote


def check_room(quote: Quote, *, more: int = 1) -> None:
    """Raises QuoteFull when the quote would hold too many models."""
    if len(quote.items) + more > MAX_ITEMS:
        raise QuoteFull


def next_position(quote: Quote) -> int:
    """Where a new row goes: behind all others."""
    return max((item.position for item in quote.items), default=0) + 1


def copy_of(item: QuoteItem, *, position: int) -> QuoteItem:
    """A row about the same model, made the same way."""
    values: dict[str, Any] = {
        name: getattr(item, name) for name in ("material", "colour", "finish", "infill_percent", "quantity")
    }
    return QuoteItem(
        position=position,
        model_file=item.model_file,
        model_file_id=item.model_file_id,
        unit_price_minor=None,
        total_minor=None,
        **values,
    )


def _chosen(book: PriceBook, item: QuoteItem, wish: Wish) -> tuple[Material, Colour, Finish]:
    """What the codes stand for. With another material its first colour and finish come along, when it has not the same:
    the form still shows those of the material before."""
    material = book.find_material(wish.material)
    if material is None:
        raise InvalidOption(field="material")
    finishes = book.list_finishes(material.code)
    colour = next((one for one in material.colours if one.code == wish.colour), None)
    finish = next((one for one in finishes if one.code == wish.finish), None)
    if material.code != item.material:
        colour, finish = colour or material.colours[0], finish or finishes[0]
    if colour is None:
        raise InvalidOption(field="colour")
    if finish is None:
        raise InvalidOption(field="finish")
    return material, colour, finish


def _check_numbers(material: Material, wish: Wish) -> None:
    if not 1 <= wish.quantity <= MOST_PIECES:
        raise InvalidQuantity(field="quantity")
    if not material.infill_low <= wish.infill_percent <= material.infill_high:
        raise InvalidInfill(
            _l(
                "%(material)s is printed with an infill from %(low)s to %(high)s %%.",
                material=material.name,
                low=material.infill_low,
                high=material.infill_high,
            ),
            field="infill_percent",
        )


def _read_in(model: ModelFile, unit: str, *, quote: Quote, by: str, at: datetime) -> None:
    """Measure a file without units again, in the one the customer names."""
    if unit not in UNITS or model.has_unit:
        raise InvalidOption(field="unit")
    if model.unit == unit:
        return
    is_elsewhere = exists(
        select(QuoteItem.id).where(QuoteItem.model_file_id == model.id, QuoteItem.quote_id != quote.id)
    )
    if db.session.scalar(select(is_elsewhere)):
        raise ModelIsShared
    model.unit = unit
    if model.status is ModelFileStatus.MEASURED:
        transition(model, ModelFileStatus.UPLOADED, by=by, at=at, reason=f"read in {unit}")
    if model.status is ModelFileStatus.UPLOADED:
        outbox.publish("model_file.uploaded", model_file_id=model.id)

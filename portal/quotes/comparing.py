"""A changed model beside the one it replaced: what measures and price have become."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from flask_babel import format_decimal
from flask_babel import gettext as _

from portal.core.db import db
from portal.core.ui import money
from portal.quotes import describing, wording
from portal.quotes.errors import ModelNotFound
from portal.quotes.models import ModelFile, Quote, QuoteItem
from portal.quotes.presenting import view_of
from portal.quotes.pricing.price import LinePrice, price_parts
from portal.quotes.services.repricing import measures_of, part_of


@dataclass(frozen=True, slots=True)
class Compared:
    """One line of the comparison, in words; the change is empty where nothing changed or nothing can be said."""

    label: str
    was: str
    became: str
    change: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models of one row. Prices are those of the row as it is made now, by the same price book."""

    item: QuoteItem
    old: ModelFile
    new: ModelFile
    lines: Sequence[Compared]


def compare(quote: Quote, item: QuoteItem, *, at: datetime) -> Comparison:
    """The model of a loaded quote's row beside the one before. Raises ModelNotFound when it replaced none."""
    old = db.session.get(ModelFile, item.revision_of_id) if item.revision_of_id is not None else None
    if old is None:
        raise ModelNotFound
    new = item.model_file
    view = view_of(quote, at=at)
    place = quote.items.index(item)
    was = price_parts(view.book, [part_of(item, item.quantity, model=old)], rush=quote.rush).lines[0]
    lines = [
        Compared(_("File"), old.name, new.name, ""),
        Compared(_("Size"), _size(old), _size(new), ""),
        _numbers(_("Volume"), old, new, "volume_mm3", lambda value: f"{format_decimal(round(value / 1000, 2))} cm³"),
        _numbers(_("Surface"), old, new, "area_mm2", lambda value: f"{format_decimal(round(value / 100, 1))} cm²"),
        _numbers(_("Triangles"), old, new, "triangles", lambda value: str(format_decimal(value))),
        _prices(was, view.price.lines[place], view.price.currency),
    ]
    return Comparison(item, old, new, lines)


def _size(model: ModelFile) -> str:
    sides = describing.size_of(model.measures)
    return wording.size_text([*sides]) if sides is not None else "–"


def _numbers(label: str, old: ModelFile, new: ModelFile, name: str, said: Callable[[float], str]) -> Compared:
    was, became = measures_of(old).get(name), measures_of(new).get(name)
    change = ""
    if was and became and was != became:
        change = f"{format_decimal(round((became - was) * 100 / was, 1), format='+#,##0.#;−#,##0.#')} %"
    return Compared(label, said(was) if was else "–", said(became) if became else "–", change)


def _prices(was: LinePrice, became: LinePrice, currency: str) -> Compared:
    """The row's price, all pieces of it."""
    before, after = (money(one.total_minor, currency) if one.unit_minor is not None else "–" for one in (was, became))
    difference = became.total_minor - was.total_minor
    is_known = was.unit_minor is not None and became.unit_minor is not None
    sign = "+" if difference > 0 else ""
    change = f"{sign}{money(difference, currency)}" if is_known and difference else ""
    return Compared(_("Price of the row"), before, after, change)

"""Parsing what a customer chooses for a model; whether it is offered is for the service to say."""

from typing import Any

from flask_babel import lazy_gettext as _l
from wtforms import Form, IntegerField, SelectField
from wtforms.fields import SelectChoice
from wtforms.validators import InputRequired, NumberRange

from portal.quotes.models import QuoteItem
from portal.quotes.pricing.book import PriceBook
from portal.quotes.pricing.price import MOST_PIECES
from portal.quotes.services.editing import UNITS, Wish
from portal.quotes.wording import unit_name

_MISSING = _l("Please fill this in.")


class ItemForm(Form):
    """How one model is to be made. Its fields are named for the row, since a page holds many of them."""

    material = SelectField(_l("Material"), validate_choice=False)
    colour = SelectField(_l("Colour"), validate_choice=False)
    finish = SelectField(_l("Finish"), validate_choice=False)
    infill_percent = IntegerField(
        _l("Infill in percent"), [InputRequired(_MISSING), NumberRange(0, 100, _l("Enter a number from 0 to 100."))]
    )
    quantity = IntegerField(
        _l("Quantity"),
        [InputRequired(_MISSING), NumberRange(1, MOST_PIECES, _l("Choose between 1 and 10,000 pieces."))],
    )
    unit = SelectField(_l("Drawn in"), validate_choice=False)

    @classmethod
    def of(cls, item: QuoteItem, book: PriceBook, *, formdata: Any = None) -> "ItemForm":
        """The form of a row, filled with what is chosen, or with what was sent."""
        form = cls(formdata, obj=item, prefix=f"item{item.id}-")
        if formdata is None:
            form.unit.data = item.model_file.unit or ""
        form._offer(item, book)
        return form

    def wish(self) -> Wish:
        """What was asked for. The unit is left alone when the form had none."""
        return Wish(
            material=self.material.data or "",
            colour=self.colour.data or "",
            finish=self.finish.data or "",
            infill_percent=self.infill_percent.data or 0,
            quantity=self.quantity.data or 0,
            unit=self.unit.data or None,
        )

    def _offer(self, item: QuoteItem, book: PriceBook) -> None:
        """The choices, by the material that is stored; one that is no longer offered stays visible until another is
        chosen."""
        material = book.find_material(item.material) or book.materials[0]
        self.material.choices = _choices([(one.code, one.name) for one in book.materials], item.material)
        self.colour.choices = _choices([(one.code, one.name) for one in material.colours], item.colour)
        self.finish.choices = _choices([(one.code, one.name) for one in book.list_finishes(material.code)], item.finish)
        units = [("", _l("millimetres?"))] if item.model_file.unit is None else []
        self.unit.choices = [
            SelectChoice(code, name) for code, name in [*units, *((one, unit_name(one)) for one in UNITS)]
        ]


def _choices(offered: list[tuple[str, str]], chosen: str) -> list[SelectChoice]:
    known = {code for code, _name in offered}
    gone = [] if chosen in known else [(chosen, chosen)]
    return [SelectChoice(code, name) for code, name in [*gone, *offered]]

"""What staff type about a parcel; the services check again what is theirs."""

from typing import Any

from flask_babel import lazy_gettext as _l
from wtforms import IntegerField, StringField
from wtforms.validators import InputRequired, Length, NumberRange

from portal.core.forms import PageForm
from portal.production.shipping.boxes import LONGEST_MM, MOST_GRAMS
from portal.production.shipping.carriers.base import Parcel

_MM_PER_CM = 10
_SIDE = [InputRequired(), NumberRange(1, LONGEST_MM // _MM_PER_CM)]


class ParcelForm(PageForm):
    """A packed box as it is on the scales: grams, and whole centimetres."""

    grams = IntegerField(
        _l("Weight in grams"),
        [InputRequired(), NumberRange(1, MOST_GRAMS)],
        description=_l("With the box and its packing, as it is on the scales."),
    )
    length = IntegerField(_l("Length in cm"), _SIDE)
    width = IntegerField(_l("Width in cm"), _SIDE)
    height = IntegerField(_l("Height in cm"), _SIDE)

    @classmethod
    def of(cls, parcel: Parcel) -> "ParcelForm":
        """Filled with a parcel; a side is rounded up to whole centimetres."""
        sides = {"length": parcel.length_mm, "width": parcel.width_mm, "height": parcel.height_mm}
        values: dict[str, Any] = {name: -(-side // _MM_PER_CM) for name, side in sides.items()}
        return cls(formdata=None, data={**values, "grams": parcel.grams})

    def read(self) -> Parcel:
        """The parcel that was typed."""
        return Parcel(
            grams=self.grams.data,
            length_mm=self.length.data * _MM_PER_CM,
            width_mm=self.width.data * _MM_PER_CM,
            height_mm=self.height.data * _MM_PER_CM,
        )


class HandOverForm(PageForm):
    """A parcel that staff take to a carrier themselves."""

    carrier = StringField(_l("Carrier"), [InputRequired(), Length(max=64)])
    tracking_number = StringField(_l("Tracking number"), [InputRequired(), Length(max=64)])
    tracking_url = StringField(
        _l("Tracking page"),
        [Length(max=2048)],
        description=_l("The whole https:// address where the customer can follow the parcel, if there is one."),
    )

"""What each field of the price book is called where staff read and edit it."""

from collections.abc import Mapping

from flask_babel import lazy_gettext as _l
from flask_babel import lazy_pgettext

from portal.core.errors import Sentence

# A field's name means the same in every table it stands in.
LABELS: Mapping[str, Sentence] = {
    "currency": _l("Currency"),
    "tax_rate_basis_points": _l("Tax rate in 1/100 of a percent"),
    "auto_approve_below": _l("Accepted at once below"),
    "validity_days": _l("Quotes hold for (days)"),
    "minimum": _l("Minimum order"),
    "handling_price": _l("Handling of a piece"),
    "handling_cost": _l("What handling costs us"),
    "timezone": _l("Time zone"),
    "ready_hour": _l("Parts are ready by (hour)"),
    "holidays": _l("Holidays"),
    "printers": _l("Printers"),
    "materials": _l("Materials"),
    "finishes": _l("Finishes"),
    "breaks": _l("Quantity breaks"),
    "rush": _l("Rush levels"),
    "checks": _l("Checks"),
    "code": _l("Code"),
    "name": lazy_pgettext("of a row of the price book", "Name"),
    "build_mm": _l("Build volume in mm"),
    "margin_mm": _l("Free margin in mm"),
    "hour_price": _l("Price of a machine hour"),
    "hour_cost": _l("What an hour costs us"),
    "part_seconds": _l("Seconds to start a part"),
    "wall_seconds": _l("Seconds per mm³ of wall"),
    "inner_seconds": _l("Seconds per mm³ of top and bottom"),
    "infill_seconds": _l("Seconds per mm³ of infill"),
    "layer_seconds": _l("Seconds per layer"),
    "longest_hours": _l("Staff look above (hours)"),
    "density": _l("Density in g/cm³"),
    "kg_price": _l("Price of a kg"),
    "kg_cost": _l("What a kg costs us"),
    "waste_percent": _l("Waste in percent"),
    "setup": _l("Set-up of an order"),
    "largest_mm": _l("Largest part in mm"),
    "layer_mm": _l("Height of a layer in mm"),
    "line_mm": _l("Width of a line in mm"),
    "perimeters": _l("Walls (lines)"),
    "top_layers": _l("Top layers"),
    "bottom_layers": _l("Bottom layers"),
    "infill_low": _l("Lowest infill in percent"),
    "infill_high": _l("Highest infill in percent"),
    "infill_usual": _l("Usual infill in percent"),
    "colours": _l("Colours"),
    "piece_price": _l("Price of a piece"),
    "cm2_price": _l("Price of a cm²"),
    "cost_percent": _l("Of it our cost, in percent"),
    "from_quantity": _l("From (pieces)"),
    "percent": _l("Percent"),
    "lead_days": _l("Business days"),
    "daily_hours": _l("Machine hours a day"),
    "cut_off_hour": _l("Cut-off (hour)"),
    "stretches": _l("Promises a later day when full"),
    "supports_from_percent": _l("Supports are likely above (percent of the surface)"),
    "supports_share_percent": _l("What supports add, in percent"),
    "supports_review_percent": _l("Staff look at supports above (percent of the surface)"),
    "thin_wall_mm": _l("A wall is thin below (mm)"),
    "smallest_shell_mm": _l("A piece is small below (mm)"),
    "tall_ratio": _l("A part is tall above (height to base)"),
    "contact_mm2": _l("A base is small below (mm²)"),
    "near_limit_mm": _l("Near the machine's limits within (mm)"),
    "note": _l("What changes?"),
    "file": _l("A price book as JSON"),
}

HINTS: Mapping[str, Sentence] = {
    "materials": _l("Codes of materials, with commas between."),
    "colours": _l("One a line: the code, then the name."),
    "holidays": _l("One a line: 2027-03-29 once, or 12-25 every year."),
    "build_mm": _l("Across x deep x high."),
    "largest_mm": _l("Across x deep x high; empty when only the printer is the limit."),
    "daily_hours": _l("0 when the level is not offered."),
    "auto_approve_below": _l("Exactly this total waits for staff."),
}


def label(name: str) -> str:
    """What a field is called."""
    return str(LABELS.get(name, name))


def path_words(path: str) -> str:
    """A value's place in words: `materials.pla.kg_price` is "Materials: pla: Price of a kg"."""
    return ": ".join(label(part) for part in path.split("."))

"""How much plastic and time one part takes, estimated from its measures without slicing it.

The shape of the formula and its constants were fitted to slices of real models: the walls take the side surface times
their thickness, top and bottom their surface times their layers, and where a part is too small to hold both, a smooth
minimum with its volume keeps the sum below it.

Powers are written with `exp` and `ln`, which the decimal arithmetic specification defines to the last digit; its
`power` is only almost always exact and may differ between implementations.
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal, DivisionByZero, InvalidOperation, Overflow

from portal.quotes.pricing.book import Material, Printer
from portal.quotes.pricing.measures import Measures

# Every calculation names this context, so that nothing around it can change its digits.
EXACT = Context(
    prec=34,
    rounding=ROUND_HALF_EVEN,
    Emin=-999_999,
    Emax=999_999,
    capitals=1,
    clamp=0,
    flags=[],
    traps=[DivisionByZero, InvalidOperation, Overflow],
)

_PI = Decimal("3.14159265358979323846")
_SMOOTHNESS = Decimal("4.6")
# What a slicer lays down beyond the shape itself: skirt, seams, overlaps.
EXTRA = Decimal("1.025")
_GRAM = Decimal("0.01")
_HOUR = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Estimate:
    """One part, printed: grams to 0.01 g and machine hours to 0.0001 h, with the volumes in mm3 they come from.

    `walls` and `caps` are the plastic of the outer walls and of top and bottom by surface alone, `shell` what a part
    of this volume can have of both, `wall` how much of it are walls, `filled` the infill's plastic, `layers` how many
    layers all its pieces have. Grams and hours are rounded here, so that the numbers a price shows are those it was
    calculated from.
    """

    walls: Decimal
    caps: Decimal
    shell: Decimal
    wall: Decimal
    filled: Decimal
    plastic: Decimal
    layers: Decimal
    grams: Decimal
    hours: Decimal


def estimate(
    measures: Measures, material: Material, printer: Printer, *, infill_percent: int, supports_percent: Decimal
) -> Estimate:
    """Plastic and time of one part; `supports_percent` of both comes on top for supports. Call it inside EXACT."""
    step = material.line_mm - material.layer_mm * (1 - _PI / 4)
    walls = measures.side * (material.perimeters * step + (material.line_mm - step))
    caps = material.layer_mm * (material.top_layers * measures.up + material.bottom_layers * measures.down)
    shell = smooth_minimum(walls + caps, measures.volume)
    wall = min(walls, shell)
    filled = Decimal(infill_percent) / 100 * (measures.volume - shell)
    plastic = EXTRA * (shell + filled)
    layers = measures.height / material.layer_mm * measures.shells
    seconds = (
        printer.part_seconds
        + printer.wall_seconds * wall
        + printer.inner_seconds * (shell - wall)
        + printer.infill_seconds * filled
        + printer.layer_seconds * layers
    )
    supported = 1 + supports_percent / 100
    grams = plastic * material.density / 1000 * supported
    return Estimate(
        walls=walls,
        caps=caps,
        shell=shell,
        wall=wall,
        filled=filled,
        plastic=plastic,
        layers=layers,
        grams=grams.quantize(_GRAM, ROUND_HALF_UP),
        hours=(seconds / 3600 * supported).quantize(_HOUR, ROUND_HALF_UP),
    )


def smooth_minimum(a: Decimal, b: Decimal) -> Decimal:
    """(a**-4.6 + b**-4.6)**(-1/4.6): near the smaller of the two, a little less where they are alike."""
    low, high = min(a, b), max(a, b)
    if not low:
        return Decimal(0)
    ratio = (_SMOOTHNESS * (low / high).ln()).exp()
    return low * (-(1 + ratio).ln() / _SMOOTHNESS).exp()

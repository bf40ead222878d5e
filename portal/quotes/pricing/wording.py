"""The words for prices, in the reader's language: steps, charges, rush levels, and what is said about a part.

Prices hold codes and numbers only, so that a stored price reads in any language.
"""

from collections.abc import Mapping
from decimal import Decimal

from flask_babel import lazy_gettext as _l

from portal.core.errors import Sentence
from portal.quotes.pricing.dfm import Finding
from portal.quotes.pricing.price import Charge
from portal.quotes.pricing.steps import Step

RUSH_NAMES: Mapping[str, Sentence] = {
    "standard": _l("Standard"),
    "rush": _l("Rush"),
    "super_rush": _l("Super rush"),
    "emergency": _l("Emergency"),
}

STEP_NAMES: Mapping[str, Sentence] = {
    "shell": _l("Walls, top and bottom"),
    "plastic": _l("Plastic"),
    "weight": _l("Weight of a piece"),
    "time": _l("Machine time of a piece"),
    "material": _l("Material"),
    "machine": _l("Machine time"),
    "handling": _l("Handling"),
    "finish": _l("Finish"),
    "piece": _l("A piece, before discount"),
    "break": _l("Discount for quantity"),
    "unit": _l("Price of a piece"),
}

REVIEW_NAMES: Mapping[str, Sentence] = {
    "no_price": _l("A part has no automatic price"),
    "not_offered": _l("An option is no longer offered"),
    "too_big": _l("A part fits no printer"),
    "near_limits": _l("A part is near the machine's limits"),
    "long_print": _l("A very long print"),
    "supports": _l("Many supports"),
}


def rush_name(code: str) -> str:
    """What a rush level is called."""
    return str(RUSH_NAMES.get(code, code))


def review_name(code: str) -> str:
    """Why staff have to look, in a few words; a code of another domain stays as it is."""
    return str(REVIEW_NAMES.get(code, code))


def step_name(step: Step) -> str:
    """What a step works out."""
    return str(STEP_NAMES.get(step.code, step.code))


def step_formula(step: Step) -> str:
    """How it is worked out, with its numbers."""
    return str(_filled(_FORMULAS.get(_variant(step), ""), step.values))


def finding_text(finding: Finding) -> str:
    """What is said about a part, as a sentence to its customer."""
    return str(_filled(_FINDINGS.get(finding.code, finding.code), finding.values))


def charge_name(charge: Charge) -> str:
    """What a charge is for, as a line of the order."""
    return str(_filled(_CHARGES.get(charge.code, charge.code), charge.values))


def _filled(sentence: Sentence, values: Mapping[str, str]) -> str:
    return str(sentence) % values if values else str(sentence)


def _variant(step: Step) -> str:
    """Supports and the surface of a finish are only spoken of where there are any."""
    if step.code in ("weight", "time") and Decimal(step.values["supports"]):
        return f"{step.code}_supported"
    if step.code == "finish" and not Decimal(step.values["cm2_price"]):
        return "finish_fixed"
    return step.code


_TIME = _l(
    "%(part_seconds)s s + %(wall_seconds)s s × %(wall)s mm³ of walls + %(inner_seconds)s s × %(inner)s mm³ of top and "
    "bottom + %(infill_seconds)s s × %(filled)s mm³ of infill + %(layer_seconds)s s × %(layers)s layers, on %(printer)s"
)
_TIME_SUPPORTED = _l(
    "(%(part_seconds)s s + %(wall_seconds)s s × %(wall)s mm³ of walls + %(inner_seconds)s s × %(inner)s mm³ of top and "
    "bottom + %(infill_seconds)s s × %(filled)s mm³ of infill + %(layer_seconds)s s × %(layers)s layers) + "
    "%(supports)s %% for supports, on %(printer)s"
)

_FORMULAS: Mapping[str, Sentence] = {
    "shell": _l("the walls' %(walls)s mm³ with top and bottom's %(caps)s mm³, as far as they fit into %(volume)s mm³"),
    "plastic": _l("%(extra)s × (%(shell)s mm³ + %(infill)s %% of the other %(volume)s − %(shell)s mm³)"),
    "weight": _l("%(plastic)s mm³ × %(density)s g/cm³"),
    "weight_supported": _l("%(plastic)s mm³ × %(density)s g/cm³ + %(supports)s %% for supports"),
    "time": _TIME,
    "time_supported": _TIME_SUPPORTED,
    "material": _l("%(grams)s g × %(kg_price)s per kg + %(waste)s %% waste"),
    "machine": _l("%(hours)s h × %(hour_price)s an hour"),
    "handling": _l("for every piece"),
    "finish": _l("%(finish)s: %(piece_price)s + %(surface)s cm² × %(cm2_price)s"),
    "finish_fixed": _l("%(finish)s: %(piece_price)s a piece"),
    "piece": _l("%(material)s + %(machine)s + %(handling)s + %(finish)s"),
    "break": _l("%(piece)s less %(percent)s %%, for %(quantity)s pieces"),
    "unit": _l("%(exact)s, rounded half up"),
}

_CHARGES: Mapping[str, Sentence] = {
    "setup": _l("Set-up: %(materials)s"),
    "minimum": _l("Up to the minimum order of %(minimum)s"),
    "rush": _l("Rush surcharge of %(percent)s %%"),
}

_FINDINGS: Mapping[str, Sentence] = {
    "no_price": _l("We cannot price this part automatically. A person looks at it and sends you a price."),
    "not_offered": _l("We no longer offer this material, colour, finish or infill. Choose another, or ask us."),
    "too_big": _l(
        "%(size)s mm does not fit our largest printer for this material (%(room)s mm). Split or scale it, or ask us."
    ),
    "near_limits": _l(
        "%(size)s mm is close to the largest size we can print in this material (%(room)s mm), so we check it first."
    ),
    "long_print": _l("One piece takes about %(hours)s hours to print, more than %(limit)s, so we check it first."),
    "supports": _l(
        "Much of the surface hangs over (%(percent)s %%), so it needs many supports. The price holds %(share)s %% for "
        "them, and we check it first."
    ),
    "supports_likely": _l(
        "Supports are likely: %(percent)s %% of the surface hangs over. The price holds %(share)s %% for them."
    ),
    "tall": _l(
        "It is tall for its base (%(height)s mm on %(base)s mm). We print it with a brim, which leaves a trace."
    ),
    "small_contact": _l("It touches the bed with %(area)s mm² only. We print it with a brim, which leaves a trace."),
    "small_feature": _l("A separate piece in it is only %(size)s mm large and may not print."),
    "several_pieces": _l("It consists of %(count)s separate pieces, which are sold as one part."),
    "thin_wall": _l("Its thinnest walls are about %(wall)s mm, less than %(limit)s mm, and may not print."),
    "colours_ignored": _l("Colours and textures in the file are not used: it is printed in the colour you choose."),
}

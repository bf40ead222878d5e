"""A model in words, for whoever cannot see it or wants its numbers: size, volume, and what it roughly looks like."""

from collections.abc import Mapping, Sequence
from typing import Any

from flask_babel import format_decimal, ngettext
from flask_babel import gettext as _

from portal.quotes import wording
from portal.quotes.models import ModelFile

# A side that much shorter than the longest makes a thing flat, or long.
_FLAT, _LONG = 0.2, 0.4
# How much of its box a body fills.
_BLOCK, _SLENDER = 0.75, 0.2
# Longest sides, in mm, up to which something is as large as what people know.
_KNOWN_SIZES = (20, 70, 160, 350)


def facts(model: ModelFile) -> list[tuple[str, str]]:
    """Its numbers, one a line; of one that is not measured only what is known of the file."""
    measures = model.measures
    rows = [(_("File size"), wording.file_size(model.size_bytes))]
    sides = size_of(measures)
    if sides is not None:
        rows.append((_("Size"), wording.size_text([*sides])))
    if measures.get("volume_mm3"):
        rows.append((_("Volume"), wording.volume_text(measures)))
    if measures.get("area_mm2"):
        rows.append((_("Surface"), f"{format_decimal(round(measures['area_mm2'] / 100, 1))} cm²"))
    if measures.get("triangles"):
        rows.append((_("Triangles"), str(format_decimal(measures["triangles"]))))
    if measures.get("parts"):
        rows.append((_("Parts"), str(format_decimal(measures["parts"]))))
    if "watertight" in measures:
        rows.append((_("Closed"), _("yes") if measures["watertight"] else _("no")))
    return rows


def size_of(measures: Mapping[str, Any]) -> Sequence[float] | None:
    """Its box in mm, when it is known."""
    sides = measures.get("bbox_mm")
    return sides if isinstance(sides, list) and len(sides) == 3 and max(sides) > 0 else None


def looks(model: ModelFile) -> str:
    """What it looks like, in a sentence or three: its proportions, how large, and how much of its box it fills."""
    measures, sides = model.measures, size_of(model.measures)
    if sides is None:
        return str(_("We know nothing of its shape."))
    sentences = [_proportions(sides), _comparison(max(sides))]
    volume = measures.get("volume_mm3")
    if volume:
        sentences.append(_fullness(volume / (sides[0] * sides[1] * sides[2]) if min(sides) > 0 else 1))
    count = measures.get("parts") or 1
    if count > 1:
        sentences.append(
            str(ngettext("It consists of %(num)s piece.", "It consists of %(num)s separate pieces.", count))
        )
    return " ".join(sentences)


def _proportions(sides: Sequence[float]) -> str:
    width, depth, height = sides
    short, middle, long = sorted(sides)
    if middle < _LONG * long:
        return str(_("A tall, slim part.") if height == long else _("A long, slim part."))
    if short < _FLAT * long:
        return str(_("A flat part, lying down.") if height == short else _("A flat part, standing on its edge."))
    if short > 0.8 * long:
        return str(_("A part about as wide as deep and high."))
    return str(_("A part higher than wide.") if height > max(width, depth) else _("A part wider than high."))


def _comparison(longest: float) -> str:
    words = (
        _("It is no larger than a die."),
        _("It fits into a closed hand."),
        _("It is about as large as a hand."),
        _("It is about as large as a sheet of paper."),
    )
    for limit, sentence in zip(_KNOWN_SIZES, words, strict=True):
        if longest <= limit:
            return str(sentence)
    return str(_("It is larger than a sheet of paper."))


def _fullness(share: float) -> str:
    if share >= _BLOCK:
        return str(_("It fills its box almost entirely, like a block."))
    if share <= _SLENDER:
        return str(_("It fills little of its box: it is thin, hollow or open."))
    return str(_("It fills about %(percent)s %% of its box.", percent=round(share * 100)))

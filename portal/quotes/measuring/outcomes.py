"""What can be said about a model file: a code, what follows from it, and a sentence.

The sentences are templates: English here, looked up in the customer's language by whoever shows them. This module is
read by the measuring child, which knows no web framework.
"""

from enum import StrEnum
from typing import Any

# Raised whenever the same file would measure differently.
READER_VERSION = 1


def N_(text: str) -> str:  # noqa: N802  # the name by which the catalogue of texts finds it
    """Mark a text for translation."""
    return text


class Outcome(StrEnum):
    """What follows, the best first."""

    ACCEPT = "accept"
    WARN = "warn"
    MANUAL = "manual"
    REJECT = "reject"


_SEVERITY = list(Outcome)
_A, _W, _M, _R = _SEVERITY

_PACKED = N_("This 3MF is packed in a way we do not accept. Open it in your slicer and save it as a new 3MF.")
_LOCKED = N_("This 3MF is encrypted; we cannot read protected files. Save it without protection.")
_NOT_VALID = N_("The 3D model inside is not valid 3MF (%(detail)s). Save it again with a current slicer.")
_MESH = N_(
    "The mesh contains an invalid number or corner (object %(object)s: %(detail)s). Repair it and export it again."
)
_REFERENCES = N_("The parts of this 3MF refer to each other wrongly (%(detail)s). Save it again with a current slicer.")
_NOTHING = N_("There is nothing to print: no closed body on the build plate.")
_OPEN = N_(
    "The mesh has %(edges)s open or doubled edges, so its volume is not certain. "
    "We check it and send a price, or repair it and upload it again."
)
_CORRECTED = N_("We corrected %(triangles)s zero-area triangles; the price is not affected.")

CODES: dict[str, tuple[Outcome, str]] = {
    "empty_file": (_R, N_("This file is empty (0 bytes). Export it again and upload it.")),
    "not_3mf": (
        _R,
        N_("This is not a 3MF file, although its name says so. Upload the file your slicer or CAD program saved."),
    ),
    "wrong_type": (
        _R,
        N_(
            "The content of this file is not what its name says (%(detail)s). "
            "Give it the right ending, or export it again."
        ),
    ),
    "too_large": (
        _R,
        N_("The file is %(size)s MB; we take up to 100 MB. Reduce the mesh's detail or send it to us by e-mail."),
    ),
    "zip_damaged": (_R, N_("The file arrived incomplete or damaged. Save it again and upload it again.")),
    "zip_bomb": (_R, _PACKED),
    "zip_entries": (_R, _PACKED),
    "zip_names": (_R, _PACKED),
    "zip_method": (_R, _PACKED),
    "zip_encrypted": (_R, _LOCKED),
    "encrypted": (_R, _LOCKED),
    "no_model": (_R, N_("We found no 3D model inside this file. Export the model as 3MF, STL or OBJ and upload that.")),
    "xml_bad": (_R, _NOT_VALID),
    "xml_dtd": (_R, _NOT_VALID),
    "xml_depth": (_R, _NOT_VALID),
    "structure": (_R, _NOT_VALID),
    "bad_number": (_R, _MESH),
    "bad_index": (_R, _MESH),
    "bad_face": (_R, _MESH),
    "bad_reference": (_R, _REFERENCES),
    "cycle": (_R, _REFERENCES),
    "depth": (_R, _REFERENCES),
    "bad_transform": (_R, _REFERENCES),
    "bad_unit": (_R, _REFERENCES),
    "stl_damaged": (
        _R,
        N_("This file is damaged: %(detail)s. Export it again and upload it again."),
    ),
    "not_obj": (_R, N_("This is not an OBJ file we can read (%(detail)s). Export it again and upload it again.")),
    "too_many_parts": (
        _R,
        N_("%(parts)s parts are more than we price instantly (1,000). Send them in groups."),
    ),
    "too_many_triangles": (
        _M,
        N_("The mesh has more than 2 million triangles. A person will price it; you need not upload it again."),
    ),
    "no_geometry": (_R, _NOTHING),
    "no_volume": (_R, _NOTHING),
    "needs_extension": (_M, N_("This file uses %(detail)s, which we price by hand within one working day.")),
    "beam_lattice": (_M, N_("This file uses lattices, which we price by hand within one working day.")),
    "no_price": (_M, N_("This file uses %(detail)s, which we price by hand within one working day.")),
    "sliced_file": (
        _M,
        N_("This is already sliced (G-code) for a certain printer. Upload the project or the model itself, or ask us."),
    ),
    "not_watertight": (_M, _OPEN),
    "winding": (
        _M,
        N_(
            "%(edges)s edges of the mesh lie between triangles that face opposite ways, so its volume is not certain. "
            "We check it and send a price, or repair it and upload it again."
        ),
    ),
    "inverted": (_W, N_("We corrected inside-out triangles; the price is not affected.")),
    "degenerate": (_W, _CORRECTED),
    "too_small": (
        _W,
        N_("Your part is %(x)s x %(y)s x %(z)s mm. Was it drawn in inches or metres? Choose the unit."),
    ),
    "too_big": (
        _R,
        N_("%(x)s x %(y)s x %(z)s mm does not fit our largest printer. Split or scale it, or ask us."),
    ),
    "internal": (
        _M,
        N_("We could not price this automatically. A person will look at it; you need not upload it again."),
    ),
}


class Refused(Exception):
    """The file cannot be measured; `code` is one of CODES, `values` fill its sentence."""

    def __init__(self, code: str, /, **values: Any) -> None:
        self.code = code
        self.values = {"detail": "", "object": "?", **values}
        super().__init__(code)


def problem(code: str, /, **values: Any) -> dict[str, Any]:
    """A finding as it is stored: the code and what fills its sentence."""
    return {"code": code, "values": values}


def outcome_of(code: str) -> Outcome:
    """What follows from one finding."""
    return CODES[code][0]


def worst(problems: list[dict[str, Any]]) -> tuple[Outcome, str]:
    """What follows from all findings, and the code that decides; accept without any."""
    if not problems:
        return Outcome.ACCEPT, ""
    first = max(problems, key=lambda found: _SEVERITY.index(outcome_of(found["code"])))
    return outcome_of(first["code"]), str(first["code"])


def english(code: str, values: dict[str, Any]) -> str:
    """The sentence of a finding; nothing for no finding."""
    if not code:
        return ""
    return CODES[code][1] % {"detail": "", "object": "?", **values}

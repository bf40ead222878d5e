"""What an answer of the measuring child must look like before anybody believes it."""

import math
from typing import Any

from portal.quotes.measuring.outcomes import CODES, Outcome

_SIZES = (
    "volume_mm3", "area_mm2", "side_mm2", "up_mm2", "down_mm2", "overhang_mm2", "contact_mm2", "smallest_shell_mm",
)  # fmt: skip
_COUNTS = ("triangles", "parts", "items", "shells", "hollows")
_MOST_PROBLEMS = 64
_MOST_WALLS = 1_000


def is_answer(answer: dict[str, Any]) -> bool:
    """Whether the answer has the form that `measure()` promises."""
    if not _is_verdict(answer):
        return False
    if "volume_mm3" not in answer:
        # Unless it is rejected, only a person can say more about a file without measures.
        return answer["outcome"] in (Outcome.REJECT, Outcome.MANUAL)
    box = answer.get("bbox_mm")
    return (
        all(_is_size(answer.get(name)) for name in _SIZES)
        and all(_is_count(answer.get(name)) for name in _COUNTS)
        and isinstance(box, list)
        and len(box) == 3
        and all(map(_is_size, box))
        and _are_walls(answer.get("walls_mm"))
        and all(isinstance(answer.get(name), bool) for name in ("watertight", "has_colours"))
        and all(isinstance(answer.get(name), str | None) for name in ("unit", "thumbnail"))
    )


def _is_verdict(answer: dict[str, Any]) -> bool:
    codes, problems = answer.get("codes"), answer.get("problems")
    return (
        answer.get("outcome") in set(Outcome)
        and isinstance(codes, list)
        and len(codes) <= _MOST_PROBLEMS
        and all(code in CODES for code in codes)
        and answer.get("code") in (set(codes) or {""})
        and isinstance(answer.get("message"), str)
        and _is_count(answer.get("reader_version"))
        and isinstance(problems, list)
        and [found.get("code") for found in problems if isinstance(found, dict)] == codes
    )


def _are_walls(value: object) -> bool:
    return value is None or (isinstance(value, list) and len(value) <= _MOST_WALLS and all(map(_is_size, value)))


def _is_size(value: object) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0

"""Reading, checking and measuring an uploaded model file (3MF, STL, OBJ).

Strangers' files are read in a child process with hard limits: see `isolation`. `measure()` itself is what runs there.
"""

from pathlib import Path
from typing import Any


def measure(path: str | Path, *, unit: str | None = None) -> dict[str, Any]:
    """Measure a model file: `outcome`, `code`, `codes`, `message` and, unless rejected, the measures. Never raises.

    `unit` (mm, cm, inch, m) is what the customer says an STL or OBJ was drawn in. Volume and areas are in mm3 and mm2.
    """
    # numpy and the readers are for the measuring process; a web server that only names this module needs none of them.
    from portal.quotes.measuring import answering

    try:
        with Path(path).open("rb") as file:
            return answering.measure_file(file, Path(path).name, unit=unit)
    except Exception:  # noqa: BLE001  # whatever a hostile file brings about is an answer, not a crash
        return answering.failed()

"""One engine on one model file: `python -m bench.model_engines ENGINE FILE` prints what reading it took, as JSON."""

import json
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # As the measuring process does: our readers without the web application around them.
    _portal = types.ModuleType("portal")
    _portal.__path__ = [str(Path(__file__).resolve().parent.parent / "portal")]
    sys.modules["portal"] = _portal

from tests.quotes.measuring import models


def _peak() -> float:
    """MiB at most so far, of this program alone (getrusage remembers what forked it)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def _ours(path: Path) -> dict[str, float]:
    from portal.quotes.measuring import answering, geometry, topology

    before, start = _peak(), time.process_time()
    with path.open("rb") as file:
        (placement,) = answering.read_model(file, path.name).placements
    read = time.process_time()
    volume = geometry.surface(placement.mesh, placement.linear).volume
    measured = time.process_time()
    topology.examine(placement.mesh)
    done = time.process_time()
    return {
        "cpu": measured - start, "read": read - start, "topology": done - measured,
        "growth": _peak() - before, "volume": volume,
    }  # fmt: skip


def _lib3mf(path: Path) -> dict[str, float]:
    from tests.quotes.measuring import oracles

    before, start = _peak(), time.process_time()
    volume = sum(surface.volume for surface in oracles.by_lib3mf(path))
    return {"cpu": time.process_time() - start, "growth": _peak() - before, "volume": volume}


def _trimesh(path: Path) -> dict[str, float]:
    from tests.quotes.measuring import oracles

    before, start = _peak(), time.process_time()
    mesh = oracles.by_trimesh(path)
    volume, _area, _box = mesh.volume, mesh.area, mesh.bounds
    return {"cpu": time.process_time() - start, "growth": _peak() - before, "volume": volume}


_ENGINES: dict[str, Any] = {"ours": _ours, "lib3mf": _lib3mf, "trimesh": _trimesh}

if __name__ == "__main__":
    # A small file first, so that imports and first calls count for nobody.
    with tempfile.TemporaryDirectory() as warm_folder:
        suffix = Path(sys.argv[2]).name.partition(".")[2]
        _ENGINES[sys.argv[1]](models.write_torus(Path(warm_folder), 200)[suffix])
    print(json.dumps(_ENGINES[sys.argv[1]](Path(sys.argv[2]))))

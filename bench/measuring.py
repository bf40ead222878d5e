"""Reading and measuring model files, beside lib3mf and trimesh: CPU time and growth of memory, a process each."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.harness import Bench, Report
from portal.quotes.measuring.limits import ENVIRONMENT
from tests.quotes.measuring import models

_SIZES = (10_000, 100_000, 1_000_000)
_TEXT_TRIANGLES = 400_000
_ROUNDS = {10_000: 5, 100_000: 5, 400_000: 1, 1_000_000: 3}
_MIB = 1024 * 1024


def run(_bench: Bench, report: Report) -> None:
    """The ratios of 3MF at three sizes, of STL and OBJ at the largest."""
    with tempfile.TemporaryDirectory(prefix="portal-bench-models-") as folder:
        report.section("Reading and measuring model files (CPU time; lib3mf fills numpy buffers, sums as ours)")
        for triangles in _SIZES:
            paths = models.write_torus(Path(folder), triangles)
            _three_mf(report, paths["3mf"], triangles)
            if triangles == _SIZES[-1]:
                _others(report, paths)
            for path in paths.values():
                path.unlink()
        paths = models.write_torus(Path(folder), _TEXT_TRIANGLES)
        ours, trimesh = _in_turn(paths["text.stl"], _TEXT_TRIANGLES, "ours", "trimesh")
        _compare(report, f"ASCII STL, {_TEXT_TRIANGLES:,} triangles", trimesh, ours, at_least=1.0)


def _three_mf(report: Report, path: Path, triangles: int) -> None:
    ours, lib3mf, trimesh = _in_turn(path, triangles, "ours", "lib3mf", "trimesh")
    what = f"3MF, {triangles:,} triangles"
    report.fact(
        f"{what}: ours, lib3mf, trimesh",
        ", ".join(f"{one['cpu'] * 1000:.0f} ms and {one['growth']:.0f} MiB" for one in (ours, lib3mf, trimesh)),
    )
    big = triangles >= 100_000
    report.ratio(f"{what}: lib3mf / ours", lib3mf["cpu"] / ours["cpu"], at_least=1.2 if big else 0)
    report.ratio(f"{what}: trimesh / ours", trimesh["cpu"] / ours["cpu"], at_least=4.5 if big else 0)
    report.ratio(f"{what}: edges and pieces / reading", ours["topology"] / ours["read"], at_most=1.0)
    if triangles == _SIZES[-1]:
        report.ratio(f"{what}: growth of memory, MiB", ours["growth"], at_most=120)


def _others(report: Report, paths: dict[str, Path]) -> None:
    triangles = _SIZES[-1]
    for name, what, factor in (("stl", "binary STL", 1.5), ("obj", "OBJ", 1.0)):
        ours, trimesh = _in_turn(paths[name], triangles, "ours", "trimesh")
        _compare(report, f"{what}, {triangles:,} triangles", trimesh, ours, at_least=factor)
        if name == "stl":
            size = paths[name].stat().st_size / _MIB
            report.ratio(f"{what}: growth of memory / size of the file", ours["growth"] / size, at_most=2.0)


def _compare(report: Report, what: str, theirs: dict[str, float], ours: dict[str, float], *, at_least: float) -> None:
    report.fact(f"{what}: ours, trimesh", f"{ours['cpu'] * 1000:.0f} ms, {theirs['cpu'] * 1000:.0f} ms")
    report.ratio(f"{what}: trimesh / ours", theirs["cpu"] / ours["cpu"], at_least=at_least)


def _in_turn(path: Path, triangles: int, *engines: str) -> list[dict[str, float]]:
    """The medians of each engine, measured in turn so that a busy moment hits all."""
    rounds = [[_measured(engine, path) for engine in engines] for _ in range(_ROUNDS[triangles])]
    if len({round(one["volume"] / rounds[0][0]["volume"], 4) for some in rounds for one in some}) != 1:
        raise RuntimeError(f"the engines disagree about {path.name}")
    return [
        {key: statistics.median(some[place][key] for some in rounds) for key in rounds[0][place]}
        for place in range(len(engines))
    ]


def _measured(engine: str, path: Path) -> dict[str, float]:
    """One file in a fresh process."""
    # All get what the measuring process has.
    environment = {**os.environ, **ENVIRONMENT}
    command = [sys.executable, "-m", "bench.model_engines", engine, str(path)]
    found: dict[str, float] = json.loads(subprocess.check_output(command, env=environment))
    return found

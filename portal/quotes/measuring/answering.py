"""From a file to its measures and what is to be said about it."""

import math
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from portal.quotes.measuring import geometry, obj, stl, three_mf, topology, walls
from portal.quotes.measuring.meshes import MOST_TRIANGLES, Corners, Mesh, Model, Placement
from portal.quotes.measuring.outcomes import N_, READER_VERSION, Outcome, Refused, english, problem, worst
from portal.quotes.measuring.package import SIGNATURE

MOST_BYTES = 100 * 1024 * 1024
# The box on the plate, in mm; and how far from the origin we still believe the digits.
LARGEST = 1_500.0
_FARTHEST = 1e7
# A part that is smaller in all directions was probably drawn in another unit.
SMALLEST = 2.0
# Distinct ways in which meshes are turned are measured one by one.
_MOST_WORK = 4 * MOST_TRIANGLES
UNITS = {"mm": 1.0, "cm": 10.0, "inch": 25.4, "m": 1000.0}
_FEW_SLIVERS = 0.001
_HUNDREDTHS = 100
_TYPES = (".3mf", ".stl", ".obj")


def measure_file(file: BinaryIO, name: str, *, unit: str | None = None) -> dict[str, Any]:
    """What `measure()` says, from an open file; `name` only tells the type."""
    try:
        return _answer(*_measured(read_model(file, name, unit=unit)))
    except Refused as refusal:
        return _answer({}, [problem(refusal.code, **refusal.values)])


def read_model(file: BinaryIO, name: str, *, unit: str | None = None) -> Model:
    """The meshes on the plate, in millimetres. Raises Refused."""
    if unit is not None and unit not in UNITS:
        raise Refused("bad_unit", detail=N_("its unit of length is unknown"))
    kind = _sniff(file, name)
    if kind == ".3mf":
        return three_mf.read(file)
    mesh = stl.read(file) if kind == ".stl" else obj.read(file)
    if not mesh.count:
        raise Refused("no_geometry")
    scale = np.eye(3) * UNITS[unit or "mm"]
    return Model([Placement(mesh, scale, np.zeros(3))], items=1, unit=unit)


def _sniff(file: BinaryIO, name: str) -> str:
    """The file's type by its name, when its content agrees."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(512)
    file.seek(0)
    kind = Path(name).suffix.lower()
    if not size:
        raise Refused("empty_file")
    if size > MOST_BYTES:
        raise Refused("too_large", size=math.ceil(size / 1024 / 1024))
    if kind not in _TYPES:
        raise Refused("wrong_type", detail=N_("we take 3MF, STL and OBJ"))
    is_zip = start.startswith(SIGNATURE)
    if kind == ".3mf" and not is_zip:
        raise Refused("not_3mf")
    if kind != ".3mf" and is_zip:
        raise Refused("wrong_type", detail=N_("it is a zip, perhaps a 3MF"))
    return kind


def _measured(model: Model) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The measures of a model, and the findings."""
    problems: list[dict[str, Any]] = list(model.problems or [])
    surfaces = _surfaces(model.placements)
    size = _size(model.placements, surfaces)
    if not (size <= LARGEST).all():
        raise Refused("too_big", **_shown(size))
    meshes = {id(placement.mesh): placement.mesh for placement in model.placements}
    found = {key: topology.examine(mesh) for key, mesh in meshes.items()}
    total = _totals(model, surfaces, found)
    _check_body(model, surfaces, found, total, size, problems)
    is_unit_known = model.unit is not None
    if not is_unit_known and (size < SMALLEST).all():
        problems.append(problem("too_small", **_shown(size)))
    measures = {
        **total,
        "walls_mm": _walls(model.placements, surfaces) if total["watertight"] else None,
        "bbox_mm": [round(float(side), 6) for side in size],
        "items": model.items,
        "unit": model.unit,
        "has_colours": model.has_colours,
        "thumbnail": model.thumbnail,
        "reader_version": READER_VERSION,
    }
    return measures, problems


Key = tuple[int, bytes]


def _key(placement: Placement) -> Key:
    """Equal for placements that differ only in where they stand."""
    return id(placement.mesh), placement.linear.tobytes()


def _surfaces(placements: list[Placement]) -> dict[Key, geometry.Surface]:
    found: dict[Key, geometry.Surface] = {}
    work = 0
    with np.errstate(over="ignore", invalid="ignore"):
        for placement in placements:
            key = _key(placement)
            if key in found or not placement.mesh.count:
                continue
            work += placement.mesh.count
            if work > _MOST_WORK:
                raise Refused("too_many_triangles")
            found[key] = geometry.surface(placement.mesh, placement.linear)
    return found


def _size(placements: list[Placement], surfaces: dict[Key, geometry.Surface]) -> Corners:
    """The box around everything on the plate. Raises Refused when it is no size at all."""
    used = [(placement, surfaces[_key(placement)]) for placement in placements if _key(placement) in surfaces]
    lows = np.array([surface.low + placement.shift for placement, surface in used])
    highs = np.array([surface.high + placement.shift for placement, surface in used])
    low, high = lows.min(axis=0), highs.max(axis=0)
    # Written so that what is no number at all is refused too.
    if not (np.abs(low) < _FARTHEST).all() or not (np.abs(high) < _FARTHEST).all():
        raise Refused("too_big", **_shown(high - low))
    size: Corners = high - low
    return size


def _totals(model: Model, surfaces: dict[Key, geometry.Surface], found: dict[int, topology.Topology]) -> dict[str, Any]:
    """The sums over all parts."""
    used = [placement for placement in model.placements if placement.mesh.count]
    names = ("area", "side", "up", "down", "overhang", "contact")
    total = dict.fromkeys(names, 0.0)
    volume = 0.0
    floors: dict[int, float] = {}
    for placement in used:
        low = surfaces[_key(placement)].low[2] + placement.shift[2]
        floors[placement.item] = min(low, floors.get(placement.item, low))
    for placement in used:
        surface = surfaces[_key(placement)]
        volume += abs(surface.volume)
        for name in ("area", "side", "up", "down", "overhang"):
            total[name] += getattr(surface, name)
        is_on_bed = surface.low[2] + placement.shift[2] <= floors[placement.item] + geometry.BED
        total["contact" if is_on_bed else "overhang"] += surface.contact
    return {
        "volume_mm3": volume,
        **{f"{name}_mm2": total[name] for name in names},
        "triangles": sum(placement.mesh.count for placement in used),
        "parts": len(used),
        "shells": sum(found[id(placement.mesh)].shells for placement in used),
        "watertight": all(found[id(placement.mesh)].is_closed for placement in used),
        **_shells(used, surfaces, found),
    }


def _shells(
    used: list[Placement], surfaces: dict[Key, geometry.Surface], found: dict[int, topology.Topology]
) -> dict[str, Any]:
    """The longest side of the smallest piece, and how many pieces are hollows inside others."""
    smallest, hollows = math.inf, 0
    known: dict[Key, tuple[float, int]] = {}
    for placement in used:
        key, shells = _key(placement), found[id(placement.mesh)]
        if key not in known:
            surface = surfaces[key]
            known[key] = float((surface.high - surface.low).max()), 0
            if shells.shells > 1:
                corners = geometry.placed(placement.mesh, placement.linear)
                volumes, sides = topology.shell_sums(placement.mesh, corners, shells)
                against = volumes < 0 if surface.volume > 0 else volumes > 0
                known[key] = float(sides.min()), int(np.count_nonzero(against))
        smallest, hollows = min(smallest, known[key][0]), hollows + known[key][1]
    return {"smallest_shell_mm": smallest, "hollows": hollows}


def _walls(placements: list[Placement], surfaces: dict[Key, geometry.Surface]) -> list[float] | None:
    """How thick the walls are: hundredths of the surface from the thinnest up; None with too many triangles."""
    used: dict[Key, list[Placement]] = {}
    for placement in placements:
        if placement.mesh.count:
            used.setdefault(_key(placement), []).append(placement)
    if sum(some[0].mesh.count for some in used.values()) > walls.MOST_TRIANGLES:
        return None
    area = sum(surfaces[key].area * len(some) for key, some in used.items())
    found, weights = [], []
    for key, some in used.items():
        surface, mesh = surfaces[key], some[0].mesh
        share = surface.area * len(some) / area
        corners = geometry.placed(mesh, some[0].linear)
        points = math.ceil(walls.POINTS * share)
        found.append(walls.thicknesses(mesh, corners, points, is_inside_out=surface.volume < 0))
        weights.append(np.full(found[-1].size, share / points))
    thickness, weight = np.concatenate(found), np.cumsum(np.concatenate(weights)[np.argsort(np.concatenate(found))])
    at = np.searchsorted(weight, (np.arange(_HUNDREDTHS) + 0.5) / _HUNDREDTHS * weight[-1])
    return [round(float(value), 3) for value in np.sort(thickness)[np.minimum(at, thickness.size - 1)]]


def _check_body(
    model: Model,
    surfaces: dict[Key, geometry.Surface],
    found: dict[int, topology.Topology],
    total: dict[str, Any],
    size: Corners,
    problems: list[dict[str, Any]],
) -> None:
    """Whether there is a body, and whether its volume is certain. Raises Refused when there is none."""
    diagonal = float(np.sqrt((size * size).sum()))
    is_flat = bool((size <= 1e-6 * diagonal).any())
    is_nothing = total["watertight"] and total["volume_mm3"] <= 1e-9 * total["area_mm2"] * diagonal
    if is_flat or is_nothing:
        raise Refused("no_volume")
    odd = sum(part.odd_edges for part in found.values())
    turned = sum(part.turned_edges for part in found.values())
    if odd:
        problems.append(problem("not_watertight", edges=odd))
    elif turned or not total["watertight"]:
        problems.append(problem("winding", edges=turned))
    degenerate = sum(part.degenerate for part in found.values())
    # A few slivers that close up when corners are merged are in many sound files, and not worth a word.
    doubled = sum(_doubled(placement.mesh) for placement in model.placements)
    if doubled or degenerate > _FEW_SLIVERS * total["triangles"]:
        problems.append(problem("degenerate", triangles=degenerate))
    if total["watertight"] and any(
        surfaces[_key(placement)].volume * np.sign(geometry.determinant(placement.linear)) < 0
        for placement in model.placements
        if placement.mesh.count
    ):
        problems.append(problem("inverted"))


def _doubled(mesh: Mesh) -> int:
    """Triangles that name one corner twice."""
    if mesh.is_merged:
        return 0
    a, b, c = mesh.triangles
    return int(np.count_nonzero((a == b) | (b == c) | (a == c)))


def _shown(size: Corners) -> dict[str, str]:
    """The sides of a box as they stand in a sentence."""
    return {axis: f"{float(side):.4g}" for axis, side in zip("xyz", size, strict=True)}


def _answer(measures: dict[str, Any], problems: list[dict[str, Any]]) -> dict[str, Any]:
    outcome, code = worst(problems)
    values: dict[str, Any] = next((found["values"] for found in problems if found["code"] == code), {})
    answer: dict[str, Any] = {
        "outcome": str(outcome),
        "code": code,
        "codes": [found["code"] for found in problems],
        "problems": problems,
        "message": english(code, values),
        "reader_version": READER_VERSION,
    }
    return answer if outcome is Outcome.REJECT else {**answer, **measures}


def failed() -> dict[str, Any]:
    """The answer when measuring itself failed: a person looks at the file."""
    return _answer({}, [problem("internal")])

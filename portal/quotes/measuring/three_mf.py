"""A 3MF package: its start part, the parts that one refers to, and what stands on the build plate."""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import unquote

import numpy as np

from portal.quotes.measuring.meshes import Corners, Mesh, Model, Placement
from portal.quotes.measuring.model_part import (
    BEAM_LATTICE,
    CORE,
    MATERIALS,
    PRODUCTION,
    UNITS,
    Budget,
    Matrix,
    ModelPart,
    Object,
    Reference,
    read_part,
)
from portal.quotes.measuring.outcomes import N_, Refused, problem
from portal.quotes.measuring.package import Package
from portal.quotes.measuring.xml_reader import XmlReader

MOST_PARTS = 1_000
MOST_COMPONENT_DEPTH = 32

_RELATIONS = "_rels/.rels"
_MOST_RELATIONS = 4 * 1024 * 1024
_RELATION = "http://schemas.openxmlformats.org/package/2006/relationships Relationship"
_MODEL_TYPE = "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"
_THUMBNAIL_TYPE = "http://schemas.openxmlformats.org/package/2006/relationships/metadata/thumbnail"
_KEYSTORE_TYPE = "/keystore"
_SECURE = "http://schemas.microsoft.com/3dmanufacturing/securecontent/"
# What these add changes nothing about the closed body: colours, slices beside the mesh, names for groups of triangles.
_UNDERSTOOD = {
    CORE,
    PRODUCTION,
    MATERIALS,
    "http://schemas.microsoft.com/3dmanufacturing/slice/2015/07",
    "http://schemas.microsoft.com/3dmanufacturing/trianglesets/2021/07",
}


@dataclass(frozen=True)
class Relation:
    """One line of a relationships part."""

    type: str
    target: str


class _Relations:
    def __init__(self) -> None:
        self.found: list[Relation] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == _RELATION and attributes.get("TargetMode", "Internal") != "External":
            self.found.append(Relation(attributes.get("Type", ""), attributes.get("Target", "")))

    def end(self, name: str) -> None:
        """Nothing to do."""


def relations(package: Package) -> list[Relation]:
    """What the package says about itself; empty when it says nothing. Raises Refused."""
    key = package.find(_RELATIONS)
    if key is None:
        return []
    handler = _Relations()
    reader = XmlReader(handler)
    reader.feed(package.read(key, at_most=_MOST_RELATIONS))
    reader.close()
    return handler.found


def find_part(package: Package, target: str) -> str | None:
    """The part that a target names; relative ones count from the package's root."""
    for name in (target, unquote(target)):
        key = package.find(posixpath.normpath("/" + name.lstrip("/")))
        if key is not None:
            return key
    return None


def find_thumbnail(package: Package, known: list[Relation]) -> str | None:
    """The picture of the whole package."""
    for relation in known:
        if relation.type == _THUMBNAIL_TYPE and (key := find_part(package, relation.target)):
            return key
    return None


def read(file: BinaryIO) -> Model:
    """Everything on the plate of a 3MF. Raises Refused."""
    package = Package(file)
    known = relations(package)
    if any(relation.type.endswith(_KEYSTORE_TYPE) for relation in known):
        raise Refused("encrypted")
    start = next(
        (key for relation in known if relation.type == _MODEL_TYPE and (key := find_part(package, relation.target))),
        None,
    )
    if start is None:
        raise Refused("sliced_file" if _is_sliced(package) else "no_model")
    picture = find_thumbnail(package, known)
    return _Plate(package, start, picture and package.name(picture)).model()


def _is_sliced(package: Package) -> bool:
    return any(name.lower().endswith((".gcode", ".gcode.gz")) for name in package.names)


class _Plate:
    """Follows the references from the build items down to the meshes."""

    def __init__(self, package: Package, start: str, thumbnail: str | None) -> None:
        self._package = package
        self._start = start
        self._thumbnail = thumbnail
        self._budget = Budget()
        self._parts: dict[str, ModelPart] = {}
        # How many meshes an object stands for and how deep it goes, by part and number; None while it is being counted.
        self._counts: dict[tuple[str, int], tuple[int, int] | None] = {}
        self._needs: set[str] = set()
        self._has_lattice = False
        self._has_unknown = False
        self._has_helpers = False

    def model(self) -> Model:
        """What is to be printed. Raises Refused."""
        root = self._part(self._start)
        if not root.has_build:
            raise Refused("structure", detail=N_("it has no build plate"))
        parts = sum(self._count_item(item) for item in root.items)
        if parts > MOST_PARTS:
            raise Refused("too_many_parts", parts=parts)
        unit, millimetres = UNITS[root.unit]
        scale = np.eye(3) * millimetres
        placements: list[Placement] = []
        for number, item in enumerate(root.items):
            for mesh, linear, shift in self._expand(self._start, item):
                placements.append(Placement(mesh, linear @ scale, shift @ scale, number))
        problems = self._problems()
        if not any(placement.mesh.count for placement in placements):
            self._refuse_nothing(problems)
        return Model(
            placements,
            items=len(root.items),
            unit=unit,
            has_colours=any(part.has_colours for part in self._parts.values()),
            thumbnail=self._thumbnail,
            problems=problems,
        )

    def _refuse_nothing(self, problems: list[dict[str, Any]]) -> None:
        if problems:
            raise Refused(problems[0]["code"], **problems[0]["values"])
        if _is_sliced(self._package):
            raise Refused("sliced_file")
        if self._has_helpers:
            raise Refused("no_price", detail=N_("nothing but supports and surfaces"))
        raise Refused("no_geometry")

    def _problems(self) -> list[dict[str, Any]]:
        found = []
        if self._has_lattice:
            found.append(problem("beam_lattice"))
        if self._has_unknown or self._needs:
            found.append(problem("needs_extension", detail=N_("an extension of 3MF that we do not read")))
        return found

    def _part(self, key: str) -> ModelPart:
        if key not in self._parts:
            part = read_part(self._package.stream(key), self._budget)
            if any(name.startswith(_SECURE) for name in part.required):
                raise Refused("encrypted")
            self._needs |= {name for name in part.required if name not in _UNDERSTOOD}
            self._needs -= {name for name in self._needs if name.startswith(BEAM_LATTICE)}
            self._parts[key] = part
        return self._parts[key]

    def _find(self, part: str, reference: Reference) -> tuple[str, Object]:
        key: str | None = part
        if reference.path is not None:
            key = find_part(self._package, reference.path)
        if key is None:
            raise Refused("bad_reference", detail=N_("a part of the package is missing"))
        found = self._part(key).objects.get(reference.object_id)
        if found is None:
            raise Refused("bad_reference", detail=N_("an object is missing"))
        return key, found

    def _count_item(self, item: Reference) -> int:
        key, found = self._find(self._start, item)
        if found.type == "other":
            raise Refused("bad_reference", detail=N_("a helper object stands on the build plate"))
        _check_matrix(item.matrix)
        return self._count(key, found, 1)[0]

    def _count(self, key: str, item: Object, depth: int) -> tuple[int, int]:
        """How many meshes an object places, before any is placed, and how many levels there are below it."""
        place = (key, item.id)
        if place in self._counts:
            known = self._counts[place]
            if known is None:
                raise Refused("cycle", detail=N_("an object contains itself"))
            return known
        if depth > MOST_COMPONENT_DEPTH:
            raise Refused("depth", detail=N_("components are nested too deeply"))
        self._counts[place] = None
        count, height = (1 if item.mesh is not None else 0), 0
        for component in item.components:
            _check_matrix(component.matrix)
            below, levels = self._count(*self._find(key, component), depth + 1)
            count, height = count + below, max(height, levels + 1)
        if height > MOST_COMPONENT_DEPTH:
            raise Refused("depth", detail=N_("components are nested too deeply"))
        if item.type == "model":
            self._has_lattice |= item.has_lattice
            self._has_unknown |= item.mesh is None and not item.components
        else:
            self._has_helpers |= count > 0
            count = 0
        self._counts[place] = (count, height)
        return count, height

    def _expand(self, part: str, reference: Reference) -> Iterator[tuple[Mesh, Corners, Corners]]:
        """The meshes an object places, each with the rows that turn it and the row that moves it."""
        key, item = self._find(part, reference)
        counted = self._counts[key, item.id]
        if counted is None or counted[0] == 0:
            return
        linear = np.array(reference.matrix[:9]).reshape(3, 3)
        shift = np.array(reference.matrix[9:])
        if item.mesh is not None:
            yield item.mesh, linear, shift
        for component in item.components:
            for mesh, inner, moved in self._expand(key, component):
                yield mesh, inner @ linear, moved @ linear + shift


def _check_matrix(matrix: Matrix) -> None:
    """A placement must not flatten what it places."""
    a, b, c, d, e, f, g, h, i = matrix[:9]
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    size = max(map(abs, matrix[:9]))
    # Written so that what is no number at all is refused too.
    if not abs(determinant) > 1e-12 * size**3:
        raise Refused("bad_transform", detail=N_("a placement flattens its part"))

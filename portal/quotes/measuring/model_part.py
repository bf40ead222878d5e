"""One model part of a 3MF: its objects, what is on its plate, and what it asks of a reader."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from portal.quotes.measuring import mesh_bytes
from portal.quotes.measuring.list_feeder import ListFeeder
from portal.quotes.measuring.meshes import MOST_TRIANGLES, Mesh
from portal.quotes.measuring.numbers import NotANumber, decimal, whole_number
from portal.quotes.measuring.outcomes import N_, Refused
from portal.quotes.measuring.xml_reader import XmlReader

CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
PRODUCTION = "http://schemas.microsoft.com/3dmanufacturing/production/2015/06"
MATERIALS = "http://schemas.microsoft.com/3dmanufacturing/material/2015/02"
BEAM_LATTICE = "http://schemas.microsoft.com/3dmanufacturing/beamlattice/"
# The units a model part may name: what we call them, and their millimetres.
UNITS = {
    "micron": ("um", 0.001),
    "millimeter": ("mm", 1.0),
    "centimeter": ("cm", 10.0),
    "inch": ("inch", 25.4),
    "foot": ("foot", 304.8),
    "meter": ("m", 1000.0),
}
OBJECT_TYPES = {"model", "solidsupport", "support", "surface", "other"}
MOST_OBJECTS = 10_000

_ONLY_IN_PLACE = {"object", "mesh", "vertices", "triangles", "vertex", "triangle", "component", "item"}
_LARGEST_ID = 2**31 - 1
# How many elements the slow way keeps as text before it turns them into numbers.
_BATCH = 16_384
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)

Matrix = tuple[float, ...]


@dataclass(frozen=True)
class Reference:
    """A component or an item: which object, in which part (None: this one), and where."""

    object_id: int
    path: str | None
    matrix: Matrix


@dataclass
class Object:
    """One object: a mesh, or others put together, or something that only another reader understands."""

    id: int
    type: str
    mesh: Mesh | None = None
    components: list[Reference] = field(default_factory=list)
    has_lattice: bool = False


@dataclass
class ModelPart:
    """What one part holds."""

    unit: str = "millimeter"
    objects: dict[int, Object] = field(default_factory=dict)
    items: list[Reference] = field(default_factory=list)
    has_build: bool = False
    required: set[str] = field(default_factory=set)
    has_colours: bool = False


class Budget:
    """How many triangles may still be read, over all parts of a package."""

    def __init__(self) -> None:
        self.left = MOST_TRIANGLES

    def take(self, count: int) -> None:
        """Count some. Raises Refused `too_many_triangles`."""
        self.left -= count
        if self.left < 0:
            raise Refused("too_many_triangles")


def read_part(pieces: Iterable[bytes], budget: Budget) -> ModelPart:
    """Read a model part as it is unpacked. Raises Refused."""
    handler = _Elements(budget)
    reader = XmlReader(handler)
    reader.watch_namespaces(handler.namespace)
    ListFeeder(reader, handler).run(pieces)
    reader.close()
    return handler.part


class _Elements:
    """Understands the elements of a model part."""

    def __init__(self, budget: Budget) -> None:
        self.part = ModelPart()
        # "vertices" or "triangles" while inside one of an object's mesh.
        self.list: str | None = None
        self._budget = budget
        self._path: list[str] = []
        self._prefixes: dict[str, str] = {}
        self._object: Object | None = None
        self._corners: list[NDArray[np.float64]] = []
        self._faces: list[NDArray[np.int32]] = []
        self._corner_count = 0
        self._texts: list[tuple[str, str, str]] = []
        self._seen_lists: set[str] = set()
        # What to do with an element of the core, by its depth, its parent and its name.
        self._places: dict[tuple[int, str, str], Callable[[dict[str, str]], None]] = {
            (1, "model", "build"): self._start_build,
            (2, "build", "item"): lambda attributes: self.part.items.append(_reference(attributes)),
            (2, "resources", "object"): self._start_object,
            (2, "resources", "basematerials"): self._start_colours,
            (3, "object", "mesh"): lambda _: self._start_content("mesh"),
            (3, "object", "components"): lambda _: self._start_content("components"),
            (4, "components", "component"): lambda found: self._current.components.append(_reference(found)),
            (4, "mesh", "vertices"): lambda _: self._start_list("vertices"),
            (4, "mesh", "triangles"): lambda _: self._start_list("triangles"),
            (5, "vertices", "vertex"): lambda found: self._add_text(found, ("x", "y", "z")),
            (5, "triangles", "triangle"): lambda found: self._add_text(found, ("v1", "v2", "v3")),
        }

    @property
    def is_in_list(self) -> bool:
        """Whether the innermost open element is the list itself."""
        return self.list is not None and self._path[-1] == f"{CORE} {self.list}"

    def namespace(self, prefix: str | None, uri: str | None) -> None:
        """A prefix is declared; those of the root element are what `requiredextensions` names."""
        if not self._path and prefix and uri:
            self._prefixes[prefix] = uri

    def take_plain(self, piece: bytes) -> bool:
        """Read a piece of the list the fast way; False when it is not plain."""
        if self.list == "vertices":
            corners = mesh_bytes.vertices(piece)
            if corners is None:
                return False
            self._flush()
            self._add_corners(corners)
            return True
        faces = mesh_bytes.triangles(piece)
        if faces is None:
            return False
        self._flush()
        self._add_faces(faces)
        return True

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        namespace, _, local = name.rpartition(" ")
        depth = len(self._path)
        self._path.append(name)
        if depth == 0:
            self._start_model(namespace, local, attributes)
        elif namespace == CORE:
            self._start_core(depth, local, attributes)
        elif namespace == MATERIALS and depth == 2:
            self.part.has_colours = True
        elif namespace.startswith(BEAM_LATTICE) and local == "beamlattice" and self._object is not None:
            self._object.has_lattice = True

    def _start_model(self, namespace: str, local: str, attributes: dict[str, str]) -> None:
        if (namespace, local) != (CORE, "model"):
            raise Refused("structure", detail=N_("the model part holds something else"))
        self.part.unit = attributes.get("unit", "millimeter")
        if self.part.unit not in UNITS:
            raise Refused("bad_unit", detail=N_("its unit of length is unknown"))
        for prefix in attributes.get("requiredextensions", "").split():
            self.part.required.add(self._prefixes.get(prefix, prefix))

    def _start_core(self, depth: int, local: str, attributes: dict[str, str]) -> None:
        parent = self._path[-2].rpartition(" ")[2] if self._path[-2].startswith(CORE) else ""
        act = self._places.get((depth, parent, local))
        if act is not None:
            act(attributes)
        elif local in _ONLY_IN_PLACE:
            raise Refused("structure", detail=N_("an element stands in a wrong place"))

    def _start_build(self, _attributes: dict[str, str]) -> None:
        if self.part.has_build:
            raise Refused("structure", detail=N_("there are two build plates"))
        self.part.has_build = True

    def _start_colours(self, _attributes: dict[str, str]) -> None:
        self.part.has_colours = True

    @property
    def _current(self) -> Object:
        if self._object is None:
            raise Refused("structure", detail=N_("an element stands in a wrong place"))
        return self._object

    def _start_object(self, attributes: dict[str, str]) -> None:
        number = _object_id(attributes.get("id"))
        if number in self.part.objects:
            raise Refused("structure", detail=N_("two objects have one number"))
        if len(self.part.objects) >= MOST_OBJECTS:
            raise Refused("structure", detail=N_("there are too many objects"))
        kind = attributes.get("type", "model")
        if kind not in OBJECT_TYPES:
            raise Refused("structure", detail=N_("the type of an object is unknown"))
        self._object = self.part.objects[number] = Object(number, kind)

    def _start_content(self, local: str) -> None:
        item = self._current
        if item.mesh is not None or item.components:
            raise Refused("structure", detail=N_("an object has two contents"))
        if local == "mesh":
            item.mesh = Mesh(np.empty((3, 0)), np.empty((3, 0), dtype=np.int32))
            self._corners, self._faces, self._corner_count, self._seen_lists = [], [], 0, set()

    def _start_list(self, local: str) -> None:
        if local in self._seen_lists or (local == "triangles" and "vertices" not in self._seen_lists):
            raise Refused("structure", detail=N_("the lists of a mesh are out of order"))
        self._seen_lists.add(local)
        self.list = local

    def end(self, name: str) -> None:
        """An element ends."""
        self._path.pop()
        if self.list is not None and len(self._path) == 4:
            self._flush()
            self.list = None
        elif name == f"{CORE} mesh" and len(self._path) == 3:
            self._end_mesh()
        elif name == f"{CORE} object" and len(self._path) == 2:
            self._object = None

    def _end_mesh(self) -> None:
        if self._corners:
            corners = np.concatenate(self._corners, axis=1)
            self._corners = []
            faces = np.concatenate(self._faces, axis=1) if self._faces else np.empty((3, 0), dtype=np.int32)
            self._current.mesh = Mesh(corners, faces)
        self._corners, self._faces = [], []

    # --- numbers ---

    def _add_text(self, attributes: dict[str, str], names: tuple[str, str, str]) -> None:
        try:
            self._texts.append((attributes[names[0]], attributes[names[1]], attributes[names[2]]))
        except KeyError:
            raise self._bad("bad_number", N_("a coordinate or corner number is missing")) from None
        if len(self._texts) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        """Turn what the parser handed over into numbers."""
        if not self._texts:
            return
        texts, self._texts = self._texts, []
        try:
            if self.list == "vertices":
                rows = [[decimal(text.encode()) for text in three] for three in texts]
                self._add_corners(np.array(rows, dtype=np.float64).T)
            else:
                numbers = [[whole_number(text.encode()) for text in three] for three in texts]
                self._add_faces(np.array(numbers, dtype=np.int64).T)
        except NotANumber:
            raise self._bad("bad_number", N_("a value is not a number")) from None

    def _add_corners(self, corners: NDArray[np.float64]) -> None:
        self._corners.append(corners)
        self._corner_count += corners.shape[1]

    def _add_faces(self, faces: NDArray[np.int64]) -> None:
        if faces.size and int(faces.max()) >= self._corner_count:
            raise self._bad("bad_index", N_("a triangle names a corner that does not exist"))
        self._budget.take(faces.shape[1])
        self._faces.append(faces.astype(np.int32))

    def _bad(self, code: str, detail: str) -> Refused:
        return Refused(code, object=self._object.id if self._object else "?", detail=detail)


def _object_id(text: str | None) -> int:
    try:
        number = whole_number((text or "").encode())
    except NotANumber:
        number = 0
    if not 0 < number <= _LARGEST_ID:
        raise Refused("structure", detail=N_("the number of an object is missing or wrong"))
    return number


def _reference(attributes: dict[str, str]) -> Reference:
    return Reference(
        _object_id(attributes.get("objectid")),
        attributes.get(f"{PRODUCTION} path"),
        _matrix(attributes.get("transform")),
    )


def _matrix(text: str | None) -> Matrix:
    if text is None:
        return _IDENTITY
    try:
        numbers = tuple(decimal(word.encode()) for word in text.split())
    except NotANumber:
        raise Refused("bad_transform", detail=N_("a placement is not made of numbers")) from None
    if len(numbers) != 12:
        raise Refused("bad_transform", detail=N_("a placement has not 12 numbers"))
    return numbers

"""Model files made by code."""

import io
import struct
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
PRODUCTION = "http://schemas.microsoft.com/3dmanufacturing/production/2015/06"
MODEL_TYPE = "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"
THUMBNAIL_TYPE = "http://schemas.openxmlformats.org/package/2006/relationships/metadata/thumbnail"
START = "3D/3dmodel.model"
TYPES = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="model" ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/>'
    '<Default Extension="png" ContentType="image/png"/></Types>'
)

Points = Sequence[Sequence[Any]]
Faces = Sequence[Sequence[Any]]

# A cube of 20, its faces outwards.
CUBE: list[tuple[float, float, float]] = [(20.0 * (n & 1), 20.0 * (n >> 1 & 1), 20.0 * (n >> 2)) for n in range(8)]
CUBE_FACES = [
    (0, 2, 1), (1, 2, 3), (4, 5, 6), (5, 7, 6), (0, 1, 4), (1, 5, 4),
    (2, 6, 3), (3, 6, 7), (0, 4, 2), (2, 4, 6), (1, 3, 5), (3, 7, 5),
]  # fmt: skip


def moved(points: Points, x: float = 0, y: float = 0, z: float = 0, *, scale: float = 1) -> list[tuple[float, ...]]:
    """The same corners elsewhere, and larger or smaller."""
    return [(p[0] * scale + x, p[1] * scale + y, p[2] * scale + z) for p in points]


def joined(*bodies: tuple[Points, Faces]) -> tuple[list[Any], list[Any]]:
    """Several bodies as one mesh."""
    points: list[Any] = []
    faces: list[Any] = []
    for some, others in bodies:
        faces += [tuple(corner + len(points) for corner in face) for face in others]
        points += some
    return points, faces


def turned(faces: Faces) -> list[tuple[Any, ...]]:
    """Inside out."""
    return [(a, c, b) for a, b, c in faces]


def mesh_xml(points: Points = CUBE, faces: Faces = CUBE_FACES) -> str:
    """`<mesh>` as most programs write it."""
    corners = "\n".join(f'     <vertex x="{x}" y="{y}" z="{z}"/>' for x, y, z in points)
    sides = "\n".join(f'     <triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in faces)
    return f"<mesh>\n    <vertices>\n{corners}\n    </vertices>\n    <triangles>\n{sides}\n    </triangles>\n   </mesh>"


def object_xml(content: str | None = None, *, number: int = 1, attributes: str = "") -> str:
    """`<object>` with a mesh or components in it."""
    return f'  <object id="{number}" {attributes}>\n   {mesh_xml() if content is None else content}\n  </object>\n'


def components_xml(*lines: str) -> str:
    """`<components>` from the attributes of each."""
    return "<components>" + "".join(f"<component {line}/>" for line in lines) + "</components>"


def model_xml(
    objects: str | None = None, *, items: Iterable[str] = ('objectid="1"',), attributes: str = "", before: str = ""
) -> str:
    """A whole model part."""
    build = "".join(f"  <item {item}/>\n" for item in items)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n{before}'
        f'<model xmlns="{CORE}" xmlns:p="{PRODUCTION}" {attributes}>\n'
        f" <resources>\n{object_xml() if objects is None else objects} </resources>\n"
        f" <build>\n{build} </build>\n</model>"
    )


def relations_xml(*, target: str = "/" + START, thumbnail: str | None = None) -> str:
    """The package's relationships."""
    picture = f'<Relationship Target="{thumbnail}" Id="t" Type="{THUMBNAIL_TYPE}"/>' if thumbnail else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f'<Relationship Target="{target}" Id="r0" Type="{MODEL_TYPE}"/>{picture}</Relationships>'
    )


def package(
    model: str | bytes | None = None,
    *,
    more: dict[str, str | bytes] | None = None,
    thumbnail: str | None = None,
    compression: int = zipfile.ZIP_DEFLATED,
) -> bytes:
    """A 3MF package around a model part."""
    parts: dict[str, str | bytes] = {
        "[Content_Types].xml": TYPES,
        "_rels/.rels": relations_xml(thumbnail=thumbnail),
        START: model_xml() if model is None else model,
        **(more or {}),
    }
    return zipped(parts, compression=compression)


def zipped(parts: dict[str, str | bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Any zip."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as file:
        for name, part in parts.items():
            file.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), part, compress_type=compression)
    return content.getvalue()


def binary_stl(points: Points = CUBE, faces: Faces = CUBE_FACES, *, header: bytes = b"") -> bytes:
    """A binary STL."""
    corners = np.array(points, dtype="<f4")[np.array(faces, dtype=int).reshape(-1, 3)]
    records = np.zeros(len(faces), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    records["corners"] = corners
    return header.ljust(80, b" ") + struct.pack("<I", len(faces)) + records.tobytes()


def text_stl(points: Points = CUBE, faces: Faces = CUBE_FACES, *, line: str = "\n", number: str = "{:.6e}") -> bytes:
    """An ASCII STL."""
    lines = ["solid part"]
    for face in faces:
        lines += [" facet normal 0 0 0", "  outer loop"]
        lines += ["   vertex " + " ".join(number.format(value) for value in points[corner]) for corner in face]
        lines += ["  endloop", " endfacet"]
    return (line.join([*lines, "endsolid part"]) + line).encode()


def obj(points: Points = CUBE, faces: Faces = CUBE_FACES) -> bytes:
    """An OBJ."""
    lines = ["# a part", *(f"v {x} {y} {z}" for x, y, z in points)]
    lines += ["f " + " ".join(str(corner + 1) for corner in face) for face in faces]
    return ("\n".join(lines) + "\n").encode()


def torus(triangles: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """A closed, bumpy ring of about so many triangles: corners and faces as rows."""
    around = max(3, round((triangles / 2) ** 0.5))
    u, v = (grid.ravel() for grid in np.meshgrid(np.arange(around), np.arange(around), indexing="ij"))
    a, b = 2 * np.pi * u / around, 2 * np.pi * v / around
    radius = 8 + 0.4 * np.sin(7 * a) * np.cos(5 * b)
    ring = 30 + radius * np.cos(b)
    points = np.stack([ring * np.cos(a), ring * np.sin(a), radius * np.sin(b)], axis=1).round(5)
    next_u, next_v = (u + 1) % around, (v + 1) % around
    p, q = u * around + v, next_u * around + v
    r, s = next_u * around + next_v, u * around + next_v
    return points, np.concatenate([np.stack([p, q, r], axis=1), np.stack([p, r, s], axis=1)])


def write_torus(folder: Path, triangles: int) -> dict[str, Path]:
    """The ring in every format."""
    points, faces = torus(triangles)
    some, others = points.tolist(), faces.tolist()
    contents = {
        "3mf": package(model_xml(object_xml(mesh_xml(some, others)))),
        "stl": binary_stl(points, faces),
        "text.stl": text_stl(some, others),
        "obj": obj(some, others),
    }
    paths = {name: folder / f"ring-{triangles}.{name}" for name in contents}
    for name, content in contents.items():
        paths[name].write_bytes(content)
    return paths

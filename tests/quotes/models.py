"""Model files made by code: small closed bodies in the formats that we take."""

import io
import struct
import zipfile

# One transparent dot.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c63f8ffff3f0300090002fe"
    "a7e6b1250000000049454e44ae426082"
)
_CORNERS = [(x, y, z) for z in (0, 1) for y in (0, 1) for x in (0, 1)]
_FACES = [
    (0, 2, 3), (0, 3, 1), (4, 5, 7), (4, 7, 6), (0, 1, 5), (0, 5, 4),
    (2, 6, 7), (2, 7, 3), (0, 4, 6), (0, 6, 2), (1, 3, 7), (1, 7, 5),
]  # fmt: skip


def stl(side: float = 20.0, *, header: bytes = b"made by code") -> bytes:
    """A cube as binary STL."""
    content = header.ljust(80, b" ") + struct.pack("<I", len(_FACES))
    for face in _FACES:
        corners = [tuple(side * axis for axis in _CORNERS[corner]) for corner in face]
        content += struct.pack("<12fH", 0, 0, 0, *corners[0], *corners[1], *corners[2], 0)
    return content


def open_stl(side: float = 20.0) -> bytes:
    """A cube with a triangle missing: nobody can say what it weighs."""
    content = stl(side)
    return content[:80] + struct.pack("<I", len(_FACES) - 1) + content[84:-50]


def obj(side: float = 20.0) -> bytes:
    """A cube as OBJ."""
    lines = [f"v {side * x} {side * y} {side * z}" for x, y, z in _CORNERS]
    lines += ["f " + " ".join(str(corner + 1) for corner in face) for face in _FACES]
    return ("\n".join(lines) + "\n").encode()


def three_mf(side: float = 20.0, *, unit: str = "millimeter") -> bytes:
    """A cube as 3MF."""
    vertices = "".join(f'<vertex x="{side * x}" y="{side * y}" z="{side * z}"/>' for x, y, z in _CORNERS)
    triangles = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in _FACES)
    model = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<model unit="{unit}" xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02">'
        f'<resources><object id="1" type="model"><mesh><vertices>{vertices}</vertices>'
        f"<triangles>{triangles}</triangles></mesh></object></resources>"
        '<build><item objectid="1"/></build></model>'
    )
    types = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="model" ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/></Types>'
    )
    relations = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        '<Relationship Target="/3D/3dmodel.model" Id="rel0" '
        'Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/></Relationships>'
    )
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as package:
        for name, text in (("[Content_Types].xml", types), ("_rels/.rels", relations), ("3D/3dmodel.model", model)):
            # With a date of its own, so that the same model is the same bytes.
            package.writestr(zipfile.ZipInfo(name), text)
    return content.getvalue()

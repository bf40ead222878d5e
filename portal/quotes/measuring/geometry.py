"""What a placed mesh measures: volume, surface by direction, box.

In blocks of plain component arithmetic, which is several times faster than cross products of rows and keeps memory
small.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portal.quotes.measuring.meshes import Corners, Mesh

Floats = NDArray[np.float64]

BLOCK = 16_384
# Steeper than 45 degrees from the vertical: what hangs over needs support.
OVERHANG = 0.70710678
# A downward face within this of the lowest point lies on the bed, in mm.
BED = 0.05


@dataclass
class Surface:
    """Millimetres, squared, cubed. `volume` has a sign: negative when the mesh is inside out or mirrored."""

    volume: float
    area: float
    side: float
    up: float
    down: float
    # Faces that hang over, without those on the lowest level, which `contact` counts.
    overhang: float
    contact: float
    low: Floats
    high: Floats


def placed(mesh: Mesh, linear: Corners) -> Corners:
    """The corners of a mesh turned and scaled, as three rows."""
    if np.array_equal(linear, np.eye(3)):
        return mesh.corners
    x, y, z = mesh.corners
    # Written out: the matrix product would start threads of the linear algebra library.
    return np.stack([x * linear[0, axis] + y * linear[1, axis] + z * linear[2, axis] for axis in range(3)])


def box(corners: Corners, mesh: Mesh) -> tuple[Floats, Floats]:
    """The lowest and highest coordinates of the corners that triangles use."""
    used = corners
    if mesh.count:
        is_used = np.zeros(corners.shape[1], dtype=bool)
        is_used[mesh.triangles.ravel()] = True
        if not is_used.all():
            used = corners[:, is_used]
    return used.min(axis=1), used.max(axis=1)


def surface(mesh: Mesh, linear: Corners) -> Surface:
    """Measure one mesh as it is placed, wherever it is moved to."""
    corners = placed(mesh, linear)
    low, high = box(corners, mesh)
    # Near the origin the terms of the volume stay small, and so do their errors.
    middle = (low + high) / 2
    x, y, z = (corners[axis] - middle[axis] for axis in range(3))
    sums = np.zeros(9)
    for start in range(0, mesh.count, BLOCK):
        sums += _block(x, y, z, mesh.triangles[:, start : start + BLOCK], low[2] - middle[2] + BED)
    volume, area, side, up, down, over_up, over_down, bed_up, bed_down = sums.tolist()
    if volume < 0:
        # Inside out: what points up in the file points down in the part.
        up, down, over_down, bed_down = down, up, over_up, bed_up
    return Surface(volume, area, side, up, down, over_down - bed_down, bed_down, low, high)


def _block(x: Floats, y: Floats, z: Floats, triangles: NDArray[np.int32], bed: float) -> Floats:
    """The sums over some triangles; the last four by the direction that faces have in the file."""
    a, b, c = triangles
    ax, ay, az = x[a], y[a], z[a]
    bz, cz = z[b], z[c]
    ux, uy, uz = x[b] - ax, y[b] - ay, bz - az
    vx, vy, vz = x[c] - ax, y[c] - ay, cz - az
    # Twice the area long, at right angles to the triangle.
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    flat = nx * nx + ny * ny
    length = np.sqrt(flat + nz * nz)
    upward = np.maximum(nz, 0)
    steep = OVERHANG * length
    is_up, is_down = nz > steep, nz < -steep
    on_bed = length * (np.maximum(np.maximum(az, bz), cz) <= bed)
    return np.array(
        [
            (ax * nx + ay * ny + az * nz).sum() / 6,
            length.sum() / 2,
            np.sqrt(flat).sum() / 2,
            upward.sum() / 2,
            (upward - nz).sum() / 2,
            length[is_up].sum() / 2,
            length[is_down].sum() / 2,
            on_bed[is_up].sum() / 2,
            on_bed[is_down].sum() / 2,
        ]
    )


def determinant(m: Corners) -> float:
    """Negative when a placement mirrors."""
    return float(
        m[0, 0] * (m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1])
        - m[0, 1] * (m[1, 0] * m[2, 2] - m[1, 2] * m[2, 0])
        + m[0, 2] * (m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0])
    )

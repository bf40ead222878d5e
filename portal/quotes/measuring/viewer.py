"""What the browser's viewer gets: everything on the plate as one binary STL in millimetres."""

from collections.abc import Iterator

import numpy as np

from portal.quotes.measuring import geometry
from portal.quotes.measuring.meshes import MOST_TRIANGLES, Model
from portal.quotes.measuring.outcomes import Refused

_RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_HEADER = b"model in millimetres".ljust(80, b" ")


def records(model: Model) -> Iterator[bytes]:
    """The file in pieces. Raises Refused `too_many_triangles`."""
    count = sum(placement.mesh.count for placement in model.placements)
    if count > MOST_TRIANGLES:
        raise Refused("too_many_triangles")
    yield _HEADER + count.to_bytes(4, "little")
    for placement in model.placements:
        corners = geometry.placed(placement.mesh, placement.linear) + placement.shift[:, None]
        # A mirrored part's corners run the other way round, and so would its light.
        order = [0, 2, 1] if geometry.determinant(placement.linear) < 0 else [0, 1, 2]
        for start in range(0, placement.mesh.count, geometry.BLOCK):
            triangles = placement.mesh.triangles[order, start : start + geometry.BLOCK]
            a, b, c = (corners[:, triangles[corner]] for corner in range(3))
            u, v = b - a, c - a
            normal = np.stack([u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]])
            length = np.sqrt((normal * normal).sum(axis=0))
            normal /= np.where(length > 0, length, 1)
            block = np.zeros(triangles.shape[1], dtype=_RECORD)
            block["normal"] = normal.T
            block["corners"] = np.stack([a.T, b.T, c.T], axis=1)
            yield block.tobytes()

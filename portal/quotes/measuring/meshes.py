"""A mesh in memory: corners and triangles as columns, which is how they are summed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Above this a person looks at the file; below it, measuring fits its time and memory.
MOST_TRIANGLES = 2_000_000

Corners = NDArray[np.float64]
Triangles = NDArray[np.int32]


@dataclass
class Mesh:
    """Corners as three rows of numbers in the file's unit, triangles as three rows of corner numbers."""

    corners: Corners
    triangles: Triangles
    # Corners that lie together are one already (a reader of loose triangles has merged them).
    is_merged: bool = False

    @property
    def count(self) -> int:
        """How many triangles there are."""
        return int(self.triangles.shape[1])


@dataclass
class Placement:
    """One mesh on the plate: row vectors are multiplied by `linear`, then moved by `shift`; in millimetres."""

    mesh: Mesh
    linear: Corners
    shift: Corners
    # Which of the plate's items it belongs to: parts of one item stand on the bed together.
    item: int = 0


@dataclass
class Model:
    """What a reader found, ready to be measured."""

    placements: list[Placement]
    items: int
    unit: str | None = None
    has_colours: bool = False
    thumbnail: str | None = None
    # Findings beside the mesh, as `outcomes.problem()` makes them.
    problems: "list[dict[str, object]] | None" = None

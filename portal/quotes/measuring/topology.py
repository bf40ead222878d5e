"""How triangles hang together: corners merged, edges counted, pieces told apart."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portal.quotes.measuring.geometry import BLOCK
from portal.quotes.measuring.meshes import Corners, Mesh, Triangles

Whole = NDArray[np.int64]
# A binary STL keeps its numbers as they came, half as long.
Coordinates = NDArray[np.float32] | NDArray[np.float64]

# Corners closer than this share of the diagonal are one. Equal bits alone call closed files of real programs open.
MERGE = 1e-6
_BITS = 21


@dataclass
class Topology:
    """How one mesh is closed."""

    is_closed: bool
    # Edges that are not used exactly twice, and those used twice in one direction.
    odd_edges: int
    turned_edges: int
    # Triangles whose corners fell together.
    degenerate: int
    shells: int
    # The piece each triangle belongs to, counted from 0; -1 for those that fell together.
    shell_of: NDArray[np.int32]


def merged(corners: Coordinates, *, shift: float = 0.0) -> tuple[Triangles, Whole]:
    """Corners on a grid: the number of each one's place, and one corner for each place.

    Loose triangles of a large file are as large as the file, so nothing here is made twice.
    """
    key = _cells(corners, shift)
    order = np.argsort(key)
    key.sort()
    is_first = np.empty(key.size, dtype=bool)
    is_first[:1] = True
    np.not_equal(key[1:], key[:-1], out=is_first[1:])
    del key
    numbers = np.cumsum(is_first, dtype=np.int32)
    numbers -= 1
    places = np.empty(order.size, dtype=np.int32)
    places[order] = numbers
    return places, order[is_first]


def _cells(corners: Coordinates, shift: float) -> Whole:
    """The cell of the grid in which each corner lies."""
    low = corners.min(axis=1).astype(np.float64)
    size = corners.max(axis=1) - low
    cell = float(np.sqrt((size * size).sum())) * MERGE or 1.0
    key = np.zeros(corners.shape[1], dtype=np.int64)
    for start in range(0, key.size, 4 * BLOCK):
        part = key[start : start + 4 * BLOCK]
        for axis in range(3):
            column = (corners[axis, start : start + 4 * BLOCK] - low[axis]) / cell
            column += 0.5 + shift
            part <<= _BITS
            part |= column.astype(np.int64)
    return key


def examine(mesh: Mesh) -> Topology:
    """Merge what lies together, count edges and pieces."""
    triangles = mesh.triangles
    if not mesh.is_merged and mesh.count:
        triangles = merged(mesh.corners)[0][triangles]
    found = _examine(triangles, mesh.corners.shape[1])
    if found.is_closed or not mesh.count:
        return found
    # Two corners that are one may lie on both sides of a cell's border: on a grid moved by half a cell they do not.
    again = merged(mesh.corners, shift=0.5)[0][mesh.triangles]
    moved = _examine(again, mesh.corners.shape[1])
    return moved if moved.is_closed else found


def _examine(triangles: Triangles, corners: int) -> Topology:
    a, b, c = triangles
    is_proper = (a != b) & (b != c) & (a != c)
    degenerate = int(a.size - np.count_nonzero(is_proper))
    if degenerate:
        a, b, c = a[is_proper], b[is_proper], c[is_proper]
    odd, turned = _edges(a, b, c)
    labels = _pieces(a, b, c, corners)
    shell_of = np.full(is_proper.size, -1, dtype=np.int32)
    names, numbers = np.unique(labels[a], return_inverse=True) if a.size else (a, a)
    shell_of[is_proper] = numbers
    return Topology(
        is_closed=a.size > 0 and odd == 0 and turned == 0,
        odd_edges=odd,
        turned_edges=turned,
        degenerate=degenerate,
        shells=int(names.size),
        shell_of=shell_of,
    )


def _edges(a: Triangles, b: Triangles, c: Triangles) -> tuple[int, int]:
    """How many edges are not used exactly twice, and how many are used twice in one direction."""
    count = a.size
    keys = np.empty(3 * count, dtype=np.int64)
    for number, (start, end) in enumerate(((a, b), (b, c), (c, a))):
        part = keys[number * count : (number + 1) * count]
        np.minimum(start, end, out=part)
        part <<= 31
        part |= np.maximum(start, end)
        part <<= 1
        part |= start > end
    keys.sort()
    if keys.size % 2 == 0:
        first, second = keys[0::2], keys[1::2]
        # Sorted, the two uses of a good edge are neighbours: first upwards, then downwards.
        if not (first & 1).any() and np.array_equal(first + 1, second):
            return 0, 0
    edges = keys >> 1
    begins = np.flatnonzero(np.concatenate(([True], edges[1:] != edges[:-1]))) if edges.size else edges
    uses = np.diff(np.append(begins, edges.size))
    pairs = begins[uses == 2]
    turned = int(np.count_nonzero((keys[pairs] & 1) == (keys[pairs + 1] & 1)))
    return int(np.count_nonzero(uses != 2)), turned


def _pieces(a: Triangles, b: Triangles, c: Triangles, corners: int) -> Triangles:
    """For each corner, the lowest number among the corners it hangs together with."""
    parent = np.arange(corners, dtype=np.int32)
    one, other = np.concatenate((a, a)), np.concatenate((b, c))
    while one.size:
        low, high = np.minimum(one, other), np.maximum(one, other)
        np.minimum.at(parent, high, low)
        while True:
            above = parent[parent]
            if np.array_equal(above, parent):
                break
            parent = above
        one, other = parent[one], parent[other]
        is_apart = one != other
        one, other = one[is_apart], other[is_apart]
    return parent


def shell_sums(mesh: Mesh, corners: Corners, found: Topology) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each piece: its volume with its sign, and its longest side along the axes."""
    volumes = np.zeros(found.shells)
    low = np.full((3, found.shells), np.inf)
    high = np.full((3, found.shells), -np.inf)
    for start in range(0, mesh.count, BLOCK):
        shell = found.shell_of[start : start + BLOCK]
        is_used = shell >= 0
        shell = shell[is_used]
        a, b, c = mesh.triangles[:, start : start + BLOCK][:, is_used]
        p, q, r = corners[:, a], corners[:, b], corners[:, c]
        terms = (
            p[0] * (q[1] * r[2] - q[2] * r[1]) + p[1] * (q[2] * r[0] - q[0] * r[2]) + p[2] * (q[0] * r[1] - q[1] * r[0])
        )
        volumes += np.bincount(shell, weights=terms, minlength=found.shells) / 6
        for axis in range(3):
            lowest = np.minimum(np.minimum(p[axis], q[axis]), r[axis])
            highest = np.maximum(np.maximum(p[axis], q[axis]), r[axis])
            np.minimum.at(low[axis], shell, lowest)
            np.maximum.at(high[axis], shell, highest)
    return volumes, (high - low).max(axis=0)

"""How thick a body is: rays from points spread over its surface, straight inwards to the next wall.

The triangles lie in a tree of boxes, sorted along a curve that fills space; all rays go down it together, level by
level.
"""

import numpy as np
from numpy.typing import NDArray

from portal.quotes.measuring.meshes import Corners, Mesh

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

# Above this many triangles nobody waits for it.
MOST_TRIANGLES = 300_000
POINTS = 2_000
# Walls thicker than this, in mm, are of no interest and end the search.
REACH = 5.0

_LEAF = 8
_AT_ONCE = 32_768
_GRID_BITS = 10
# Steps of a sequence that spreads evenly over a square, whatever the count.
_SPREAD = (0.7548776662466927, 0.5698402909980532)


def thicknesses(mesh: Mesh, corners: Corners, points: int, *, is_inside_out: bool) -> Floats:
    """What each ray measures, REACH where it meets nothing so near; empty when the mesh has no surface."""
    a, b, c = (corners[:, corner] for corner in mesh.triangles)
    u, v = b - a, c - a
    normal = np.stack([u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]])
    double = np.sqrt((normal * normal).sum(axis=0))
    total = np.cumsum(double)
    if not total.size or total[-1] <= 0:
        return np.empty(0)
    # The same points for the same file, always.
    at = np.searchsorted(total, (np.arange(points) + 0.5) / points * total[-1])
    along, across = ((0.5 + np.arange(points) * step) % 1 for step in _SPREAD)
    is_outside = along + across > 1
    along, across = np.where(is_outside, 1 - along, along), np.where(is_outside, 1 - across, across)
    start = a[:, at] + along * u[:, at] + across * v[:, at]
    inwards = normal[:, at] / double[at] * (1 if is_inside_out else -1)
    return _Tree(a, u, v).nearest(start, inwards)


class _Tree:
    """Boxes around boxes around a few triangles each; two below each one."""

    def __init__(self, a: Floats, u: Floats, v: Floats) -> None:
        low_end = np.stack([a, a + u, a + v]).min(axis=0)
        high_end = np.stack([a, a + u, a + v]).max(axis=0)
        order = np.argsort(_along_curve((low_end + high_end) / 2), kind="stable")
        leaves = 1
        while leaves * _LEAF < order.size:
            leaves *= 2
        # The last leaves are filled up with the last triangle again, which changes no answer.
        order = np.concatenate((order, np.repeat(order[-1:], leaves * _LEAF - order.size)))
        self._a, self._u, self._v = a[:, order], u[:, order], v[:, order]
        low = low_end[:, order].reshape(3, leaves, _LEAF).min(axis=2)
        high = high_end[:, order].reshape(3, leaves, _LEAF).max(axis=2)
        self._levels = [(low, high)]
        while low.shape[1] > 1:
            low, high = low.reshape(3, -1, 2).min(axis=2), high.reshape(3, -1, 2).max(axis=2)
            self._levels.append((low, high))
        # Flat triangles touch their box on all sides: a hair of room keeps rounding out of it.
        self._hair = 1e-9 * float((high - low).max())
        # A ray does not meet the triangle it starts from, nor its neighbour at a fold.
        self._nearest = 1e-6 * float((high - low).max())

    def nearest(self, start: Floats, direction: Floats) -> Floats:
        """For each ray, how far it is to the first triangle, at most REACH."""
        found = np.full(start.shape[1], REACH)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            inverse = 1.0 / np.where(np.abs(direction) < 1e-12, 1e-12, direction)
            ray: Whole = np.arange(start.shape[1])
            node: Whole = np.zeros(start.shape[1], dtype=np.int64)
            leaf_ray, leaf = ray, node
            for low, high in reversed(self._levels):
                is_hit = self._meets(low[:, node], high[:, node], start[:, ray], inverse[:, ray])
                ray, node = ray[is_hit], node[is_hit]
                leaf_ray, leaf = ray, node
                ray, node = np.repeat(ray, 2), np.repeat(node * 2, 2)
                node[1::2] += 1
            for begin in range(0, leaf_ray.size, _AT_ONCE):
                some = slice(begin, begin + _AT_ONCE)
                self._meet_leaf(found, leaf_ray[some], leaf[some], start, direction)
        return found

    def _meets(self, low: Floats, high: Floats, start: Floats, inverse: Floats) -> NDArray[np.bool_]:
        """Whether rays pass through boxes within REACH."""
        one, other = (low - self._hair - start) * inverse, (high + self._hair - start) * inverse
        enters, leaves = np.minimum(one, other).max(axis=0), np.maximum(one, other).min(axis=0)
        met: NDArray[np.bool_] = (enters <= leaves) & (leaves >= 0) & (enters <= REACH)
        return met

    def _meet_leaf(self, found: Floats, ray: Whole, leaf: Whole, start: Floats, direction: Floats) -> None:
        place = (leaf[:, None] * _LEAF + np.arange(_LEAF)).ravel()
        ray = np.repeat(ray, _LEAF)
        d, u, v = direction[:, ray], self._u[:, place], self._v[:, place]
        from_corner = start[:, ray] - self._a[:, place]
        p = _cross(d, v)
        determinant = _dot(u, p)
        q = _cross(from_corner, u)
        second, third = _dot(from_corner, p) / determinant, _dot(d, q) / determinant
        far = _dot(v, q) / determinant
        is_met = (second >= 0) & (third >= 0) & (second + third <= 1) & (far > self._nearest)
        np.minimum.at(found, ray[is_met], far[is_met])


def _along_curve(points: Floats) -> Whole:
    """Where points lie along a curve that visits near ones together: their bits by turns."""
    low, high = points.min(axis=1), points.max(axis=1)
    size = float((high - low).max()) or 1.0
    cells = ((points - low[:, None]) / size * (2**_GRID_BITS - 1)).astype(np.int64)
    code = np.zeros(points.shape[1], dtype=np.int64)
    for bit in range(_GRID_BITS):
        for axis in range(3):
            code |= (cells[axis] >> bit & 1) << (3 * bit + axis)
    return code


def _cross(a: Floats, b: Floats) -> Floats:
    return np.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def _dot(a: Floats, b: Floats) -> Floats:
    result: Floats = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    return result

"""A picture of a model, drawn here: seen from a corner above, each triangle flat in one shade."""

import numpy as np
from numpy.typing import NDArray

from portal.quotes.measuring import geometry, png
from portal.quotes.measuring.meshes import Model

Floats = NDArray[np.float64]

SIZE = 320
_MARGIN = 16
# Drawn twice as large and averaged, which softens the edges.
_FINE = 2
_BLOCK = 8_192
# Squares of pixels looked at in one go, and in the whole picture: a file of many huge triangles gets a coarser picture.
_AT_ONCE = 1_000_000
_MOST_WORK = 60_000_000
_BACKGROUND = (244, 246, 250)
_PART = np.array([66.0, 129.0, 217.0])
_AMBIENT = 0.35
# From the front, a little from the right and from above.
_TURN, _TILT = np.radians(-35.0), np.radians(28.0)
_LIGHT = np.array([0.35, 0.55, 0.76])


def draw(model: Model) -> bytes:
    """The model as a PNG of SIZE x SIZE."""
    seen = [_turned(geometry.placed(p.mesh, p.linear) + p.shift[:, None]) for p in model.placements]
    triangles = [p.mesh.triangles for p in model.placements]
    canvas = _Canvas(_fitted(seen, triangles))
    for corners, some in zip(seen, triangles, strict=True):
        canvas.add(corners, some)
    return png.encode(canvas.pixels())


def _turned(corners: Floats) -> Floats:
    """As the viewer sees it: to the right, up, and towards the eye."""
    x, y, z = corners
    right = x * np.cos(_TURN) - y * np.sin(_TURN)
    away = x * np.sin(_TURN) + y * np.cos(_TURN)
    return np.stack([right, z * np.cos(_TILT) + away * np.sin(_TILT), z * np.sin(_TILT) - away * np.cos(_TILT)])


def _fitted(seen: list[Floats], triangles: list[NDArray[np.int32]]) -> tuple[Floats, float]:
    """The middle of what is seen, and how many fine pixels a millimetre gets."""
    boxes = [
        (corners[:, some.ravel()].min(axis=1), corners[:, some.ravel()].max(axis=1))
        for corners, some in zip(seen, triangles, strict=True)
        if some.size
    ]
    low = np.min([box[0] for box in boxes], axis=0)
    high = np.max([box[1] for box in boxes], axis=0)
    longest = float((high - low)[:2].max()) or 1.0
    return (low + high) / 2, (SIZE - 2 * _MARGIN) * _FINE / longest


class _Canvas:
    """The nearest triangle at each pixel."""

    def __init__(self, fit: tuple[Floats, float]) -> None:
        self._middle, self._scale = fit
        self._side = SIZE * _FINE
        # Nearness above, shade below: the largest number wins a pixel.
        self._nearest = np.zeros(self._side * self._side, dtype=np.int64)
        self._work = 0

    def add(self, corners: Floats, triangles: NDArray[np.int32]) -> None:
        """Draw one mesh."""
        placed = (corners - self._middle[:, None]) * self._scale
        placed[:2] += self._side / 2
        for start in range(0, triangles.shape[1], _BLOCK):
            self._add_block(placed, triangles[:, start : start + _BLOCK])

    def _add_block(self, corners: Floats, triangles: NDArray[np.int32]) -> None:
        points = corners[:, triangles]  # axis, corner, triangle
        u, v = points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]
        normal = np.stack([u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]])
        length = np.sqrt((normal * normal).sum(axis=0))
        # Seen from the side a triangle covers nothing.
        is_seen = np.abs(normal[2]) > 1e-9
        normal /= np.where(length > 0, length, 1) * np.where(normal[2] < 0, -1, 1)
        shade = np.clip(_LIGHT[0] * normal[0] + _LIGHT[1] * normal[1] + _LIGHT[2] * normal[2], 0, 1)
        level = (255 * shade).astype(np.int64)
        low = np.clip(np.ceil(points[:2].min(axis=1) - 0.5), 0, self._side).astype(np.int64)
        high = np.clip(np.floor(points[:2].max(axis=1) - 0.5), -1, self._side - 1).astype(np.int64)
        width, height = high[0] - low[0] + 1, high[1] - low[1] + 1
        squares = np.where(is_seen & (width > 0) & (height > 0), width * height, 0)
        some = np.flatnonzero(squares)
        # Groups of triangles whose squares fit into one go.
        for group in np.split(some, np.flatnonzero(np.diff(np.cumsum(squares[some]) // _AT_ONCE)) + 1):
            work = int(squares[group].sum())
            if self._work + work > _MOST_WORK:
                continue
            self._work += work
            self._fill(points[:, :, group], low[:, group], width[group], squares[group], level[group])

    def _fill(
        self,
        points: Floats,
        low: NDArray[np.int64],
        width: NDArray[np.int64],
        squares: NDArray[np.int64],
        level: NDArray[np.int64],
    ) -> None:
        """Every pixel of each triangle's rectangle that lies inside the triangle."""
        if not squares.size:
            return
        which = np.repeat(np.arange(squares.size), squares)
        place = np.arange(which.size) - np.repeat(np.cumsum(squares) - squares, squares)
        column = low[0][which] + place % width[which]
        row = low[1][which] + place // width[which]
        (ax, bx, cx), (ay, by, cy), (az, bz, cz) = points
        double = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        x, y = column + 0.5 - ax[which], row + 0.5 - ay[which]
        second = (x * (cy - ay)[which] - y * (cx - ax)[which]) / double[which]
        third = (y * (bx - ax)[which] - x * (by - ay)[which]) / double[which]
        is_inside = (second >= 0) & (third >= 0) & (second + third <= 1)
        which, second, third = which[is_inside], second[is_inside], third[is_inside]
        nearness = az[which] + second * (bz - az)[which] + third * (cz - az)[which]
        # Fine pixels, a thousand steps each; the model lies well within 2**40 of them.
        key = ((nearness * 1024).astype(np.int64) + (1 << 40)) << 8 | level[which]
        np.maximum.at(self._nearest, row[is_inside] * self._side + column[is_inside], key)

    def pixels(self) -> NDArray[np.uint8]:
        """The picture, top row first."""
        shade = (self._nearest & 0xFF) / 255
        colours = _PART * (_AMBIENT + (1 - _AMBIENT) * shade[:, None])
        colours = np.where(self._nearest[:, None] > 0, colours, np.array(_BACKGROUND, dtype=float))
        grid = colours.reshape(SIZE, _FINE, SIZE, _FINE, 3).mean(axis=(1, 3))
        return np.ascontiguousarray(grid[::-1]).astype(np.uint8)

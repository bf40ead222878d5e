"""Parts that somebody might want printed, as binary STL: rings with any outline."""

import math
import struct
from collections.abc import Callable

Point = tuple[float, float, float]


def gear(teeth: int = 18, radius: float = 24.0, height: float = 9.0) -> bytes:
    """A gear with a hole for its axle; lengths in millimetres."""
    return _ring(lambda angle: radius + 2.4 * math.tanh(4 * math.sin(teeth * angle)), radius / 3, height, teeth * 16)


def knob(radius: float = 17.0, height: float = 14.0) -> bytes:
    """A knob with grips for five fingers; lengths in millimetres."""
    return _ring(lambda angle: radius + 1.8 * math.cos(5 * angle), 4.0, height, 160)


def _ring(outline: Callable[[float], float], hole: float, height: float, steps: int) -> bytes:
    """A closed body between a round hole and an outline, given as the distance from the axis at an angle."""
    angles = [2 * math.pi * step / steps for step in range(steps)]

    def at(distance: float, angle: float, z: float) -> Point:
        return (distance * math.cos(angle), distance * math.sin(angle), z)

    triangles: list[tuple[Point, Point, Point]] = []
    for here, there in zip(angles, [*angles[1:], angles[0]], strict=True):
        inner = [at(hole, angle, z) for angle in (here, there) for z in (0.0, height)]
        outer = [at(outline(angle), angle, z) for angle in (here, there) for z in (0.0, height)]
        quads = (
            (inner[1], outer[1], outer[3], inner[3]),  # top
            (inner[0], inner[2], outer[2], outer[0]),  # bottom
            (outer[0], outer[2], outer[3], outer[1]),
            (inner[0], inner[1], inner[3], inner[2]),
        )
        triangles += [triangle for a, b, c, d in quads for triangle in ((a, b, c), (a, c, d))]
    body = b"".join(struct.pack("<12fH", 0, 0, 0, *(x for corner in one for x in corner), 0) for one in triangles)
    return b"a part for pictures".ljust(80) + struct.pack("<I", len(triangles)) + body

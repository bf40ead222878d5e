"""What is measured, beside other programs and beside arithmetic."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portal.quotes.measuring import geometry, measure, topology, walls
from portal.quotes.measuring.meshes import Mesh
from tests.quotes.measuring import models, oracles

RING = models.torus(2_000)
ENTRIES = st.lists(st.floats(-3, 3), min_size=9, max_size=9).map(lambda some: np.array(some).reshape(3, 3))
TURNS = ENTRIES.filter(lambda some: abs(np.linalg.det(some)) > 0.1)


def ring() -> Mesh:
    points, faces = RING
    return Mesh(np.ascontiguousarray(points.T), np.ascontiguousarray(faces.T.astype(np.int32)))


@pytest.mark.parametrize("kind", ["3mf", "stl", "text.stl", "obj"])
def test_a_ring_measures_what_trimesh_says(kind: str, tmp_path: Path) -> None:
    path = models.write_torus(tmp_path, 3_000)[kind]
    ours, theirs = measure(path), oracles.by_trimesh(path)
    assert ours["outcome"] == "accept"
    assert ours["volume_mm3"] == pytest.approx(theirs.volume, rel=1e-5)
    assert ours["area_mm2"] == pytest.approx(theirs.area, rel=1e-5)
    assert ours["bbox_mm"] == pytest.approx(theirs.extents.tolist(), rel=1e-5)
    assert ours["watertight"] == theirs.is_watertight
    assert ours["shells"] == 1


def test_a_ring_measures_what_lib3mf_says(tmp_path: Path) -> None:
    path = models.write_torus(tmp_path, 3_000)["3mf"]
    (theirs,) = oracles.by_lib3mf(path)
    ours = measure(path)
    assert ours["volume_mm3"] == pytest.approx(theirs.volume, rel=1e-6)
    assert ours["side_mm2"] == pytest.approx(theirs.side, rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(TURNS)
def test_a_turned_and_mirrored_part_measures_its_share(linear: np.ndarray) -> None:
    mesh = ring()
    upright = geometry.surface(mesh, np.eye(3))
    turned = geometry.surface(mesh, linear)
    assert turned.volume == pytest.approx(upright.volume * np.linalg.det(linear), rel=1e-9)
    corners = mesh.corners.T @ linear
    assert (turned.high - turned.low).tolist() == pytest.approx(np.ptp(corners, axis=0).tolist())
    a, b, c = (corners[corner] for corner in mesh.triangles)
    normals = np.cross(b - a, c - a)
    assert turned.area == pytest.approx(np.linalg.norm(normals, axis=1).sum() / 2)
    outwards = normals * np.sign(turned.volume)
    assert turned.up == pytest.approx(np.maximum(outwards[:, 2], 0).sum() / 2)
    assert turned.down == pytest.approx(turned.up)
    assert turned.side == pytest.approx(np.linalg.norm(normals[:, :2], axis=1).sum() / 2)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40))
def test_pieces_and_open_edges_are_those_of_a_plain_count(seed: int, dropped: int) -> None:
    """Against counting with sets, whatever the order of corners and triangles."""
    random = np.random.default_rng(seed)
    bodies = [(models.moved(models.CUBE, 50 * n), models.CUBE_FACES) for n in range(5)]
    points, faces = models.joined(*bodies)
    order = random.permutation(len(points))
    shuffled = np.empty((len(points), 3))
    shuffled[order] = points
    kept = order[np.array(faces)][random.permutation(len(faces))[: len(faces) - dropped]]
    found = topology.examine(Mesh(np.ascontiguousarray(shuffled.T), np.ascontiguousarray(kept.T.astype(np.int32))))
    edges: dict[tuple[int, int], int] = {}
    groups: list[set[int]] = []
    for face in kept.tolist():
        for edge in zip(face, face[1:] + face[:1], strict=True):
            key = (min(edge), max(edge))
            edges[key] = edges.get(key, 0) + 1
        touched = [group for group in groups if group & set(face)]
        groups = [group for group in groups if group not in touched] + [set(face).union(*touched)]
    assert found.odd_edges == sum(uses != 2 for uses in edges.values())
    assert found.shells == len(groups)
    assert found.is_closed == (dropped == 0)


def test_walls_are_as_thick_as_they_were_drawn(tmp_path: Path) -> None:
    """A tube-like box with walls of 1.5 mm, and the same one solid."""
    inner = [(1.5 + x * 0.85, 1.5 + y * 0.85, 1.5 + z * 0.85) for x, y, z in models.CUBE]
    points, faces = models.joined((models.CUBE, models.CUBE_FACES), (inner, models.turned(models.CUBE_FACES)))
    path = tmp_path / "box.stl"
    path.write_bytes(models.binary_stl(points, faces))
    hollow = measure(path)["walls_mm"]
    assert hollow[50] == pytest.approx(1.5)
    assert min(hollow) == pytest.approx(1.5)
    path.write_bytes(models.binary_stl(points, models.turned(faces)))
    assert measure(path)["walls_mm"] == hollow
    path.write_bytes(models.binary_stl())
    assert set(measure(path)["walls_mm"]) == {walls.REACH}


def test_the_tree_finds_what_trying_every_triangle_finds() -> None:
    mesh = ring()
    a, b, c = (mesh.corners[:, corner] for corner in mesh.triangles)
    random = np.random.default_rng(7)
    start = a[:, :50] + random.normal(size=(3, 50)) * 0.5
    direction = random.normal(size=(3, 50))
    direction /= np.linalg.norm(direction, axis=0)
    found = walls._Tree(a, b - a, c - a).nearest(start, direction)
    for number in range(50):
        d, o = direction[:, number], start[:, number]
        system = np.stack([np.broadcast_to(-d[:, None], a.shape), b - a, c - a], axis=-1).transpose(1, 0, 2)
        t, u, v = np.linalg.solve(system, (o[:, None] - a).T[:, :, None])[:, :, 0].T
        met = t[(u >= 0) & (v >= 0) & (u + v <= 1) & (t > 1e-4)]
        assert found[number] == pytest.approx(min([*met, walls.REACH]), abs=1e-6)


def test_an_open_mesh_has_no_walls(tmp_path: Path) -> None:
    path = tmp_path / "open.stl"
    path.write_bytes(models.binary_stl(faces=models.CUBE_FACES[1:]))
    assert measure(path)["walls_mm"] is None

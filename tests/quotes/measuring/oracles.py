"""What other programs read out of a model file; they check our reader, and never see a customer's file."""

import ctypes
from pathlib import Path
from typing import Any

import lib3mf
import numpy as np
import trimesh
from lib3mf import get_wrapper
from numpy.typing import NDArray

from portal.quotes.measuring import geometry
from portal.quotes.measuring.meshes import Mesh


def by_lib3mf(path: Path) -> list[geometry.Surface]:
    """What each mesh object of a 3MF measures, by lib3mf and our sums; numpy buffers, as its lists are slow."""
    wrapper = get_wrapper()
    model = wrapper.CreateModel()
    model.QueryReader("3mf").ReadFromFile(str(path))
    meshes = model.GetMeshObjects()
    found = []
    while meshes.MoveNext():
        mesh = meshes.GetCurrentMeshObject()
        corners = np.empty((mesh.GetVertexCount(), 3), dtype=np.float32)
        triangles = np.empty((mesh.GetTriangleCount(), 3), dtype=np.uint32)
        _fill(wrapper, mesh, wrapper.lib.lib3mf_meshobject_getvertices, corners, lib3mf.Lib3MF.Position)
        _fill(wrapper, mesh, wrapper.lib.lib3mf_meshobject_gettriangleindices, triangles, lib3mf.Lib3MF.Triangle)
        columns = np.ascontiguousarray(corners.T, dtype=np.float64)
        found.append(geometry.surface(Mesh(columns, np.ascontiguousarray(triangles.T, dtype=np.int32)), np.eye(3)))
    return found


def _fill(wrapper: Any, mesh: Any, call: Any, into: NDArray[Any], kind: Any) -> None:
    count = ctypes.c_uint64()
    pointer = ctypes.cast(into.ctypes.data, ctypes.POINTER(kind))
    wrapper.checkError(mesh, call(mesh._handle, ctypes.c_uint64(len(into)), count, pointer))


def by_trimesh(path: Path) -> trimesh.Trimesh:
    """Everything in the file as one mesh."""
    loaded = trimesh.load(path, file_type=path.suffix.lstrip("."))
    return loaded.to_mesh() if isinstance(loaded, trimesh.Scene) else loaded

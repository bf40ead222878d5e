"""Every finding that a model file can bring about, each by a file made for it."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from portal.quotes.measuring import measure
from portal.quotes.measuring.outcomes import CODES, english, outcome_of
from tests.quotes.measuring import models
from tests.quotes.measuring.models import CUBE, CUBE_FACES, components_xml, mesh_xml, model_xml, object_xml, package

BEAMS = "http://schemas.microsoft.com/3dmanufacturing/beamlattice/2017/02"
VOLUMETRIC = "http://schemas.3mf.io/3dmanufacturing/volumetric/2022/01"


def cube_with(**changes: object) -> bytes:
    """A 3MF of a cube whose first corner says something else."""
    values = {"x": 0, "y": 0, "z": 0, **changes}
    return package(model_xml(object_xml(mesh_xml([tuple(values.values()), *CUBE[1:]]))))


def parts(*names: str) -> bytes:
    """A package with more parts of these names."""
    return package(more=dict.fromkeys(names, "x"))


def chain(length: int) -> str:
    """Objects that each hold the one before."""
    objects = object_xml()
    for number in range(2, length + 2):
        objects += object_xml(components_xml(f'objectid="{number - 1}"'), number=number)
    return model_xml(objects, items=(f'objectid="{length + 1}"',))


def tree(levels: int) -> str:
    """Objects that each hold the one before ten times."""
    objects = object_xml()
    for number in range(2, levels + 2):
        objects += object_xml(components_xml(*[f'objectid="{number - 1}"'] * 10), number=number)
    return model_xml(objects, items=(f'objectid="{levels + 1}"',))


def bomb() -> bytes:
    """A part that unpacks to a thousand times its size."""
    return package(b" " * (16 * 1024 * 1024))


def lying_bomb() -> bytes:
    """The directory says 1,500 bytes; 20 MiB are packed."""
    content = bytearray(package(b" " * (20 * 1024 * 1024)))
    size = struct.pack("<I", 20 * 1024 * 1024)
    while size in content:
        at = content.index(size)
        content[at : at + 4] = struct.pack("<I", 1500)
    return bytes(content)


def encrypted_zip() -> bytes:
    """The flag that says so, in both places of each entry."""
    content = bytearray(package())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(signature)
        while at >= 0:
            content[at + offset] |= 1
            at = content.find(signature, at + 4)
    return bytes(content)


def keystore() -> bytes:
    """What the secure content extension adds to a package."""
    relation = '<Relationship Target="/Secure/keystore.xml" Id="k" Type="http://example.invalid/2019/04/keystore"/>'
    relations = models.relations_xml().replace("</Relationships>", f"{relation}</Relationships>")
    return package(more={"_rels/.rels": relations})


def symlink() -> bytes:
    """An entry that would be a link when unpacked."""
    content = io.BytesIO(package())
    with zipfile.ZipFile(content, "a") as file:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = 0o120777 << 16
        file.writestr(entry, "/etc/passwd")
    return content.getvalue()


def lattice() -> bytes:
    """A cube with beams."""
    mesh = mesh_xml().replace("</mesh>", f'<b:beamlattice xmlns:b="{BEAMS}"><b:beams/></b:beamlattice></mesh>')
    return package(model_xml(object_xml(mesh), attributes=f'xmlns:b="{BEAMS}" requiredextensions="b"'))


def nested(depth: int) -> str:
    """Elements of nobody's within each other."""
    inside = "<a>" * depth + "</a>" * depth
    return model_xml(before="").replace("<resources>", f'<metadata name="x">{inside}</metadata><resources>')


Case = tuple[str, Callable[[], bytes]]

FILES: dict[str, list[Case]] = {
    "empty_file": [("3mf", lambda: b""), ("stl", lambda: b"")],
    "not_3mf": [("3mf", lambda: b"solid part\nendsolid part\n"), ("3mf", lambda: b"MZ" + package())],
    "wrong_type": [("stl", package), ("obj", package), ("step", models.obj), ("", models.obj)],
    "zip_damaged": [
        ("3mf", lambda: package()[:-40]),
        ("3mf", lambda: package().replace(b"PK\x03\x04", b"PK\x03\x05").replace(b"PK\x03\x05", b"PK\x03\x04", 1)),
    ],
    "zip_bomb": [("3mf", bomb), ("3mf", lying_bomb)],
    "zip_entries": [("3mf", lambda: parts(*(f"a{number}" for number in range(2001))))],
    "zip_names": [
        *[
            ("3mf", lambda name=name: parts(name))
            for name in ("../x", "a/../x", "/x", "C:x", "a\\x", "3d/3DMODEL.model")
        ],
        ("3mf", symlink),
    ],
    "zip_method": [("3mf", lambda: package(compression=zipfile.ZIP_LZMA))],
    "zip_encrypted": [("3mf", encrypted_zip)],
    "encrypted": [("3mf", keystore)],
    "no_model": [
        ("3mf", lambda: models.zipped({"a.txt": "x"})),
        ("3mf", lambda: package(more={"_rels/.rels": models.relations_xml(target="/3D/other.model")})),
    ],
    "xml_bad": [
        ("3mf", lambda: package(model_xml()[:-9])),
        ("3mf", lambda: package(model_xml().replace("<build>", "<build><q:x/>"))),
        ("3mf", lambda: package(model_xml().replace("UTF-8", "ISO-8859-1"))),
        ("3mf", lambda: package(model_xml(attributes=f'a="{"x" * 70_000}"'))),
        ("3mf", lambda: package(model_xml(before=f"<!-- {' ' * 3_000_000} -->"))),
    ],
    "xml_dtd": [
        ("3mf", lambda: package(model_xml(before='<!DOCTYPE model [<!ENTITY a "b">]>\n'))),
        ("3mf", lambda: package(model_xml(before='<!DOCTYPE model SYSTEM "file:///etc/passwd">\n'))),
        ("3mf", lambda: package(more={"_rels/.rels": "<!DOCTYPE a>" + models.relations_xml().partition("?>")[2]})),
    ],
    "xml_depth": [("3mf", lambda: package(nested(80)))],
    "structure": [
        ("3mf", lambda: package("<model/>")),
        ("3mf", lambda: package(model_xml().replace("<build>", "<x>").replace("</build>", "</x>"))),
        ("3mf", lambda: package(model_xml(object_xml() + object_xml()))),
        ("3mf", lambda: package(model_xml(object_xml(number=0)))),
        ("3mf", lambda: package(model_xml(object_xml(attributes='type="ghost"')))),
        ("3mf", lambda: package(model_xml(object_xml(mesh_xml() + mesh_xml())))),
        ("3mf", lambda: package(model_xml(object_xml(mesh_xml().replace("vertices", "triangles"))))),
        ("3mf", lambda: package(model_xml().replace("<build>", "<build><object/>"))),
    ],
    "bad_number": [
        *[
            ("3mf", lambda text=text: cube_with(x=text))
            for text in ("NaN", "INF", "1_0", "0x14", "1 2", "", "１", "1e999", "1,5", "- 1", "1.2.3")
        ],
        ("3mf", lambda: package(model_xml(object_xml(mesh_xml().replace('z="0.0"', "", 1))))),
        ("stl", lambda: models.binary_stl([(float("nan"), 0, 0), *CUBE[1:]])),
        ("stl", lambda: models.text_stl(number="{}").replace(b"20.0", b"2O.0", 1)),
        ("obj", lambda: models.obj().replace(b"20.0", b"inf", 1)),
        ("obj", lambda: models.obj().replace(b"v 0.0 0.0 0.0", b"v 0.0 0.0", 1)),
    ],
    "bad_index": [
        ("3mf", lambda: package(model_xml(object_xml(mesh_xml(faces=[(0, 1, 8)]))))),
        ("3mf", lambda: package(model_xml(object_xml(mesh_xml(faces=[(0, 1, 4294967297)]))))),
        ("obj", lambda: models.obj(faces=[(0, 1, 8)])),
        ("obj", lambda: models.obj() + b"f 0 1 2\n"),
        ("obj", lambda: models.obj() + b"f -9 -1 -2\n"),
    ],
    "bad_face": [
        ("obj", lambda: models.obj() + b"f 1 2\n"),
        ("obj", lambda: models.obj() + b"f" + b" 1 2 3" * 400 + b"\n"),
    ],
    "bad_reference": [
        ("3mf", lambda: package(model_xml(items=('objectid="2"',)))),
        ("3mf", lambda: package(model_xml(items=('objectid="1" p:path="/3D/none.model"',)))),
        ("3mf", lambda: package(model_xml(items=('objectid="1" p:path="../../etc/passwd"',)))),
        ("3mf", lambda: package(model_xml(object_xml(attributes='type="other"')))),
    ],
    "cycle": [
        ("3mf", lambda: package(model_xml(object_xml(components_xml('objectid="1"'))))),
        (
            "3mf",
            lambda: package(
                model_xml(
                    object_xml(components_xml('objectid="2"')) + object_xml(components_xml('objectid="1"'), number=2)
                )
            ),
        ),
    ],
    "depth": [("3mf", lambda: package(chain(33))), ("3mf", lambda: package(chain(5000)))],
    "bad_transform": [
        *[
            ("3mf", lambda text=text: package(model_xml(items=(f'objectid="1" transform="{text}"',))))
            for text in (
                "1 0 0 0 1 0 0 0 1 0 0",
                "1 0 0 0 1 0 0 0 1 0 0 nan",
                "1 0 0 0 1 0 0 0 0 0 0 0",
                "1 0 0 1 0 0 0 0 1 0 0 0",
                "0 0 0 0 0 0 0 0 0 0 0 0",
            )
        ],
    ],
    "bad_unit": [("3mf", lambda: package(model_xml(attributes='unit="parsec"')))],
    "stl_damaged": [
        ("stl", lambda: models.binary_stl()[:-1]),
        ("stl", lambda: b"short"),
        ("stl", lambda: models.text_stl()[:-20]),
        ("stl", lambda: models.text_stl().replace(b"outer", b"inner", 1)),
        ("stl", lambda: models.text_stl().replace(b"  endloop", b"vertex 0 0 0\n endloop", 1)),
    ],
    "not_obj": [
        ("obj", lambda: b"hello\n"),
        ("obj", lambda: b"v 0 0 0\n\0\n"),
        ("obj", lambda: b"# " + b"x" * 4_000_000),
    ],
    "too_many_parts": [
        ("3mf", lambda: package(tree(11))),
        ("3mf", lambda: package(model_xml(items=['objectid="1"'] * 1001))),
    ],
    "no_geometry": [
        ("3mf", lambda: package(model_xml(items=()))),
        ("3mf", lambda: package(model_xml(object_xml(mesh_xml([], []))))),
        ("stl", lambda: models.binary_stl(faces=[])),
        ("stl", lambda: models.text_stl(faces=[])),
        ("obj", lambda: models.obj(faces=[])),
    ],
    "no_volume": [
        ("stl", lambda: models.binary_stl(faces=CUBE_FACES[:2])),
        ("3mf", lambda: package(model_xml(object_xml(mesh_xml(faces=[(0, 3, 5), (0, 5, 3)]))))),
    ],
    "needs_extension": [
        ("3mf", lambda: package(model_xml(attributes=f'xmlns:v="{VOLUMETRIC}" requiredextensions="v"'))),
        ("3mf", lambda: package(model_xml(object_xml(f'<v:levelset xmlns:v="{VOLUMETRIC}"/>')))),
    ],
    "beam_lattice": [("3mf", lattice)],
    "no_price": [("3mf", lambda: package(model_xml(object_xml(attributes='type="support"'))))],
    "sliced_file": [("3mf", lambda: package(model_xml("", items=()), more={"Metadata/plate_1.gcode": "G1"}))],
    "not_watertight": [
        ("3mf", lambda: package(model_xml(object_xml(mesh_xml(faces=CUBE_FACES[1:]))))),
        ("stl", lambda: models.binary_stl(faces=CUBE_FACES[1:])),
        ("obj", lambda: models.obj(faces=[*CUBE_FACES, CUBE_FACES[0]])),
    ],
    "winding": [("stl", lambda: models.binary_stl(faces=[*CUBE_FACES[1:], *models.turned(CUBE_FACES[:1])]))],
    "inverted": [("3mf", lambda: package(model_xml(object_xml(mesh_xml(faces=models.turned(CUBE_FACES))))))],
    "degenerate": [("3mf", lambda: package(model_xml(object_xml(mesh_xml(faces=[*CUBE_FACES, (0, 0, 1)])))))],
    "too_small": [("stl", lambda: models.binary_stl(models.moved(CUBE, scale=0.05)))],
    "too_big": [
        ("3mf", lambda: package(model_xml(object_xml(mesh_xml(models.moved(CUBE, scale=80)))))),
        (
            "3mf",
            lambda: package(model_xml(items=('objectid="1"', 'objectid="1" transform="1 0 0 0 1 0 0 0 1 1500 0 0"'))),
        ),
        ("3mf", lambda: cube_with(x="1e308")),
        ("obj", lambda: models.obj(models.moved(CUBE, scale=80))),
    ],
}


@pytest.mark.parametrize(("code", "suffix", "make"), [(code, *case) for code, cases in FILES.items() for case in cases])
def test_the_file_is_found_out(code: str, suffix: str, make: Callable[[], bytes], tmp_path: Path) -> None:
    path = tmp_path / f"model.{suffix}"
    path.write_bytes(make())
    answer = measure(path)
    assert code in answer["codes"], answer
    assert answer["outcome"] == outcome_of(answer["code"])
    assert answer["message"] == english(
        answer["code"], answer["problems"][answer["codes"].index(answer["code"])]["values"]
    )
    assert "%(" not in answer["message"]
    assert str(tmp_path) not in answer["message"]
    assert ("volume_mm3" in answer) <= (answer["outcome"] != "reject")


@pytest.mark.parametrize(
    ("suffix", "size", "code"), [("stl", 100 * 2**20 + 1, "too_large"), ("3mf", 2**40, "too_large")]
)
def test_a_file_beyond_the_limit_is_not_read(suffix: str, size: int, code: str, tmp_path: Path) -> None:
    path = tmp_path / f"model.{suffix}"
    with path.open("wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(size)
    assert measure(path)["code"] == code


def test_more_than_two_million_triangles_are_for_a_person(tmp_path: Path) -> None:
    path = tmp_path / "model.stl"
    with path.open("wb") as file:
        file.write(b"x" * 80 + struct.pack("<I", 2_000_001))
        file.truncate(84 + 50 * 2_000_001)
    answer = measure(path)
    assert (answer["outcome"], answer["code"]) == ("manual", "too_many_triangles")


def test_what_cannot_be_read_at_all_is_for_a_person(tmp_path: Path) -> None:
    assert measure(tmp_path / "nothing.stl")["code"] == "internal"
    assert measure(tmp_path)["code"] == "internal"


def test_every_code_has_a_file() -> None:
    """But for those with tests of their own, such as the child that dies (`internal`)."""
    elsewhere = {"too_large", "too_many_triangles", "internal"}
    assert CODES.keys() == FILES.keys() | elsewhere

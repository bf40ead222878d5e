"""What the formats allow and real programs write."""

import sys
from pathlib import Path

import pytest

from portal.quotes.measuring import measure
from tests.quotes.measuring import models
from tests.quotes.measuring.models import (
    CORE,
    CUBE,
    CUBE_FACES,
    components_xml,
    mesh_xml,
    model_xml,
    object_xml,
    package,
)


def measured(tmp_path: Path, content: bytes, suffix: str = "3mf", *, unit: str | None = None) -> dict[str, object]:
    path = tmp_path / f"model.{suffix}"
    path.write_bytes(content)
    return measure(path, unit=unit)


def is_cube(answer: dict[str, object], side: float = 20) -> bool:
    return (
        answer["outcome"] == "accept"
        and answer["volume_mm3"] == pytest.approx(side**3)
        and answer["area_mm2"] == pytest.approx(6 * side**2)
        and answer["bbox_mm"] == pytest.approx([side] * 3)
        and (answer["triangles"], answer["parts"], answer["shells"]) == (12, 1, 1)
        and answer["watertight"] is True
    )


def test_a_cube_is_measured_in_every_direction(tmp_path: Path) -> None:
    answer = measured(tmp_path, package())
    assert is_cube(answer)
    assert answer["side_mm2"] == pytest.approx(1600)
    assert answer["up_mm2"] == answer["down_mm2"] == answer["contact_mm2"] == pytest.approx(400)
    assert answer["overhang_mm2"] == 0
    assert (answer["smallest_shell_mm"], answer["unit"], answer["has_colours"], answer["thumbnail"]) == (
        20,
        "mm",
        False,
        None,
    )


@pytest.mark.parametrize(
    ("unit", "side"),
    [("micron", 0.02), ("millimeter", 20), ("centimeter", 200), ("inch", 508), ("foot", None), ("meter", None)],
)
def test_the_file_names_its_unit(unit: str, side: float | None, tmp_path: Path) -> None:
    answer = measured(tmp_path, package(model_xml(attributes=f'unit="{unit}"')))
    assert is_cube(answer, side) if side else answer["code"] == "too_big"


@pytest.mark.parametrize("kind", ["stl", "obj"])
@pytest.mark.parametrize(("unit", "side"), [(None, 20), ("mm", 20), ("cm", 200), ("inch", 508)])
def test_the_customer_names_the_unit_of_a_format_without_one(
    kind: str, unit: str | None, side: float, tmp_path: Path
) -> None:
    content = models.binary_stl() if kind == "stl" else models.obj()
    answer = measured(tmp_path, content, kind, unit=unit)
    assert is_cube(answer, side)
    assert answer["unit"] == unit


def test_a_small_part_is_not_asked_about_once_the_unit_is_chosen(tmp_path: Path) -> None:
    small = models.binary_stl(models.moved(CUBE, scale=0.05))
    assert measured(tmp_path, small, "stl")["code"] == "too_small"
    assert measured(tmp_path, small, "stl", unit="mm")["outcome"] == "accept"


WAYS = {
    "single quotes": mesh_xml().replace('"', "'"),
    "another order": mesh_xml().replace('v1="0" v2="2" v3="1"', 'v3="1" v2="2" v1="0"'),
    "comments": mesh_xml().replace("<vertices>", "<vertices><!-- <vertex x='1' y='2' z='3'/> </vertices> -->"),
    "a comment between": mesh_xml().replace('z="0.0"/>', 'z="0.0"/><!-- <vertex x="9" y="9" z="9"/> -->', 1),
    "cdata": mesh_xml().replace('z="0.0"/>', 'z="0.0"/><![CDATA[<vertex x="9" y="9" z="9"/>]]>', 1),
    "an instruction": mesh_xml().replace("<triangles>", '<triangles><?x <triangle v1="0" v2="1" v3="2"/> ?>'),
    "character references": mesh_xml().replace('x="20.0"', 'x="2&#48;.0"'),
    "padding": mesh_xml().replace('x="20.0"', 'x=" 20.0 "'),
    "exponents": mesh_xml().replace('"20.0"', '"2.0E+1"'),
    "colours by number": mesh_xml().replace(' v1="', ' pid="5" p1="0" v1="'),
    "colours on some": mesh_xml().replace('v3="1"/>', 'v3="1" pid="5" p1="0"/>'),
    "paint of a slicer": mesh_xml().replace('v3="1"/>', 'v3="1" paint_color="4&lt;"/>'),
    "end tags": mesh_xml().replace('v3="1"/>', 'v3="1"></triangle>'),
    "an attribute that looks like a tag": mesh_xml().replace("<vertices>", "<vertices a='<'>".replace("<'", "&lt;'")),
    "a greater-than sign in the tag": mesh_xml().replace("<vertices>", '<vertices a="x>">'),
    "line ends": mesh_xml().replace("\n", "\r\n"),
    "no white space": mesh_xml().replace("\n", "").replace("     ", ""),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_one_mesh_may_be_written_in_many_ways(way: str, tmp_path: Path) -> None:
    assert is_cube(measured(tmp_path, package(model_xml(object_xml(WAYS[way])))))


def test_a_prefix_and_other_encodings_are_fine(tmp_path: Path) -> None:
    prefixed = (
        model_xml().replace("<", "<c:").replace("<c:/", "</c:").replace("<c:?", "<?").replace("xmlns=", "xmlns:c=")
    )
    assert is_cube(measured(tmp_path, package(prefixed)))
    assert is_cube(measured(tmp_path, package(model_xml().replace("UTF-8", "UTF-16").encode("utf-16"))))
    assert is_cube(measured(tmp_path, package(b"\xef\xbb\xbf" + model_xml().encode())))


def test_elements_of_others_are_not_mistaken_for_ours(tmp_path: Path) -> None:
    stranger = '<x:mesh xmlns:x="urn:x"><x:vertices><vertex x="a" y="b" z="c"/></x:vertices></x:mesh>'
    answer = measured(
        tmp_path,
        package(model_xml(object_xml() + f'<x:y xmlns:x="urn:x">{stranger.replace("<vertex", "<x:vertex")}</x:y>')),
    )
    assert is_cube(answer)


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
@pytest.mark.parametrize(
    "decoy", ['<!-- <vertex x="1" y="1" z="1"/> -->', "<!-- </vertices> <triangles> -->", " \n ", "<!---->" * 3000]
)
def test_a_decoy_anywhere_in_a_long_list_changes_nothing(place: float, decoy: str, tmp_path: Path) -> None:
    """Long enough for several pieces, so that the fast way is left and found again."""
    points, faces = models.torus(30_000)
    mesh = mesh_xml(points.tolist(), faces.tolist())
    plain = measured(tmp_path, package(model_xml(object_xml(mesh))))
    at = mesh.index("/>", int(place * len(mesh))) + 2
    spoiled = measured(tmp_path, package(model_xml(object_xml(mesh[:at] + decoy + mesh[at:]))))
    assert spoiled == plain
    assert plain["outcome"] == "accept"


def test_a_bad_number_in_a_long_list_is_found(tmp_path: Path) -> None:
    points, faces = models.torus(30_000)
    rows = points.tolist()
    rows[9_000][1] = "1_0"
    answer = measured(tmp_path, package(model_xml(object_xml(mesh_xml(rows, faces.tolist())))))
    assert (answer["outcome"], answer["code"]) == ("reject", "bad_number")


def test_transforms_multiply_item_after_component(tmp_path: Path) -> None:
    objects = object_xml() + object_xml(
        components_xml('objectid="1" transform="2 0 0 0 1 0 0 0 1 10 0 0"', 'objectid="1"'), number=2
    )
    answer = measured(
        tmp_path, package(model_xml(objects, items=('objectid="2" transform="0 3 0 -1 0 0 0 0 1 5 5 5"',)))
    )
    assert (answer["parts"], answer["items"], answer["shells"], answer["triangles"]) == (2, 1, 2, 24)
    assert answer["volume_mm3"] == pytest.approx(2 * 3 * 8000 + 3 * 8000)
    # The wide one reaches from 10 to 50 along x, times 3 along y when the item is turned.
    assert answer["bbox_mm"] == pytest.approx([20, 150, 20])


def test_a_mirrored_part_is_as_large_as_the_other(tmp_path: Path) -> None:
    answer = measured(tmp_path, package(model_xml(items=('objectid="1" transform="-1 0 0 0 1 0 0 0 1 0 0 0"',))))
    assert is_cube(answer)
    assert answer["contact_mm2"] == pytest.approx(400)


def test_only_what_the_plate_reaches_is_counted(tmp_path: Path) -> None:
    objects = object_xml() + object_xml(number=2) + object_xml(number=3, attributes='type="support"')
    assert is_cube(measured(tmp_path, package(model_xml(objects, items=('objectid="1"', 'objectid="3"')))))
    mixed = objects + object_xml(components_xml('objectid="1"', 'objectid="3"'), number=4)
    assert is_cube(measured(tmp_path, package(model_xml(mixed, items=('objectid="4"',)))))
    helper = mixed.replace('type="support"', 'type="other"')
    assert is_cube(measured(tmp_path, package(model_xml(helper, items=('objectid="4"',)))))


def test_a_part_of_the_package_is_found_whatever_its_case_and_its_plate_is_ignored(tmp_path: Path) -> None:
    other = model_xml(object_xml(number=7), items=('objectid="7"', 'objectid="7"'))
    objects = object_xml(components_xml('objectid="7" p:path="/3d/OBJECTS/Part.model"'))
    answer = measured(tmp_path, package(model_xml(objects), more={"3D/Objects/part.model": other}))
    assert is_cube(answer)
    item = model_xml(objects, items=('objectid="7" p:path="/3D/Objects/part.model"',))
    assert is_cube(measured(tmp_path, package(item, more={"3D/Objects/part.model": other})))


def test_what_stands_in_one_place_is_counted_each_time(tmp_path: Path) -> None:
    answer = measured(tmp_path, package(model_xml(items=['objectid="1"'] * 1000)))
    assert (answer["parts"], answer["items"], answer["triangles"]) == (1000, 1000, 12_000)
    assert answer["volume_mm3"] == pytest.approx(8e6)


def test_parts_of_one_item_stand_on_the_bed_together(tmp_path: Path) -> None:
    """A cube on a cube: the upper one does not touch the bed, and what hangs over is the item's."""
    objects = object_xml() + object_xml(
        components_xml('objectid="1"', 'objectid="1" transform="1 0 0 0 1 0 0 0 1 30 0 20"'), number=2
    )
    together = measured(tmp_path, package(model_xml(objects, items=('objectid="2"',))))
    assert together["contact_mm2"] == together["overhang_mm2"] == pytest.approx(400)
    apart = measured(
        tmp_path, package(model_xml(items=('objectid="1"', 'objectid="1" transform="1 0 0 0 1 0 0 0 1 30 0 20"')))
    )
    assert (apart["contact_mm2"], apart["overhang_mm2"]) == (pytest.approx(800), 0)


def test_a_hollow_is_subtracted_and_counted(tmp_path: Path) -> None:
    points, faces = models.joined(
        (CUBE, CUBE_FACES), (models.moved(CUBE, 5, 5, 5, scale=0.5), models.turned(CUBE_FACES))
    )
    for content, suffix in ((models.binary_stl(points, faces), "stl"), (models.obj(points, faces), "obj")):
        answer = measured(tmp_path, content, suffix)
        assert answer["volume_mm3"] == pytest.approx(7000)
        assert (answer["shells"], answer["hollows"], answer["smallest_shell_mm"]) == (2, 1, pytest.approx(10))


def test_colours_and_a_thumbnail_are_seen(tmp_path: Path) -> None:
    materials = '<m:colorgroup xmlns:m="http://schemas.microsoft.com/3dmanufacturing/material/2015/02" id="9"/>'
    answer = measured(
        tmp_path,
        package(model_xml(materials + object_xml()), thumbnail="/Metadata/a.png", more={"Metadata/A.png": "x"}),
    )
    assert (answer["outcome"], answer["has_colours"], answer["thumbnail"]) == ("accept", True, "Metadata/A.png")


@pytest.mark.parametrize("number", ["{}", "{:.6e}", "{:+.3E}", "{:.12f}", "{:.20f}"])
@pytest.mark.parametrize("line", ["\n", "\r\n", "\r", "\n\n  "])
def test_a_text_stl_may_be_written_in_many_ways(number: str, line: str, tmp_path: Path) -> None:
    content = models.text_stl(line=line, number=number)
    assert is_cube(measured(tmp_path, content, "stl"))
    assert is_cube(measured(tmp_path, content.upper(), "STL"))


def test_a_text_stl_of_several_bodies_or_with_odd_normals_is_read(tmp_path: Path) -> None:
    second = models.text_stl(models.moved(CUBE, 50))
    answer = measured(tmp_path, models.text_stl() + second, "stl")
    assert (answer["outcome"], answer["shells"]) == ("accept", 2)
    assert is_cube(measured(tmp_path, models.text_stl().replace(b"normal 0 0 0", b"normal -nan(ind) nan x"), "stl"))


def test_a_binary_stl_may_begin_like_a_text(tmp_path: Path) -> None:
    assert is_cube(measured(tmp_path, models.binary_stl(header=b"solid part\n facet normal"), "stl"))


def test_nearly_equal_corners_are_one(tmp_path: Path) -> None:
    """Off by a rounding error, also where the grid has a border."""
    loose = [(p[0] + 3e-8 * n, p[1], p[2]) for n, p in enumerate(models.moved(CUBE, 1 / 3, scale=1))]
    points = [
        p if n % 2 else loose[corner]
        for n, face in enumerate(CUBE_FACES)
        for corner in face
        for p in [models.moved(CUBE, 1 / 3)[corner]]
    ]
    answer = measured(tmp_path, models.obj(points, [(n, n + 1, n + 2) for n in range(0, 36, 3)]), "obj")
    assert (answer["outcome"], answer["watertight"], answer["shells"]) == ("accept", True, 1)


def test_an_obj_may_be_written_in_many_ways(tmp_path: Path) -> None:
    quads = b"f 1 3 4 2\nf 5 6 8 7\nf 1 2 6 5\nf 3 7 8 4\nf 1 5 7 3\nf 2 4 8 6\n"
    corners = b"".join(b"v %g %g %g\n" % corner for corner in CUBE)
    for text in (
        corners + quads,
        corners + quads.replace(b"\n", b"\r\n"),
        corners
        + b"vt 0 0\nvn 0 0 1\nmtllib /etc/passwd\nusemtl x\no y\ng z\ns off\n"
        + quads.replace(b"1", b"1/1/1").replace(b"3 ", b"3//1 "),
        corners + quads.replace(b"f 1 3 4 2", b"f -8 -6 -5 -7"),
        corners.replace(b"v 20", b"v \\\n 20") + quads,
        corners.replace(b"\n", b" 0.5 0.5 0.5\n") + b"# end\n" + quads,
        b"\n\n" + corners.replace(b"v ", b"  v\t") + quads.rstrip(),
        quads + corners,
    ):
        answer = measured(tmp_path, text, "obj")
        assert is_cube(answer), text


# What was opened while a test listens: a hook for this can be set, and never taken away.
heard: list[str] | None = None


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if heard is not None and event == "open":
        heard.append(str(arguments[0]))


sys.addaudithook(_hear)


def test_no_other_file_is_opened_for_an_obj(tmp_path: Path) -> None:
    global heard
    (tmp_path / "part.mtl").write_text("map_Kd /etc/passwd\n")
    path = tmp_path / "model.obj"
    path.write_bytes(b"mtllib part.mtl\ncall part.mtl\ncsh ls\n" + models.obj())
    assert is_cube(measure(path))
    heard = []
    try:
        answer = measure(path)
        opened = list(heard)
    finally:
        heard = None
    assert is_cube(answer)
    assert opened == [str(path)]


def test_a_core_namespace_is_needed(tmp_path: Path) -> None:
    assert measured(tmp_path, package(model_xml().replace(CORE, "urn:other")))["code"] == "structure"

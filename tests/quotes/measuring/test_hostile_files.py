"""Files made to hurt, and sound ones beside them that must not be mistaken for such."""

from pathlib import Path

import pytest

from portal.quotes.measuring import measure

FOLDER = Path(__file__).parent / "hostile"
SOUND = {
    "g_unit_inch.3mf": 16387.064,
    "o_mtllib_passwd.obj": 8000,
    "o_ok.obj": 8000,
    "o_quads.obj": 8000,
    "ok_cube.3mf": 8000,
    "p_ok.3mf": 8000,
    "s_ascii_ok.stl": 8000,
    "s_ok.stl": 8000,
    "s_solid_header_binary.stl": 8000,
    "t_mirror.3mf": 8000,
    "t_nested.3mf": 96000,
    "x_comment_decoy.3mf": 8000,
    "x_utf8_bom.3mf": 8000,
}
DOUBTFUL = {
    "n_flipped.3mf": ("warn", "inverted"),
    "s_metres.stl": ("warn", "too_small"),
    "n_hole.3mf": ("manual", "not_watertight"),
    "s_hole.stl": ("manual", "not_watertight"),
}
REFUSED = {
    "g_empty_build.3mf": "no_geometry",
    "g_missing_object.3mf": "bad_reference",
    "g_self_cycle.3mf": "cycle",
    "g_unit_unknown.3mf": "bad_unit",
    "n_giant.3mf": "too_big",
    "n_tri_range.3mf": "bad_index",
    "n_vertex_nan.3mf": "bad_number",
    "n_vertex_underscore.3mf": "bad_number",
    "o_index_range.obj": "bad_index",
    "o_nofaces.obj": "no_geometry",
    "p_missing.3mf": "bad_reference",
    "s_count_4e9.stl": "stl_damaged",
    "s_nan.stl": "bad_number",
    "t_short.3mf": "bad_transform",
    "x_billion_laughs.3mf": "xml_dtd",
    "x_truncated.3mf": "xml_bad",
    "z_encrypted.3mf": "zip_encrypted",
    "z_path_dotdot.3mf": "zip_names",
    "z_plain_zip.3mf": "no_model",
    "z_text.3mf": "not_3mf",
    "z_trunc_half.3mf": "zip_damaged",
    "z_zero.3mf": "empty_file",
}


@pytest.mark.parametrize(("name", "volume"), SOUND.items())
def test_a_sound_file_is_accepted(name: str, volume: float) -> None:
    answer = measure(FOLDER / name)
    assert (answer["outcome"], answer["code"]) == ("accept", "")
    assert answer["volume_mm3"] == pytest.approx(volume, rel=1e-9)
    assert answer["watertight"]


@pytest.mark.parametrize(("name", "verdict"), DOUBTFUL.items())
def test_a_doubtful_file_is_measured_and_said_to_be_so(name: str, verdict: tuple[str, str]) -> None:
    answer = measure(FOLDER / name)
    assert (answer["outcome"], answer["code"]) == verdict
    assert answer["triangles"] in (11, 12)


@pytest.mark.parametrize(("name", "code"), REFUSED.items())
def test_a_hostile_file_is_refused(name: str, code: str) -> None:
    answer = measure(FOLDER / name)
    assert (answer["outcome"], answer["code"]) == ("reject", code)


def test_every_file_is_expected_to_do_something() -> None:
    assert {path.name for path in FOLDER.iterdir()} == SOUND.keys() | DOUBTFUL.keys() | REFUSED.keys()

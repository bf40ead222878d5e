"""The fast way to numbers says exactly what the XML parser and `float()` say, or nothing."""

import re
from xml.parsers import expat

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from portal.quotes.measuring import mesh_bytes
from portal.quotes.measuring.numbers import (
    NUMBER,
    NotANumber,
    Text,
    decimal,
    decimals,
    only_mark,
    whole_number,
    whole_numbers,
    words,
)

DIGITS = st.text("0123456789", max_size=22)
NUMBERS = st.one_of(
    st.builds(
        lambda sign, whole, fraction, power: sign + whole + ("." + fraction if fraction is not None else "") + power,
        st.sampled_from(["", "-", "+"]),
        DIGITS,
        st.none() | DIGITS,
        st.just("") | st.builds(lambda e, n: f"{e}{n}", st.sampled_from("eE"), st.integers(-330, 330)),
    ).filter(lambda text: re.fullmatch(NUMBER, text.encode()) is not None and abs(float(text)) < 1e300),
    st.floats(-1e9, 1e9).map(repr),
    st.floats(-1e4, 1e4, width=32).map(lambda value: f"{value:.9g}"),
    st.integers(-(10**20), 10**20).map(str),
)
NAMES = ["x", "y", "z"]


def by_words(texts: list[str]) -> list[float]:
    """The fast way, as STL and OBJ go it."""
    text = Text.of(" ".join(texts).encode())
    starts, ends = words(text)
    dots = only_mark(np.flatnonzero(text.bytes_ == ord(".")), starts, ends)
    powers = only_mark(np.flatnonzero((text.bytes_ | 0x20) == ord("e")), starts, ends)
    return decimals(text, starts, ends, dots, powers).tolist()


def same(one: list[float], other: list[float]) -> bool:
    """Bit by bit, so that -0.0 is not 0.0."""
    return np.array(one).tobytes() == np.array(other).tobytes()


@settings(max_examples=300, deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=40))
@example(["9007199254740993", "9007199254740992", "0.1", "-0", "1.", ".5", "1e22", "1e23", "123456789.123456789"])
@example(["00000000000000001", "0.00000000000000000001", "99999999.9999999999999999", "1e-22", "8.5e-23", "+7"])
def test_numbers_in_words_are_what_float_says(texts: list[str]) -> None:
    assert same(by_words(texts), [float(text) for text in texts])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=20), st.sampled_from(["", "\n", "\r\n\t "]))
def test_corners_in_plain_bytes_are_what_float_says(rows: list[tuple[str, str, str]], gap: str) -> None:
    piece = gap.join(f'<vertex x="{x}" y="{y}" z="{z}"/>' for x, y, z in rows).encode()
    found = mesh_bytes.vertices(piece)
    assert found is not None
    assert same(found.T.ravel().tolist(), [float(text) for row in rows for text in row])


@given(st.lists(st.integers(0, 10**10 - 1), min_size=3, max_size=60))
def test_corner_numbers_are_what_int_says(numbers: list[int]) -> None:
    numbers = numbers[: len(numbers) // 3 * 3]
    rows = [numbers[at : at + 3] for at in range(0, len(numbers), 3)]
    piece = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}" pid="1" p1="0"/>' for a, b, c in rows).encode()
    found = mesh_bytes.triangles(piece)
    assert found is not None
    assert found.T.tolist() == rows


def by_expat(piece: bytes, element: str, names: list[str]) -> list[list[str]] | None:
    """What an XML parser reads in a piece; None when it finds anything but whole elements of this name."""
    rows: list[list[str]] = []
    depth = 0

    class Odd(Exception):
        pass

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth == 2 and (name != element or not set(names) <= attributes.keys()):
            raise Odd
        if depth > 2:
            raise Odd
        if depth == 2:
            rows.append([attributes[key] for key in names])

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    try:
        parser.Parse(b"<list>" + piece + b"</list>", True)
    except (expat.ExpatError, Odd):
        return None
    return rows


GOOD = b'<vertex x="1.5" y="-2" z="30"/>\n  <vertex x="4" y=".5" z="6e1"/>\n  <vertex x="7" y="8" z="9"/>'
FACES = b'<triangle v1="0" v2="1" v3="2"/>\n<triangle v1="2" v2="1" v3="3"/>\n<triangle v1="0" v2="2" v3="3"/>'
SPLICES = st.sampled_from(
    [
        b"<",
        b">",
        b"/",
        b'"',
        b"'",
        b"&",
        b"&#49;",
        b" ",
        b"\n",
        b"\t",
        b"\x0b",
        b"\0",
        b"\xff",
        b"x",
        b"v1",
        b"v2",
        b"1",
        b"e",
        b".",
        b"-",
        b"+",
        b"<!--",
        b"-->",
        b"<![CDATA[",
        b"]]>",
        b"<?a ?>",
        b"</vertices>",
        b"=",
        b"<vertex ",
        b"<vrtx ",
        b"/>",
        b"_",
        b'z="1"',
        b":",
        b"nan",
        b"\xef\xbc\x91",
    ]
)


@settings(max_examples=1500, deadline=None)
@given(
    st.sampled_from([GOOD, FACES]),
    st.lists(st.tuples(st.integers(0, 110), st.integers(0, 6), SPLICES), min_size=1, max_size=3),
)
@example(FACES, [(11, 2, b"v3")])
def test_a_damaged_piece_is_not_plain_or_means_the_same(good: bytes, splices: list[tuple[int, int, bytes]]) -> None:
    piece = good
    for at, drop, put in splices:
        piece = piece[:at] + put + piece[at + drop :]
    if good is GOOD:
        corners, names, element = mesh_bytes.vertices(piece), NAMES, "vertex"
        found = None if corners is None else corners.T.tolist()
        read = decimal
    else:
        faces, names, element = mesh_bytes.triangles(piece), ["v1", "v2", "v3"], "triangle"
        found = None if faces is None else faces.T.tolist()
        read = whole_number
    if found is not None:
        rows = by_expat(piece, element, names)
        assert rows is not None
        assert found == [[read(text.encode()) for text in row] for row in rows]


@pytest.mark.parametrize(
    "piece",
    [
        b"",
        b"   ",
        GOOD + b"x",
        b"<!-- -->" + GOOD,
        GOOD.replace(b"vertex", b"c:vertex"),
        GOOD.replace(b'"', b"'"),
        GOOD.replace(b'y=".5" z="6e1"', b'z="6e1" y=".5"'),
        GOOD.replace(b'"4"', b'"4" w="1"'),
        GOOD.replace(b'"4"', b'"&#52;"'),
        GOOD.replace(b'"4"', b'"four"'),
        GOOD.replace(b'"4"', b'""'),
        GOOD.replace(b"vertex", b"vrtx"),
        GOOD + b"<!-- -->",
        GOOD.replace(b'"7"', b'"7" '),
        GOOD[:-2] + b"></vertex>",
    ],
)
def test_what_is_not_plain_is_left_to_the_parser(piece: bytes) -> None:
    assert mesh_bytes.vertices(piece) is None


def test_a_plain_piece_is_read() -> None:
    """The control of the tests above; other orders and spaces are fine when they are everywhere the same."""
    for piece in (GOOD, b"\n " + GOOD + b"\r\n", GOOD.replace(b"/>", b" />")):
        corners = mesh_bytes.vertices(piece)
        assert corners is not None
        assert corners.T.tolist() == [[1.5, -2, 30], [4, 0.5, 60], [7, 8, 9]]
    turned = mesh_bytes.triangles(b'<triangle v3="1"  v1="2" v2="3"/><triangle v3="4"  v1="5" v2="6"/>')
    assert turned is not None
    assert turned.T.tolist() == [[2, 3, 1], [5, 6, 4]]


@pytest.mark.parametrize(
    "text", ["", ".", "-", "1_0", "nan", "inf", "0x1", "1e", "1e+", "--1", "1..2", "1.2.3", "１", "1e999", "1,5"]
)
def test_what_is_no_number_is_refused_both_ways(text: str) -> None:
    with pytest.raises(NotANumber):
        decimal(text.encode())
    content = Text.of(f"1.5 {text or '_'} 2".encode())
    starts, ends = words(content)
    dots = only_mark(np.flatnonzero(content.bytes_ == ord(".")), starts, ends)
    with pytest.raises(NotANumber):
        decimals(content, starts, ends, dots)


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", "12345678901", "1_0", "x", "１"])
def test_what_is_no_corner_number_is_refused_both_ways(text: str) -> None:
    with pytest.raises(NotANumber):
        whole_number(text.encode())
    content = Text.of(f"{text}|".encode())
    start = np.array([Text.START])
    with pytest.raises(NotANumber):
        whole_numbers(content, start, start + len(text.encode()))


def test_numbers_may_be_padded() -> None:
    assert decimal(b" 1.5\n") == 1.5
    assert whole_number(b"\t7 ") == 7

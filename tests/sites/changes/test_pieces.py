"""Drafts in pieces: any choice of them makes a whole site, and they find their place again when the site has moved."""

import itertools
import random
import time

import pytest

from portal.sites.changes.pieces import (
    DoesNotFit,
    Piece,
    PieceKind,
    Result,
    find_pieces,
    lines_of,
    outdated,
    put_together,
)

PAGE = "".join(f"<p>Line {number}</p>\n" for number in range(1, 13))


class Sites:
    """Contents by name, instead of hashes: `site` gives the paths of one."""

    def __init__(self) -> None:
        self.bytes: dict[str, bytes] = {}

    def site(self, files: dict[str, bytes]) -> dict[str, str]:
        names = {path: f"{path}:{content!r}" for path, content in files.items()}
        self.bytes |= {names[path]: content for path, content in files.items()}
        return names

    def read(self, name: str) -> bytes:
        return self.bytes[name]


@pytest.fixture(autouse=True)
def empty_folders() -> None:
    """Nothing here needs an application."""


@pytest.fixture
def sites() -> Sites:
    return Sites()


def changed(**lines: str) -> bytes:
    """The page with other words in some lines: `l3="three"`; an empty text takes the line out."""
    found = PAGE.splitlines(keepends=True)
    for name, words in lines.items():
        found[int(name[1:]) - 1] = f"<p>{words}</p>\n" if words else ""
    return "".join(found).encode()


def applied(result: Result, files: dict[str, bytes]) -> dict[str, bytes]:
    return {path: content for path, content in {**files, **result.files}.items() if path not in result.removed}


def test_every_choice_of_pieces_gives_just_that(sites: Sites) -> None:
    """All 64 choices of six pieces: each is the page with the chosen changes and no other."""
    words = {"l2": "two", "l5": "five", "l6": "", "l12": "twelve"}
    old_files = {"index.html": PAGE.encode(), "gone.txt": b"old", "logo.png": b"\x89one"}
    new_files = {"index.html": changed(**words), "new.css": b"p {}", "logo.png": b"\x89two"}
    old, new = sites.site(old_files), sites.site(new_files)
    pieces = find_pieces(old, new, sites.read)
    assert [(one.path, one.kind.value) for one in pieces] == [
        ("gone.txt", "removed"), ("index.html", "changed"), ("index.html", "changed"), ("index.html", "changed"),
        ("logo.png", "replaced"), ("new.css", "added"),
    ]  # fmt: skip
    groups = [{"l2": "two"}, {"l5": "five", "l6": ""}, {"l12": "twelve"}]
    for chosen in itertools.product([False, True], repeat=len(pieces)):
        picked = [piece for piece, is_wanted in zip(pieces, chosen, strict=True) if is_wanted]
        result = applied(put_together(picked, old, new, old, sites.read), old_files)
        in_page = [piece in picked for piece in pieces if piece.path == "index.html"]
        page = changed(
            **{
                key: value
                for group, wanted in zip(groups, in_page, strict=True)
                if wanted
                for key, value in group.items()
            }
        )
        expected = {"index.html": page, "logo.png": b"\x89two" if chosen[4] else b"\x89one"}
        expected |= {} if chosen[0] else {"gone.txt": b"old"}
        expected |= {"new.css": b"p {}"} if chosen[5] else {}
        assert result == expected, chosen


def test_random_texts_come_out_as_they_went_in(sites: Sites) -> None:
    """Nothing gives the old text, everything the new one, and two complementary choices lead to the same end."""
    chance = random.Random(7)
    for _round in range(150):
        old_lines = [chance.choice("abcde") + "\n" for _ in range(chance.randrange(12))]
        new_lines = [line for line in old_lines if chance.random() > 0.2]
        for _insert in range(chance.randrange(4)):
            new_lines.insert(chance.randrange(len(new_lines) + 1), chance.choice("abcxyz") + "\n")
        old_files, new_files = {"a.txt": "".join(old_lines).encode()}, {"a.txt": "".join(new_lines).encode()}
        old, new = sites.site(old_files), sites.site(new_files)
        pieces = find_pieces(old, new, sites.read)
        assert applied(put_together(pieces, old, new, old, sites.read), old_files) == new_files
        assert applied(put_together([], old, new, old, sites.read), old_files) == old_files
        half = [piece for piece in pieces if chance.random() > 0.5]
        between = applied(put_together(half, old, new, old, sites.read), old_files)
        middle = sites.site(between)
        rest = find_pieces(middle, new, sites.read)
        assert applied(put_together(rest, middle, new, middle, sites.read), between) == new_files


def test_a_piece_finds_its_place_after_others_have_changed_the_page(sites: Sites) -> None:
    old = sites.site({"index.html": PAGE.encode()})
    new = sites.site({"index.html": changed(l3="three", l9="nine")})
    pieces = find_pieces(old, new, sites.read)
    moved = b"<h1>News</h1>\n" + changed(l6="", l12="twelve")
    onto = sites.site({"index.html": moved})
    assert outdated(pieces, old, new, onto, sites.read) == set()
    result = put_together(pieces, old, new, onto, sites.read).files["index.html"]
    assert result == b"<h1>News</h1>\n" + changed(l3="three", l6="", l9="nine", l12="twelve")


def test_a_piece_whose_place_has_changed_does_not_fit_and_the_others_do(sites: Sites) -> None:
    old = sites.site({"index.html": PAGE.encode(), "a.png": b"\x891", "b.txt": b"b"})
    new = sites.site({"index.html": changed(l3="three", l9="nine"), "a.png": b"\x892", "c.txt": b"c"})
    onto = sites.site({"index.html": changed(l3="drei"), "a.png": b"\x893", "b.txt": b"B", "c.txt": b"C"})
    pieces = find_pieces(old, new, sites.read)
    stale = outdated(pieces, old, new, onto, sites.read)
    fitting = [piece for piece in pieces if piece.id not in stale]
    assert [(one.path, one.before) for one in fitting] == [("index.html", (8, 9))]
    with pytest.raises(DoesNotFit) as refused:
        put_together(pieces[:1], old, new, onto, sites.read)
    assert refused.value.path == "a.png"
    with pytest.raises(DoesNotFit):
        put_together(fitting, old, new, sites.site({"other.txt": b""}), sites.read)


def test_lines_that_come_in_between_need_both_neighbours(sites: Sites) -> None:
    old, new = sites.site({"a.txt": b"1\n2\n3\n4\n"}), sites.site({"a.txt": b"1\n2\nnew\n3\n4\n"})
    pieces = find_pieces(old, new, sites.read)
    for onto, fits in (
        (b"0\n1\n2\n3\n", True),
        (b"1\n2\n3x\n4\n", False),
        (b"1\nx2\n3\n4\n", False),
        (b"2\n3\n", True),
    ):
        assert (outdated(pieces, old, new, sites.site({"a.txt": onto}), sites.read) == set()) is fits, onto


def test_at_the_ends_of_a_file_and_in_empty_ones(sites: Sites) -> None:
    for was, became in ((b"", b"x\n"), (b"x\n", b""), (b"a\n", b"0\na\n"), (b"a\n", b"a\nz"), (b"a", b"b")):
        old, new = sites.site({"a.txt": was}), sites.site({"a.txt": became})
        pieces = find_pieces(old, new, sites.read)
        assert len(pieces) == 1
        assert put_together(pieces, old, new, old, sites.read).files == {"a.txt": became}


def test_a_page_on_one_line_is_taken_apart_by_its_tags(sites: Sites) -> None:
    page = "<html>" + "".join(f"<p>Line {n}</p>" for n in range(60)) + "</html>"
    assert "".join(lines_of(page)) == page
    old = sites.site({"index.html": page.encode()})
    new = sites.site({"index.html": page.replace("Line 3<", "three<").replace("Line 40", "forty").encode()})
    assert len(find_pieces(old, new, sites.read)) == 2


def test_what_is_no_text_is_one_piece(sites: Sites) -> None:
    old, new = sites.site({"a.html": b"\xff\xfe1", "b.png": b"1"}), sites.site({"a.html": b"\xff\xfe2", "b.png": b"2"})
    assert [one.kind for one in find_pieces(old, new, sites.read)] == [PieceKind.REPLACED] * 2


def test_endless_texts_take_bounded_time_and_pieces(sites: Sites) -> None:
    old = sites.site({"a.txt": b"x\n" * 100_000, "b.txt": b"a\nb\n" * 500})
    new = sites.site({"a.txt": b"y\n" * 50_000 + b"x\n" * 50_001, "b.txt": b"a\nc\n" * 500})
    started = time.process_time()
    pieces = find_pieces(old, new, sites.read)
    assert time.process_time() - started < 10
    assert len(pieces) == 2
    assert put_together(pieces, old, new, old, sites.read).files == {path: sites.read(new[path]) for path in new}


def test_a_piece_is_known_by_what_it_says(sites: Sites) -> None:
    """Its id is in the form that a customer sends: another draft's piece is never taken for it."""
    old = sites.site({"a.txt": b"1\n2\n3\n"})
    first = find_pieces(old, sites.site({"a.txt": b"1\nx\n3\n"}), sites.read)
    again = find_pieces(old, sites.site({"a.txt": b"1\nx\n3\n"}), sites.read)
    other = find_pieces(old, sites.site({"a.txt": b"1\ny\n3\n"}), sites.read)
    assert first == again
    assert first[0].id != other[0].id
    assert isinstance(first[0], Piece)

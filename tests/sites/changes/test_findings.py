"""What the automatic checks see of a draft, and what they leave alone because it was there before."""

import time

import pytest

from portal.sites.changes.findings import look
from portal.sites.changes.reading import file_of, host_of, read_page

PAGE = b'<!doctype html><title>x</title><a href="about.html">A</a><img src="a.png" alt="a">'


@pytest.fixture(autouse=True)
def empty_folders() -> None:
    """Nothing here needs an application."""


def found(old: dict[str, bytes], new: dict[str, bytes]) -> list[tuple[str, str, str]]:
    bytes_of = {repr(content): content for content in (*old.values(), *new.values())}
    names = [{path: repr(content) for path, content in files.items()} for files in (old, new)]
    sizes = {path: len(content) for path, content in new.items()}
    return [(one.kind.value, one.path, one.detail) for one in look(*names, sizes, bytes_of.__getitem__)]


def on_page(markup: str) -> list[tuple[str, str]]:
    """What is found when this comes onto a page."""
    base = {"index.html": PAGE, "about.html": PAGE, "a.png": b"", "blog/index.html": PAGE}
    return [(kind, detail) for kind, _path, detail in found(base, {**base, "index.html": PAGE + markup.encode()})]


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ('<p>Fine <a href="about.html#x">here</a> <a href="blog/">b</a> <a href="mailto:a@b.c">m</a></p>', []),
        ('<a href="gone.html">x</a>', [("dead_link", "gone.html")]),
        ('<a href="blog/../gone%2Ehtml?x=1">x</a>', [("dead_link", "blog/../gone%2Ehtml?x=1")]),
        ('<img src="b.png" alt="">', [("dead_link", "b.png")]),
        ('<img src="a.png">', [("no_alt", "a.png")]),
        ("<script>steal()</script>", [("script", "steal()")]),
        ('<svg><script href="a.png"/></svg>', [("script", "a.png")]),
        ('<template><script src="a.png"></script></template>', [("script", "a.png")]),
        ('<p OnClick="x()">x</p>', [("script", "onclick=x()")]),
        ('<a href="java\tscript:x()">x</a>', [("script", "java script:x()")]),
        ('<iframe srcdoc="<script>x</script>"></iframe>', [("script", "<script>x</script>")]),
        ('<img src="https://evil.example/p.gif" alt="x">', [("elsewhere", "evil.example")]),
        ('<img srcset="//evil.example/p.gif 2x" alt="x">', [("elsewhere", "evil.example")]),
        ('<form action="https://evil.example/"></form>', [("elsewhere", "evil.example")]),
        ('<p style="background: url(//evil.example/x)">x</p>', [("elsewhere", "evil.example")]),
        ("<style>@import 'http://evil.example/x.css';</style>", [("elsewhere", "evil.example")]),
        ('<meta http-equiv="Refresh" content="0;url=//evil.example">', [("redirect", "0;url=//evil.example")]),
        ('<base href="//evil.example/">', [("redirect", "//evil.example/")]),
        ('<a href="https://evil.example/login">x</a>', [("outside_link", "evil.example")]),
        ("</b><p>x</p>", [("broken_html", "unexpected-end-tag")]),
    ],
)
def test_what_comes_onto_a_page_is_seen(markup: str, expected: list[tuple[str, str]]) -> None:
    assert on_page(markup) == expected


def test_what_was_there_is_not_said_again() -> None:
    bad = PAGE + b'<script src="//cdn.example/x.js"></script><img src="gone.png"></b>'
    assert (
        found(
            {"index.html": bad, "a.png": b"", "about.html": PAGE},
            {"index.html": bad + b"<p>More</p>", "a.png": b"", "about.html": PAGE},
        )
        == []
    )


def test_other_files_are_looked_at_too() -> None:
    base = {"index.html": PAGE, "a.png": b"", "about.html": PAGE}
    new = {
        "index.html": PAGE, "a.png": b"", "x.js": b"go()", "big.pdf": b"0" * 600_000,
        "s.css": b"p{src:url(//cdn.example/a)}",
        "d.svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="go()"/>',
    }  # fmt: skip
    assert found(base, new) == [
        ("script", "d.svg", "onload=go()"), ("script", "x.js", "x.js"), ("elsewhere", "s.css", "cdn.example"),
        ("dead_link", "index.html", "about.html"), ("large_file", "big.pdf", "600000"),
    ]  # fmt: skip


def test_hostile_pages_take_bounded_time() -> None:
    started = time.process_time()
    for markup in ("<!--", "<a ", "<div>", "<table>", "<p><a>", "<svg><b>", "&", "<a b='", "<template>"):
        read_page(markup * (100_000 // len(markup)))
    assert time.process_time() - started < 30


def test_addresses_are_read_as_browsers_do() -> None:
    assert host_of("\\\\evil.example\\x") == "evil.example"
    assert host_of("file:///etc/passwd") == "file:///etc/passwd"
    assert host_of("http://[::ffff:127.0.0.1]:6379/") == "[::ffff:127.0.0.1]:6379"
    assert host_of("http://[broken") == "http://[broken"
    assert (host_of("mailto:a@b.c"), host_of("data:image/png;base64,x"), host_of("a/b.html")) == (None, None, None)
    assert file_of("../a.html", "blog/x/index.html") == "blog/a.html"
    assert file_of("./", "blog/index.html") == "blog/index.html"
    assert file_of("..", "blog/index.html") == "index.html"
    assert file_of("../../../etc/passwd", "index.html") == "../../../etc/passwd"
    assert (file_of("#top", "index.html"), file_of("/root.html", "index.html")) == (None, None)

"""The invoice as PDF: read back with another library, as the customer's reader would."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pypdf
import pytest
from flask import Flask

from portal import create_app
from portal.payments import invoices
from portal.payments.hooks import BillLine
from portal.payments.invoice_paper import lay_out, pdf
from portal.payments.models import Invoice, PaymentSession
from tests.conftest import settings_for
from tests.payments.invoicing import POLISH_BUYER, line

PANGRAM = "Zażółć gęślą jaźń"
HOSTILE = [
    "$x^2$",
    '#eval("1+1")',
    "#set page(fill: red)",
    '#import "/etc/passwd": *',
    '#read("/etc/passwd")',
    "#panic()",
    "\\ backslash \\",
    "`raw` ```raw```",
    "<script>alert(1)</script>",
    "*bold* _italic_",
    "= Heading",
    "@reference <label>",
    "// comment",
    "/* comment",
    "[content] {code}",
    "{page} of {pages}",
    "~ -- --- ...",
    "'--\"",
    "{{7*7}} ${7*7} %(name)s %s",
    "-1 1. + -",
    "https://evil.example",
    "&amp; &lt;",
    "javascript:alert(1)",
]


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """An application that needs no database: an invoice is printed from what is in it."""
    folder = tmp_path_factory.mktemp("paper")
    app = create_app(settings_for(f"sqlite:///{folder / 'none.db'}", "redis://127.0.0.1:1/0", folder))
    with app.app_context():
        yield app


def make(*lines: BillLine, buyer: dict[str, Any] | None = None, mode: str = "live", **values: Any) -> Invoice:
    """An invoice that is not stored."""
    made = [invoices._line(position, one) for position, one in enumerate(lines or (line(),), start=1)]
    at = datetime(2026, 11, 21, 23, 30, tzinfo=UTC)  # In Warsaw it is the 22nd.
    seller = {"name": "Atelier Nord", "address": "ul. Prosta 20, 00-850 Warszawa", "tax_id": "PL1", "email": "a@b.c"}
    usual = {
        "seller": seller,
        "number": "INV-2026-00042", "subject_number": "ORD-20261121-A3F9", "locale": "en", "currency": "PLN",
        "buyer": buyer or POLISH_BUYER, "issued_at": at, "paid_at": at, "provider": "sandbox",
        "provider_reference": "sbxpay_1",
    }  # fmt: skip
    return Invoice(
        lines=made,
        session=PaymentSession(mode=mode, details={}),
        net_minor=sum(one.net_minor for one in made),
        tax_minor=sum(one.tax_minor for one in made),
        gross_minor=sum(one.gross_minor for one in made),
        **{**usual, **values},
    )


def read(invoice: Invoice) -> pypdf.PdfReader:
    return pypdf.PdfReader(BytesIO(pdf(invoice)))


def text_of(invoice: Invoice) -> str:
    """All its words, with every kind of space alike and the breaks of long words taken out."""
    text = "\n".join(page.extract_text() for page in read(invoice).pages)
    return re.sub(r"[ \u00a0\u202f]", " ", text.replace("\u200b", ""))


def squeezed(text: str) -> str:
    """Without any space: where a reader sees spaces depends on the reader."""
    return re.sub(r"\s", "", text)


def test_it_says_who_sold_what_to_whom(paper: Flask) -> None:
    text = text_of(make(line(6900, description=f"Biuro Autopilot: {PANGRAM}", quantity=2)))
    for expected in (
        "Invoice", "INV-2026-00042", "Atelier Nord", "00-850 Warszawa", "Łódzkie Zakłady Wełny Sp. z o.o.",
        "Kunegunda Brzęczyszczykiewicz", "ul. Gęsia 8/12", "90-001 Łódź", "Poland", "PL7250000011",
        "Nov 22, 2026", "ORD-20261121-A3F9", f"Biuro Autopilot: {PANGRAM}", "23%", "112.20", "25.80", "138.00",
        "PLN 138.00", "Test payment", "sbxpay_1", "Page 1 of 1",
    ):  # fmt: skip
        assert squeezed(expected) in squeezed(text), expected


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        ("en", ["PLN 1,234.50", "1,234.50", "23%", "Nov 22, 2026", "Poland"]),
        ("pl", ["1 234,50 zł", "1 234,50", "23%", "22 lis 2026", "Polska"]),
        ("es", ["1.234,50 PLN", "1.234,50", "23 %", "22 nov 2026", "Polonia"]),
    ],
)
def test_it_is_written_in_its_own_language(paper: Flask, locale: str, expected: list[str]) -> None:
    invoice = make(line(123450), locale=locale)
    text = squeezed(text_of(invoice))
    for words in expected:
        assert squeezed(words) in text, words
    assert read(invoice).trailer["/Root"]["/Lang"].startswith(locale)


@pytest.mark.parametrize(
    ("currency", "total"), [("JPY", "JPY 6,900"), ("KWD", "KWD 6.900"), ("USD", "$69.00"), ("EUR", "€69.00")]
)
def test_every_currency_has_its_own_decimal_places(paper: Flask, currency: str, total: str) -> None:
    text = squeezed(text_of(make(line(6900), currency=currency)))
    assert squeezed(total).replace("JPY", "¥") in text.replace("JPY", "¥")


@pytest.mark.parametrize("locale", ["en", "pl", "es"])
def test_broken_rates_keep_their_digits(paper: Flask, locale: str) -> None:
    paper_text = lay_out(make(line(rate=850), line(rate=2100), line(rate=0), line(rate=5), locale=locale))
    assert [row[0].replace("\u00a0", "") for row in paper_text.taxes] == ["21%", "8.5%", "0.05%", "0%"]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_whatever_is_typed_is_text(paper: Flask, hostile: str) -> None:
    buyer = {"name": hostile, "company": hostile, "line1": hostile, "email": hostile}
    invoice = make(line(description=hostile), buyer=buyer, subject_number=hostile, provider_reference=hostile)
    text = squeezed(text_of(invoice))
    # Typeset markup would vanish from the text, or take the rest of the page with it.
    assert text.count(squeezed(hostile)) >= 6
    assert "Page1of1" in text
    assert "root:" not in text


def test_all_of_it_at_once(paper: Flask) -> None:
    text = squeezed(text_of(make(*(line(description=hostile) for hostile in HOSTILE))))
    assert all(squeezed(hostile) in text for hostile in HOSTILE)


@pytest.mark.parametrize(
    ("typed", "printed"),
    [
        ("a\x00b\x07c", "a b c"),
        ("line\nbreak\ttab", "line break tab"),
        ("left \u202eright\u202c \u2066x\u2069", "left right x"),
        ("half \ud800 pair", "half ? pair"),
        ("private \ue000 use", "private ? use"),
        ("e\u0301 combining", "é combining"),
        ("Привет Γειά", "Привет Γειά"),
        ("ẞ ŐŰ ŞĞ ÞÐ ¿¡ €£₴", "ẞ ŐŰ ŞĞ ÞÐ ¿¡ €£₴"),
    ],
)
def test_odd_characters_do_no_harm(paper: Flask, typed: str, printed: str) -> None:
    text = text_of(make(line(description=typed), buyer={"name": typed}))
    assert squeezed(text).count(squeezed(printed)) >= 2 or squeezed(text).count(squeezed(typed)) >= 2


@pytest.mark.parametrize("name", ["株式会社日本", "😀 Emoji", "한국", "\uffff"])
def test_letters_that_no_font_has_do_not_stop_it(paper: Flask, name: str) -> None:
    text = text_of(make(buyer={"name": name, "email": "buyer@example.com"}))
    assert "buyer@example.com" in text
    assert "INV-2026-00042" in text


@pytest.mark.parametrize("count", [1, 2, 19, 20, 21, 40])
def test_one_to_forty_lines(paper: Flask, count: int) -> None:
    reader = read(
        make(*(line(100 * number, description=f"Part number {number:03d}") for number in range(1, count + 1)))
    )
    texts = [page.extract_text() for page in reader.pages]
    together = "\n".join(texts)
    for number in range(1, count + 1):
        assert together.count(f"Part number {number:03d}") == 1
    assert len(texts) == 1 if count < 20 else len(texts) <= 2
    for number, text in enumerate(texts, start=1):
        assert f"Page {number} of {len(texts)}" in text
        # The page that only carries the sums over has no table to head.
        assert ("Description" in text) == ("Part number" in text)
        assert "INV-2026-00042" in text


def test_long_lines_over_many_pages_break_between_lines_only(paper: Flask) -> None:
    description = " ".join(["słowo"] * 30)
    reader = read(make(*(line(description=f"{number:03d} {description}") for number in range(1, 41))))
    assert len(reader.pages) > 2
    counts = [page.extract_text().count("słowo") for page in reader.pages]
    assert all(count % 30 == 0 for count in counts)
    assert sum(counts) == 40 * 30


def test_words_without_end_stay_in_their_column(paper: Flask) -> None:
    endless = "W" * 300
    reader = read(make(line(description=endless), buyer={"name": endless, "email": "a" * 300 + "@example.com"}))
    right_edges = [float(page.mediabox.right) for page in reader.pages]
    positions: list[float] = []
    for page in reader.pages:
        page.extract_text(
            visitor_text=lambda text, _c, matrix, *_r: positions.append(matrix[4]) if text.strip() else None
        )
    assert max(positions) < min(right_edges)
    text = "".join(page.extract_text() for page in reader.pages).replace("\u200b", "").replace("\n", "")
    assert text.count("W") >= 500  # 300 in the name, and the 200 that a description keeps.
    assert "128.00" not in text
    assert "69.00" in text


def test_a_test_payment_is_marked(paper: Flask) -> None:
    notice = "This is a test. No money was paid."
    assert notice in text_of(make(mode="test"))
    assert notice not in text_of(make(mode="live"))


def test_the_same_invoice_gives_the_same_bytes(paper: Flask) -> None:
    assert pdf(make(line(), line(100))) == pdf(make(line(), line(100)))
    assert pdf(make(line())) != pdf(make(line(6901)))


def test_it_is_an_archive_file_with_nothing_active_in_it(paper: Flask) -> None:
    content = pdf(make())
    assert content.startswith(b"%PDF-1.7")
    reader = pypdf.PdfReader(BytesIO(content))
    metadata = reader.xmp_metadata
    assert metadata is not None
    xmp = metadata.stream.get_data().decode()
    assert "<pdfaid:part>3</pdfaid:part>" in xmp
    assert "<pdfaid:conformance>B</pdfaid:conformance>" in xmp
    root = reader.trailer["/Root"]
    assert "/OutputIntents" in root
    assert not {"/OpenAction", "/AA", "/AcroForm"} & set(root)
    assert b"/JavaScript" not in content
    assert root["/MarkInfo"]["/Marked"]
    assert reader.metadata is not None
    assert reader.metadata.title == "Invoice INV-2026-00042"
    assert reader.metadata.author == "Atelier Nord"
    for page in reader.pages:
        assert "/Annots" not in page
        for font in page["/Resources"]["/Font"].values():
            descendant = font.get_object()["/DescendantFonts"][0].get_object()
            assert {"/FontFile2", "/FontFile3"} & set(descendant["/FontDescriptor"].get_object())


def test_it_is_set_in_the_font_that_comes_with_it(paper: Flask) -> None:
    fonts = {
        str(font.get_object()["/BaseFont"]).split("+")[-1]
        for page in read(make(line(description=PANGRAM))).pages
        for font in page["/Resources"]["/Font"].values()
    }
    assert fonts
    assert all(name.startswith("Inter") for name in fonts), fonts
    folder = Path(invoices.__file__).parent / "paper"
    assert "SIL OPEN FONT LICENSE" in (folder / "OFL.txt").read_text()


@pytest.mark.parametrize(
    ("buyer", "name", "rows"),
    [
        ({}, "–", ()),
        ({"name": "Alice"}, "Alice", ()),
        ({"email": "a@example.com"}, "a@example.com", ()),
        ({"name": " ", "company": "ACME", "country": "ES"}, "ACME", ("Spain",)),
        ({"name": "Alice", "company": "ACME", "tax_id": "PL1"}, "ACME", ("Alice", "Tax ID: PL1")),
        ({"name": None, "email": None, "country": "XX"}, "XX", ()),
        ({"name": 42, "unknown": "ignored"}, "42", ()),
    ],
)
def test_a_buyer_may_tell_little(paper: Flask, buyer: dict[str, Any], name: str, rows: tuple[str, ...]) -> None:
    party = lay_out(make(buyer=buyer or {"name": ""})).buyer
    assert (party.name, party.rows) == (name, rows)
    assert pdf(make(buyer=buyer or {"name": ""}))


def test_a_provider_that_was_switched_off_is_still_named(paper: Flask) -> None:
    assert "Paid through: onecom" in text_of(make(provider="onecom", provider_reference=None))


def test_the_day_is_the_one_where_the_business_is(paper: Flask) -> None:
    now = paper.config["SETTINGS"]
    paper.config["SETTINGS"] = replace(now, business_timezone="America/Guatemala")
    try:
        assert "Nov 21, 2026" in text_of(make())
    finally:
        paper.config["SETTINGS"] = now

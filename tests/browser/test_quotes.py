"""A price for parts, in a browser: files dropped with progress, the price follows every choice; and without script."""

import re
from base64 import b64encode
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.people import Person
from tests.browser.shop import Shop
from tests.quotes import models
from tests.servers import processes

_DROP = """([zone, name, base64]) => {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name));
  for (const type of ["dragover", "drop"]) {
    zone.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
  }
}"""


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Model files on the visitor's disk, by name."""
    made = {
        "cube.stl": models.stl(20),
        "box.3mf": models.three_mf(30),
        "notes.txt": b"hello",
        "open.obj": models.obj(25).rsplit(b"f ", 1)[0],
        "large.stl": models.stl(21) + bytes(30_000_000),
    }
    for name, content in made.items():
        (tmp_path / name).write_bytes(content)
    return {name: str(tmp_path / name) for name in made}


def price_of(page: Page) -> int:
    """The total, in minor units."""
    text = page.locator("#quote-price .totals-sum dd").inner_text()
    return int(re.sub(r"\D", "", text))


def see_priced(page: Page, name: str) -> None:
    """A row has its price without anybody reloading."""
    row = page.locator(".model-row", has_text=name)
    expect(row.locator(".model-price")).to_contain_text("PLN", timeout=60_000)
    expect(row.locator("img")).to_be_visible(timeout=60_000)


def test_a_visitor_drops_models_and_keeps_the_quote(shop: Shop, visit: Visit, files: dict[str, str]) -> None:
    person = visit(shop, expects_errors=True)
    page = person.page
    person.open("/quote")
    page.locator("#models").set_input_files([files["cube.stl"], files["box.3mf"]])
    expect(page.get_by_role("heading", level=1)).to_contain_text("Your quote", timeout=30_000)
    see_priced(page, "cube.stl")
    see_priced(page, "box.3mf")
    before = price_of(page)

    page.locator(".model-row", has_text="cube.stl").get_by_label("Quantity").fill("12")
    page.locator(".model-row", has_text="cube.stl").get_by_label("Quantity").press("Tab")
    expect(page.locator(".model-row", has_text="cube.stl").locator(".model-price")).to_contain_text("12 ×")
    expect(page.locator("#quote-price")).not_to_contain_text(f"{before / 100:,.2f}")
    assert price_of(page) > before

    before = price_of(page)
    page.locator(".price-table tbody tr").first.locator("button").nth(1).click()
    expect(page.locator(".price-cell.is-chosen")).to_have_attribute("value", "rush:1")
    assert price_of(page) > before

    page.evaluate(_DROP, [page.locator(".upload").element_handle(), "dropped.obj", b64encode(models.obj(15)).decode()])
    see_priced(page, "dropped.obj")
    page.locator("#models").set_input_files(files["notes.txt"])
    expect(page.locator(".upload-item.is-wrong")).to_contain_text("we take models as 3MF, STL or OBJ")
    page.locator(".model-row", has_text="dropped.obj").get_by_text("How this price is made").click()
    expect(page.locator(".model-row", has_text="dropped.obj")).to_contain_text("Printing time of one piece")

    page.get_by_role("button", name="Log in to keep this quote").click()
    page.get_by_label("E-mail").fill(shop.log_in_of("customer")[0])
    page.get_by_label("Password", exact=True).fill(shop.log_in_of("customer")[1])
    page.get_by_role("main").get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(re.compile(r"Quote Q-\d{4}-\d{3}"))
    expect(page.locator(".model-row")).to_have_count(3)
    page.get_by_label("Note to us").fill("Please print the box upright.")
    expect(page.locator("#note-saved")).to_contain_text("Saved")
    page.get_by_role("button", name="Send the quote").click()
    expect(page.locator("#quote")).to_contain_text("We are checking this price")
    shop.mail(shop.log_in_of("customer")[0], "A person is checking the price")


def test_a_large_file_shows_its_progress(shop: Shop, visit: Visit, files: dict[str, str]) -> None:
    person = visit(shop)
    page = person.page
    person.open("/quote")
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 8_000_000},
    )
    page.locator("#models").set_input_files(files["large.stl"])
    bar = page.locator(".upload-item progress")
    expect(bar).to_be_visible()
    seen: set[int] = set()

    def moves() -> bool:
        if bar.count():
            seen.add(int(bar.evaluate("bar => bar.value")))
        return len(seen) >= 3

    processes.wait_until(moves, seconds=30, what="the progress to move")
    expect(page.locator(".model-row")).to_have_count(1, timeout=60_000)
    expect(page.locator(".model-row")).to_contain_text("This file is damaged", timeout=60_000)


def test_everything_without_script(shop: Shop, visit: Visit, files: dict[str, str]) -> None:
    person = visit(shop, expects_errors=True, java_script_enabled=False)
    page = person.page
    person.open("/quote")
    page.get_by_label("Choose your models").set_input_files([files["cube.stl"], files["notes.txt"]])
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("alert")).to_contain_text("notes.txt: we take models as 3MF, STL or OBJ")
    row = page.locator(".model-row")
    expect(row).to_have_count(1)
    _look_until(person, "20 × 20 × 20 mm")
    before = price_of(page)
    row.get_by_label("Quantity").fill("100")
    row.get_by_role("button", name="Update").click()
    assert price_of(page) > before
    page.locator(".price-table").get_by_role("button").nth(1).click()
    expect(page.locator(".price-cell.is-chosen")).to_have_count(1)
    row.get_by_role("button", name="Duplicate").click()
    expect(page.locator(".model-row")).to_have_count(2)
    page.locator(".model-row").last.get_by_role("button", name="Remove").click()
    expect(page.locator(".model-row")).to_have_count(1)
    page.get_by_label("Note to us").fill("Thank you")
    page.get_by_role("button", name="Save the note").click()
    expect(page.get_by_label("Note to us")).to_have_value("Thank you")


def _look_until(person: Person, words: str) -> None:
    def is_there() -> bool:
        if not person.page.get_by_text(words).count():
            person.open("/quotes/draft")
        return person.page.get_by_text(words).count() > 0

    processes.wait_until(is_there, seconds=60, what=words)

"""The 3D viewer in a real browser: it draws, obeys mouse, keys and buttons, fits every screen, and fails politely."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Visit
from tests.browser.people import Person
from tests.browser.shop import Shop
from tests.browser.test_every_page import LOOKS, problems_of
from tests.quotes import models

READY = re.compile("ready")
# How many different colours a picture of the canvas has: one where nothing was drawn.
COLOURS = """async (canvas) => {
  const shot = document.createElement('canvas');
  shot.width = shot.height = 64;
  const view = shot.getContext('2d');
  await new Promise((done) => requestAnimationFrame(() => {
    canvas.closest('.viewer').viewer.turn(0, 0);
    requestAnimationFrame(() => { view.drawImage(canvas, 0, 0, 64, 64); done(); });
  }));
  const seen = new Set();
  const data = view.getImageData(0, 0, 64, 64).data;
  for (let at = 0; at < data.length; at += 4) seen.add(data.slice(at, at + 4).join());
  return seen.size;
}"""
WHERE = "(canvas) => canvas.closest('.viewer').viewer.where()"


def upload(person: Person, content: bytes, name: str, to: str = "/quotes/new") -> None:
    """Send a model by the plain form of a page, and wait for what comes of it."""
    page = person.page
    person.open(to)
    page.locator("input[name=models]").set_input_files({"name": name, "mimeType": "model/stl", "buffer": content})


def open_model(person: Person, content: bytes | None = None) -> Page:
    """A new quote of one model, on the page of that model."""
    page = person.page
    upload(person, content or models.stl(30), "bracket.stl")
    page.get_by_role("link", name="View in 3D").click(timeout=60_000)
    page.wait_for_url("**/models/*")
    return page


def viewer_of(page: Page) -> Locator:
    viewer = page.locator(".viewer")
    expect(viewer).to_have_attribute("data-state", READY, timeout=30_000)
    return viewer


@pytest.fixture
def customer(shop: Shop, visit: Visit) -> Person:
    return visit(shop, as_role="customer", viewport={"width": 1280, "height": 800}, reduced_motion="reduce")


def colours(page: Page) -> int:
    found: int = page.locator("canvas").evaluate(COLOURS)
    return found


def test_it_draws_and_obeys_keys_buttons_and_mouse(customer: Person) -> None:
    page = open_model(customer)
    viewer_of(page)
    canvas = page.locator("canvas")
    assert colours(page) > 3
    start = canvas.evaluate(WHERE)
    canvas.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("+")
    after = canvas.evaluate(WHERE)
    assert after["theta"] > start["theta"]
    assert after["distance"] < start["distance"]
    page.get_by_role("button", name="Turn up").click()
    assert canvas.evaluate(WHERE)["phi"] < after["phi"]
    page.get_by_role("button", name="Wireframe").click()
    expect(page.get_by_role("button", name="Wireframe")).to_have_attribute("aria-pressed", "true")
    assert colours(page) > 3
    canvas.focus()
    page.keyboard.press("w")
    expect(page.get_by_role("button", name="Wireframe")).to_have_attribute("aria-pressed", "false")
    page.get_by_role("button", name="Reset").click()
    assert canvas.evaluate(WHERE) == start
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 120, steps=3)
    page.mouse.up()
    assert canvas.evaluate(WHERE)["theta"] != start["theta"]


def test_the_page_is_accessible_and_fits_every_screen(customer: Person) -> None:
    page = open_model(customer)
    viewer_of(page)
    assert problems_of(page, *LOOKS) == []
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function(
        "() => { const one = document.querySelector('canvas');"
        " return Math.abs(one.width / one.height - one.clientWidth / one.clientHeight) < 0.02; }"
    )
    assert colours(page) > 3


def test_colours_follow_the_theme(customer: Person) -> None:
    page = open_model(customer)
    viewer_of(page)
    read = "() => getComputedStyle(document.querySelector('canvas')).getPropertyValue('--viewer-part')"
    page.emulate_media(color_scheme="light")
    light = page.evaluate(read)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(read) != light
    assert colours(page) > 3


def test_without_webgl_the_picture_stays_and_a_sentence_says_why(shop: Shop, visit: Visit) -> None:
    person = visit(shop, as_role="customer")
    person.page.add_init_script(
        "const real = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...more) {"
        " return kind.startsWith('webgl') ? null : real.call(this, kind, ...more); };"
    )
    page = open_model(person)
    expect(page.locator(".viewer")).to_have_attribute("data-state", "unsupported")
    expect(page.get_by_text("This browser cannot show models in 3D")).to_be_visible()
    expect(page.locator(".viewer-picture")).to_be_visible()
    expect(page.get_by_role("button", name="Wireframe")).to_be_hidden()


def test_a_mesh_that_does_not_come_leaves_the_picture(shop: Shop, visit: Visit) -> None:
    person = visit(shop, as_role="customer", expects_errors=True)
    person.page.route("**/mesh", lambda route: route.fulfill(status=404))
    page = open_model(person)
    expect(page.locator(".viewer")).to_have_attribute("data-state", "error")
    expect(page.get_by_text("could not be shown in 3D")).to_be_visible()
    expect(page.locator(".viewer-picture")).to_be_visible()


def test_without_script_there_is_the_picture_and_the_words(shop: Shop, visit: Visit) -> None:
    person = visit(shop, as_role="customer")
    address = open_model(person).url
    plain = visit(shop, as_role="customer", java_script_enabled=False)
    plain.page.goto(address)
    expect(plain.page.locator(".viewer-picture")).to_be_visible()
    expect(plain.page.get_by_text("30 × 30 × 30 mm")).to_be_visible()
    expect(plain.page.locator("canvas")).to_be_hidden()


def test_a_changed_model_is_laid_over_the_one_before(customer: Person) -> None:
    page = customer.page
    upload(customer, models.stl(30), "bracket.stl")
    page.get_by_role("link", name="View in 3D").wait_for(timeout=60_000)
    page.get_by_role("link", name="Replace by a changed model").click()
    changed = {"name": "longer.stl", "mimeType": "model/stl", "buffer": models.stl(45)}
    page.locator("input[name=models]").set_input_files(changed)
    page.get_by_role("button", name="Upload").click()

    def is_drawn() -> bool:
        page.reload()
        return page.locator(".viewer[data-mesh]").count() > 0

    _wait_for(page, is_drawn)
    viewer = viewer_of(page)
    expect(viewer).to_have_attribute("data-old-mesh", re.compile("/mesh$"))
    assert colours(page) > 3
    expect(page.get_by_text("45 × 45 × 45 mm")).to_be_visible()
    assert problems_of(page, LOOKS[0], LOOKS[1]) == []


def _wait_for(page: Page, done: Callable[[], bool]) -> None:
    for _try in range(60):
        if done():
            return
        page.wait_for_timeout(500)
    raise AssertionError("it never came")


def test_staff_see_it_too(shop: Shop, visit: Visit, customer: Person) -> None:
    address = open_model(customer).url
    colleague = visit(shop, as_role="admin")
    colleague.page.goto(address.replace("/models/", "/admin/models/"))
    viewer_of(colleague.page)
    assert colours(colleague.page) > 3
    expect(colleague.page.get_by_text("Looked at it in 3D").first).to_be_visible()

"""Taking the pictures: on a phone and a desktop, some in the dark, and noting what is wrong with a page on the way."""

import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask
from PIL import Image
from playwright.sync_api import Browser, Page
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from portal.demo import USERS
from scripts.screens.pages import IN_THE_DARK, is_page, name_of
from scripts.screens.street import Street
from tests.browser.people import Person
from tests.browser.shop import Shop
from tests.servers import browser, processes

LONGEST = 1800
_CONTENTS = "README.md"
# A page of the mailbox: the links of a letter are for the one it was sent to, and anybody else's may be a dead end.
_LETTER = "devtools.letter"
_DESKTOP = {"width": 1280, "height": 800}
# What the browser itself notes of an answer that a scene asks for: a refused form, a dead link, an error page.
_ASKED_FOR = "console: Failed to load resource: the server responded with a status of"
# What sticks out sideways, a missing or second main heading, a level of headings left out, an order of focus by hand.
_FAULTS = """() => {
  const found = [], root = document.documentElement;
  const excess = root.scrollWidth - root.clientWidth;
  if (excess > 0) found.push(`${excess} px wider than the screen`);
  const levels = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")]
    .filter((one) => one.checkVisibility()).map((one) => Number(one.tagName[1]));
  const first = levels.filter((one) => one === 1).length;
  if (first !== 1) found.push(`${first} main headings`);
  levels.forEach((one, at) => { if (at && one > levels[at - 1] + 1) found.push(`h${one} after h${levels[at - 1]}`); });
  if (document.querySelector("[tabindex]:not([tabindex='0']):not([tabindex='-1'])")) found.push("a tabindex by hand");
  return found;
}"""
# Pictures and frames are loaded when somebody scrolls to them, which nobody does here. Says whether there are any.
_LOAD_ALL = """() => {
  const late = [...document.querySelectorAll("[loading=lazy]")];
  late.forEach((one) => { one.loading = "eager"; });
  return late.length > 0;
}"""


@dataclass
class Tour:
    """Which pages have been pictured, and what was wrong with them."""

    app: Flask
    street: Street
    chromium: Browser
    target: Path
    everything: bool = False
    seen: dict[str, str | None] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def shop(self) -> Shop:
        """The portal."""
        return self.street.shop

    @contextmanager
    def visit(self, who: str, *, as_role: str | None = None, email: str = "guest@example.com") -> Iterator[Person]:
        """A window of somebody's own; whatever goes wrong in it is noted."""
        state = self.shop.states.get(as_role or "")
        context = self.chromium.new_context(locale="en", viewport=_DESKTOP, storage_state=state)  # type: ignore[arg-type]  # what storage_state() gave
        context.set_default_timeout(30_000)
        page = context.new_page()
        trouble = browser.Problems(page)
        person = Person(self.shop, page, email)
        if as_role:
            person.email, password = self.shop.log_in_of(as_role)
            person.name = next(user.name for user in USERS if user.email == person.email)
            if state is None:
                person.log_in(person.email, password)
                self.shop.states[as_role] = dict(context.storage_state())
        yield person
        self.problems += [f"{who}: {problem}" for problem in trouble.found if not problem.startswith(_ASKED_FOR)]
        context.close()

    def picture(self, page: Page, name: str = "", *, full_page: bool = True, is_letter: bool = False) -> None:
        """Keep pictures of the open page; a long one down to where it repeats itself.

        They are called `name`, or as the page itself. Wherever it was shown, its address has its picture then.
        """
        endpoint = self.endpoint(page.url)
        name = name or name_of(endpoint or "")
        self.seen[name] = endpoint
        page.wait_for_load_state("load")
        if full_page:
            # What sticks to the top of the window stands at the top of the picture.
            page.evaluate("scrollTo(0, 0)")
        for width, height in browser.WIDTHS.items():
            page.set_viewport_size({"width": width, "height": height})
            if page.evaluate(_LOAD_ALL):
                page.evaluate("scrollTo(0, document.body.scrollHeight)")
                page.wait_for_timeout(1000)
                for frame in page.frames:
                    frame.wait_for_load_state()
                page.evaluate("scrollTo(0, 0)")
            if not is_letter:
                self.problems += [f"{name}, {width} px: {fault}" for fault in _faults(page)]
            for theme in browser.THEMES if self.everything or name in IN_THE_DARK else ("light",):
                page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")
                page.evaluate("document.fonts.ready.then(() => true)")
                whole = page.evaluate("document.documentElement.scrollHeight") if full_page else height
                if full_page and page.locator(".admin-side").count():
                    # What stands beside the whole of a long page is as long as the window.
                    page.set_viewport_size({"width": width, "height": min(max(whole, height), LONGEST)})
                page.screenshot(
                    path=self.target / f"{name}-{width}-{theme}.png",
                    full_page=full_page,
                    clip={"x": 0, "y": 0, "width": width, "height": min(whole, LONGEST)},
                    animations="disabled",
                )
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 1280, "height": 800})
        _make_small(sorted(self.target.glob(f"{name}-[13]*.png")))
        print(f"  {name:<30} {page.url.removeprefix(self.shop.url)[:80]}", flush=True)

    def show(self, person: Person, path: str, name: str = "", *, full_page: bool = True) -> None:
        """Go to an address and take its picture."""
        person.open(path)
        self.picture(person.page, name, full_page=full_page)

    def endpoint(self, url: str) -> str | None:
        """The page of ours at an address, or None."""
        parts = urlsplit(url)
        if f"{parts.scheme}://{parts.netloc}" != self.shop.url:
            return None
        try:
            endpoint, _ = self.app.url_map.bind("").match(parts.path, method="GET")
        except (HTTPException, RequestRedirect):
            return None
        return str(endpoint) if is_page(endpoint) else None

    def walk(self, page: Page, who: str, *doors: str) -> None:
        """Follow links from the doors, but for those of letters; picture each kind of page when it is first met."""
        waiting = deque(self.shop.url + door for door in doors)
        visited: set[str] = set()
        while waiting:
            endpoint = self.endpoint(address := waiting.popleft())
            if endpoint is None or endpoint in visited:
                continue
            visited.add(endpoint)
            answer = page.goto(address, wait_until="load")
            arrived = self.endpoint(page.url)
            if answer is None or arrived is None:
                continue
            if not answer.ok:
                self.problems.append(f"{who}: {address} answered {answer.status}")
                continue
            if arrived not in self.seen.values():
                self.picture(page)
            if arrived != _LETTER:
                waiting.extend(
                    page.eval_on_selector_all("a[href]", "links => links.map(link => link.href.split('#')[0])")
                )

    def wait_for(self, person: Person, path: str, words: str, seconds: float = 40) -> None:
        """Look at a page again and again until the worker has done its part."""

        def is_there() -> bool:
            person.open(path)
            return person.page.get_by_role("main").get_by_text(re.compile(words)).count() > 0

        processes.wait_until(is_there, seconds=seconds, what=f"{words!r} on {path}")

    def missing(self) -> list[str]:
        """Pages that nobody came to."""
        pages = {str(rule.endpoint) for rule in self.app.url_map.iter_rules() if "GET" in (rule.methods or ())}
        return sorted(page for page in pages if is_page(page) and page not in self.seen.values())

    def write_contents(self) -> None:
        """A list of all pages with their pictures, to look through; those of earlier runs stay on it."""
        lines = ["# Every page in pictures", "", "Written by `make screens`, with the pictures.", ""]
        lines += ["| picture | page | on a phone | on a desktop |", "|---|---|---|---|"]
        pages = self._pages_before() | {name: self._page_of(endpoint) for name, endpoint in self.seen.items()}
        for name, page in sorted(pages.items()):
            shown = [
                " ".join(
                    f"[{theme}]({name}-{width}-{theme}.png)"
                    for theme in browser.THEMES
                    if (self.target / f"{name}-{width}-{theme}.png").exists()
                )
                for width in browser.WIDTHS
            ]
            lines.append(f"| {name} | {page} | {' | '.join(shown)} |")
        (self.target / _CONTENTS).write_text("\n".join(lines) + "\n")

    def _page_of(self, endpoint: str | None) -> str:
        """Address and name of a page; the address without the types of its arguments."""
        addresses = {str(rule.endpoint): rule.rule for rule in self.app.url_map.iter_rules()}
        return f"`{re.sub(r'<[a-z]+([(].*?[)])?:', '<', addresses[endpoint])}` {endpoint}" if endpoint else ""

    def _pages_before(self) -> dict[str, str]:
        """What the list says so far, by picture."""
        path = self.target / _CONTENTS
        found = re.findall(r"^\| ([a-z0-9-]+) \| (.*?) \| \[", path.read_text(), re.MULTILINE) if path.exists() else []
        return dict(found)

    def clear(self) -> None:
        """Remove old pictures: one of a page that is gone would tell a story."""
        self.target.mkdir(parents=True, exist_ok=True)
        (self.target / _CONTENTS).unlink(missing_ok=True)
        for picture in self.target.glob("*.png"):
            picture.unlink()


def _faults(page: Page) -> list[str]:
    """What is wrong with the page. A chart takes its new width a moment after the window, so there is a second look."""
    found: list[str] = page.evaluate(_FAULTS)
    if found:
        page.wait_for_timeout(500)
        found = page.evaluate(_FAULTS)
    return found


def _make_small(pictures: list[Path]) -> None:
    """Reduce pictures to a palette, a third of the size."""
    for picture in pictures:
        with Image.open(picture) as image:
            colours = image.convert("RGB").quantize(128, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        colours.save(picture, optimize=True)

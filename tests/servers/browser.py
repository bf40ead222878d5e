"""A real Chromium for the browser tests, and pictures of pages as people see them."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

WIDTHS = {390: 844, 1280: 800}
Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")
# The tags of everything that the rules of the web and good practice ask for.
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")

# No sandbox: tests run as root in containers, and only our own pages are opened. Pages are painted by the processor
# itself: through a graphics card that is only played they took four times as long. WebGL still has it.
_FLAGS = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--font-render-hinting=none",
    "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--disable-gpu-rasterization", "--disable-gpu-compositing",
]  # fmt: skip


# The same Chromium without a window that nobody sees takes a quarter less of the processor.
_PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_AXE = Axe()
_shared: Browser | None = None


@contextmanager
def running() -> Iterator[Browser]:
    """The browser of this process; each test opens a context of its own, with its own cookies.

    Playwright takes no second start in one process: whoever asks while it runs gets the one that is there.
    """
    global _shared
    if _shared is not None:
        yield _shared
        return
    with _started() as browser:
        _shared = browser
        try:
            yield browser
        finally:
            _shared = None


@contextmanager
def _started() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        raise RuntimeError("Chromium is not installed: apt-get install chromium-headless-shell")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def violations(page: Page, *, only: Sequence[str] = ()) -> list[dict[str, Any]]:
    """What is wrong with the open page for people who do not see, hear or move as its makers do: by axe's rules, or by
    those of them with one of these tags."""
    # Of rules that hold nothing is said: that took as long as looking.
    options = {"resultTypes": ["violations"], **({"runOnly": list(only)} if only else {})}
    found: list[dict[str, Any]] = _AXE.run(page, options=options).response["violations"]
    return found


class Problems:
    """What went wrong on a page without anybody seeing it: script errors, CSP violations, failed requests."""

    def __init__(self, page: Page) -> None:
        self.found: list[str] = []
        page.on("pageerror", lambda error: self.found.append(f"script error: {error}"))
        page.on("console", self._note_console)
        page.on("requestfailed", self._note_failed_request)

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.found.append(f"console: {message.text} ({message.location.get('url', '')})")

    def _note_failed_request(self, request: Request) -> None:
        # A page that is left cancels what it still loads; that is no failure.
        if request.failure != "net::ERR_ABORTED":
            self.found.append(f"request failed: {request.url} ({request.failure})")


def screenshot(page: Page, path: Path, *, full_page: bool = True) -> list[Path]:
    """Pictures of the open page on a phone and a desktop, light and dark: `path` as orders.png gives
    orders-390-light.png and three more. The page keeps its size and theme afterwards."""
    before = page.viewport_size
    pictures = []
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        for width, height in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": height})
            for theme in THEMES:
                page.emulate_media(color_scheme=theme, reduced_motion="reduce")
                page.wait_for_function("document.fonts.status === 'loaded'")
                target = path.with_name(f"{path.stem}-{width}-{theme}.png")
                page.screenshot(path=target, full_page=full_page, animations="disabled")
                pictures.append(target)
    finally:
        page.emulate_media(color_scheme=None, reduced_motion=None)
        if before is not None:
            page.set_viewport_size(before)
    return pictures

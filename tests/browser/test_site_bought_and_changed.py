"""A website as its owner knows it: bought, subscribed to, changed piece by piece, and brought back."""

import secrets
import shutil
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.shop import Shop
from tests.servers import processes, web

DEMO = Path(__file__).parents[2] / "data" / "sites" / "la-plumbing-pros"
TITLE = "LA Plumbing Pros"
HEADLINE, NEW_HEADLINE = "The leak stops today.", "Dry again by noon."
OTHER, NEW_OTHER = "Where we work", "Our streets"
PASSWORD = "a quiet harbour at 6"


@pytest.fixture
def slug(shop: Shop, tmp_path: Path) -> str:
    """A site that nobody has bought yet: the demo shop's own are for everybody."""
    name = f"plumber-{secrets.token_hex(3)}"
    shutil.copytree(DEMO, tmp_path / name)
    web.flask(shop.values, "import-sites", str(tmp_path))
    becomes(shop, name, HEADLINE)
    # It is served a moment before the portal knows.
    processes.wait_until(
        lambda: httpx.get(f"{shop.url}/sites/{name}").status_code == 200, seconds=30, what=f"{name} to be sold"
    )
    return name


def served(shop: Shop, slug: str) -> str:
    """The site's first page, as a visitor gets it."""
    port = shop.values["SITES_URL"].rpartition(":")[2]
    return httpx.get(f"http://127.0.0.1:{port}/{slug}/", headers={"Host": f"sites.localhost:{port}"}).text


def becomes(shop: Shop, slug: str, *there: str, gone: str | None = None) -> None:
    """Wait until visitors see it."""

    def is_so() -> bool:
        page = served(shop, slug)
        return all(words in page for words in there) and (gone is None or gone not in page)

    processes.wait_until(is_so, seconds=30, what=f"a site that says {there}, and not {gone!r}")


def test_a_site_is_bought_changed_and_brought_back(shop: Shop, visit: Visit, slug: str) -> None:
    person = visit(shop, f"ines-{slug}@example.com")
    person.open(f"/sites/{slug}")
    expect(person.page.locator(".buy-box")).to_contain_text("$495")
    person.buy_site(slug)
    assert shop.mail(person.email, "/set-up/")["Subject"] == "Welcome to Your New Website!"
    # The next visitor is told that it is gone.
    late = visit(shop, "late@example.com")
    late.open(f"/sites/{slug}")
    expect(late.page.locator(".buy-box")).to_contain_text("This site has found its owner.")

    person.set_up_account(PASSWORD)
    person.open("/my/sites")
    expect(person.page.get_by_role("main")).to_contain_text(TITLE)
    person.open(f"/my/sites/{slug}")
    expect(person.page.get_by_role("main")).to_contain_text("Start the subscription for $95 a month")
    person.subscribe(slug)

    person.page.get_by_role("link", name="Changes").click()
    person.page.get_by_label("What should be different?", exact=False).first.fill(
        f'Please replace "{HEADLINE}" with "{NEW_HEADLINE}", and replace "{OTHER}" with "{NEW_OTHER}".'
    )
    person.page.get_by_role("button", name="Send the request").click()
    pieces = person.page.locator(".piece")
    expect(pieces).to_have_count(2, timeout=30_000)
    # Nothing is online yet; old and new stand side by side, page for page.
    assert HEADLINE in served(shop, slug)
    old, new, *_more = person.page.locator(".look iframe").all()
    expect(old.content_frame.get_by_role("heading", level=1)).to_have_text(HEADLINE)
    expect(new.content_frame.get_by_role("heading", level=1)).to_have_text(NEW_HEADLINE)

    pieces.filter(has_text=NEW_OTHER).get_by_role("checkbox").uncheck()
    person.page.get_by_role("button", name="Put the chosen pieces online").click()
    becomes(shop, slug, NEW_HEADLINE, OTHER, gone=HEADLINE)
    expect(person.page.get_by_role("button", name="Undo this change")).to_be_visible(timeout=30_000)

    person.open(f"/my/sites/{slug}/versions")
    person.page.get_by_role("row").filter(has_text="Version 1").get_by_role("button", name="Go back to this").click()
    becomes(shop, slug, HEADLINE, gone=NEW_HEADLINE)
    expect(person.page.get_by_role("row").nth(1)).to_contain_text("Served", timeout=30_000)

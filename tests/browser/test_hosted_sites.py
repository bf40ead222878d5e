"""What a hosted page can reach from a visitor's browser: neither the portal nor its neighbour."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Visit
from tests.browser.shop import Shop
from tests.servers import processes, web

# Each line tries something and says how it went; what a page cannot do is an error's name.
SPY = """
const results = {};
const attempt = async (name, work) => {
  try { results[name] = await work(); } catch (error) { results[name] = error.name; }
};
const text = (url, how) => fetch(url, how).then(answer => answer.text());
(async () => {
  await attempt("origin", () => self.origin);
  await attempt("cookie", () => document.cookie);
  await attempt("storage", () => String(localStorage.length));
  await attempt("database", () => String(indexedDB.open("x")));
  await attempt("portal", () => text(PORTAL + "/dashboard", {credentials: "include"}));
  await attempt("portalPost", () => text(PORTAL + "/logout", {method: "POST", credentials: "include"}));
  await attempt("neighbour", () => text("/NEIGHBOUR/"));
  await attempt("frame", () => new Promise((resolve, reject) => {
    const frame = document.createElement("iframe");
    frame.src = "/NEIGHBOUR/";
    frame.onload = () => { try { resolve(frame.contentWindow.document.title); } catch (error) { reject(error); } };
    frame.onerror = reject;
    document.body.append(frame);
    setTimeout(() => resolve("no answer"), 4000);
  }));
  await attempt("above", () => parent.document.title);
  await attempt("own", () => fetch("data.json").then(answer => answer.json()).then(data => data.word));
  document.title = "done";
  document.getElementById("out").textContent = JSON.stringify(results);
})();
"""


@pytest.fixture(scope="module")
def sites(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The hosted sites of the shop on a host of their own: a spy, and a neighbour with a secret."""
    folder = tmp_path_factory.mktemp("hosted")
    script = SPY.replace("PORTAL", repr(shop.url)).replace("NEIGHBOUR", "neighbour")
    make(folder / "spy-site" / "current", {
        "index.html": '<!doctype html><title>spy</title><body><pre id="out"></pre><script src="spy.js"></script>',
        "spy.js": script,
        "data.json": '{"word": "mine"}',
    })  # fmt: skip
    make(folder / "neighbour" / "current", {"index.html": "<!doctype html><title>secret of the neighbour</title>"})
    port = processes.free_port()
    settings = {"SITES_ROOT": str(folder), "PORTAL_URL": shop.url, "SITES_URL": f"http://sites.localhost:{port}"}
    with web.sites(settings, port=port):
        yield f"http://sites.localhost:{port}"


def make(folder: Any, files: dict[str, str]) -> None:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(content)


def seen(page: Page, url: str) -> dict[str, str]:
    page.goto(f"{url}/spy-site/")
    expect(page).to_have_title("done")
    results: dict[str, str] = page.evaluate("JSON.parse(document.getElementById('out').textContent)")
    return results


def test_a_hosted_page_reads_neither_portal_nor_neighbour(
    shop: Shop, visit: Visit, chromium: Browser, sites: str
) -> None:
    """The visitor is signed in at the portal, in the same browser."""
    person = visit(shop, shop.log_in_of("customer")[0], as_role="customer")
    person.open("/dashboard")
    page = person.page.context.new_page()
    results = seen(page, sites)
    assert results["origin"] == "null"
    for what in ("cookie", "storage", "database", "frame"):
        assert results[what] == "SecurityError", (what, results[what])
    for what in ("portal", "portalPost", "neighbour"):
        assert results[what] == "TypeError", (what, results[what])
    # The control: what is its own it can load, so the rest was refused and not merely broken.
    assert results["own"] == "mine"
    page.close()
    person.open("/dashboard")
    expect(person.page.get_by_role("heading", level=1)).to_be_visible()


def test_without_the_sandbox_it_would_read_its_neighbour(chromium: Browser, sites: str) -> None:
    """The control: the same page without our header is one origin with every other site."""
    context = chromium.new_context()
    page = context.new_page()

    def strip(route: Any) -> None:
        # Outside the browser nobody knows that every name below localhost is this machine.
        parts = urlsplit(route.request.url)
        here = parts._replace(netloc=f"127.0.0.1:{parts.port}").geturl()
        answer = route.fetch(url=here, headers={**route.request.headers, "host": parts.netloc})
        headers = {name: value for name, value in answer.headers.items() if name != "content-security-policy"}
        route.fulfill(response=answer, headers=headers)

    page.route("**/*", strip)
    results = seen(page, sites)
    assert "secret of the neighbour" in results["neighbour"]
    assert results["frame"] == "secret of the neighbour"
    assert results["storage"] == "0"
    context.close()

"""Finished websites: the shop window, and how staff make, deploy and change one."""

import io
import re
import zipfile
from urllib.parse import urlsplit

from scripts.screens.tour import Tour

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Northside Bicycles</title>
<meta name="viewport" content="width=device-width"><style>body{{font-family:sans-serif;margin:0}}
header{{background:#14532d;color:#fff;padding:4rem 2rem}}p{{margin:2rem}}</style></head><body>
<header><h1>Northside Bicycles</h1></header><p>{words}</p></body></html>"""


def show(tour: Tour) -> None:
    """Visitors look at sites; staff put one online, change a file of it and look at what was deployed."""
    with tour.visit("visitor of sites") as visitor:
        tour.show(visitor, "/sites")
        tour.show(visitor, "/sites/la-plumbing-pros")
    with tour.visit("webmaster", as_role="admin") as staff:
        page = staff.page
        tour.show(staff, "/admin/sites/new")
        page.get_by_label("Title").fill("Northside Bicycles: sales, repairs and Sunday rides")
        page.get_by_label("Address").fill("northside-bicycles")
        page.get_by_label("In one sentence").fill("A bicycle shop with a workshop that people like to come back to.")
        page.locator("input[name=archive]").set_input_files(
            {"name": "site.zip", "mimeType": "application/zip", "buffer": _packed("Open from Tuesday to Saturday.")}
        )
        page.get_by_role("button", name="Make the site and put it online").click()
        page.wait_for_url(re.compile(r"/admin/sites/\d+"))
        address = urlsplit(page.url).path
        tour.wait_for(staff, address, "Served")
        page.get_by_role("link", name="Change one file").click()
        page.wait_for_url("**/versions/**")
        page.get_by_role("link", name="Change index.html").click()
        page.locator("textarea").fill(_PAGE.format(words="Open every day."))
        page.get_by_label("What is new").fill("Open every day")
        tour.picture(page, "admin-site-file")
        page.get_by_role("button", name="Save and deploy").click()
        page.wait_for_load_state("networkidle")
        tour.wait_for(staff, address, "Version 2")
        tour.wait_for(staff, address, "Open every day")
        page.wait_for_timeout(2000)
        tour.show(staff, address)
        page.locator("main a[href$='/versions/2']").first.click()
        page.wait_for_url("**/versions/2")
        tour.picture(page, "admin-site-version")
        staff.open(address)
        page.locator("main a[href*='/deployments/']").first.click()
        page.wait_for_url("**/deployments/**")
        tour.picture(page)
        tour.show(staff, "/admin/sites")


def _packed(words: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("index.html", _PAGE.format(words=words))
        package.writestr("robots.txt", "User-agent: *\nAllow: /\n")
    return content.getvalue()

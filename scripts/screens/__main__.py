"""Takes a picture of every page of the demo shop into docs/screens/, as guests, customers, merchants and staff see it.

It starts a portal of its own on fresh demo data, with the companies that it works with, and lives through the parts
named below one after the other; each pictures its pages where they are interesting, on a phone and a desktop, and the
main ones in the dark as well. At the end it names the pages that nobody came to, and everything that was wrong.
"""

import argparse
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from portal import config, create_app
from scripts.screens import (
    accounts,
    buying,
    errors,
    letters,
    merchants,
    money,
    office,
    owners,
    parts,
    sites,
    upkeep,
    workshop,
)
from scripts.screens.street import opened
from scripts.screens.tour import Tour
from tests.servers import browser

TARGET = Path(__file__).resolve().parents[2] / "docs" / "screens"
# In this order: the office is empty on its first day and full at the end, and all letters are written by then.
PARTS: dict[str, Callable[[Tour], None]] = {
    "first-day": office.show_first_day,
    "buying": buying.show,
    "accounts": accounts.show,
    "parts": parts.show,
    "workshop": workshop.show,
    "money": money.show,
    "merchants": merchants.show,
    "sites": sites.show,
    "owners": owners.show,
    "upkeep": upkeep.show,
    "office": office.show,
    "letters": letters.show,
    "errors": errors.show,
}


def main() -> None:
    """Start a portal, fill it with life, walk through it, say what is missing."""
    parser = argparse.ArgumentParser(prog="python -m scripts.screens", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("part", nargs="*", choices=[[], *PARTS], help="only these parts; other pictures stay")
    parser.add_argument("--all", action="store_true", help="every page in the dark as well")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="portal-screens-") as folder,
        opened(Path(folder)) as street,
        browser.running() as chromium,
    ):
        tour = Tour(create_app(config.load(street.shop.values)), street, chromium, TARGET, arguments.all)
        if not arguments.part:
            tour.clear()
        for name in arguments.part or PARTS:
            print(name, flush=True)
            try:
                PARTS[name](tour)
            except Exception as error:  # noqa: BLE001  # one part that does not work costs its own pictures only
                traceback.print_exception(error)
                tour.problems.append(f"{name} ended early: {error!r:.200}")
    tour.write_contents()
    missing = [] if arguments.part else tour.missing()
    for problem in [*tour.problems, *(f"no picture of {page}" for page in missing)]:
        print(f"  problem: {problem}")
    print(f"{len(tour.seen)} pages in docs/screens/.")
    sys.exit(1 if tour.problems or missing else 0)


if __name__ == "__main__":
    main()

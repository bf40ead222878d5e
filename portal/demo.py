"""The demo shop: `flask --app wsgi load-demo` fills catalogue, price book and sites, and makes three log-ins.

Once the worker runs, the customer among them has a website too.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import click
from flask import current_app
from flask.cli import with_appcontext

from portal.accounts import hashing
from portal.accounts.models import Role
from portal.accounts.services.paid_users import find_user, insert_user
from portal.catalogue import services as catalogue
from portal.core import clock
from portal.core.db import unit_of_work
from portal.demo_site import ask_for_website
from portal.quotes.pricing import services as pricing
from portal.sites import queries
from portal.sites.services.importing import import_folder

_DATA = Path(__file__).resolve().parent.parent / "data"
CATALOGUE = _DATA / "catalogue.json"
PRICE_BOOK = _DATA / "price-book.json"
SITES = _DATA / "sites"
_ACTOR = "command:load-demo"
# Printed on every start of the demo and refused in production: it protects nothing.
PASSWORD = "northern light 42"  # noqa: S105  # see above


@dataclass(frozen=True, slots=True)
class DemoUser:
    """Somebody to log in as."""

    email: str
    name: str
    role: Role


USERS = (
    DemoUser("customer@atelier-nord.example", "Maria Wiśniewska", Role.CUSTOMER),
    DemoUser("staff@atelier-nord.example", "Stefan Lis", Role.STAFF),
    DemoUser("admin@atelier-nord.example", "Ada Nord", Role.ADMIN),
)


@click.command("load-demo")
@with_appcontext
def load_demo() -> None:
    """Load the demo catalogue, prices, sites and log-ins; running it again changes nothing."""
    if current_app.config["PORTAL_ENV"] == "production":
        raise click.ClickException("the demo shop has well-known passwords and does not belong into production")
    content, password_hash, at = CATALOGUE.read_bytes(), hashing.hash_password(PASSWORD), clock.now()
    with unit_of_work():
        catalogue.import_catalogue(content, by=_ACTOR, at=at)
        if pricing.find_current(at) is None:
            # Prices that somebody tried out in the demo are theirs, and stay.
            pricing.import_book(PRICE_BOOK.read_bytes(), note="The demo's first prices", by=_ACTOR, at=at)
        for user in USERS:
            _make_user(user, password_hash, at)
    for folder in sorted(SITES.iterdir()):
        site = queries.find_site(folder.name)
        if site is not None and site.owner_id is not None:
            # Somebody bought it in the demo, and may have had it changed: it is theirs.
            continue
        done = import_folder(folder, by=_ACTOR, at=at)
        if done.problem:
            raise click.ClickException(f"{done.slug}: {done.problem}")
    with unit_of_work():
        ask_for_website(USERS[0].email)
    width = max(len(user.email) for user in USERS)
    click.echo(f'Log in with the password "{PASSWORD}" as')
    for user in USERS:
        click.echo(f"  {user.email:{width}}  {user.role.value}{_note(user)}")


def _make_user(user: DemoUser, password_hash: str, at: datetime) -> None:
    made = insert_user(
        user.email,
        name=user.name,
        role=user.role,
        locale=current_app.config["DEFAULT_LANGUAGE"],
        password_hash=password_hash,
        at=at,
    )
    account = find_user(user.email)
    if made is not None and account is not None:
        # No mail can reach these addresses, so nobody could ever prove them.
        account.email_verified_at = at


def _note(user: DemoUser) -> str:
    """Whoever tried the password page keeps what they chose; then the printed one would be wrong."""
    account = find_user(user.email)
    is_right = account is not None and hashing.verify_password(PASSWORD, account.password_hash)
    return "" if is_right else "  (its password was changed)"

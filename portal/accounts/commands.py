"""What the operator types: `flask --app wsgi create-admin EMAIL`."""

import click
from flask.cli import with_appcontext

from portal.accounts import hashing
from portal.accounts.email_addresses import normalise_email
from portal.accounts.models import User
from portal.accounts.password_rules import password_problem
from portal.accounts.services import founding
from portal.core import clock
from portal.core.db import unit_of_work
from portal.core.errors import PortalError

ACTOR = "command:create-admin"


@click.command("create-admin")
@click.argument("email")
@click.option("--name", default="", help="How to address them.")
@click.option("--mail-link", is_flag=True, help="Mail a set-up link instead of asking for a password here.")
@with_appcontext
def create_admin(email: str, name: str, mail_link: bool) -> None:
    """Make EMAIL an administrator: a new account, or the one the address has."""
    try:
        address = normalise_email(email)
    except PortalError as error:
        raise click.BadParameter(str(error), param_hint="EMAIL") from None
    password_hash = None if mail_link else hashing.hash_password(_ask_for_password(address))
    with unit_of_work():
        user = founding.make_admin(address, name=name, password_hash=password_hash, by=ACTOR, at=clock.now())
    click.echo(_outcome(user, mail_link=mail_link))


def _ask_for_password(email: str) -> str:
    while True:
        password = str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
        problem = password_problem(password, email=email)
        if problem is None:
            return password
        click.echo(str(problem), err=True)


def _outcome(user: User, *, mail_link: bool) -> str:
    if mail_link:
        return f"{user.email} is an administrator. A link to choose a password is on its way."
    return f"{user.email} is an administrator and can log in."

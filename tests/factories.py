"""Making rows for tests, with sensible defaults: a test states only what it depends on. Each commits."""

import itertools
from datetime import datetime, timedelta
from typing import Any

from flask.testing import FlaskClient

from portal.accounts.models import LoginSession, Role, User
from portal.catalogue.models import BundleChild, Package, PackageProcess
from portal.core import clock, sealed
from portal.core.db import db, unit_of_work

_numbers = itertools.count(1)
PASSWORD = "correct horse 7 battery"
# Argon2id of PASSWORD with cheap parameters: making a real one for each user would cost the suite minutes.
_CHEAP_HASH: dict[str, str] = {}


def password_hash() -> str:
    """A hash of PASSWORD that verifies and is quick to make."""
    if not _CHEAP_HASH:
        from argon2 import PasswordHasher

        _CHEAP_HASH["hash"] = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    return _CHEAP_HASH["hash"]


def make_user(
    *,
    email: str | None = None,
    name: str = "Jan Kowalski",
    role: Role = Role.CUSTOMER,
    is_verified: bool = True,
    **values: Any,
) -> User:
    """A user who can sign in with PASSWORD."""
    at = clock.now()
    user = User(
        email=email or f"user{next(_numbers)}@example.com",
        name=name,
        role=role,
        password_hash=password_hash(),
        email_verified_at=at if is_verified else None,
        created_at=at,
        **values,
    )
    with unit_of_work():
        db.session.add(user)
    return user


def sign_in(browser: FlaskClient, user: User, *, at: datetime | None = None) -> LoginSession:
    """Give a browser a signed-in session without walking through the form."""
    at = at or clock.now()
    token = sealed.new_token()
    login_session = LoginSession(
        token_hash=sealed.token_hash(token),
        user_id=user.id,
        created_at=at,
        authenticated_at=at,
        last_seen_at=at,
    )
    with unit_of_work():
        db.session.add(login_session)
    with browser.session_transaction() as cookie:
        cookie["_user_id"] = token
        cookie["_fresh"] = True
    return login_session


def make_package(
    *,
    slug: str | None = None,
    name: str | None = None,
    price_minor: int = 6900,
    is_published: bool = True,
    children: list[Package] | None = None,
    steps: int = 2,
    **values: Any,
) -> Package:
    """A published package; with `children`, a bundle of them."""
    number = next(_numbers)
    at = clock.now() - timedelta(days=1)
    package = Package(
        slug=slug or f"package-{number}",
        name=name or f"Package {number}",
        short_description=values.pop("short_description", "Does a dull job by itself."),
        description=values.pop("description", "A longer text about the dull job."),
        category=values.pop("category", "Operacje"),
        tools=values.pop("tools", ["n8n", "Gmail"]),
        price_minor=price_minor,
        is_published=is_published,
        is_bundle=bool(children),
        created_at=at,
        updated_at=at,
        processes=[PackageProcess(position=step, name=f"Step {step}") for step in range(1, steps + 1)],
        children=[
            BundleChild(package_id=child.id, position=position)
            for position, child in enumerate(children or [], start=1)
        ],
        **values,
    )
    with unit_of_work():
        db.session.add(package)
    return package

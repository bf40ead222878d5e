"""Letting an anonymous visitor's browser keep a page of the catalogue: an entity tag that names all it is made of.

A page may be kept only while nothing of it can differ: the catalogue's revision, the program and its templates, the
settings, the language, what the cookie session holds (a message to show, the CSRF token in the forms), and whether a
page or a fragment was asked for. Whoever is signed in or has a cart gets a fresh page: those live in the database.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Response, current_app, g, make_response, request, session
from flask_babel import get_locale
from flask_login import current_user
from flask_wtf.csrf import generate_csrf
from markupsafe import Markup
from sqlalchemy import Row

from portal.catalogue import queries
from portal.config import Settings
from portal.core import htmx

# Stands in a kept card for the CSRF token; drawn anew by each process, so that no text can contain it.
_TOKEN_HERE = secrets.token_urlsafe(24)
_MOST_CARDS = 2_000

_PARTS = ("portal", "templates", "static/css", "static/js", "static/img")


def kept_by_browser(make: Callable[[], Response]) -> Response:
    """Answer 304 when the browser's copy is still right, else make the page and tag it."""
    if not _is_eligible():
        return make()
    revision = queries.read_revision()
    tag = _tag(revision)
    if request.if_none_match.contains_weak(tag):
        response = make_response("", 304)
        response.set_etag(tag, weak=True)
        return response
    response = make()
    # Afterwards: making the page may have put a CSRF token into the session, or taken a message out of it.
    if response.status_code == 200 and _is_eligible():
        response.set_etag(_tag(revision), weak=True)
    return response


def _is_eligible() -> bool:
    return (
        not current_user.is_authenticated
        and "cart_token" not in session
        and "_flashes" not in session
        # A developer's template changes under the running process.
        and not current_app.debug
    )


def _tag(revision: object) -> str:
    parts = (
        revision,
        _program(current_app.root_path),
        _settings(current_app.config["SETTINGS"]),
        str(get_locale()),
        sorted((name, str(value)) for name, value in session.items()),
        htmx.wants_fragment(),
        request.full_path,
    )
    key = current_app.config["SECRET_KEY"].encode()
    return hmac.new(key, repr(parts).encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


@lru_cache(maxsize=4)
def _settings(settings: Settings) -> str:
    """A digest of every setting; they change only with the process."""
    return hashlib.sha256(repr(settings).encode()).hexdigest()


@lru_cache(maxsize=4)
def _program(package_folder: str) -> str:
    """A digest of the code and the templates, the same on every host that runs this release."""
    root = Path(package_folder).parent
    digest = hashlib.sha256()
    for part in _PARTS:
        for path in sorted((root / part).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(root)}:".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def kept_card(row: Row[Any], level: int, *, caller: Callable[[], Markup]) -> Markup:
    """A product card, rendered once for everything that is in it; only the form's CSRF token is the visitor's own.

    Two thirds of the time of a shelf went into rendering the same cards again.
    """
    if current_app.config["PORTAL_ENV"] == "development":
        return caller()
    token, language = _frame()
    cards: dict[tuple[str, int, str], str] = current_app.extensions.setdefault("catalogue_cards", {})
    key = (repr(tuple(row)), level, language)
    card = cards.get(key)
    if card is None:
        card = str(caller()).replace(token, _TOKEN_HERE)
        if len(cards) >= _MOST_CARDS:
            cards.clear()
        cards[key] = card
    return Markup(card.replace(_TOKEN_HERE, token))  # noqa: S704  # rendered by our own template, with escaping


def _frame() -> tuple[str, str]:
    """What the cards of one page have in common: the visitor's CSRF token, and the language."""
    if "card_frame" not in g:
        g.card_frame = generate_csrf(), str(get_locale())
    frame: tuple[str, str] = g.card_frame
    return frame

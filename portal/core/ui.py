"""What templates may call: money, times, icons, addresses of files and of pages that may not exist yet."""

import hashlib
import json
import re
from collections.abc import MutableMapping
from copy import copy
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from babel.core import Locale
from babel.dates import format_skeleton
from flask import Flask, current_app, g, has_request_context, request, url_for
from flask.templating import Environment
from flask_babel import (
    format_date,
    format_datetime,
    format_time,
    format_timedelta,
    get_locale,
    to_user_timezone,
)
from jinja2 import select_autoescape
from markupsafe import Markup, escape
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import BuildError

from portal.core import clock
from portal.core.languages import LANGUAGES
from portal.core.money import Money, digits
from portal.core.status_labels import known_statuses, status_label, status_tone

_LETTERS_THEN_DIGIT = re.compile(r"([A-Za-z]{2,})(\d)")
_SPRITE = "vendor/icons.svg"
_ICON_NAME = re.compile(r"[a-z0-9-]+")


class Templates(Environment):
    """Flask's templates with their globals in one dictionary.

    Jinja's own chain of dictionaries follows later changes of the globals, which are not made here, and costs a page
    with a dozen imports a tenth of its time.
    """

    def make_globals(self, d: MutableMapping[str, Any] | None) -> MutableMapping[str, Any]:
        """The globals of one template."""
        return {**self.globals, **(d or {})}


@dataclass(frozen=True, slots=True)
class Language:
    """One entry of the language switcher."""

    code: str
    name: str
    url: str
    is_current: bool


def money(amount: Money | int | None, currency: str | None = None, *, trim: bool = False) -> str:
    """An amount as the reader's language writes it; `trim` drops ",00" from round prices on cards."""
    if amount is None:
        return "–"
    if not isinstance(amount, Money):
        if currency is None:
            raise ValueError("an amount in minor units needs its currency")
        amount = Money(amount, currency)
    whole = trim and amount.to_decimal() == amount.to_decimal().to_integral_value()
    return _format_amount(amount, 0 if whole else digits(amount.currency), str(_locale()))


def datetime_text(value: datetime | None, style: str = "medium") -> str:
    """An instant in the reader's language and zone. short: no year when it is this year's; long: with seconds."""
    if value is None:
        return "–"
    if style == "long":
        return str(format_datetime(_aware(value), "long"))
    local = to_user_timezone(_aware(value))
    glue = str(_locale().datetime_formats["medium"]).replace("'", "")
    if style == "short" and local.year == to_user_timezone(clock.now()).year:
        day = format_skeleton("MMMd", local, locale=_locale())
    else:
        day = format_date(value, "medium")
    return glue.format(format_time(value, "short"), day)


def date_text(value: date | datetime | None, style: str = "medium") -> str:
    """A day in the reader's language."""
    return "–" if value is None else format_date(value, style)


def ago(value: datetime | None) -> str:
    """How long ago, in words ("3 hours ago"); for lists where age matters more than the hour."""
    if value is None:
        return "–"
    return str(format_timedelta(_aware(value) - clock.now(), add_direction=True))


def machine_time(value: datetime | date) -> str:
    """The value of <time datetime>: ISO 8601, instants in UTC."""
    return (
        _aware(value).astimezone(UTC).isoformat(timespec="seconds")
        if isinstance(value, datetime)
        else value.isoformat()
    )


def asset(path: str) -> str:
    """The address of a file in static/ with a hash of its content: browsers may keep it for a year."""
    known = _remembered("assets")
    if path not in known:
        folder = current_app.static_folder or ""
        digest = _content_hash(folder, path, _modified(folder, path))
        known[path] = f"{current_app.static_url_path}/{path}" + (f"?v={digest}" if digest else "")
    address: str = known[path]
    return address


def icon(name: str, css: str = "") -> Markup:
    """An icon of the sprite, hidden from screen readers: the words beside it or its button's label speak."""
    known = _remembered("icons")
    key = f"{name} {css}"
    if key not in known:
        _check_icon(name)
        known[key] = Markup(
            '<svg class="icon{}" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>'
        ).format(f" {css}" if css else "", asset(_SPRITE), name)
    drawn: Markup = known[key]
    return drawn


def nav_url(*targets: str, **values: object) -> str | None:
    """The first of the endpoints or paths that exists; None hides the link to a page not built yet."""
    for target in targets:
        if target.startswith("/"):
            if _path_exists(target):
                return target
            continue
        try:
            return url_for(target, **values)  # type: ignore[arg-type]  # Route values are whatever the route takes.
        except BuildError:
            continue
    return None


def nav_active(url: str | None, *, exact: bool = False) -> bool:
    """Whether the page being shown is `url` or lies below it."""
    if not url or not has_request_context():
        return False
    path = urlsplit(url).path
    return request.path == path or (not exact and path != "/" and request.path.startswith(path.rstrip("/") + "/"))


def nav_current(url: str) -> bool:
    """Whether `url` with its query is the page being shown: for tabs that differ by a filter."""
    target = urlsplit(url)
    return request.path == target.path and _filters(parse_qs(target.query)) == _filters(
        request.args.to_dict(flat=False)
    )


def page_url(**changes: object) -> str:
    """The address of this page with some of its query changed; None takes a part away."""
    kept = {name: values for name, values in request.args.lists() if name not in changes}
    added = {name: [str(value)] for name, value in changes.items() if value is not None}
    query = urlencode({**kept, **added}, doseq=True)
    return f"{request.path}?{query}" if query else request.path


def languages() -> list[Language]:
    """The languages to choose from, each with the address that switches to it; empty without such a route.

    A page asks twice: its wide menu and its narrow one.
    """
    if not has_request_context():
        return _languages()
    if "languages" not in g:
        g.languages = _languages()
    found: list[Language] = g.languages
    return found


def _languages() -> list[Language]:
    here = request.full_path.rstrip("?") if has_request_context() and request.method == "GET" else "/"
    current = _locale().language
    found = []
    for code, name in LANGUAGES.items():
        url = nav_url("site.set_locale", locale=code, next=here)
        if url:
            found.append(Language(code=code, name=name, url=url, is_current=code == current))
    return found


def initials(name: str | None) -> str:
    """Up to two letters for an avatar: of a name, or of an e-mail address."""
    words = re.split(r"[\s._-]+", (name or "").split("@")[0].strip())
    letters = [word[0] for word in words if word and word[0].isalnum()]
    return "".join(letters[:1] + letters[-1:] if len(letters) > 1 else letters).upper() or "?"


def cover_number(key: str, count: int = 6) -> int:
    """A number from 1 to `count` that a key always gets: which drawing and colour a product or person has."""
    digest = hashlib.blake2s(key.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % count + 1


def pretty_json(value: object) -> str:
    """JSON with its lines broken; text that is no JSON stays as it came."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return str(value)
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def cents_input(amount_minor: int | None, currency: str) -> str:
    """Minor units as the plain number an input field holds: 6900 PLN is "69.00"."""
    return "" if amount_minor is None else str(Money(amount_minor, currency).to_decimal())


def linebreaks(text: str | None) -> Markup:
    """Plain text with its paragraphs kept; everything in it is escaped."""
    blocks = [block.strip() for block in re.split(r"\n\s*\n", (text or "").replace("\r\n", "\n")) if block.strip()]
    return Markup("").join(
        Markup("<p>{}</p>").format(Markup("<br>").join(escape(line) for line in block.split("\n"))) for block in blocks
    )


def register(app: Flask) -> None:
    """Make the filters and globals known to every template of the app."""
    # Mail bodies are MJML: they become HTML, so what customers typed must be escaped there too.
    app.jinja_env.autoescape = select_autoescape(["html", "htm", "xml", "xhtml", "svg", "mjml"])
    app.add_template_filter(money, "money")
    app.add_template_filter(datetime_text, "datetime")
    app.add_template_filter(date_text, "date")
    app.add_template_filter(ago, "ago")
    app.add_template_filter(machine_time, "machine_time")
    app.add_template_filter(initials, "initials")
    app.add_template_filter(linebreaks, "linebreaks")
    app.add_template_filter(pretty_json, "pretty_json")
    app.add_template_filter(cents_input, "cents_input")
    app.jinja_env.globals.update(
        money=money,
        asset=asset,
        icon=icon,
        nav_url=nav_url,
        nav_active=nav_active,
        nav_current=nav_current,
        page_url=page_url,
        languages=languages,
        cover_number=cover_number,
        status_label=status_label,
        status_tone=status_tone,
        known_statuses=known_statuses,
        current_language=lambda: _locale().language,
        business_name=str(app.config.get("BUSINESS_NAME") or "Atelier Nord"),
    )


def _locale() -> Locale:
    # Outside a request (a command, a test of a filter) there is no reader: use English.
    return get_locale() or Locale("en")


def _filters(query: dict[str, list[str]]) -> dict[str, list[str]]:
    # Where one is in a list is no filter, and an empty choice is none either.
    return {name: values for name, values in query.items() if any(values) and name not in ("before", "after")}


@lru_cache(maxsize=4096)
def _format_amount(amount: Money, places: int, language: str) -> str:
    locale = Locale.parse(language)
    pattern = copy(locale.currency_formats["standard"])
    # The digits are ours (core/money.py), not Babel's: a price reads the same here and at the provider.
    pattern.frac_prec = (places, places)
    text: str = pattern.apply(amount.to_decimal(), locale, currency=amount.currency, currency_digits=False)
    # "PLN49.00" runs together; a symbol made of letters needs a space, a sign does not.
    return _LETTERS_THEN_DIGIT.sub("\\1\u00a0\\2", text)


def _aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a naive time cannot be shown: it says nothing about when")
    return value


def _remembered(kind: str) -> dict[str, Any]:
    """What was worked out before, for as long as the process lives; while developing, files change under it."""
    if current_app.config.get("PORTAL_ENV", "development") == "development":
        return {}
    known: dict[str, Any] = current_app.extensions.setdefault("portal_ui", {}).setdefault(kind, {})
    return known


def _path_exists(path: str) -> bool:
    known: dict[str, bool] = current_app.extensions.setdefault("portal_ui_paths", {})
    if path not in known:
        try:
            current_app.url_map.bind("localhost").match(path, method="GET")
            known[path] = True
        except MethodNotAllowed:
            known[path] = True  # A form posts to it, such as /logout.
        except HTTPException:
            known[path] = False
    return known[path]


def _check_icon(name: str) -> None:
    if not _ICON_NAME.fullmatch(name):
        raise ValueError(f"not an icon name: {name!r}")
    folder = current_app.static_folder or ""
    drawn = _drawn_icons(folder, _modified(folder, _SPRITE))
    if drawn and name not in drawn and current_app.config.get("PORTAL_ENV") != "production":
        raise LookupError(f"no icon {name!r}: add it to assets/icons.txt and build the assets")


def _modified(folder: str, path: str) -> int:
    try:
        return (Path(folder) / path).stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=4)
def _drawn_icons(folder: str, modified: int) -> frozenset[str]:
    # Empty when the assets are not built yet: then nothing can be said.
    if not modified:
        return frozenset()
    return frozenset(re.findall(r'<symbol id="([^"]+)"', (Path(folder) / _SPRITE).read_text()))


@lru_cache(maxsize=256)
def _content_hash(folder: str, path: str, modified: int) -> str | None:
    # `modified` is part of the key only, so that a changed file is hashed again in development.
    if not modified:
        return None
    return hashlib.sha256((Path(folder) / path).read_bytes()).hexdigest()[:12]

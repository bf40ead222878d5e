"""What templates may call: money, times, addresses, statuses."""

import enum
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_babel import force_locale

from portal import create_app, models  # noqa: F401  # every table is known
from portal.core import clock, status_labels, ui
from portal.core.db import Base
from portal.core.money import Money
from portal.sites.changes.models import Trouble
from portal.sites.changes.presenting import trouble_words
from portal.sites.domains.models import Reason
from portal.sites.domains.wording import trouble_of
from tests.conftest import settings_for

NBSP = "\u00a0"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """An application that nobody connects to a database: nothing here asks one."""
    folder = tmp_path_factory.mktemp("ui")
    return create_app(settings_for("sqlite://", "redis://127.0.0.1:9/0", folder))


@pytest.fixture
def request_context(site: Flask) -> Iterator[Flask]:
    with site.test_request_context("/admin/orders?status=paid&q=ada&before=12"):
        yield site


@pytest.mark.parametrize(
    ("locale", "amount", "currency", "text"),
    [
        ("en", 6900, "PLN", f"PLN{NBSP}69.00"),
        ("pl", 6900, "PLN", f"69,00{NBSP}zł"),
        ("pl", 123456789, "PLN", f"1{NBSP}234{NBSP}567,89{NBSP}zł"),
        ("es", 49500, "USD", f"495,00{NBSP}US$"),
        ("en", 49500, "USD", "$495.00"),
        ("en", -5, "USD", "-$0.05"),
        ("en", 500, "JPY", "¥500"),
        ("en", 1234, "KWD", f"KWD{NBSP}1.234"),
    ],
)
def test_money_is_written_as_the_language_writes_it(
    request_context: Flask, locale: str, amount: int, currency: str, text: str
) -> None:
    with force_locale(locale):
        assert ui.money(amount, currency) == text
        assert ui.money(Money(amount, currency)) == text


def test_trimmed_money_drops_only_zero_cents(request_context: Flask) -> None:
    with force_locale("pl"):
        assert ui.money(6900, "PLN", trim=True) == f"69{NBSP}zł"
        assert ui.money(6950, "PLN", trim=True) == f"69,50{NBSP}zł"


def test_money_without_a_currency_is_refused(request_context: Flask) -> None:
    with pytest.raises(ValueError, match="needs its currency"):
        ui.money(6900)


def test_nothing_is_shown_as_a_dash(request_context: Flask) -> None:
    assert {ui.money(None), ui.datetime_text(None), ui.date_text(None), ui.ago(None)} == {"–"}


def test_times_are_shown_in_the_business_zone(request_context: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    request_context.config["BABEL_DEFAULT_TIMEZONE"] = "Europe/Warsaw"
    monkeypatch.setattr(clock, "now", lambda: datetime(2026, 6, 1, tzinfo=UTC))
    at = datetime(2026, 1, 21, 23, 30, tzinfo=UTC)
    with force_locale("pl"):
        assert ui.date_text(date(2026, 1, 21)) == "21 sty 2026"
        assert ui.datetime_text(at).startswith("22 sty 2026")
        assert ui.datetime_text(at).endswith("00:30")
        assert "2026" not in ui.datetime_text(at, "short")
        assert "2025" in ui.datetime_text(at.replace(year=2025), "short")
    assert ui.machine_time(at) == "2026-01-21T23:30:00+00:00"


def test_a_naive_time_is_refused(request_context: Flask) -> None:
    with pytest.raises(ValueError, match="naive"):
        ui.datetime_text(datetime(2026, 1, 1))  # noqa: DTZ001  # the point of the test
    with pytest.raises(ValueError, match="naive"):
        ui.machine_time(datetime(2026, 1, 1))  # noqa: DTZ001  # the point of the test


def test_an_asset_address_changes_with_its_content(tmp_path: Path) -> None:
    app = Flask(__name__, static_folder=str(tmp_path), static_url_path="/static")
    file = tmp_path / "a.css"
    with app.test_request_context():
        assert ui.asset("a.css") == "/static/a.css"
        file.write_text("a{}")
        first = ui.asset("a.css")
        assert first.startswith("/static/a.css?v=")
        assert ui.asset("a.css") == first
        file.write_text("b{}")
        assert ui.asset("a.css") != first


def test_an_icon_is_one_of_the_sprite_and_cannot_smuggle_markup(request_context: Flask) -> None:
    assert "#shopping-cart" in ui.icon("shopping-cart")
    assert "&#34;&gt;" in ui.icon("x", '">')
    with pytest.raises(LookupError, match="add it to assets"):
        ui.icon("no-such-icon")
    with pytest.raises(ValueError, match="not an icon name"):
        ui.icon('x"><script>')


def test_navigation_hides_what_is_not_routed(request_context: Flask) -> None:
    assert ui.nav_url("/healthz") == "/healthz"
    assert ui.nav_url("/no-such-page") is None
    assert ui.nav_url("nobody.knows", "health.healthz") == "/healthz"
    assert ui.nav_url("nobody.knows") is None


def test_navigation_marks_the_page_and_its_parents(request_context: Flask) -> None:
    assert ui.nav_active("/admin/orders")
    assert ui.nav_active("/admin")
    assert not ui.nav_active("/admin", exact=True)
    assert not ui.nav_active("/admin/ord")
    assert not ui.nav_active("/")
    assert not ui.nav_active(None)


def test_page_address_keeps_the_filters(request_context: Flask) -> None:
    assert ui.page_url(before=None, after=7) == "/admin/orders?status=paid&q=ada&after=7"
    assert ui.page_url(status=None, q=None, before=None) == "/admin/orders"
    assert ui.nav_current("/admin/orders?q=ada&status=paid")
    assert not ui.nav_current("/admin/orders?status=paid")


def test_typed_text_is_escaped_in_paragraphs(request_context: Flask) -> None:
    assert ui.linebreaks("a <b>\nc\r\n\r\nd") == "<p>a &lt;b&gt;<br>c</p><p>d</p>"
    assert ui.linebreaks(None) == ""


@pytest.mark.parametrize(
    ("name", "letters"),
    [
        ("Ada Nowak", "AN"),
        ("ada", "A"),
        ("maria.del.mar@example.com", "MM"),
        ("", "?"),
        (None, "?"),
        ("łukasz żak", "ŁŻ"),
    ],
)
def test_initials(name: str | None, letters: str) -> None:
    assert ui.initials(name) == letters


def test_payloads_are_indented_and_other_text_is_left_alone() -> None:
    assert ui.pretty_json('{"a": "ż"}') == '{\n  "a": "ż"\n}'
    assert ui.pretty_json("not json") == "not json"
    assert ui.pretty_json(b"\xff{") == "\ufffd{"
    assert ui.pretty_json({"at": date(2026, 1, 2)}) == '{\n  "at": "2026-01-02"\n}'


def test_mail_bodies_escape_what_customers_typed(request_context: Flask) -> None:
    autoescape = request_context.jinja_env.autoescape
    assert callable(autoescape)
    assert autoescape("emails/x/body.mjml")
    assert autoescape("page.html")
    assert not autoescape("emails/x/body.txt")


def _enum_columns() -> list[tuple[str, type[enum.Enum]]]:
    return [
        (f"{mapper.class_.__name__}.{column.name}", column.type.enum_class)
        for mapper in Base.registry.mappers
        for column in mapper.columns
        if isinstance(column.type, sa.Enum) and column.type.enum_class is not None
    ]


# What is explained in sentences, where it happens, and is no status.
SENTENCES: dict[type[enum.Enum], Callable[[Any], str]] = {
    Reason: lambda reason: trouble_of(reason, "").title,
    Trouble: trouble_words,
}


def test_every_status_a_row_can_have_has_words_of_its_own() -> None:
    columns = [(name, kinds) for name, kinds in _enum_columns() if kinds not in SENTENCES]
    assert len(columns) > 5
    known = set(status_labels.known_statuses())
    missing = {f"{name} = {entry.value}" for name, kinds in columns for entry in kinds if entry.value not in known}
    assert not missing


def test_every_reason_has_a_sentence(request_context: Flask) -> None:
    for kinds, words in SENTENCES.items():
        assert all(words(entry) for entry in kinds)


def test_the_kind_of_a_status_refines_its_words(request_context: Flask) -> None:
    assert status_labels.status_label("pending", "quote") == "Being checked"
    assert status_labels.status_label("pending") == "Pending"
    assert status_labels.status_label("never_heard_of") == "Never heard of"
    assert status_labels.status_tone("never_heard_of") == "neutral"
    assert status_labels.status_tone("failed") == "danger"

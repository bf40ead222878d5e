"""The price book's pages: versions, a draft's form, the rehearsal, publishing, import and export."""

import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.quotes.pricing import services
from portal.quotes.pricing.models import PriceBookVersion
from tests.admin.reading import FRAGMENT, audited, page, rows, words
from tests.browser_like import csrf_token, post_form
from tests.quotes.books import book_content, publish_book
from tests.quotes.pricing.test_rehearsal import keep_quote

HOME = "/admin/price-book"


class _Fields(HTMLParser):
    """What a browser would send of the big form."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self._area: str | None = None
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        name = found.get("name") or ""
        if tag == "textarea":
            self._area, self.values[name] = name, ""
        elif tag == "input" and (found.get("type") != "checkbox" or "checked" in found):
            self.values[name] = found.get("value") or ""

    def handle_data(self, data: str) -> None:
        if self._area is not None:
            self.values[self._area] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self._area is not None:
            self.values[self._area] = self.values[self._area].lstrip("\r\n")
            self._area = None


def _fields(browser: FlaskClient, version_id: int) -> dict[str, str]:
    answer = browser.get(f"{HOME}/{version_id}/edit")
    assert answer.status_code == 200
    return _Fields(answer.get_data(as_text=True)).values


def _draft(browser: FlaskClient) -> int:
    answer = post_form(browser, f"{HOME}/drafts", page=HOME)
    assert answer.status_code == 303
    found = re.fullmatch(rf"{HOME}/(\d+)/edit", answer.location)
    assert found is not None
    return int(found.group(1))


def _content(version_id: int) -> dict[str, Any]:
    db.session.rollback()
    return db.session.get_one(PriceBookVersion, version_id, populate_existing=True).content


def _save(browser: FlaskClient, version_id: int, **changes: str) -> Any:
    values = {**_fields(browser, version_id), **{name.replace("__", "-"): value for name, value in changes.items()}}
    return browser.post(f"{HOME}/{version_id}/edit", data=values)


def test_an_empty_price_book_says_what_to_do(office: FlaskClient) -> None:
    assert "There are no prices yet" in page(office, HOME)
    answer = office.post(f"{HOME}/drafts", data={"csrf_token": csrf_token(office, HOME)})
    assert answer.status_code == 409
    assert "There are no prices yet" in words(answer)


def test_the_list_shows_every_version_and_which_is_in_force(office: FlaskClient) -> None:
    publish_book()
    publish_book(minimum="50.00")
    _draft(office)
    answer = office.get(HOME)
    assert rows(answer) == ["Version 3", "Version 2", "Version 1"]
    assert [words(answer).count(state) for state in ("In force", "Earlier prices")] == [1, 1]


def test_the_form_sent_back_as_it_is_changes_nothing(office: FlaskClient) -> None:
    publish_book()
    draft_id = _draft(office)
    before = _content(draft_id)
    assert _save(office, draft_id).status_code == 303
    assert _content(draft_id) == before == book_content()
    assert audited("price_book.edited") == []


def test_every_kind_of_field_is_read(office: FlaskClient) -> None:
    publish_book()
    draft_id = _draft(office)
    answer = _save(
        office,
        draft_id,
        minimum="45,50",
        holidays="12-25\r\n2027-03-29 12-24",
        materials__0__kg_price=" 1 210.00 ",
        materials__0__largest_mm="200 X 150.5×100",
        materials__0__colours="black Deep black\r\n\r\nred: Signal red",
        printers__1__materials="pla; petg abs",
        breaks__3__from_quantity="500",
        breaks__3__percent="25",
        rush__1__stretches="y",
        checks__tall_ratio="9",
    )
    assert answer.status_code == 303
    found = _content(draft_id)
    assert (found["minimum"], found["holidays"]) == ("45.50", ["12-24", "12-25", "2027-03-29"])
    assert found["materials"][0]["kg_price"] == "1210.00"
    assert found["materials"][0]["largest_mm"] == ["200", "150.5", "100"]
    assert found["materials"][0]["colours"] == [
        {"code": "black", "name": "Deep black"},
        {"code": "red", "name": "Signal red"},
    ]
    assert found["printers"][1]["materials"] == ["pla", "petg", "abs"]
    assert found["breaks"][3] == {"from_quantity": 500, "percent": "25"}
    assert found["rush"][1]["stretches"] is True
    assert found["checks"]["tall_ratio"] == "9"
    assert found["materials"][1:] == book_content()["materials"][1:]


def test_a_row_that_is_emptied_is_removed(office: FlaskClient) -> None:
    publish_book()
    draft_id = _draft(office)
    assert _save(office, draft_id, breaks__0__from_quantity="", breaks__0__percent="").status_code == 303
    assert [one["from_quantity"] for one in _content(draft_id)["breaks"]] == [50, 100]


def test_more_rows_keeps_what_was_typed_and_saves_nothing(office: FlaskClient) -> None:
    publish_book()
    draft_id = _draft(office)
    answer = _save(office, draft_id, minimum="77.00", breaks__3__from_quantity="200", breaks__3__percent="30", more="1")
    assert answer.status_code == 200
    again = _Fields(answer.get_data(as_text=True)).values
    assert (again["minimum"], again["breaks-3-percent"], again["breaks-4-percent"]) == ("77.00", "30", "")
    assert _content(draft_id)["minimum"] == "40.00"


def test_every_mistake_is_shown_at_its_field_and_above_the_form(office: FlaskClient) -> None:
    publish_book()
    draft_id = _draft(office)
    answer = _save(
        office,
        draft_id,
        minimum="cheap",
        breaks__0__from_quantity="",
        breaks__0__percent="",
        breaks__2__percent="1",
        materials__2__density="",
        materials__1__colours="BLACK Black",
    )
    assert answer.status_code == 422
    shown = words(answer)
    for sentence in (
        'Minimum order: must be a number, such as "1.25"',
        "Materials 3, Density in g/cm³: must be a number",
        "Line 1: must be 1 to 32 small letters",
    ):
        assert sentence in shown
    # The row above was emptied: the mistake stands at the row that people see, not at its place among the others.
    assert "cheap" in answer.get_data(as_text=True)
    assert _content(draft_id) == book_content()
    answer = _save(office, draft_id, breaks__0__from_quantity="", breaks__0__percent="", breaks__2__percent="1")
    assert 'aria-describedby="breaks-2-percent-error"' in answer.get_data(as_text=True)


def test_somebody_elses_changes_are_not_overwritten(office: FlaskClient) -> None:
    publish_book()
    draft_id = _draft(office)
    values = _fields(office, draft_id)
    with unit_of_work():
        services.save_draft(draft_id, book_content(minimum="50.00"), by="bob@example.com", at=clock.now())
    answer = office.post(f"{HOME}/{draft_id}/edit", data={**values, "minimum": "60.00"})
    assert answer.status_code == 409
    assert "Somebody else changed this draft" in words(answer)
    assert _content(draft_id)["minimum"] == "50.00"


def test_publishing_puts_it_into_force_with_who_when_and_why(owner: FlaskClient, admin: User) -> None:
    publish_book()
    draft_id = _draft(owner)
    _save(owner, draft_id, minimum="55.00")
    address = f"{HOME}/{draft_id}"
    assert "Version 1" in page(owner, address)
    values = _Fields(owner.get(address).get_data(as_text=True)).values
    answer = post_form(
        owner, f"{address}/publish", {"note": "Dearer plastic", "seen_at": values["seen_at"]}, page=address
    )
    assert (answer.status_code, answer.location) == (303, address)
    version, book = services.current_book(clock.now())
    assert (version.id, version.published_by, version.note) == (draft_id, admin.email, "Dearer plastic")
    assert str(book.minimum) == "55.00"
    shown = page(owner, address)
    assert "In force" in shown
    assert "Minimum order 40.00 55.00" in shown
    assert "Dearer plastic" in page(owner, HOME)
    [event] = [one for one in audited("price_book.published") if one.actor == admin.email]
    assert (event.detail, event.before, event.after) == ("Dearer plastic", {"number": 1}, {"number": 2})


def test_publishing_twice_is_refused_and_shows_how_it_stands(owner: FlaskClient) -> None:
    publish_book()
    draft_id = _draft(owner)
    address = f"{HOME}/{draft_id}"
    token = csrf_token(owner, address)
    statuses = [
        owner.post(f"{address}/publish", data={"csrf_token": token, "note": "Once"}).status_code for _ in range(2)
    ]
    assert statuses == [303, 409]


def test_publishing_without_a_reason_is_refused(owner: FlaskClient) -> None:
    publish_book()
    draft_id = _draft(owner)
    answer = post_form(owner, f"{HOME}/{draft_id}/publish", {"note": " "}, page=f"{HOME}/{draft_id}")
    assert answer.status_code == 422
    assert services.current_book(clock.now())[0].number == 1


def test_staff_prepare_and_only_an_administrator_publishes(office: FlaskClient) -> None:
    publish_book()
    draft_id = _draft(office)
    address = f"{HOME}/{draft_id}"
    assert "An administrator publishes it." in page(office, address)
    assert post_form(office, f"{address}/publish", {"note": "Mine"}, page=address).status_code == 403
    assert services.current_book(clock.now())[0].number == 1


def test_a_draft_that_was_overtaken_is_published_only_after_a_second_look(owner: FlaskClient) -> None:
    publish_book()
    draft_id = _draft(owner)
    _save(owner, draft_id, validity_days="14")
    publish_book(minimum="50.00")
    address = f"{HOME}/{draft_id}"
    refused = post_form(owner, f"{address}/publish", {"note": "Shorter"}, page=address)
    assert refused.status_code == 409
    assert "Another version was published since this draft was begun" in words(refused)
    assert "Minimum order 50.00 40.00" in page(owner, f"{address}/compare?with=3")
    assert post_form(owner, f"{address}/rebase", page=address).status_code == 303
    assert post_form(owner, f"{address}/publish", {"note": "Shorter"}, page=address).status_code == 303
    assert services.current_book(clock.now())[1].validity_days == 14


@pytest.mark.parametrize("htmx", [False, True])
def test_a_draft_can_be_discarded_and_a_version_cannot(office: FlaskClient, htmx: bool) -> None:
    version = publish_book()
    draft_id = _draft(office)
    answer = post_form(office, f"{HOME}/{draft_id}/discard", page=HOME, htmx=htmx)
    assert answer.status_code == (204 if htmx else 303) or answer.headers.get("HX-Redirect")
    assert office.get(f"{HOME}/{draft_id}").status_code == 404
    assert post_form(office, f"{HOME}/{version.id}/discard", page=HOME).status_code == 409
    assert office.get(f"{HOME}/{version.id}").status_code == 200


def test_a_published_version_has_no_form(office: FlaskClient) -> None:
    version = publish_book()
    draft_id = _draft(office)
    values = _fields(office, draft_id)
    assert office.get(f"{HOME}/{version.id}/edit").status_code == 303
    assert office.post(f"{HOME}/{version.id}/edit", data={**values, "seen_at": ""}).status_code == 409


def test_a_version_goes_out_as_a_file_and_comes_back_as_a_draft(office: FlaskClient, staff: User) -> None:
    version = publish_book()
    file = office.get(f"{HOME}/{version.id}/price-book.json")
    assert json.loads(file.data) == book_content()
    assert 'filename="price-book-1.json"' in file.headers["Content-Disposition"]
    answer = office.post(
        f"{HOME}/import",
        data={"csrf_token": csrf_token(office, HOME), "file": (io.BytesIO(file.data), "price-book.json")},
    )
    db.session.rollback()
    newest = db.session.scalars(select(PriceBookVersion).order_by(PriceBookVersion.id.desc())).first()
    assert newest is not None
    assert (answer.status_code, answer.location) == (303, f"{HOME}/{newest.id}")
    assert (newest.published_at, newest.content, newest.created_by_id) == (None, book_content(), staff.id)


@pytest.mark.parametrize("content", [b"", b"nonsense", json.dumps(book_content(minimum=1.5)).encode()])
def test_a_file_with_mistakes_changes_nothing_and_names_them(office: FlaskClient, content: bytes) -> None:
    publish_book()
    token = csrf_token(office, HOME)
    answer = office.post(f"{HOME}/import", data={"csrf_token": token, "file": (io.BytesIO(content), "b.json")})
    assert answer.status_code == 422
    assert "The file has mistakes" in words(answer)
    assert rows(answer) == ["Version 1"]


def test_importing_without_a_file_is_refused(office: FlaskClient) -> None:
    answer = post_form(office, f"{HOME}/import", page=HOME)
    assert answer.status_code == 422


def test_the_rehearsal_shows_old_and_new_totals_beside_each_other(office: FlaskClient, alice: User) -> None:
    publish_book()
    quote = keep_quote(alice)
    draft_id = _draft(office)
    _save(office, draft_id, handling_price="6.00")
    shown = page(office, f"{HOME}/{draft_id}/rehearsal")
    assert f"Draft {quote.id}" in shown
    old, new = quote.total_minor / 100, quote.total_minor / 100 + 11.4
    assert f"PLN {old:,.2f} PLN {new:,.2f} PLN 11.40" in shown
    db.session.refresh(quote)
    assert quote.total_minor == round(old * 100)


def test_a_rehearsal_without_open_quotes_says_so(office: FlaskClient) -> None:
    version = publish_book()
    assert "No quote is open" in page(office, f"{HOME}/{version.id}/rehearsal")


def test_the_list_asks_as_often_for_many_versions_as_for_few(
    office: FlaskClient, count_queries: Callable[[], int]
) -> None:
    publish_book()
    _draft(office)
    office.get(HOME)
    count_queries()
    office.get(HOME)
    few = count_queries()
    for _ in range(8):
        _draft(office)
    count_queries()
    office.get(HOME)
    assert count_queries() == few


def test_fragments_are_what_htmx_swaps(office: FlaskClient) -> None:
    version = publish_book()
    for address in (HOME, f"{HOME}/{version.id}/compare"):
        answer = office.get(address, headers=FRAGMENT).get_data(as_text=True)
        assert answer.lstrip().startswith('<div id="results"')
        assert "<html" not in answer


@pytest.mark.parametrize("address", ["9999", "9999/edit", "9999/rehearsal", "9999/compare", "9999/price-book.json"])
def test_a_version_that_is_not_there(office: FlaskClient, address: str) -> None:
    assert office.get(f"{HOME}/{address}").status_code == 404


HOSTILE = ["a\x00b", "\ud800", "\u202egnp.exe", '"><script>alert(1)</script>', "x" * 8192, "١٢", "NaN", "1e9", "-1"]


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_is_typed_or_uploaded_is_answered(owner: FlaskClient, text: str) -> None:
    publish_book()
    draft_id = _draft(owner)
    address = f"{HOME}/{draft_id}"
    sent = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    values = {
        name: value if name in ("csrf_token", "seen_at") else sent for name, value in _fields(owner, draft_id).items()
    }
    assert owner.post(f"{address}/edit", data=values).status_code == 422
    assert owner.get(f"{address}/compare", query_string={"with": sent}).status_code == 200
    book = json.dumps(book_content(holidays=[text], **{text: text})).encode()
    token = csrf_token(owner, HOME)
    answer = owner.post(f"{HOME}/import", data={"csrf_token": token, "file": (io.BytesIO(book), "b.json")})
    assert answer.status_code == 422
    assert "<script>alert" not in answer.get_data(as_text=True)
    answer = owner.post(f"{address}/publish", data={"csrf_token": token, "note": f"{sent} and more", "seen_at": sent})
    assert answer.status_code in (303, 422)

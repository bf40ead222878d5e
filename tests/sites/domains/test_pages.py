"""The pages of a domain: its owner's and those of staff."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.outbox import OutboxMessage
from portal.sites.domains import queries
from portal.sites.domains.models import Domain
from portal.sites.domains.services.moving import DUE
from portal.sites.services import ownership
from tests.browser_like import csrf_token, post_form
from tests.sites.domains.support import (
    NAME,
    age,
    fresh,
    make_active_site,
    make_domain,
    make_live_domain,
    prove,
    see,
    sighting,
)
from tests.sites.support import make_site

Login = Callable[[User], FlaskClient]
PAGE = "/my/sites/bakery/domain"


def words(browser: FlaskClient, address: str = PAGE, **headers: str) -> str:
    answer = browser.get(address, headers=headers)
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def due() -> int:
    db.session.rollback()
    statement = db.select(db.func.count()).select_from(OutboxMessage).where(OutboxMessage.topic == "domain.due")
    return int(db.session.scalar(statement) or 0)


def test_an_owner_connects_a_domain_and_is_told_the_records(app: Flask, alice: User, login: Login) -> None:
    site, browser = make_active_site("bakery", alice), login(alice)
    assert "Connect a domain" in words(browser)
    answer = post_form(browser, PAGE, {"name": "  WWW.Bakery-of-Alice.com "})
    assert (answer.status_code, answer.headers["location"]) == (303, PAGE)
    domain = queries.get_domain(site)
    text = words(browser)
    for part in ("Records to set", "CNAME", "sites.localhost", domain.proof_name, domain.proof, "Nobody was asked yet"):
        assert part in text, part
    assert due() == 1
    # Pressed twice, it is one request.
    answer = browser.post(PAGE, data={"name": NAME, "csrf_token": csrf_token(browser, PAGE)})
    assert answer.status_code == 303
    assert due() == 1

    see(domain, sighting(addresses=("192.0.2.99",), texts=("other",)), sighting(problem="servfail"), sighting())
    text = words(browser)
    for part in ("192.0.2.99", "Another value", "Answered with an error", "Nothing", "Not yet"):
        assert part in text, part
    fragment = words(browser, **{"HX-Request": "true"})
    assert fragment.lstrip().startswith('<div class="stack" id="domain"')
    assert 'hx-trigger="load delay:5s"' in fragment
    assert "Remove the domain" not in fragment


def test_the_top_of_a_zone_gets_an_address_instead_of_a_cname(app: Flask, alice: User, login: Login) -> None:
    make_domain(make_active_site("bakery", alice), "żółta-piekarnia.com")
    text = words(login(alice))
    assert "żółta-piekarnia.com" in text
    assert "xn--" in text
    assert "<strong>A</strong>" in text
    assert "127.0.0.1" in text
    # The other name of the pair is below the top, and may have one.
    assert text.count("<strong>CNAME</strong>") == 1
    assert "Visitors who type www.żółta-piekarnia.com find the site as well once" in text


def test_what_the_other_name_of_the_pair_needs_is_said(app: Flask, alice: User, staff: User, login: Login) -> None:
    domain = make_live_domain(make_active_site("bakery", alice))
    right, browser = sighting(addresses=("127.0.0.1",)), login(alice)
    needed = "Visitors who type bakery-of-alice.com find the site as well once its record below is set"
    assert needed in words(browser)
    see(domain, right, twin=[right])
    text = words(browser)
    assert needed not in text
    assert "bakery-of-alice.com is seen as well" in text
    with unit_of_work():
        queries.list_certificates(domain)[0].has_twin = True
    assert "bakery-of-alice.com leads there as well." in words(browser)
    text = words(login(staff), f"/admin/domains/{domain.id}")
    assert "The other name" in text
    assert "for both names" in text
    make_domain(make_active_site("shop", alice), "shop.bakery-of-alice.com")
    assert "Visitors who type" not in words(browser, "/my/sites/shop/domain")


@pytest.mark.parametrize("typed", ["", "localhost", "127.0.0.1", "<script>alert(1)</script>", "*.a.com", "a" * 2_000])
def test_what_is_no_domain_is_shown_again_with_the_reason(app: Flask, alice: User, login: Login, typed: str) -> None:
    site, browser = make_active_site("bakery", alice), login(alice)
    for htmx in (False, True):
        answer = post_form(browser, PAGE, {"name": typed}, htmx=htmx)
        assert answer.status_code == 422
        assert "<script>alert" not in answer.get_data(as_text=True)
    assert queries.find_domain(site) is None


def test_a_live_domain_is_shown_and_can_be_given_up(app: Flask, alice: User, login: Login) -> None:
    site, browser = make_active_site("bakery", alice), login(alice)
    age(make_live_domain(site), timedelta(minutes=1))
    text = words(browser)
    assert f'href="https://{NAME}/"' in text
    assert "Certificate valid until" in text
    assert "hx-trigger" not in text
    answer = post_form(browser, f"{PAGE}/look", page=PAGE)
    assert answer.status_code == 303
    assert due() == 2
    answer = post_form(browser, f"{PAGE}/look", page=PAGE, htmx=True)
    assert 'id="domain"' in answer.get_data(as_text=True)
    # The last look is fresh: for somebody who leans on the button there is one more, a few seconds after it.
    see(fresh(queries.get_domain(site)), sighting(addresses=("127.0.0.1",)))
    before, seen_at = due(), fresh(queries.get_domain(site)).checked_at
    for _press in range(3):
        post_form(browser, f"{PAGE}/look", page=PAGE)
    assert due() == before + 1
    newest = db.session.scalars(select(OutboxMessage).order_by(OutboxMessage.id.desc()).limit(1)).one()
    assert (newest.topic, newest.available_at) == (DUE, seen_at + timedelta(seconds=5))
    answer = post_form(browser, f"{PAGE}/remove", page=PAGE)
    assert answer.status_code == 303
    assert queries.find_domain(site) is None
    assert "Connect a domain" in words(browser)
    answer = post_form(browser, f"{PAGE}/remove", page=PAGE)
    assert answer.status_code == 303
    assert post_form(browser, f"{PAGE}/look", page=PAGE).status_code == 404


def test_a_failing_domain_says_what_to_do_and_where_the_site_is(app: Flask, alice: User, login: Login) -> None:
    domain = make_live_domain(make_active_site("bakery", alice))
    see(domain, sighting(addresses=("192.0.2.99",)))
    text = words(login(alice))
    assert "The domain leads somewhere else" in text
    assert "192.0.2.99" in text
    assert "/bakery/" in text
    assert 'hx-trigger="load delay:15s"' in text


def test_without_a_running_subscription_there_is_nothing_to_connect(app: Flask, alice: User, login: Login) -> None:
    site, browser = make_site("bakery", owner=alice), login(alice)
    assert "Part of the subscription" in words(browser)
    other = make_active_site("other", alice)
    answer = browser.post(PAGE, data={"name": NAME, "csrf_token": csrf_token(browser, "/my/sites/other/domain")})
    assert answer.status_code == 409
    assert "running subscription" in answer.get_data(as_text=True)
    assert queries.find_domain(site) is None
    with unit_of_work():
        ownership.deactivate(other, at=clock.now())


def test_a_domain_that_is_taken_or_a_second_one_is_refused(app: Flask, alice: User, bob: User, login: Login) -> None:
    prove(make_domain(make_active_site("bobs", bob)))
    make_active_site("bakery", alice)
    browser = login(alice)
    answer = post_form(browser, PAGE, {"name": NAME})
    assert answer.status_code == 422
    assert "already belongs to another site" in answer.get_data(as_text=True)
    csrf = csrf_token(browser, PAGE)
    assert post_form(browser, PAGE, {"name": "www.other-bakery.com"}).status_code == 303
    answer = browser.post(PAGE, data={"name": "www.third-bakery.com", "csrf_token": csrf})
    assert answer.status_code == 409
    assert "Remove it before you connect another one" in answer.get_data(as_text=True)


def test_strangers_and_visitors_see_and_change_nothing(
    app: Flask, alice: User, mallory: User, login: Login, client: FlaskClient
) -> None:
    make_live_domain(make_active_site("bakery", alice))
    make_active_site("mallorys", mallory)
    browser = login(mallory)
    csrf = csrf_token(browser, "/my/sites/mallorys/domain")
    for address in (PAGE, f"{PAGE}/look", f"{PAGE}/remove"):
        answer = browser.post(address, data={"csrf_token": csrf, "name": NAME})
        assert answer.status_code == 404
    assert browser.get(PAGE).status_code == 404
    assert client.get(PAGE).status_code == 303
    assert login(alice).post(f"{PAGE}/remove").status_code == 400
    assert db.session.scalar(db.select(Domain.removed_at).where(Domain.name == NAME)) is None


def test_staff_find_domains_look_again_and_remove(
    app: Flask, alice: User, staff: User, login: Login, count_queries: Callable[[], int]
) -> None:
    live = make_live_domain(make_active_site("bakery", alice))
    browser = login(staff)
    words(browser, "/admin/domains")
    count_queries()
    words(browser, "/admin/domains")
    alone = count_queries()
    for number in range(6):
        make_domain(make_active_site(f"site-{number}", alice), f"shop{number}.example.com")
    count_queries()
    text = words(browser, "/admin/domains")
    assert count_queries() == alone
    assert alone <= 4
    assert text.count("alice@example.com") == 7
    assert NAME in words(browser, "/admin/domains?status=live")
    assert NAME not in words(browser, "/admin/domains?status=failing")
    assert "shop3" in words(browser, "/admin/domains?q=SHOP3")

    see(live, sighting(addresses=("192.0.2.99",)))
    page = f"/admin/domains/{live.id}"
    text = words(browser, page)
    for part in ("192.0.2.99", "The bakery", "ab" * 8, "failing", "Proven"):
        assert part in text.lower() or part in text, part
    age(live, timedelta(minutes=1))
    before = due()
    assert post_form(browser, f"{page}/look", page=page).status_code == 303
    assert due() == before + 1
    assert post_form(browser, f"{page}/remove", page=page).status_code == 303
    assert "was removed" in words(browser, page)
    assert NAME in words(browser, "/admin/domains?state=removed")
    answer = browser.post(f"{page}/look", data={"csrf_token": csrf_token(browser, "/admin/domains/2")})
    assert answer.status_code == 409
    assert browser.get("/admin/domains/999").status_code == 404

"""What months with a website bring: changes that are taken or refused, money that comes or does not, and a domain that
works, breaks, and whose certificate ends; with the letters about all of it."""

from datetime import timedelta

from playwright.sync_api import expect

from portal.accounts.models import User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.payments.providers.sandbox.models import SandboxPayment
from portal.sites.domains.models import Domain
from portal.sites.domains.queries import list_certificates
from portal.subscriptions.models import Subscription
from portal.subscriptions.services import dunning
from scripts.screens.buying import PASSWORD
from scripts.screens.owners import ADDRESS, DOMAIN, SITE, ask_for_change
from scripts.screens.tour import Tour
from tests.browser.people import Person

_HOME = f"/my/sites/{SITE}"
_ANSWER = (
    "A shop needs a payment service of its own, which we do not build into websites.\nWrite to us, and we plan it."
)
# Pressed again within five seconds it would be the same look.
_SAME_LOOK_MS = 6_000
# The worker looks at a domain, at nginx and at the authority one after the other.
_DOMAIN_SECONDS = 90


def show(tour: Tour) -> None:
    """The owner of before, some months on."""
    with (
        tour.visit("owner of a site, later", email=ADDRESS) as owner,
        tour.visit("webmaster, later", as_role="admin") as staff,
    ):
        owner.log_in(ADDRESS, PASSWORD)
        _take_change(tour, owner)
        _refuse_change(tour, owner, staff)
        _connect_domain(tour, owner)
        _break_domain(tour, owner)
        _call_off_and_keep(tour, owner)
        _pay_and_fail(tour, owner)
        _pay_by_hand(tour, owner)


def _take_change(tour: Tour, owner: Person) -> None:
    page = owner.page
    owner.open(f"{_HOME}/changes/1")
    page.get_by_role("button", name="Put the chosen pieces online").click()
    expect(page.get_by_role("button", name="Undo this change")).to_be_visible(timeout=30_000)
    tour.shop.mail(ADDRESS, "Your change is online")
    tour.show(owner, f"{_HOME}/changes/1", "change-live")


def _refuse_change(tour: Tour, owner: Person, staff: Person) -> None:
    """The editor cannot do it, so staff look at it, and say why not."""
    owner.open(f"{_HOME}/changes")
    ask_for_change(owner, "Please add a shop, so that people can order and pay for cakes.")
    address = owner.page.url.removeprefix(tour.shop.url)
    tour.wait_for(staff, "/admin/changes", "add a shop")
    request = staff.page.get_by_role("main").get_by_role("row").filter(has_text="add a shop").get_by_role("link").first
    staff.open(request.get_attribute("href") or "")
    staff.page.locator("summary", has_text="Decline it").click()
    staff.page.get_by_label("What do we tell the owner?").fill(_ANSWER)
    staff.page.get_by_role("button", name="Decline it").click()
    tour.shop.mail(ADDRESS, "We cannot make this change")
    tour.show(owner, address, "change-declined")


def _connect_domain(tour: Tour, owner: Person) -> None:
    """The records of the domain are set, and everything else comes by itself."""
    page, names = owner.page, tour.street.names
    owner.open(f"{_HOME}/domain")
    proof = page.get_by_role("row").filter(has_text="TXT").locator("code").last.inner_text()
    apex = DOMAIN.removeprefix("www.")
    names.set(DOMAIN, "A", "127.0.0.1")
    names.set(apex, "A", "127.0.0.1")
    names.set(f"_portal.{apex}", "TXT", f'"{proof}"')
    _look(tour, owner, "Your site is found under this address")
    tour.shop.mail(ADDRESS, "Your domain works")
    tour.picture(page, "domain-live")


def _break_domain(tour: Tour, owner: Person) -> None:
    """The domain is led elsewhere and back; then an authority that is away lets the certificate come near its end."""
    names = tour.street.names
    names.set(DOMAIN, "A", "192.0.2.77")
    _look(tour, owner, "The domain leads somewhere else")
    tour.shop.mail(ADDRESS, "Your domain does not work")
    tour.picture(owner.page, "domain-failing")
    names.set(DOMAIN, "A", "127.0.0.1")
    _look(tour, owner, "Your site is found under this address")
    tour.street.authority.stop()
    # What three months would bring: ten days are left, and the last try is long ago.
    with tour.app.app_context(), unit_of_work():
        domain = db.session.scalars(db.select(Domain).where(Domain.name == DOMAIN)).one()
        domain.no_attempt_before = None
        for certificate in list_certificates(domain):
            certificate.starts_at = clock.now() - timedelta(days=80)
            certificate.ends_at = clock.now() + timedelta(days=10)
    _look(tour, owner, "The certificate authority does not answer")
    tour.shop.mail(ADDRESS, "A certificate ends soon")


def _look(tour: Tour, owner: Person, words: str) -> None:
    """Have the domain looked at, and see what comes of it; the page of one that works does not turn by itself."""
    owner.page.wait_for_timeout(_SAME_LOOK_MS)
    owner.open(f"{_HOME}/domain")
    owner.page.get_by_role("button", name="Look now").click()
    tour.wait_for(owner, f"{_HOME}/domain", words, seconds=_DOMAIN_SECONDS)


def _call_off_and_keep(tour: Tour, owner: Person) -> None:
    page = owner.page
    owner.open(_HOME)
    page.locator("summary", has_text="Cancel the subscription").click()
    page.get_by_label("When the month that is paid for ends").check()
    page.get_by_role("button", name="Cancel the subscription").click()
    tour.shop.mail(ADDRESS, "As you wished")
    tour.show(owner, _HOME, "my-site-ending")
    _keep(owner)


def _pay_and_fail(tour: Tour, owner: Person) -> None:
    """The provider charges another month, cannot charge the next, and can after all."""
    _charge(tour, owner, "Renew")
    tour.shop.mail(ADDRESS, "Another month of")
    _charge(tour, owner, "Fail the renewal")
    tour.shop.mail(ADDRESS, "We could not collect")
    tour.show(owner, _HOME, "my-site-grace")
    _charge(tour, owner, "Renew")
    tour.wait_for(owner, _HOME, "Everything is open")


def _pay_by_hand(tour: Tour, owner: Person) -> None:
    """The bank ends the charges, the owner goes on all the same, and is asked for the next month by us."""
    _charge(tour, owner, "End the subscription")
    tour.shop.mail(ADDRESS, "it charges no more")
    _keep(owner)
    # What time would bring: the worker asks six days before the month ends, which is months from now.
    with tour.app.app_context(), unit_of_work():
        running = db.select(Subscription).join(User).where(User.email == ADDRESS)
        for subscription in db.session.scalars(running):
            if subscription.period_ends_at is not None:
                dunning.keep_up(subscription.id, at=subscription.period_ends_at - timedelta(days=6))
    tour.shop.mail(ADDRESS, "The next month is to be paid")


def _keep(owner: Person) -> None:
    owner.open(_HOME)
    owner.page.get_by_role("button", name="Keep the subscription").click()
    expect(owner.page.get_by_role("button", name="Keep the subscription")).to_have_count(0)


def _charge(tour: Tour, owner: Person, action: str) -> None:
    """Go to the provider's page on which the subscription began, and press what happens next."""
    with tour.app.app_context():
        pages = db.select(SandboxPayment.reference).where(SandboxPayment.repeat_months.is_not(None))
        reference = db.session.scalars(pages.order_by(SandboxPayment.id.desc())).first()
    owner.open(f"/sandbox/{reference}")
    owner.press(action)
    owner.page.wait_for_load_state("networkidle")

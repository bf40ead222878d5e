"""The website that the demo's customer owns: bought, subscribed to and changed once, as everybody's.

A site can be bought once it is served, and the provider tells of its payments later, so this is the worker's to do: one
step at a time, each through the services that the pages use, until there is nothing left to do.
"""

from contextlib import suppress
from datetime import datetime, timedelta

from portal.accounts.models import User
from portal.accounts.services.paid_users import find_user
from portal.core import clock, outbox
from portal.core.db import db, unit_of_work
from portal.core.errors import Conflict
from portal.payments.extension import current_registry
from portal.payments.providers.sandbox import books
from portal.payments.providers.sandbox.provider import SandboxProvider
from portal.payments.services.starting import start_attempt
from portal.sites import queries
from portal.sites.models import Site, SiteStatus
from portal.sites.services import selling, subscribing, uploading
from portal.sites.wording import address_of_site

SLUG = "still-water-yoga"
_BY = "command:load-demo"
_PROVIDER = SandboxProvider.name
_KEY = "demo-website"
_SOON, _MOST_STEPS = timedelta(seconds=2), 60
_WAS, _BECAME = "<p>18:00 Let the week go</p>", "<p>18:00 Let the week go</p><p>19:30 By candle light</p>"


def ask_for_website(email: str) -> None:
    """Have the worker give this customer the website, in the caller's transaction. Asking again changes nothing."""
    site, owner = queries.find_site(SLUG), find_user(email)
    is_payable = any(provider.name == _PROVIDER for provider in current_registry().enabled())
    if site is not None and owner is not None and is_payable and not _is_done(site, owner):
        outbox.publish("demo.website_wanted", key=f"{_KEY}:{site.id}", user_id=owner.id, site_id=site.id, step=1)


def _is_done(site: Site, owner: User) -> bool:
    is_somebody_elses = site.owner_id is not None and site.owner_id != owner.id
    return site.is_deleted or is_somebody_elses or site.last_version_number > 1


@outbox.handles("demo.website_wanted")
def go_one_step(user_id: int, site_id: int, step: int) -> None:
    """Do what can be done now, and look again in a moment; give up when the site is never served."""
    site, owner, at = queries.get_site_by_id(site_id), db.session.get_one(User, user_id), clock.now()
    if step > _MOST_STEPS or _is_done(site, owner):
        return
    # Refused: what was paid is not counted yet, or a visitor of the demo is buying it.
    with suppress(Conflict):
        if site.status is SiteStatus.ACTIVE:
            _change(site, at)
        elif site.status is SiteStatus.OWNED:
            _subscribe(site, owner, at)
        elif site.current_version_id is not None:
            _buy(site, owner, at)
    with unit_of_work():
        outbox.publish(
            "demo.website_wanted", key=f"{_KEY}:{site_id}:{step}", available_at=at + _SOON,
            user_id=user_id, site_id=site_id, step=step + 1,
        )  # fmt: skip


def _buy(site: Site, owner: User, at: datetime) -> None:
    buyer = selling.Buyer(owner.email, owner.name, owner.locale, owner.id)
    with unit_of_work():
        placed = selling.buy_site(site, buyer, key=_KEY, provider=_PROVIDER, at=at)
    _pay(placed.session.id, at)


def _subscribe(site: Site, owner: User, at: datetime) -> None:
    return_url = address_of_site(site.id)
    with unit_of_work():
        session = subscribing.open_payment(site, owner, _PROVIDER, return_url=return_url, at=at)
    _pay(session.id, at)


def _pay(session_id: int, at: datetime) -> None:
    """As a buyer does on the sandbox's page; on one that is paid already it changes nothing."""
    reference = start_attempt(session_id, _PROVIDER, at=at).rpartition("/")[2]
    with unit_of_work():
        books.pay(reference, method="card", at=at)


def _change(site: Site, at: datetime) -> None:
    version = queries.find_newest_version(site)
    if version is not None:
        text = queries.read_text(version, "index.html").replace(_WAS, _BECAME)
        uploading.save_text(site, version, "index.html", text, note="A class on Friday evenings", by=_BY, at=at)

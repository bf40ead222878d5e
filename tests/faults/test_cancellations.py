"""A subscription that ends with its month, while the worker dies or the provider is away: it is told so, once."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from portal.core import clock
from portal.core.db import db
from portal.core.outbox import MessageStatus, OutboxMessage
from portal.payments.models import PaymentSession
from portal.payments.services.starting import start_attempt
from portal.sites.models import Site, SiteStatus
from portal.sites.services import subscribing
from portal.subscriptions.models import EndCause, Subscription, SubscriptionStatus
from portal.subscriptions.services import cancelling, dunning
from tests import factories
from tests.faults.portal import Portal, committed, wait_for
from tests.faults.test_kills import IN_A_CANCELLATION, RESUMED_WITHIN, armed, let_leases_end, names
from tests.sites.support import make_site

pytestmark = [pytest.mark.slow_fault, pytest.mark.xdist_group("faults_cancellations")]

BY = "alice@example.com"
# One run may call the provider three times, so its lease is longer than that of others; a sweep and a start come after
# it, and it may have begun a moment after the clock was looked at.
LONGEST_LEASE = RESUMED_WITHIN - timedelta(seconds=10)


@dataclass(frozen=True)
class Bought:
    """A subscription that Stripe charges: its id, that of its first payment session, and its name at Stripe."""

    portal: Portal
    id: int
    session_id: int
    reference: str

    def row(self) -> Subscription:
        """As the database has it now."""
        db.session.rollback()
        return db.session.get_one(Subscription, self.id, populate_existing=True)

    def site(self) -> SiteStatus:
        """How the site stands that it is for."""
        return db.session.get_one(Site, self.row().subject_id, populate_existing=True).status

    def ends_at_stripe(self) -> int:
        """How often Stripe says that it ended."""
        told = [one for one in self.portal.stripe.world.all("event") if one["type"] == "customer.subscription.deleted"]
        return len([one for one in told if one["data"]["object"]["id"] == self.reference])

    def requests(self) -> list[OutboxMessage]:
        """What was written down to be told to Stripe."""
        db.session.rollback()
        db.session.expire_all()
        found = db.session.scalars(select(OutboxMessage).where(OutboxMessage.topic == "subscription.end_requested"))
        return [message for message in found if message.payload == {"session_id": self.session_id}]


def buy(portal: Portal) -> Bought:
    """A site with a subscription that was paid at Stripe a moment ago; web server and worker have to run."""
    owner, at = factories.make_user(), clock.now()
    site = make_site(owner=owner)
    with committed():
        session = subscribing.open_payment(site, owner, "stripe", return_url=portal.url, at=at)
    start_attempt(session.id, "stripe", at=at)
    db.session.expire_all()
    [attempt] = db.session.get_one(PaymentSession, session.id).attempts
    db.session.rollback()
    portal.stripe.control.pay(str(attempt.provider_reference))

    def reference() -> str | None:
        db.session.rollback()
        return db.session.get_one(PaymentSession, session.id, populate_existing=True).subscription_reference

    wait_for(reference, say=lambda: str(portal.check(is_quiet=True)))
    bought = Bought(portal, session.subject_id, session.id, str(reference()))
    assert (bought.row().status, bought.site()) == (SubscriptionStatus.ACTIVE, SiteStatus.ACTIVE)
    return bought


def call_off_and_wait_for_its_last_day(bought: Bought) -> None:
    """It is to end with its month; then so much time passes that the provider is due to be told."""
    with committed():
        cancelling.cancel_at_period_end(bought.id, by=BY, at=clock.now())
    assert bought.requests() == []
    at = clock.now()
    with committed() as session:
        subscription = session.get_one(Subscription, bought.id)
        subscription.period_ends_at = at + cancelling.LET_GO_BEFORE - timedelta(minutes=1)
        due = select(OutboxMessage.id).where(
            OutboxMessage.topic == "subscription.let_go_due", OutboxMessage.status == MessageStatus.PENDING
        )
        assert len(session.scalars(due).all()) == 1
        session.execute(update(OutboxMessage).where(OutboxMessage.id.in_(due)).values(available_at=at))


def runs_out(bought: Bought) -> None:
    """It was told once, runs until its month is over, and ends then, without being told again."""
    row = bought.row()
    assert (row.status, row.cancels_at_period_end, row.end_cause) == (
        SubscriptionStatus.ACTIVE, True, EndCause.BY_CUSTOMER,
    )  # fmt: skip
    assert not row.is_charged_by_provider
    assert bought.site() is SiteStatus.ACTIVE
    at = row.period_ends_at
    assert at is not None
    with committed():
        dunning.keep_up(bought.id, at=at)
    assert (bought.row().status, bought.row().end_cause) == (SubscriptionStatus.CANCELLED, EndCause.BY_CUSTOMER)
    assert bought.site() is SiteStatus.OWNED
    assert [one.status for one in bought.requests()] == [MessageStatus.DONE]
    assert bought.ends_at_stripe() == 1
    assert bought.portal.stripe.world.get("subscription", bought.reference)["status"] == "canceled"


def test_the_worker_dies_at_every_point_of_a_cancellation(portal: Portal, marks: Path) -> None:
    """Before it is written down, before Stripe is called and after."""
    with portal.serve(), portal.work(PORTAL_FAULTS=armed(IN_A_CANCELLATION, marks)):
        bought = buy(portal)
        call_off_and_wait_for_its_last_day(bought)

        def has_recovered() -> bool:
            let_leases_end(LONGEST_LEASE)
            return bool(bought.requests()) and portal.is_quiet()

        wait_for(has_recovered, seconds=60, say=lambda: f"{names(marks)} {portal.check(is_quiet=True)}")
        assert names(marks) == set(IN_A_CANCELLATION)
        runs_out(bought)
        portal.wait_until_quiet()


@pytest.mark.parametrize("trouble", ["refused", "lost_answer", "garbage"])
def test_the_provider_is_away_when_it_should_be_told(portal: Portal, trouble: str) -> None:
    """Not reached at all, or reached without saying so: the month stays what it is, and it is told in the end."""
    control = portal.stripe.control
    with portal.serve(), portal.work():
        bought = buy(portal)
        control.add_fault(trouble, times=1_000, path="/v1/subscriptions")
        call_off_and_wait_for_its_last_day(bought)

        def was_tried_twice() -> bool:
            return any(one.attempts >= 2 and one.last_error for one in bought.requests())

        wait_for(was_tried_twice, seconds=60, say=lambda: str(portal.check(is_quiet=True)))
        [message] = bought.requests()
        assert "ProviderUnavailable" in str(message.last_error)
        assert (bought.row().status, bought.site()) == (SubscriptionStatus.ACTIVE, SiteStatus.ACTIVE)
        assert bought.row().cancels_at_period_end
        assert bought.ends_at_stripe() == (trouble != "refused")
        control.clear_faults()

        def has_recovered() -> bool:
            with committed() as session:
                session.execute(
                    update(OutboxMessage)
                    .where(OutboxMessage.id == message.id, OutboxMessage.status == MessageStatus.PENDING)
                    .values(available_at=clock.now())
                )
            return portal.is_quiet()

        wait_for(has_recovered, seconds=60, say=lambda: str(portal.check(is_quiet=True)))
        runs_out(bought)
        portal.wait_until_quiet()

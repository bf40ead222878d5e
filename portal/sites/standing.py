"""How a customer's site stands, in one sentence, and what they can do about its subscription."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from portal.core.money import Money
from portal.core.status_labels import Tone
from portal.payments import queries as payments
from portal.payments.models import PaymentSession
from portal.payments.queries import PaidTruth
from portal.sites.models import Site
from portal.subscriptions import queries as subscriptions
from portal.subscriptions.models import ASKED_BEFORE, Subscription, SubscriptionStatus


class Stand(StrEnum):
    """What the sentence on top of a site's page says."""

    CHECKED = "checked"
    WAITING = "waiting"
    NEVER = "never"
    CHARGED = "charged"
    BY_HAND = "by_hand"
    DUE = "due"
    ENDING = "ending"
    GRACE = "grace"
    OVER = "over"


_TONES: dict[Stand, Tone] = {
    Stand.CHECKED: "warning",
    Stand.WAITING: "progress",
    Stand.NEVER: "info",
    Stand.CHARGED: "success",
    Stand.BY_HAND: "success",
    Stand.DUE: "warning",
    Stand.ENDING: "warning",
    Stand.GRACE: "danger",
    Stand.OVER: "neutral",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """A site with its subscription, as its owner sees them. `payment` is the one that is looked at, if any."""

    site: Site
    subscription: Subscription | None
    stand: Stand
    payment: PaymentSession | None = None
    truth: PaidTruth | None = None

    @property
    def tone(self) -> Tone:
        """The colour of the sentence."""
        return _TONES[self.stand]

    @property
    def is_waiting(self) -> bool:
        """Whether the page should be looked at again in a moment."""
        return self.stand is Stand.WAITING

    @property
    def may_pay(self) -> bool:
        """Whether there is something to pay: to begin, to begin again, or because it is due."""
        return self.stand in (Stand.NEVER, Stand.DUE, Stand.GRACE, Stand.OVER, Stand.WAITING)

    @property
    def is_due(self) -> bool:
        """Whether the customer owes a payment for the subscription that runs."""
        return self.stand in (Stand.DUE, Stand.GRACE)

    @property
    def price(self) -> Money:
        """What a month costs: as agreed while it runs, else as offered."""
        return self.subscription.price if self.subscription is not None and self.is_running else self.site.monthly_price

    @property
    def is_running(self) -> bool:
        """Whether the subscription runs and can be called off."""
        return self.subscription is not None and self.subscription.is_running

    @property
    def may_end_later(self) -> bool:
        """Whether something paid for is left that it could run out with."""
        is_active = self.subscription is not None and self.subscription.status is SubscriptionStatus.ACTIVE
        return is_active and self.stand is not Stand.ENDING


def standing_of(site: Site, *, is_back: bool = False, at: datetime) -> Standing:
    """How a site stands. `is_back`: its owner was just sent back by a provider, so a payment may be on its way."""
    subscription = subscriptions.find_for("site", site.id)
    if subscription is None:
        return Standing(site, None, Stand.NEVER)
    payment = subscriptions.latest_payment(subscription)
    truth = payments.truth_of(payment, at=at) if payment is not None else None
    if payment is not None and truth is not None:
        if truth.needs_staff:
            return Standing(site, subscription, Stand.CHECKED, payment, truth)
        is_open = not payment.is_final and payment.expires_at > at and bool(payment.attempts)
        if (truth.provider_says_paid and not truth.is_applied) or (is_open and is_back):
            return Standing(site, subscription, Stand.WAITING, payment, truth)
    return Standing(site, subscription, stand_of(subscription, at=at), payment, truth)


def standings_of(sites: Sequence[Site], *, at: datetime) -> list[Standing]:
    """How the sites of a list stand, by their subscriptions' own state; one statement."""
    found = subscriptions.find_all_for("site", [site.id for site in sites])
    return [Standing(site, found.get(site.id), stand_of(found.get(site.id), at=at)) for site in sites]


def stand_of(subscription: Subscription | None, *, at: datetime) -> Stand:
    """What a subscription's own state says."""
    if subscription is None or subscription.status is SubscriptionStatus.INACTIVE:
        return Stand.NEVER
    if subscription.status is SubscriptionStatus.CANCELLED:
        return Stand.OVER
    if subscription.status is SubscriptionStatus.PAST_DUE:
        return Stand.GRACE
    if subscription.cancels_at_period_end:
        return Stand.ENDING
    if subscription.is_charged_by_provider:
        return Stand.CHARGED
    ends_at = subscription.period_ends_at
    return Stand.DUE if ends_at is not None and at >= ends_at - ASKED_BEFORE else Stand.BY_HAND

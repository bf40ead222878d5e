"""What must be true of hosted sites: visitors see what they should, and whoever paid has what they paid for."""

from collections.abc import Sequence

from flask_babel import lazy_gettext as _l

from portal.core.db import db
from portal.core.invariants import LIMIT, Breach, Reach, invariant
from portal.sites.services import mending


@invariant(
    "site_not_as_wanted",
    title=_l("Websites that do not show what they should"),
    advice=_l(
        "A version was asked for, and not every site host serves it. The website's page says what stood against it."
    ),
    repair=mending.deploy_again,
    action=_l("Deploy it again"),
)
def site_not_as_wanted(reach: Reach) -> Sequence[Breach]:
    """The version asked for last is what every site host serves."""
    found = db.session.execute(mending.not_as_wanted(at=reach.at).limit(LIMIT))
    return [Breach(f"sites:{one.id}", one.title, wanted.error or "", since=wanted.created_at) for one, wanted in found]


@invariant(
    "release_damaged",
    title=_l("Websites with damaged files"),
    advice=_l(
        "What lies on a site host is not what was put there: visitors may see broken pages. Hosts look each night."
    ),
    repair=mending.deploy_again,
    action=_l("Deploy it again"),
)
def release_damaged(reach: Reach) -> Sequence[Breach]:
    """What is served is one complete release: hosts compare the hashes each night, and write down what differs."""
    found = db.session.execute(mending.damaged(at=reach.at).limit(LIMIT))
    return [Breach(f"sites:{one.id}", one.title, served.host, since=served.damaged_at) for one, served in found]


@invariant(
    "site_paid_without_owner",
    title=_l("Websites paid and not handed over"),
    advice=_l("The order counts as delivered, and its website belongs to nobody."),
    repair=mending.hand_over,
    action=_l("Hand it over"),
)
def site_paid_without_owner(reach: Reach) -> Sequence[Breach]:  # noqa: ARG001  # purchases of sites are few
    """Each delivered purchase has its buyer as owner."""
    found = db.session.execute(mending.delivered_to_nobody().limit(LIMIT))
    return [
        Breach(f"orders:{one.id}", one.number, site.title, one.total, one.paid_at, reference=one.number)
        for one, site in found
    ]


@invariant(
    "site_against_subscription",
    title=_l("Websites open or closed against their subscription"),
    advice=_l("Changes and a domain of one's own are open while the subscription runs, and only then."),
    repair=mending.follow_subscription,
    action=_l("Set it right"),
)
def site_against_subscription(reach: Reach) -> Sequence[Breach]:  # noqa: ARG001  # sites are few
    """A site is open exactly while its subscription runs."""
    found = db.session.scalars(mending.against_subscription().limit(LIMIT))
    return [Breach(f"sites:{one.id}", one.title, one.status.value, since=one.updated_at) for one in found]

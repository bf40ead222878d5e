"""Where those who sell something by the month are told that it begins and ends, inside the transaction that decides it.

`create_app()` registers them by kind; subscriptions call them and know none of them.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from portal.subscriptions.models import Subscription


class Tells(Protocol):
    """Called under the subscription's lock: no network, no commit."""

    def __call__(self, subscription: Subscription, *, at: datetime) -> None: ...


class Shows(Protocol):
    """Says where the customer finds the thing: a full address."""

    def __call__(self, subject_id: int) -> str: ...


@dataclass(frozen=True, slots=True)
class Seller:
    """Who sells one kind of thing. `activated` when it begins or begins again, `ended` when it is over for good."""

    activated: Tells
    ended: Tells
    address: Shows


_sellers: dict[str, Seller] = {}


def sold_by(kind: str, seller: Seller) -> None:
    """Register who sells a kind of thing by the month."""
    _sellers[kind] = seller


def seller_of(subscription: Subscription) -> Seller:
    """Who sold this. Raises LookupError for a kind nobody registered."""
    return _sellers[subscription.subject_kind]

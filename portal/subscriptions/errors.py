"""What can go wrong with subscriptions, in words for the people who pay for them."""

from flask_babel import lazy_gettext as _l

from portal.core.errors import Conflict, NotFound


class SubscriptionNotFound(NotFound):
    """No such subscription, or it is not this person's."""

    default = _l("We could not find that subscription.")


class NothingDue(Conflict):
    """There is nothing to pay now: the period is paid for, or the provider charges by itself."""

    code = "nothing_due"
    default = _l("There is nothing to pay right now.")


class PaymentUnderWay(Conflict):
    """Another window has just begun to pay, in another way."""

    code = "payment_under_way"
    default = _l("Another payment for this is under way. Finish it, or wait a minute and try again.")


class NotCancellable(Conflict):
    """Only a running subscription can be cancelled."""

    code = "not_cancellable"
    default = _l("This subscription is not running.")


class NotKept(Conflict):
    """Only a subscription that is about to end can be kept."""

    code = "not_kept"
    default = _l("This subscription is not about to end. To have it again, start it anew.")

"""What can go wrong with money, in the customer's words."""

from flask_babel import lazy_gettext as _l

from portal.core.errors import Conflict, Invalid, NotFound


class SessionNotFound(NotFound):
    """No such payment session, or not this customer's."""

    default = _l("We could not find that payment.")


class SessionClosed(Conflict):
    """The session is paid, failed or past its time: nothing more can be started on it."""

    code = "session_closed"
    default = _l("This payment is already finished. Look at its current state before trying again.")


class NotDecidedByHand(Conflict):
    """Nobody's word is needed: the provider itself says how the payment stands."""

    code = "not_decided_by_hand"
    default = _l("There is nothing to decide by hand: the provider itself says how this payment stands.")


class InvalidAmount(Invalid):
    """An amount that cannot be charged."""

    code = "invalid_amount"
    default = _l("This amount cannot be paid.")


class InvoiceNotFound(NotFound):
    """No such invoice, or not this customer's."""

    default = _l("We could not find that invoice.")


class EventNotFound(NotFound):
    """No such webhook event."""

    default = _l("We could not find that event.")

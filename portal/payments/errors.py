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


class RefundNotFound(NotFound):
    """No such refund."""

    default = _l("We could not find that refund.")


class DisputeNotFound(NotFound):
    """No such dispute."""

    default = _l("We could not find that dispute.")


class CreditNoteNotFound(NotFound):
    """No such credit note, or not this customer's."""

    default = _l("We could not find that credit note.")


class NothingToRefund(Conflict):
    """No money came, or all of it has gone back."""

    code = "nothing_to_refund"
    default = _l("There is no money left to give back here.")


class RefundTooLarge(Invalid):
    """More than is left of the payments."""

    code = "refund_too_large"
    default = _l("This is more than is left to give back.")


class InvalidRefund(Invalid):
    """An amount or a choice of lines that cannot be given back."""

    code = "invalid_refund"
    default = _l("Choose lines, or write an amount above zero.")


class LineAlreadyRefunded(Conflict):
    """The line was given back before, or a part of the sum was, so that the whole line no longer fits."""

    code = "line_already_refunded"
    default = _l("A chosen line has been given back already, in whole or in part. Give back an amount instead.")


class FullRefundOnly(Invalid):
    """The provider gives back a payment whole or not at all."""

    code = "full_refund_only"
    default = _l("This provider can only give back a payment in full.")


class MoneyInDispute(Conflict):
    """The bank is deciding about the money; giving it back now could pay it twice."""

    code = "money_in_dispute"
    default = _l("This money is in dispute: the bank decides about it. Giving it back now could pay it twice.")


class RequestAlreadyUsed(Conflict):
    """The form was sent before with other answers."""

    code = "request_already_used"
    default = _l("This form was already sent with other answers. Look at the refunds before you try again.")


class RefundNotAskable(Conflict):
    """The refund is over, is done by hand, or was first asked for so long ago that asking could pay twice."""

    code = "refund_not_askable"
    default = _l("The provider cannot be asked again about this refund. Look at how it stands there.")

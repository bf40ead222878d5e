"""What can go wrong between a quote and a delivered part, in words for the customer or for staff."""

from flask_babel import lazy_gettext as _l

from portal.core.errors import Conflict, Invalid, NotFound


class SalesOrderNotFound(NotFound):
    """No such sales order, or not this customer's."""

    default = _l("We could not find that order.")


class PhotoNotFound(NotFound):
    """No such photo, or not of this order."""

    default = _l("We could not find that photo.")


class DepositNotOffered(Invalid):
    """Paying a part first was asked for where it is not offered."""

    code = "deposit_not_offered"
    default = _l("This order can only be paid in full.")


class NotPaidEnough(Conflict):
    """Production would begin before its share is paid."""

    code = "not_paid_enough"
    default = _l("The share that has to be paid before production is not here yet.")


class NotPaidInFull(Conflict):
    """Parts would leave the house before they are paid."""

    code = "not_paid_in_full"
    default = _l("This order is not paid in full, so it cannot be shipped yet.")


class ReasonMissing(Invalid):
    """Nobody said why."""

    code = "reason_missing"
    default = _l("Say why, in a few words.")


class NotCancellable(Conflict):
    """The parts are being made, or were sent."""

    code = "not_cancellable"
    default = _l("This order can no longer be cancelled. Look at its current state.")


class NeedsAdministrator(Conflict):
    """Money would go back, and only an administrator may decide that."""

    code = "needs_administrator"
    default = _l("This order was paid for. An administrator has to cancel it, because the money goes back.")


class NotAtQualityCheck(Conflict):
    """A photo of parts that are not on the table."""

    code = "not_at_quality_check"
    default = _l("Photos are taken at the quality check. This order is somewhere else by now.")


class TooManyPhotos(Conflict):
    """More photos than anybody looks at."""

    code = "too_many_photos"
    default = _l("This order has all the photos it can have.")


class NoPicture(Invalid):
    """What was uploaded is not a picture we can read."""

    code = "no_picture"
    default = _l("This is not a picture we can read. Upload a JPEG, PNG or WebP file.")


class PictureTooLarge(Invalid):
    """A picture with more bytes or pixels than we take."""

    code = "picture_too_large"
    default = _l("This picture is too large. Upload one of up to 12 MB and 50 megapixels.")

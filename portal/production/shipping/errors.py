"""What can go wrong between a packed box and the customer's door, in words for staff and customers."""

from flask_babel import lazy_gettext as _l

from portal.core.errors import Conflict, Invalid, NotFound


class ParcelNotFound(NotFound):
    """No such sales order, or no such parcel of it."""


class LinkNotFound(NotFound):
    """The tracking link is wrong, was revoked or renewed, or never was: all look alike."""


class NotReadyToShip(Conflict):
    """The order is not at the quality check."""

    code = "not_ready_to_ship"
    default = _l("Parcels are packed at the quality check. This order is not there.")


class AlreadyShipped(Conflict):
    """The parcel has been handed over; shipping it again would announce it twice."""

    code = "already_shipped"
    default = _l("This order has been shipped already.")


class ParcelUnderWay(Conflict):
    """There is a parcel for this order that is not a draft any more."""

    code = "parcel_under_way"
    default = _l("There is a parcel for this order already. Cancel it before you make another one.")


class CarrierIsAsked(Conflict):
    """The carrier has been asked and has not answered for certain; asking for something else now could cost twice."""

    code = "carrier_is_asked"
    default = _l("The carrier is being asked. Its answer appears here by itself.")


class RateGone(Conflict):
    """The chosen price is not among those of the parcel as it is now."""

    code = "rate_gone"
    default = _l("This price belongs to an earlier parcel. Choose one of those shown now.")


class NoLabelYet(Conflict):
    """Nothing to hand over: the label is not bought, or its money is being asked back."""

    code = "no_label_yet"
    default = _l("There is no valid label for this parcel, so it cannot be shipped.")


class BadParcel(Invalid):
    """A weight or a size no carrier takes."""

    code = "bad_parcel"
    default = _l("Give a weight of up to 70 kg and sides of up to 2 m.")

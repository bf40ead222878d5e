"""What can go wrong with webhooks to merchants."""

from flask_babel import lazy_gettext as _l

from portal.core.errors import Conflict, Invalid, NotFound


class EndpointNotFound(NotFound):
    """This merchant listens nowhere in this mode."""

    default = _l("Set the address of your webhooks first.")


class DeliveryNotFound(NotFound):
    """No such delivery, or another merchant's."""

    default = _l("We could not find that delivery.")


class RefusedAddress(Invalid):
    """An address that nothing is sent to."""

    code = "refused_address"
    default = _l("Give a whole https:// address that is open to the public internet.")


class StillPending(Conflict):
    """A delivery that is on its way already."""

    code = "still_pending"
    default = _l("This delivery is still on its way.")


class RotatedJustNow(Conflict):
    """The secret before the last is still in use."""

    code = "rotated_just_now"
    default = _l("The secret was replaced less than a day ago, and the one before it still signs. Wait until it ends.")

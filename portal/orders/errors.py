"""What can go wrong between the shelf and the receipt, in the customer's words."""

from flask_babel import lazy_gettext as _l

from portal.core.errors import Conflict, Invalid, NotFound


class NotForSale(NotFound):
    """The package does not exist or is not published."""

    code = "not_for_sale"
    default = _l("This package is not available.")


class InvalidQuantity(Invalid):
    """A number of licences nobody can buy."""

    code = "invalid_quantity"
    default = _l("Choose between 1 and 99 licences.")


class MixedCurrencies(Invalid):
    """Two currencies would meet in one order."""

    code = "mixed_currencies"


class CartFull(Invalid):
    """More different packages than a cart holds."""

    code = "cart_full"
    default = _l("A cart holds up to 50 different packages. Buy these first.")


class CartLineGone(Conflict):
    """The line was removed in another window."""

    code = "cart_line_gone"
    default = _l("This was already removed from your cart.")


class CartEmpty(Conflict):
    """There is nothing to buy."""

    code = "cart_empty"
    default = _l("Your cart is empty.")


class CartNeedsAttention(Conflict):
    """Something in the cart is gone, or costs something else than the customer was shown."""

    code = "cart_needs_attention"
    default = _l("Something in your cart has changed. Please look at it before you pay.")


class CartChanged(Conflict):
    """The cart is no longer the one this page was made from."""

    code = "cart_changed"
    default = _l("Your cart was changed in another window. Please check it and try again.")


class DetailsMissing(Conflict):
    """The buyer has not said who they are."""

    code = "details_missing"
    default = _l("Please tell us your e-mail address and name first.")


class OrderNotFound(NotFound):
    """No such order, or not this customer's."""

    default = _l("We could not find that order.")


class OrderNotPayable(Conflict):
    """The order is paid, cancelled, or an earlier payment of it is still being decided."""

    code = "order_not_payable"
    default = _l("This order cannot be paid right now. Look at its current state.")

    def __init__(self, number: str) -> None:
        super().__init__()
        self.number = number


class OrderNotCancellable(Conflict):
    """The order is paid, delivered or cancelled: there is nothing left to call off."""

    code = "order_not_cancellable"
    default = _l("This order can no longer be cancelled. Look at its current state.")


class EnrolmentNotFound(NotFound):
    """The customer does not have this package."""

    default = _l("We could not find that package among yours.")

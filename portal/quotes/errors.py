"""What can go wrong between a model file and an accepted price, in the customer's words."""

from typing import ClassVar

from flask_babel import lazy_gettext as _l

from portal.core.errors import Conflict, Invalid, NotFound, Sentence
from portal.quotes.models import Quote


class QuoteNotFound(NotFound):
    """No such quote, or not this customer's."""

    default = _l("We could not find that quote.")


class ModelNotFound(NotFound):
    """No such model file, not this customer's, or nothing is kept of it any more."""

    default = _l("We could not find that model.")


class UploadRefused(Invalid):
    """A file we do not take; nothing of it was kept."""

    code = "upload_refused"


class QuoteFull(Invalid):
    """More models than a quote holds."""

    code = "quote_full"
    default = _l("A quote holds up to 50 models. Send these first, then start another one.")


class NotADraft(Conflict):
    """The quote was sent, and can no longer be changed."""

    code = "not_a_draft"
    default = _l("This quote was already sent and cannot be changed. Ask for a new one from it.")


class ItemGone(Conflict):
    """The row was removed in another window."""

    code = "item_gone"
    default = _l("This model was already removed from the quote.")


class InvalidOption(Invalid):
    """A way of making the part that we do not offer."""

    code = "invalid_option"
    default = _l("We do not offer that. Choose from the list.")


class InvalidQuantity(Invalid):
    """A number of pieces nobody can order."""

    code = "invalid_quantity"
    default = _l("Choose between 1 and 10,000 pieces.")


class InvalidInfill(Invalid):
    """An infill the material is not printed with."""

    code = "invalid_infill"


class ModelIsShared(Conflict):
    """Another quote rests on how this model was read."""

    code = "model_is_shared"
    default = _l("Another quote uses this model as it is. Upload the file again to read it in another unit.")


class NothingToPrice(Conflict):
    """A quote without models."""

    code = "nothing_to_price"
    default = _l("Add a model first.")


class StillMeasuring(Conflict):
    """Not every model is measured yet."""

    code = "still_measuring"
    default = _l("We are still measuring your models. Please wait a moment.")


class UnusableModel(Conflict):
    """A model that cannot be made is still in the quote."""

    code = "unusable_model"
    default = _l("One of the models cannot be used. Remove it from the quote first; its row says why.")


class PricesChanged(Conflict):
    """The page shows other prices than those of now."""

    code = "prices_changed"
    default = _l("The price has changed since you opened this page. Please look at it again before you send the quote.")


class RushNotOffered(Conflict):
    """No machine hours are left for this level."""

    code = "rush_not_offered"
    default = _l("We cannot make your parts that soon right now. Choose another delivery time.")


class NotApproved(Conflict):
    """The customer wants to accept before staff have looked."""

    code = "not_approved"
    default = _l("We are still checking this price. You can accept it as soon as we have confirmed it.")


class QuoteExpired(Conflict):
    """Its price is no longer held."""

    code = "quote_expired"
    default = _l("This quote has expired. Ask for a new one from it: that takes one click.")


class NotRequotable(Conflict):
    """The quote is still good, so another one of it would only confuse."""

    code = "not_requotable"
    default = _l("This quote is still open. A new one can be made from it when it is over.")


class ReasonMissing(Invalid):
    """Somebody will read why."""

    code = "reason_missing"
    default = _l("Please say why, in a few words.")


class InvalidPrice(Invalid):
    """A price staff cannot ask for."""

    code = "invalid_price"
    default = _l("Enter a price above zero.")


class PriceMissing(Conflict):
    """A part has no price yet."""

    code = "price_missing"
    default = _l("A part of this quote has no price yet. Set the price of the whole quote first.")


class QuoteMoved(Conflict):
    """A colleague, or the customer, decided while somebody looked at the page."""

    code = "quote_moved"
    default = _l("Somebody else was faster: the quote has changed since you opened this page.")


class MessageMissing(Invalid):
    """Nothing to tell."""

    code = "message_missing"
    default = _l("Write something to the customer.")


class ModelIsNeeded(Conflict):
    """An open order is made from the model, so it cannot be destroyed."""

    code = "model_is_needed"
    default = _l("An open order is made from this model. You can destroy it when the order is finished.")


class ModelDestroyed(Conflict):
    """A model of the quote is destroyed, so nobody can make it."""

    code = "model_destroyed"
    default = _l("A model of this quote was destroyed, so it can no longer be made. Upload it again in a new quote.")


class NotConvertible(Conflict):
    """The quote cannot become an order; each reason is a subclass with its own words."""

    code: ClassVar[str] = "not_convertible"
    default: ClassVar[Sentence] = _l("This quote cannot be ordered. Look at its current state.")

    def __init__(self, quote: Quote) -> None:
        super().__init__()
        self.quote = quote


class NotAccepted(NotConvertible):
    """Nobody has accepted its price."""

    code = "quote_not_accepted"
    default = _l("Accept the quote first, then it can be ordered.")


class ExpiredBeforeOrder(NotConvertible):
    """Accepted, and then left lying until the price was no longer held."""

    code = "quote_expired"
    default = _l("This quote has expired. Ask for a new one from it: that takes one click.")


class AlreadyConverted(NotConvertible):
    """There is an order of it."""

    code = "quote_converted"
    default = _l("This quote was already ordered.")


class ModelGone(NotConvertible):
    """One of its models was destroyed since."""

    code = "model_destroyed"
    default = _l("A model of this quote was destroyed, so it can no longer be made. Upload it again in a new quote.")

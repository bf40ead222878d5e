"""What can go wrong with price books, in the words of those who keep them."""

from collections.abc import Sequence
from typing import ClassVar

from flask_babel import lazy_gettext as _l

from portal.core.errors import Conflict, Invalid, NotFound
from portal.quotes.pricing.schema import Problem


class InvalidPriceBook(Invalid):
    """A price book that cannot be calculated with; `problems` names every field that is wrong."""

    code = "invalid_price_book"
    default = _l("The price book has mistakes. Nothing was changed.")

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__()
        self.problems = tuple(problems)


class PriceBookNotFound(NotFound):
    """There is no such version."""

    default = _l("We could not find that version of the price book.")


class NoPriceBook(Conflict):
    """No version was ever published, so nothing can be priced."""

    status: ClassVar[int] = 503
    code = "no_price_book"
    default = _l("There are no prices yet. Please try again later.")


class PriceBookPublished(Conflict):
    """A published version never changes: quotes rest on it."""

    code = "price_book_published"
    default = _l("This version was published and cannot be changed any more. Start a new draft from it.")


class PriceBookChanged(Conflict):
    """Another person saved the draft while this one was editing it."""

    code = "price_book_changed"
    default = _l("Somebody else changed this draft in the meantime. Look at it again before you save.")


class PriceBookOvertaken(Conflict):
    """Another version was published after this draft was begun."""

    code = "price_book_overtaken"
    default = _l(
        "Another version was published since this draft was begun. Compare the two, and confirm that this one shall "
        "replace it."
    )

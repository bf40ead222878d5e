"""What the room of quotes says: states, reasons, events, and the steps of a price with their formulas."""

from collections.abc import Mapping
from decimal import Decimal

from flask_babel import LazyString, format_decimal
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from portal.admin.queries.quotes import QuoteState
from portal.core.ui import money
from portal.quotes import wording
from portal.quotes.pricing.price import LinePrice
from portal.quotes.pricing.steps import Step
from portal.quotes.pricing.wording import step_formula, step_name

_STATES: Mapping[QuoteState, LazyString] = {
    QuoteState.WAITING: _l("Waiting for a price"),
    QuoteState.PRICED: _l("Price confirmed"),
    QuoteState.ACCEPTED: _l("Accepted, not ordered"),
    QuoteState.ORDERED: _l("Ordered"),
    QuoteState.DRAFT: _l("Drafts"),
    QuoteState.REJECTED: _l("Rejected"),
    QuoteState.CANCELLED: _l("Cancelled"),
}

_REASONS: Mapping[str, LazyString] = {
    "note": _l("The customer wrote a note"),
    "limit": _l("The total has reached the limit"),
    "unit": _l("Very small: was it drawn in millimetres?"),
}

_EVENTS: Mapping[str, LazyString] = {
    "quote.started": _l("Begun"),
    "quote.kept": _l("Kept in the account"),
    "quote.requoted": _l("Made from an older quote"),
    "quote.submitted": _l("Sent to us"),
    "quote.approved": _l("Price confirmed"),
    "quote.price_set": _l("Price set by hand"),
    "quote.message": _l("Message to the customer"),
    "quote.accepted": _l("Accepted"),
    "quote.rejected": _l("Rejected"),
    "quote.cancelled": _l("Cancelled"),
    "quote.converted": _l("Ordered"),
    "quote.model_revised": _l("Model replaced"),
}


def state_choices() -> list[tuple[str, str]]:
    """The states of the filter; nothing chosen is the queue, so everything has a word of its own."""
    return [*((state.value, str(name)) for state, name in _STATES.items()), ("all", _("All quotes"))]


def reason_words(code: str) -> str:
    """Why a quote waits, to staff."""
    return str(_REASONS.get(code) or wording.reason_text(code))


def event_words(event: str) -> str:
    """What happened to a quote."""
    return str(_EVENTS.get(event, event))


def step_rows(line: LinePrice, currency: str) -> list[tuple[str, str, str]]:
    """Every step to a piece's price: what it works out, how, and what came out."""
    return [(step_name(step), step_formula(step), _value(step, currency)) for step in line.steps]


def _value(step: Step, currency: str) -> str:
    if step.unit == "minor":
        return money(int(step.value), currency)
    number = format_decimal(Decimal(step.value))
    if step.unit == "money":
        return f"{number} {currency}"
    return f"{number} {'mm³' if step.unit == 'mm3' else step.unit}"

"""What the mails about quotes are filled with. Called when a mail is sent, so it says how things stand by then."""

from collections.abc import Mapping
from typing import Any

from flask_babel import lazy_gettext as _l

from portal.core import clock, mail
from portal.core.addresses import address_of
from portal.core.db import db
from portal.core.mail import Attachment, Content
from portal.quotes.models import ModelFile, Quote
from portal.quotes.paper import pdf
from portal.quotes.presenting import view_of
from portal.quotes.queries import quote_for_mail
from portal.quotes.services.custody import DESTROYED, ERASED
from portal.quotes.services.destroying import find_access


@mail.context("quote_received", title=_l("Quote received"))
def quote_received(quote_id: int) -> Content:
    """After a customer has sent a quote: accepted at once, or waiting for us."""
    return _about(quote_for_mail(quote_id))


@mail.context("quote_priced", title=_l("Price of a quote confirmed"))
def quote_priced(quote_id: int) -> Content:
    """After staff have confirmed a price: it can be accepted now. The quote is attached."""
    quote = quote_for_mail(quote_id)
    return _about(quote, attachments=(Attachment(f"{quote.number}.pdf", pdf(quote)),))


@mail.context("quote_message", title=_l("Message about a quote"))
def quote_message(quote_id: int) -> Content:
    """Words of staff about a quote that still waits."""
    return _about(quote_for_mail(quote_id))


@mail.context("quote_declined", title=_l("Quote declined"))
def quote_declined(quote_id: int) -> Content:
    """After staff have turned a quote down, with the reason."""
    return _about(quote_for_mail(quote_id))


@mail.context("quote_expiring", title=_l("Quote expires soon"))
def quote_expiring(quote_id: int) -> Content:
    """Three days before a confirmed price ends."""
    return _about(quote_for_mail(quote_id))


@mail.context("model_destroyed", title=_l("Receipt for a destroyed model"))
def model_destroyed(model_file_id: int) -> Content:
    """After the bytes of a model are gone: what was destroyed, when and by whom."""
    return Content(values=receipt_values(db.session.get_one(ModelFile, model_file_id)))


def receipt_values(model: ModelFile) -> Mapping[str, Any]:
    """What a receipt says, on paper and on the page."""
    destroyed, erased = find_access(model, DESTROYED), find_access(model, ERASED)
    return {
        "model": model,
        "destroyed_by": destroyed.actor if destroyed is not None else "",
        "destroyed_at": model.destroyed_at,
        "erased_at": erased.at if erased is not None else None,
    }


def _about(quote: Quote, *, attachments: tuple[Attachment, ...] = ()) -> Content:
    """What has to be translated is asked of the view by the template, which knows the reader's language."""
    view = view_of(quote, at=clock.now())
    parts = [
        (f"{row.model.name} × {row.line.quantity}", row.line.total_minor)
        for row in view.rows
        if row.line.unit_minor is not None
    ]
    values = {
        "quote": quote,
        "view": view,
        "parts": parts,
        "quote_url": address_of("quotes.detail", number=quote.number or ""),
    }
    return Content(values=values, attachments=attachments)

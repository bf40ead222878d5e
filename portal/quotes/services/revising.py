"""Putting a changed model in the place of one in a draft: made the same way, with the one before kept beside it."""

from datetime import datetime

from portal.core import audit, outbox
from portal.core.db import db
from portal.quotes.models import Quote
from portal.quotes.services.drafting import new_model
from portal.quotes.services.loading import QuoteOwner, item_of, lock_draft
from portal.quotes.services.receiving import Received
from portal.quotes.services.repricing import in_force, reprice


def revise_item(number: str, owner: QuoteOwner, item_id: int, received: Received, *, at: datetime) -> Quote:
    """Replace a row's model by one that was received; how it is made stays. Only the model just before is kept beside.

    Raises QuoteNotFound, NotADraft or ItemGone.
    """
    quote, force = lock_draft(number, owner=owner), in_force(at)
    item = item_of(quote, item_id)
    old, forgotten = item.model_file, item.revision_of_id
    model = new_model(owner, received, at=at)
    item.model_file, item.revision_of_id = model, old.id
    db.session.flush()
    audit.record(
        "quote.model_revised",
        actor=owner.name,
        subject=f"quotes:{quote.id}",
        before={"name": old.name, "sha256": old.sha256},
        after={"name": model.name, "sha256": model.sha256},
    )
    outbox.publish("model_file.uploaded", model_file_id=model.id)
    if forgotten is not None:
        outbox.publish("model_file.dropped", model_file_id=forgotten)
    reprice(quote, force, at=at)
    return quote

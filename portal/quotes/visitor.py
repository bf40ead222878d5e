"""What the cookie session knows of a visitor's draft, and whose quotes a request is about."""

from datetime import datetime

from flask import has_request_context, session
from flask_login import current_user

from portal.accounts.models import User
from portal.core import sealed
from portal.quotes.services.drafting import keep_draft
from portal.quotes.services.loading import QuoteOwner

_TOKEN = "quote_token"  # noqa: S105  # the name it has in the cookie


def owner() -> QuoteOwner:
    """Who asks: the account, else this browser; nobody's quotes for a visitor who has uploaded nothing."""
    if current_user.is_authenticated:
        return QuoteOwner(user_id=current_user.id, name=current_user.email)
    token = session.get(_TOKEN)
    return QuoteOwner(token=token if isinstance(token, str) else None)


def future_owner() -> QuoteOwner:
    """The same for somebody who is about to begin a draft; tell `remember` when it worked."""
    asks = owner()
    return asks if asks.user_id is not None or asks.token is not None else QuoteOwner(token=sealed.new_token())


def remember(asks: QuoteOwner) -> None:
    """Keep a visitor's token in the cookie."""
    if asks.user_id is None and session.get(_TOKEN) != asks.token:
        session[_TOKEN] = asks.token
        # The draft is kept for weeks; a cookie that dies with the window would lose it.
        session.permanent = True


def take_over_draft(user: User, *, at: datetime) -> None:
    """Make what this browser uploaded the user's, in the transaction that signs them in."""
    token = session.get(_TOKEN) if has_request_context() else None
    if isinstance(token, str):
        keep_draft(user, token, at=at)

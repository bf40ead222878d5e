"""The blueprint of a merchant's own pages, and what they share."""

from typing import cast

from flask import Blueprint, Response, request
from flask_login import current_user

from portal.accounts.models import User
from portal.core import settings
from portal.merchants import queries
from portal.merchants.models import Merchant

bp = Blueprint("merchant", __name__, url_prefix="/merchant")
MODES = ("test", "live")


def me() -> User:
    """The signed-in user themselves, not Flask-Login's stand-in for them."""
    return cast("User", current_user._get_current_object())  # noqa: SLF001  # the way Flask-Login documents


def mine() -> Merchant:
    """The merchant that the signed-in user looks after. Raises MerchantNotFound: there is no such page for others."""
    return queries.get_merchant_of(me().id)


def mode() -> str:
    """Test or live, as the page's switch says; at first what this installation does."""
    asked = request.values.get("mode", "")
    return asked if asked in MODES else settings.current().payment_mode


@bp.after_request
def _private(response: Response) -> Response:
    # Secrets are shown here once: they must not come back from a cache with the back button.
    response.headers.setdefault("Cache-Control", "no-store")
    return response

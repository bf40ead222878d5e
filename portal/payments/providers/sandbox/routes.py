"""The sandbox company's hosted page. It exists only where the sandbox is switched on, and never in production."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, request, url_for
from flask.typing import ResponseReturnValue

from portal.config import Settings
from portal.core import clock, htmx
from portal.core.access import public
from portal.core.db import unit_of_work
from portal.core.errors import Invalid
from portal.core.web import CONTENT_SECURITY_POLICY
from portal.payments.providers.sandbox import (
    books,
    delivery,  # noqa: F401  # its handler carries the company's events to the portal
)
from portal.payments.providers.sandbox.models import PageStatus, SandboxPayment

bp = Blueprint("sandbox", __name__, url_prefix="/sandbox")

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+")
Action = Callable[..., SandboxPayment]
_ACTIONS: Mapping[str, Action] = {
    "pay_card": partial(books.pay, method="card"),
    "pay_blik": partial(books.pay, method="blik"),
    "pay_twice": partial(books.pay, method="card", times=2),
    "pay_late": partial(books.pay, method="card", delay=books.LATE),
    "pay_untold": partial(books.pay, method="card", is_told=False),
    "cancel": books.cancel,
}
# What happens to a subscription in the months after; the page stays where it is.
_LATER: Mapping[str, Action] = {
    "renew": books.renew,
    "fail_renewal": books.fail_renewal,
    "end_subscription": books.end_subscription,
}


def init_app(app: Flask, settings: Settings) -> None:
    """Offer the pages where the sandbox is in use."""
    if settings.sandbox_enabled and not settings.is_production:
        app.register_blueprint(bp)


@bp.get("/<reference>")
@public
def show(reference: str) -> ResponseReturnValue:
    """The page a buyer is sent to."""
    return _render(books.get_page(reference), at=clock.now())


@bp.post("/<reference>")
@public
def act(reference: str) -> ResponseReturnValue:
    """What the buyer pressed. On a page that is closed already it changes nothing."""
    action, at = request.form.get("action", ""), clock.now()
    with unit_of_work():
        if action == "decline":
            tries = request.form.get("tries", type=int, default=0)
            page = books.decline(reference, tries=tries, at=at)
        elif action in _LATER:
            page = _LATER[action](reference, at=at)
        elif action in _ACTIONS:
            page = _ACTIONS[action](reference, at=at)
        else:
            raise Invalid
    if action in _LATER:
        return htmx.leave(url_for("sandbox.show", reference=reference))
    if page.state is PageStatus.PAID:
        return htmx.leave(page.success_url)
    if page.state is PageStatus.CANCELLED:
        return htmx.leave(page.cancel_url)
    if page.state is PageStatus.OPEN:
        return htmx.leave(url_for("sandbox.show", reference=reference))
    return _render(page, at=at, status=409)


def _render(page: SandboxPayment, *, at: datetime, status: int = 200) -> Response:
    is_over = page.state is PageStatus.OPEN and page.expires_at <= at
    response = htmx.render(
        "sandbox/page.html",
        page=page,
        state=PageStatus.EXPIRED if is_over else page.state,
        tries=books.count_declined(page),
        told=books.events_of(page),
        status=status,
    )
    # Chromium holds a form's redirect to form-action, and the shop may live on another host.
    targets = " ".join(sorted(filter(None, {_origin(page.success_url), _origin(page.cancel_url)})))
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY.replace(
        "form-action 'self'", f"form-action 'self' {targets}"
    )
    response.headers["Cache-Control"] = "no-store"
    return response


def _origin(url: str) -> str | None:
    """Where an address leads, if it can stand in a header as it is."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    return origin if _ORIGIN.fullmatch(origin) else None

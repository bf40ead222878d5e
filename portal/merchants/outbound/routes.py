"""`/merchant/webhooks`: where a merchant is told what happened, the secret, and the log of every delivery."""

import shlex

from flask import Response, flash, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.core import clock, htmx
from portal.core.access import recently_authenticated, verified
from portal.core.db import unit_of_work
from portal.core.errors import PortalError
from portal.extensions import limiter
from portal.merchants.models import Merchant
from portal.merchants.outbound import endpoints, queries
from portal.merchants.outbound.errors import EndpointNotFound, RefusedAddress, RotatedJustNow, StillPending
from portal.merchants.outbound.events import EventType
from portal.merchants.outbound.forms import EndpointForm
from portal.merchants.outbound.models import DeliveryStatus, WebhookDelivery, WebhookEndpoint
from portal.merchants.outbound.wording import trouble_words
from portal.merchants.routes.blueprint import bp, me, mine, mode

_DELIVERY = "/webhooks/deliveries/<delivery_id>"
_LIMIT = "20 per minute"


@bp.get("/webhooks", endpoint="webhooks")
@verified
def webhook_page() -> ResponseReturnValue:
    """The endpoint of one mode and its deliveries, newest first."""
    return _page(mine())


@bp.get("/webhooks/address")
@verified
@recently_authenticated
def webhook_address() -> ResponseReturnValue:
    """The form for the address; asking for it proves the password again, because a new secret is shown after it."""
    endpoint = queries.find_endpoint(mine(), mode())
    form = EndpointForm(formdata=None, mode=mode(), url=endpoint.url if endpoint else "")
    return _form_page(form)


@bp.post("/webhooks/address")
@verified
@recently_authenticated
def set_webhook_address() -> ResponseReturnValue:
    """Set the address; the first time the secret is shown, this once."""
    merchant, form = mine(), EndpointForm()
    if not form.validate():
        return _form_page(form, status=422)
    try:
        with unit_of_work():
            endpoint, secret = endpoints.set_url(
                merchant, mode=form.mode.data, url=form.url.data, by=me().email, at=clock.now()
            )
    except RefusedAddress as refusal:
        form.url.errors = [str(refusal)]
        return _form_page(form, status=refusal.status)
    if secret is not None:
        return _secret_page(endpoint, secret)
    flash(_("Saved."), "success")
    return _back(endpoint.mode)


@bp.get("/webhooks/secret")
@verified
@recently_authenticated
def webhook_secret() -> ResponseReturnValue:
    """Before the secret is replaced."""
    endpoint = _endpoint(mine())
    return htmx.render("merchants/rotate_webhook.html", endpoint=endpoint)


@bp.post("/webhooks/secret")
@verified
@recently_authenticated
def rotate_webhook_secret() -> ResponseReturnValue:
    """Replace the secret and show the new one, this once."""
    merchant = mine()
    try:
        with unit_of_work():
            endpoint, secret = endpoints.rotate_secret(merchant, mode=mode(), by=me().email, at=clock.now())
    except RotatedJustNow as refusal:
        return _page(merchant, refusal=refusal)
    return _secret_page(endpoint, secret)


@bp.post("/webhooks/test")
@verified
@limiter.limit(_LIMIT)
def send_test_webhook() -> ResponseReturnValue:
    """Send an event about nothing."""
    merchant = mine()
    with unit_of_work():
        event = endpoints.send_test(merchant, mode=mode(), at=clock.now())
    flash(_("A test event is on its way."), "success")
    return htmx.after_post(url_for("merchant.webhook_delivery", delivery_id=event.public_id))


@bp.post("/webhooks/pause")
@verified
def pause_webhooks() -> ResponseReturnValue:
    """Send nothing for now."""
    merchant = mine()
    with unit_of_work():
        endpoints.pause(merchant, mode=mode(), by=me().email, at=clock.now())
    flash(_("Paused. What happens meanwhile is kept, and sent when you go on."), "success")
    return _back(mode())


@bp.post("/webhooks/resume")
@verified
def resume_webhooks() -> ResponseReturnValue:
    """Send again."""
    merchant = mine()
    with unit_of_work():
        endpoints.resume(merchant, mode=mode(), by=me().email, at=clock.now())
    flash(_("What waited is being sent."), "success")
    return _back(mode())


@bp.get(_DELIVERY)
@verified
def webhook_delivery(delivery_id: str) -> ResponseReturnValue:
    """One event: what is sent, and how every try was answered."""
    return _delivery_page(mine(), delivery_id)


@bp.post(f"{_DELIVERY}/again")
@verified
@limiter.limit(_LIMIT)
def redeliver_webhook(delivery_id: str) -> ResponseReturnValue:
    """Send an event once more."""
    merchant = mine()
    try:
        with unit_of_work():
            endpoints.redeliver(merchant, delivery_id, by=me().email, at=clock.now())
    except StillPending as refusal:
        return _delivery_page(merchant, delivery_id, refusal=refusal)
    flash(_("The event is being sent again."), "success")
    return htmx.after_post(url_for("merchant.webhook_delivery", delivery_id=delivery_id))


def _endpoint(merchant: Merchant) -> WebhookEndpoint:
    endpoint = queries.find_endpoint(merchant, mode())
    if endpoint is None:
        raise EndpointNotFound
    return endpoint


def _back(to_mode: str) -> ResponseReturnValue:
    return htmx.after_post(url_for("merchant.webhooks", mode=to_mode))


def _page(merchant: Merchant, *, refusal: PortalError | None = None) -> Response:
    endpoint = queries.find_endpoint(merchant, mode())
    kinds = [kind.value for kind in EventType]
    kind = request.args.get("type", "")
    page = None
    if endpoint is not None:
        page = queries.deliveries_page(
            endpoint,
            status=next((one for one in DeliveryStatus if one.value == request.args.get("status")), None),
            event_type=kind if kind in kinds else None,
            before=request.args.get("before"),
            after=request.args.get("after"),
        )
    return htmx.render(
        "merchants/webhooks.html",
        fragment="merchants/_webhooks.html",
        status=refusal.status if refusal else 200,
        merchant=merchant,
        mode=mode(),
        endpoint=endpoint,
        page=page,
        statuses=list(DeliveryStatus),
        status_now=request.args.get("status", ""),
        kinds=kinds,
        kind_now=kind,
        at=clock.now(),
        refusal=str(refusal) if refusal else None,
    )


def _form_page(form: EndpointForm, *, status: int = 200) -> Response:
    return htmx.render("merchants/webhook_address.html", status=status, form=form)


def _secret_page(endpoint: WebhookEndpoint, secret: str) -> Response:
    return htmx.render("merchants/webhook_secret.html", endpoint=endpoint, secret=secret)


def _delivery_page(merchant: Merchant, public_id: str, *, refusal: PortalError | None = None) -> Response:
    delivery = queries.get_delivery(merchant, public_id)
    return htmx.render(
        "merchants/webhook_delivery.html",
        status=refusal.status if refusal else 200,
        delivery=delivery,
        event=delivery.event,
        endpoint=delivery.endpoint,
        attempts=queries.list_attempts(delivery),
        curl=_as_curl(delivery),
        trouble_words=trouble_words,
        refusal=str(refusal) if refusal else None,
    )


def _as_curl(delivery: WebhookDelivery) -> str:
    """The request for a developer's own terminal. Its signature is a blank: a good one is made by sending alone."""
    headers = {
        "Content-Type": "application/json",
        "webhook-id": delivery.event.public_id,
        "webhook-timestamp": str(int(delivery.event.created_at.timestamp())),
        "webhook-signature": "v1,SIGNATURE",
    }
    given = [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers.items()]
    parts = [f"curl {shlex.quote(delivery.endpoint.url)}", *given, f"--data-raw {shlex.quote(delivery.event.payload)}"]
    return " \\\n  ".join(parts)

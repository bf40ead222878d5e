"""`/merchant/keys`: making, replacing, looking at and revoking API keys. A secret is in one answer and nowhere else."""

from datetime import timedelta

from flask import Response, flash, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.core import clock, htmx, settings
from portal.core.access import recently_authenticated, verified
from portal.core.addresses import address_of
from portal.core.db import db, unit_of_work
from portal.core.errors import PortalError
from portal.merchants import queries
from portal.merchants.errors import KeyNotUsable, MerchantSuspended, SecretGone, TooManyKeys
from portal.merchants.forms import KeyForm, RotateForm
from portal.merchants.models import ApiKey, Merchant
from portal.merchants.routes.blueprint import bp, me, mine
from portal.merchants.services import keys

_KEY = "/keys/<int(max=9223372036854775807):key_id>"
_REFUSALS = (KeyNotUsable, MerchantSuspended, SecretGone, TooManyKeys)


@bp.get("/keys", endpoint="keys")
@verified
def key_list() -> ResponseReturnValue:
    """All keys of this merchant."""
    return _page(mine())


@bp.get("/keys/new")
@verified
@recently_authenticated
def new_key() -> ResponseReturnValue:
    """The form for a new key; asking for it proves the password again, so that making the key can follow."""
    form = KeyForm(formdata=None, mode=settings.current().payment_mode, scopes=list(keys.ALL_SCOPES))
    return _form_page(mine(), form)


@bp.post("/keys/new")
@verified
@recently_authenticated
def create_key() -> ResponseReturnValue:
    """Make a key and show its secret, this once."""
    merchant, form = mine(), KeyForm()
    if not form.validate():
        return _form_page(merchant, form, status=422)
    at = clock.now()
    expires_at = at + timedelta(days=int(form.expires.data)) if form.expires.data else None
    try:
        with unit_of_work():
            key, secret = keys.create_key(
                merchant, mode=form.mode.data, label=form.label.data, scopes=form.scopes.data or (),
                expires_at=expires_at, by=me().email, at=at,
            )  # fmt: skip
    except _REFUSALS as refusal:
        return _form_page(merchant, form, status=refusal.status, refusal=refusal)
    return _secret_page(key, secret)


@bp.get(f"{_KEY}/rotate")
@verified
@recently_authenticated
def show_rotate(key_id: int) -> ResponseReturnValue:
    """Before a key is replaced: when does the old one end?"""
    return _rotate_page(_key(mine(), key_id), RotateForm(formdata=None, hours="24"))


@bp.post(f"{_KEY}/rotate")
@verified
@recently_authenticated
def rotate_key(key_id: int) -> ResponseReturnValue:
    """Replace a key, and show the new secret, this once."""
    merchant, form = mine(), RotateForm()
    old = _key(merchant, key_id)
    if not form.validate():
        return _rotate_page(old, form, status=422)
    try:
        with unit_of_work():
            overlap = timedelta(hours=int(form.hours.data))
            key, secret = keys.rotate_key(merchant, key_id, overlap=overlap, by=me().email, at=clock.now())
    except _REFUSALS as refusal:
        return _page(merchant, refusal=refusal)
    return _secret_page(key, secret)


@bp.get(f"{_KEY}/secret")
@verified
@recently_authenticated
def show_sealed(key_id: int) -> ResponseReturnValue:
    """Before a sealed secret is told: it will be told once."""
    key = _key(mine(), key_id)
    if key.sealed_secret is None:
        return _page(mine(), refusal=SecretGone())
    return htmx.render("merchants/sealed_key.html", key=key)


@bp.post(f"{_KEY}/secret")
@verified
@recently_authenticated
def reveal_key(key_id: int) -> ResponseReturnValue:
    """Tell the secret of a key that a payment made, once."""
    merchant = mine()
    try:
        with unit_of_work():
            secret = keys.reveal_secret(merchant, key_id, by=me().email, at=clock.now())
    except SecretGone as refusal:
        return _page(merchant, refusal=refusal)
    return _secret_page(_key(merchant, key_id), secret)


@bp.post(f"{_KEY}/revoke")
@verified
def revoke_key(key_id: int) -> ResponseReturnValue:
    """End a key now. No password is asked for: whoever has to do this is in a hurry."""
    with unit_of_work():
        keys.revoke_key(mine(), key_id, by=me().email, at=clock.now())
    flash(_("The key no longer works."), "success")
    return htmx.after_post(url_for("merchant.keys"))


def _key(merchant: Merchant, key_id: int) -> ApiKey:
    return queries.get_key(merchant, key_id)


def _page(merchant: Merchant, *, refusal: PortalError | None = None) -> Response:
    db.session.expire_all()
    return htmx.render(
        "merchants/keys.html",
        status=refusal.status if refusal else 200,
        merchant=merchant,
        keys=queries.list_keys(merchant),
        at=clock.now(),
        refusal=str(refusal) if refusal else None,
    )


def _form_page(merchant: Merchant, form: KeyForm, *, status: int = 200, refusal: PortalError | None = None) -> Response:
    return htmx.render(
        "merchants/new_key.html", status=status, merchant=merchant, form=form,
        refusal=str(refusal) if refusal else None,
    )  # fmt: skip


def _rotate_page(key: ApiKey, form: RotateForm, *, status: int = 200) -> Response:
    return htmx.render("merchants/rotate_key.html", status=status, key=key, form=form)


def _secret_page(key: ApiKey, secret: str) -> Response:
    return htmx.render("merchants/key_secret.html", key=key, secret=secret, api_url=address_of("api.create_session"))

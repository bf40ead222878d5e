"""The page of a model for its owner: to turn around, in words, who opened it; and destroying it, with a receipt."""

from typing import Any

from flask import request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.core import clock, htmx
from portal.core.access import public
from portal.core.db import db, unit_of_work
from portal.core.errors import Conflict
from portal.quotes import describing, queries, visitor
from portal.quotes.access_words import CustomerWords
from portal.quotes.errors import ModelNotFound
from portal.quotes.mails import receipt_values
from portal.quotes.models import ModelFile, ModelFileStatus
from portal.quotes.routes.blueprint import bp
from portal.quotes.services import destroying
from portal.quotes.services.loading import DRAFT


@bp.get("/models/<public_id>")
@public
def model(public_id: str) -> ResponseReturnValue:
    """One model of one's own."""
    return _show(queries.get_own_model(public_id, owner=visitor.owner()))


def _show(one: ModelFile, error: Conflict | None = None) -> ResponseReturnValue:
    before, after = request.args.get("before"), request.args.get("after")
    return htmx.render(
        "quotes/model.html",
        fragment="quotes/_custody.html",
        status=error.status if error else 200,
        page=queries.accesses_page(one, before=before, after=after),
        error=error,
        access_words=CustomerWords(visitor.owner()),
        **shown(one),
    )


def shown(one: ModelFile) -> dict[str, Any]:
    """What the templates about a model need."""
    is_kept = queries.is_kept(one)
    quote = queries.quote_of_model(one, owner=visitor.owner())
    return {
        "model": one,
        "is_kept": is_kept,
        "picture_url": picture_url(one),
        "mesh_url": mesh_url(one),
        "describing": describing,
        "back_url": url_for("quotes.detail", number=quote.number or DRAFT) if quote is not None else None,
        "back_label": (quote.number or _("Your quote")) if quote is not None else None,
    }


def picture_url(one: ModelFile) -> str | None:
    """Where its owner sees its picture, if there is one."""
    has_one = queries.is_kept(one) and one.picture_name
    return url_for("quotes.model_picture", public_id=one.public_id) if has_one else None


def mesh_url(one: ModelFile) -> str | None:
    """Where its owner's viewer gets it, if it can be shown."""
    has_one = queries.is_kept(one) and one.mesh_name
    return url_for("quotes.model_mesh", public_id=one.public_id) if has_one else None


@bp.get("/models/<public_id>/destroy")
@public
def destroy(public_id: str) -> ResponseReturnValue:
    """The question before a model is destroyed."""
    one = queries.get_own_model(public_id, owner=visitor.owner())
    if one.status is ModelFileStatus.DESTROYED:
        return htmx.leave(url_for("quotes.receipt", public_id=public_id))
    try:
        destroying.check_not_needed(one)
    except Conflict as error:
        return htmx.render("quotes/destroy.html", error=error, **shown(one))
    return htmx.render("quotes/destroy.html", error=None, **shown(one))


@bp.post("/models/<public_id>/destroy")
@public
def submit_destroy(public_id: str) -> ResponseReturnValue:
    """Destroy a model of one's own."""
    asks = visitor.owner()
    try:
        with unit_of_work():
            destroying.destroy_model(public_id, asks, at=clock.now())
    except Conflict as error:
        db.session.expire_all()
        one = queries.get_own_model(public_id, owner=asks)
        return htmx.render("quotes/destroy.html", status=error.status, error=error, **shown(one))
    return htmx.after_post(url_for("quotes.receipt", public_id=public_id))


@bp.get("/models/<public_id>/receipt")
@public
def receipt(public_id: str) -> ResponseReturnValue:
    """That a model is destroyed: what it was, when, and by whom."""
    one = queries.get_own_model(public_id, owner=visitor.owner())
    if one.status is not ModelFileStatus.DESTROYED:
        raise ModelNotFound
    return htmx.render("quotes/receipt.html", **receipt_values(one))

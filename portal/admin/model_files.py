"""Customers' models, for staff: the file, its picture, the mesh for the viewer. Each look is written down."""

from flask import request, url_for
from flask.typing import ResponseReturnValue

from portal.admin.blueprint import actor, bp
from portal.admin.queries import quotes as queries
from portal.core import clock, htmx
from portal.core.access import staff
from portal.core.db import unit_of_work
from portal.quotes import describing, serving
from portal.quotes import queries as quote_queries
from portal.quotes.access_words import StaffWords
from portal.quotes.errors import ModelNotFound
from portal.quotes.models import ModelFile
from portal.quotes.services.custody import DOWNLOADED, PICTURED, VIEWED, record_access

_PAGE = "/models/<public_id>"


@bp.get(_PAGE)
@staff
def model(public_id: str) -> ResponseReturnValue:
    """One model: to turn around, in words, and who opened it."""
    one = queries.get_model(public_id)
    before, after = request.args.get("before"), request.args.get("after")
    is_kept = quote_queries.is_kept(one)
    return htmx.render(
        "admin/model.html",
        fragment="quotes/_custody.html",
        model=one,
        quotes=queries.quotes_of_model(one),
        page=quote_queries.accesses_page(one, before=before, after=after),
        is_kept=is_kept,
        picture_url=url_for("admin.model_picture", public_id=public_id) if is_kept and one.picture_name else None,
        mesh_url=url_for("admin.model_mesh", public_id=public_id) if is_kept and one.mesh_name else None,
        describing=describing,
        access_words=StaffWords(),
    )


@bp.get(f"{_PAGE}/file")
@staff
def model_file(public_id: str) -> ResponseReturnValue:
    """The file as it was uploaded."""
    return serving.file_answer(_opened(public_id, DOWNLOADED))


@bp.get(f"{_PAGE}/picture")
@staff
def model_picture(public_id: str) -> ResponseReturnValue:
    """A small picture of it."""
    return serving.picture_answer(_opened(public_id, PICTURED))


@bp.get(f"{_PAGE}/mesh")
@staff
def model_mesh(public_id: str) -> ResponseReturnValue:
    """Everything on its plate as one binary STL in millimetres."""
    return serving.mesh_answer(_opened(public_id, VIEWED))


def _opened(public_id: str, action: str) -> ModelFile:
    """A customer's model, with the look at it written down. Raises ModelNotFound."""
    with unit_of_work():
        model = queries.get_model(public_id)
        if not quote_queries.is_kept(model):
            raise ModelNotFound
        serving.stored_name(model, action)
        record_access(model, action, by=actor().email, at=clock.now())
    return model

"""The bytes of a model, for its owner: the file, its picture, the mesh for the viewer. Each look is written down."""

from flask.typing import ResponseReturnValue

from portal.core import clock
from portal.core.access import public
from portal.core.db import unit_of_work
from portal.quotes import queries, serving, visitor
from portal.quotes.models import ModelFile
from portal.quotes.routes.blueprint import bp
from portal.quotes.services.custody import DOWNLOADED, PICTURED, VIEWED, record_access


@bp.get("/models/<public_id>/file")
@public
def model_file(public_id: str) -> ResponseReturnValue:
    """The file as it was uploaded."""
    return serving.file_answer(_opened(public_id, DOWNLOADED))


@bp.get("/models/<public_id>/picture")
@public
def model_picture(public_id: str) -> ResponseReturnValue:
    """A small picture of it."""
    return serving.picture_answer(_opened(public_id, PICTURED))


@bp.get("/models/<public_id>/mesh")
@public
def model_mesh(public_id: str) -> ResponseReturnValue:
    """Everything on its plate as one binary STL in millimetres."""
    return serving.mesh_answer(_opened(public_id, VIEWED))


def _opened(public_id: str, action: str) -> ModelFile:
    """The owner's model, with the look at it written down. Raises ModelNotFound."""
    asks = visitor.owner()
    with unit_of_work():
        model = queries.get_model(public_id, owner=asks)
        serving.stored_name(model, action)
        record_access(model, action, by=asks.name, at=clock.now())
    return model

"""Sending a stored picture to a browser."""

from flask import Response

from portal.core import files
from portal.production.errors import PhotoNotFound
from portal.production.models import ProductionPhoto


def picture(photo: ProductionPhoto) -> Response:
    """The picture itself: always a JPEG that we have written. Raises PhotoNotFound when the store has lost it."""
    try:
        content = files.get(photo.storage_name)
    except FileNotFoundError:
        raise PhotoNotFound from None
    response = Response(content, mimetype="image/jpeg")
    # Its address names this one picture for ever, and only its owner may keep a copy.
    response.headers["Cache-Control"] = "private, max-age=86400, immutable"
    response.headers["Content-Disposition"] = f'inline; filename="{photo.public_id}.jpg"'
    return response

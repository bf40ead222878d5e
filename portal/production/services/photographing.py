"""Pictures of the parts at their quality check, shown to the customer."""

import uuid
from datetime import datetime

from sqlalchemy import func, select

from portal.core import audit, files, pictures
from portal.core.db import db, unit_of_work
from portal.production.errors import NoPicture, NotAtQualityCheck, PictureTooLarge, TooManyPhotos
from portal.production.models import ProductionPhoto, SalesOrder, SalesOrderStatus
from portal.production.services import lifecycle

MOST_PHOTOS = 20
_LONGEST_CAPTION = 200


def add_photo(sales_order: SalesOrder, content: bytes, *, caption: str, by: str, at: datetime) -> ProductionPhoto:
    """Keep a picture of an order that is at its quality check. Opens its own unit of work, after the picture was read
    and stored: neither a decoder nor a store is waited for in a transaction.

    Raises NotAtQualityCheck, TooManyPhotos, NoPicture or PictureTooLarge.
    """
    _check(sales_order)
    try:
        clean = pictures.cleaned(content)
    except pictures.OversizedPicture:
        raise PictureTooLarge(field="picture") from None
    except pictures.UnreadablePicture:
        raise NoPicture(field="picture") from None
    public_id = str(uuid.uuid4())
    name = f"photos/{public_id}.jpg"
    files.put(name, clean)
    try:
        with unit_of_work():
            lifecycle.lock(sales_order)
            _check(sales_order)
            photo = ProductionPhoto(
                public_id=public_id,
                sales_order_id=sales_order.id,
                storage_name=name,
                caption=" ".join(caption.split())[:_LONGEST_CAPTION],
                taken_by=by,
                created_at=at,
            )
            db.session.add(photo)
            audit.record("sales_order.photo_added", actor=by, subject=f"sales_orders:{sales_order.id}")
    except BaseException:
        files.delete(name)
        raise
    return photo


def _check(sales_order: SalesOrder) -> None:
    if sales_order.status is not SalesOrderStatus.QUALITY_CHECK:
        raise NotAtQualityCheck
    of_order = select(func.count()).where(ProductionPhoto.sales_order_id == sales_order.id)
    if (db.session.scalar(of_order) or 0) >= MOST_PHOTOS:
        raise TooManyPhotos


def remove_photo(photo: ProductionPhoto, *, by: str) -> str:
    """Take a picture away, in the caller's transaction; returns the stored name, to be deleted after the commit."""
    audit.record("sales_order.photo_removed", actor=by, subject=f"sales_orders:{photo.sales_order_id}")
    db.session.delete(photo)
    return photo.storage_name

"""Where a customer's site is spoken of."""

from portal.core.addresses import address_of
from portal.core.db import db
from portal.sites.models import Site


def address_of_site(subject_id: int) -> str:
    """The page of a site in its owner's account."""
    return address_of("sites.my_site", slug=db.session.get_one(Site, subject_id).slug)

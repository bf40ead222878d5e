"""Which icon stands for a package: by its category, so that a shelf can be read at a glance."""

from portal.catalogue.wording import fold

BUNDLE = "packages"
_DEFAULT = "robot"
_BY_CATEGORY = {
    "operacje": "clipboard-list",
    "obsluga klienta": "message-chatbot",
    "sprzedaz": "trending-up",
    "marketing": "sparkles",
    "inzynieria": "server",
    "zestawy": BUNDLE,
    "finanse": "coins",
    "kadry": "users",
    "logistyka": "truck",
}


def package_icon(category: str, is_bundle: bool = False) -> str:
    """The name of an icon; a category nobody thought of gets the robot that stands for automation."""
    return BUNDLE if is_bundle else _BY_CATEGORY.get(fold(category), _DEFAULT)

"""What the business does with its catalogue. Only these functions write it."""

from portal.catalogue.services.editing import (
    create_package,
    delete_package,
    move_package,
    publish_package,
    set_bundle_children,
    unpublish_package,
    update_package,
)
from portal.catalogue.services.importing import ImportResult, import_catalogue
from portal.catalogue.services.values import PackageValues, ProcessValues

__all__ = [
    "ImportResult",
    "PackageValues",
    "ProcessValues",
    "create_package",
    "delete_package",
    "import_catalogue",
    "move_package",
    "publish_package",
    "set_bundle_children",
    "unpublish_package",
    "update_package",
]

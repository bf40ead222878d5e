"""A company's words end in its own modules: nobody else reads its SDK, and few may say its name."""

import re
from collections.abc import Iterator

from tests.structure.source import Finding, Source, check, files, lines_found
from tests.structure.test_imports import imports

CARRIERS = ("easypost",)
# Where a carrier's name is allowed besides its own modules: settings, the registry that chooses it, and what a column
# may hold.
MAY_NAME = (
    "portal/config.py",
    "portal/config_shipping.py",
    "portal/production/models.py",
    "portal/production/shipping/carriers/registry.py",
)
SDKS = {"easypost": "portal/production/shipping/carriers/easypost", "stripe": "portal/payments/providers/stripe"}


def names_a_carrier(source: Source) -> Iterator[Finding]:
    """`shipment.source == "easypost"` in a service would be a rule that only one company follows."""
    own = tuple(f"portal/production/shipping/carriers/{name}" for name in CARRIERS)
    if source.path in MAY_NAME or source.path.startswith(own):
        return
    for number, line in enumerate(source.lines, start=1):
        if re.search("|".join(CARRIERS), line, re.IGNORECASE):
            yield source.at(number, "names a carrier: its words end in portal/production/shipping/carriers")


def uses_a_companys_sdk(source: Source) -> Iterator[Finding]:
    for line, module in imports(source):
        home = SDKS.get(module.split(".")[0])
        if home is not None and not source.path.startswith(home):
            yield source.at(line, f"imports {module}, whose types and exceptions end in {home}*")


def test_no_carrier_is_named_outside_its_modules() -> None:
    check(names_a_carrier, files("portal"))


def test_no_sdk_is_used_outside_its_companys_modules() -> None:
    check(uses_a_companys_sdk, files("portal"))


def test_the_rules_can_fail() -> None:
    text = "import stripe\nfrom easypost.errors import ApiError\nis_theirs = source == 'EasyPost'\n"
    assert lines_found(names_a_carrier, text, "portal/production/shipping/services/x.py") == [2, 3]
    assert lines_found(uses_a_companys_sdk, text, "portal/production/shipping/services/x.py") == [1, 2]
    assert lines_found(names_a_carrier, text, "portal/production/shipping/carriers/easypost.py") == []
    assert lines_found(uses_a_companys_sdk, text, "portal/payments/providers/stripe.py") == [2]

"""Imports point down: the order of the house is in DESIGN.md, section 2."""

import ast
from collections.abc import Iterator

from tests.structure.source import Finding, Source, check, files, lines_found

# Each may import those before it. The last group but one are neighbours, which do not import each other.
LEVELS: dict[str, int] = {
    "core": 0,
    "config_checks": 0,
    "config_crypto": 1,  # Parts of the settings' checks.
    "config_shipping": 1,
    "config_sites": 1,
    "config": 2,  # The settings; read by whoever is wired up.
    "extensions": 1,
    "accounts": 2,
    "payments": 3,
    "subscriptions": 4,
    "catalogue": 5,
    "orders": 5,
    "quotes": 5,
    "production": 5,
    "sites": 5,
    "merchants": 5,
    "site": 6,  # The front page shows what the others sell.
    "admin": 7,
    "models": 8,  # Every table in one place, for migrations.
    "devtools": 8,  # Pages of development only.
    "dev": 8,  # `make run`.
    "demo_site": 7,  # What the demo's customer owns.
    "demo": 8,  # The demo shop that `make run` shows.
    "serving": 8,  # The web server.
    "": 9,  # create_app().
}
# (who, whom): an order is of packages; a sales order is an order, made of a quote.
NEIGHBOURS = {("orders", "catalogue"), ("production", "orders"), ("production", "quotes"), ("sites", "orders")}
# Modules with rules of their own: no business code is in a web framework's hands.
FLASK = ("flask", "flask_login", "flask_wtf", "flask_limiter", "wtforms", "werkzeug")
PURE = {"services", "models", "queries", "providers", "carriers"}
ALLOWED = {
    # What Flask-Login asks of a user; no request stands behind it.
    ("portal/accounts/models.py", "flask_login.UserMixin"),
    # The sandbox company's postman stands for another firm's server; tests hand it another way to post.
    ("portal/payments/providers/sandbox/delivery.py", "flask.current_app"),
}
# What may not know what, inside one domain.
HIDDEN = {
    "models": {"services", "queries", "routes", "forms", "jobs", "api", "mails"},
    "services": {"routes", "forms", "jobs", "api"},
    "queries": {"routes", "forms", "jobs", "api"},
    "forms": {"routes", "jobs", "api"},
    "jobs": {"routes", "forms", "api"},
}


def imports(source: Source) -> Iterator[tuple[int, str]]:
    """Every imported module with its line, those inside functions too; what only the type checker reads is left out."""
    only_types = {
        id(node)
        for branch in ast.walk(source.tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test).endswith("TYPE_CHECKING")
        for statement in branch.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(source.tree):
        if id(node) in only_types:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from portal import payments` imports portal.payments, not portal itself.
            yield from ((node.lineno, f"{node.module}.{name.name}") for name in node.names)


def domain_of(module: str) -> str:
    """The part of the house a module belongs to: "payments" of portal.payments.services.sessions."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in LEVELS else ""


def layer_of(module: str) -> str:
    """The layer inside its domain: "services" of portal.payments.services.sessions."""
    parts = module.split(".")
    return parts[2] if len(parts) > 2 else ""


def is_pure(source: Source) -> bool:
    """Whether the module may not know the web framework."""
    names = {part.removesuffix(".py") for part in source.parts[2:]}
    return bool(names & PURE) and source.parts[1] != "core" and source.parts[-1] != "routes.py"


def imports_upwards(source: Source) -> Iterator[Finding]:
    who = domain_of(source.module)
    for line, module in imports(source):
        if not module.startswith("portal."):
            continue
        whom = domain_of(module)
        if whom == who or (who, whom) in NEIGHBOURS:
            continue
        if LEVELS[whom] >= LEVELS[who]:
            yield source.at(line, f"{who or 'portal'} imports {module}, which does not lie below it")


def flask_in_pure_code(source: Source) -> Iterator[Finding]:
    if is_pure(source):
        for line, module in imports(source):
            if module.split(".")[0] in FLASK and (source.path, module) not in ALLOWED:
                yield source.at(
                    line, f"imports {module}: services, models, queries and providers know no web framework"
                )


def layers_upside_down(source: Source) -> Iterator[Finding]:
    hidden = HIDDEN.get(layer_of(source.module), set())
    for line, module in imports(source):
        if module.startswith("portal.") and domain_of(module) != "core" and layer_of(module) in hidden:
            yield source.at(line, f"{layer_of(source.module)} import {module}")


def unknown_parts(source: Source) -> Iterator[Finding]:
    name = source.parts[1].removesuffix(".py")
    if name != "__init__" and name not in LEVELS:
        yield source.at(1, f"portal/{source.parts[1]} has no place in LEVELS of tests/structure/test_imports.py")


def test_every_part_of_the_house_has_its_level() -> None:
    check(unknown_parts, files("portal"))


def test_imports_point_down() -> None:
    check(imports_upwards, files("portal"))


def test_business_code_knows_no_web_framework() -> None:
    check(flask_in_pure_code, files("portal"))


def test_layers_inside_a_domain_point_down() -> None:
    check(layers_upside_down, files("portal"))


MADE_UP = """\
from typing import TYPE_CHECKING
from portal.core import clock
from portal.payments.models import Invoice
from portal.orders.models import Order
from portal import orders
import portal.admin.queries
if TYPE_CHECKING:
    from portal.config import Settings
def later():
    from portal.catalogue import services
"""


def test_the_import_rule_can_fail() -> None:
    assert lines_found(imports_upwards, MADE_UP, "portal/payments/services/x.py") == [4, 5, 6, 10]
    assert lines_found(imports_upwards, MADE_UP, "portal/orders/services.py") == [6]
    assert lines_found(imports_upwards, MADE_UP, "portal/catalogue/services.py") == [4, 5, 6]
    assert lines_found(imports_upwards, MADE_UP, "portal/core/x.py") == [3, 4, 5, 6, 10]
    assert lines_found(imports_upwards, MADE_UP, "portal/__init__.py") == []


def test_the_framework_rule_can_fail() -> None:
    text = "from flask import g\nfrom flask_babel import lazy_gettext as _l\nimport werkzeug.http\n"
    assert lines_found(flask_in_pure_code, text, "portal/orders/services/placing.py") == [1, 3]
    assert lines_found(flask_in_pure_code, text, "portal/payments/providers/stripe.py") == [1, 3]
    assert lines_found(flask_in_pure_code, text, "portal/orders/routes.py") == []


def test_the_layer_rule_can_fail() -> None:
    text = "from portal.orders.routes import bp\nfrom portal.orders.services import placing\n"
    assert lines_found(layers_upside_down, text, "portal/orders/models.py") == [1, 2]
    assert lines_found(layers_upside_down, text, "portal/orders/services/paying.py") == [1]


def test_an_unknown_part_is_noticed() -> None:
    assert lines_found(unknown_parts, "", "portal/helpers/x.py") == [1]

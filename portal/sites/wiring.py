"""The place of hosted sites in the application."""

from datetime import timedelta

from flask import Flask

from portal.core import periodic
from portal.orders.hooks import Handover, handed_over_by
from portal.orders.models import LineKind
from portal.sites import (
    api,
    cli,
    invariants,  # noqa: F401  # these register themselves
    mails,  # noqa: F401  # the mail registers itself
    my_routes,  # noqa: F401  # pages of the same blueprint
    purchase_routes,  # noqa: F401  # pages of the same blueprint
    routes,
)
from portal.sites.changes import mails as change_mails  # noqa: F401  # the contexts of mails register themselves
from portal.sites.changes import routes as changes  # noqa: F401  # the pages put themselves onto the blueprint
from portal.sites.changes import version_routes  # noqa: F401  # as above
from portal.sites.changes.services import machine  # noqa: F401  # as the handlers below
from portal.sites.domains import wiring as domains
from portal.sites.services import deploying, inspecting, previewing, selling, subscribing  # noqa: F401  # some register themselves
from portal.sites.wording import address_of_site
from portal.subscriptions.hooks import Seller, sold_by


def init_app(app: Flask) -> None:
    """Attach pages, commands and work."""
    domains.register()
    app.register_blueprint(routes.bp)
    app.register_blueprint(api.bp)
    handed_over_by(LineKind.SITE, Handover(selling.may_be_given, selling.give, selling.let_go, welcome="site_welcome"))
    sold_by(subscribing.KIND, Seller(activated=subscribing.activated, ended=subscribing.ended, address=address_of_site))
    app.cli.add_command(cli.import_sites)
    app.cli.add_command(cli.deploy_sites)
    periodic.every(timedelta(hours=6), "portal.sites.jobs.tidy_up")
    periodic.every(timedelta(days=1), "portal.sites.jobs.inspect_releases")

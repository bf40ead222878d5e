"""The portal: `create_app()` puts the parts together. Wiring only, no rules."""

import gc

# Importing makes a million objects and frees none; looking for garbage among them takes a fifth of the start.
gc.disable()

from datetime import timedelta

from flask import Flask
from flask.typing import ResponseReturnValue
from werkzeug.middleware.proxy_fix import ProxyFix

from portal import config, demo, models  # noqa: F401  # every table is known before the first query
from portal.accounts import extension as accounts_extension
from portal.admin import nightly as admin_nightly
from portal.admin import routes as admin_routes
from portal.catalogue import wiring as catalogue_wiring
from portal.core import access, db, files, health, htmx, large_forms, logs, periodic, queues, retrying, ui, web
from portal.core.cookies import PeopleOnlySessions
from portal.core.languages import LANGUAGES, init_templates, select_locale
from portal.extensions import babel, csrf, limiter, login_manager
from portal.merchants import wiring as merchants_wiring
from portal.orders import wiring as orders_wiring
from portal.payments import credit_note_routes, invoice_routes, mails, webhooks  # noqa: F401  # mails register themselves
from portal.payments import extension as payments_extension
from portal.payments import periodic as payments_periodic
from portal.payments import routes as payment_routes
from portal.payments.providers.sandbox import routes as sandbox_routes
from portal.payments.providers.web3 import routes as chain_routes
from portal.production import wiring as production_wiring
from portal.production.shipping import wiring as shipping_wiring
from portal.quotes import wiring as quotes_wiring
from portal.quotes.pricing import wiring as pricing_wiring
from portal.site import overview
from portal.site import routes as site_routes
from portal.sites import wiring as sites_wiring
from portal.subscriptions import wiring as subscriptions_wiring

# What was made so far stays: no later look goes through it, and forked workers share its memory.
gc.freeze()
gc.enable()


class Portal(Flask):
    """Flask with our templates, and with patience when two transactions meet."""

    jinja_environment = ui.Templates

    def dispatch_request(self) -> ResponseReturnValue:
        """Run the view of this request, again if its transaction lost to another."""
        return retrying.run(super().dispatch_request)


def create_app(settings: config.Settings | None = None) -> Flask:
    """Build the application from settings, by default from the environment.

    Raises ConfigurationError, naming every wrong setting.
    """
    settings = settings or config.load()
    logs.configure(json_lines=settings.is_production, level=settings.log_level)
    app = Portal(__name__, template_folder="../templates", static_folder="../static")
    app.config.from_mapping(settings.flask_config())
    app.session_interface = PeopleOnlySessions()
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    if settings.trusted_proxies:
        count = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count)  # type: ignore[method-assign]  # Flask's own recipe

    db.init_app(app)
    queues.init_app(app)
    files.init_app(app)
    web.init_app(app)
    large_forms.init_app(app)
    csrf.init_app(app)
    login_manager.init_app(app)
    babel.init_app(app, locale_selector=select_locale, default_translation_directories="translations")
    init_templates(app)
    _attach_limiter(app)
    periodic.every(timedelta(hours=1), queues.FORGET_DONE)
    if config.is_command_line():
        attach_migrations(app)
    access.init_app(app)
    ui.register(app)
    app.jinja_env.globals.update(wants_fragment=htmx.wants_fragment, LANGUAGES=LANGUAGES)

    _register_payments(app, settings)
    _register_domains(app)
    access.check_all_declared(app)
    return app


def attach_migrations(app: Flask) -> None:
    """Make `flask db` work; a server or a worker has no use for Alembic, and would carry it in each process."""
    from flask_migrate import Migrate

    Migrate(app, db.db, directory="migrations", render_as_batch=True, compare_type=True)


def _attach_limiter(app: Flask) -> None:
    """Limits are declared on single routes, which check them themselves; the hooks that look for more around every
    request would cost a webhook a tenth of its time."""
    before = list(app.before_request_funcs.get(None, []))
    after = list(app.after_request_funcs.get(None, []))
    limiter.init_app(app)
    app.before_request_funcs[None] = before
    app.after_request_funcs[None] = after


def _register_payments(app: Flask, settings: config.Settings) -> None:
    payments_extension.init_app(app, settings)
    payments_periodic.register()
    app.register_blueprint(webhooks.bp)
    csrf.exempt(webhooks.bp)
    app.register_blueprint(payment_routes.bp)
    app.register_blueprint(invoice_routes.bp)
    app.register_blueprint(credit_note_routes.bp)
    sandbox_routes.init_app(app, settings)
    app.register_blueprint(chain_routes.bp)


def _register_domains(app: Flask) -> None:
    if app.config["PORTAL_ENV"] != "production":
        from portal.devtools import mailbox
        from portal.devtools import ui as gallery

        app.register_blueprint(gallery.bp)
        app.register_blueprint(mailbox.bp)
    app.register_blueprint(health.bp)
    accounts_extension.init_app(app)
    app.register_blueprint(site_routes.bp)
    app.register_blueprint(overview.bp)
    catalogue_wiring.init_app(app)
    subscriptions_wiring.register()
    orders_wiring.init_app(app)
    merchants_wiring.init_app(app)
    sites_wiring.init_app(app)
    production_wiring.init_app(app)
    quotes_wiring.init_app(app)
    pricing_wiring.init_app(app)
    shipping_wiring.init_app(app)
    app.cli.add_command(demo.load_demo)
    app.register_blueprint(admin_routes.bp)
    admin_nightly.register()

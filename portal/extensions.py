"""Flask extensions, made here and attached in `create_app()`."""

from flask_babel import Babel
from flask_limiter import Limiter
from flask_login import LoginManager
from flask_migrate import Migrate
from flask_wtf import CSRFProtect

from portal.core import context, networks

csrf = CSRFProtect()
login_manager = LoginManager()
migrate = Migrate(render_as_batch=True, compare_type=True)
babel = Babel()
limiter = Limiter(key_func=lambda: networks.network_of(context.client_address()) or "unknown")

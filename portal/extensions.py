"""Flask extensions, made here and attached in `create_app()`."""

from flask_babel import Babel
from flask_limiter import Limiter
from flask_login import LoginManager
from flask_wtf import CSRFProtect

from portal.core import context, networks

csrf = CSRFProtect()
login_manager = LoginManager()
babel = Babel()
limiter = Limiter(key_func=lambda: networks.network_of(context.client_address()) or "unknown")

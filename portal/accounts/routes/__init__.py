"""The pages of accounts, one module a capability; importing it fills the blueprint."""

from portal.accounts.routes import passwords, profile, registering, security, signing_in
from portal.accounts.routes.blueprint import bp

__all__ = ["bp", "passwords", "profile", "registering", "security", "signing_in"]

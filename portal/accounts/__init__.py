"""Users, logging in, verification, reset, second factor, sessions and addresses."""

from portal.accounts.hooks import on_signed_in, on_verified

__all__ = ["on_signed_in", "on_verified"]

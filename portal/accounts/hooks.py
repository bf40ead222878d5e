"""Where other domains are told what happened to a user, inside the transaction in which it happened.

`create_app()` registers them; accounts calls them and knows none of them.
"""

from datetime import datetime
from typing import Protocol

from portal.accounts.models import User


class UserHook(Protocol):
    """Runs in the transaction: no network, no commit. An exception undoes what happened to the user."""

    __qualname__: str

    def __call__(self, user: User, *, at: datetime) -> None: ...


_verified: dict[str, UserHook] = {}
_signed_in: dict[str, UserHook] = {}


def on_verified(hook: UserHook) -> UserHook:
    """Register what an address proven to be the user's unlocks, such as purchases that waited for it."""
    _verified[_name(hook)] = hook
    return hook


def on_signed_in(hook: UserHook) -> UserHook:
    """Register what happens when a user has signed in, such as taking over the visitor's cart.

    The visitor's cookie session is still there: it is emptied afterwards, except for `cart_token` and `locale`.
    """
    _signed_in[_name(hook)] = hook
    return hook


def verified(user: User, *, at: datetime) -> None:
    """Tell everybody that this user's address is proven."""
    for hook in _verified.values():
        hook(user, at=at)


def signed_in(user: User, *, at: datetime) -> None:
    """Tell everybody that this user has signed in."""
    for hook in _signed_in.values():
        hook(user, at=at)


def _name(hook: UserHook) -> str:
    # By name, so that a second application in the same process (the tests make several) registers nothing twice.
    return f"{hook.__module__}.{hook.__qualname__}"

"""Full addresses of our own pages, for mails, providers and other places where they are read."""

from flask import current_app


def origin() -> str:
    """Where the portal is, without a slash at its end: what an address of it begins with."""
    return str(current_app.config["PORTAL_URL"]).rstrip("/")


def address_of(endpoint: str, **values: str | int) -> str:
    """A page's full address on the configured host: never on the one a request's Host header named."""
    path = current_app.url_map.bind("portal").build(endpoint, values)
    return f"{origin()}{path}"

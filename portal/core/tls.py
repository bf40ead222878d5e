"""Whom we believe that they are who they say, when we call other companies."""

import functools
import ssl


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Shared by all clients, because reading all authorities takes a fifth of a second."""
    import httpx

    return httpx.create_ssl_context()

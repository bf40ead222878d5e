"""The languages the product speaks, and which one a page is in."""

from flask import current_app, has_request_context, request, session
from flask_login import current_user

LANGUAGES = {"en": "English", "pl": "Polski", "es": "Español"}


def select_locale() -> str:
    """The visitor's choice, then the account's, then what the browser asks for, then the business's own."""
    if not has_request_context():
        return str(current_app.config["DEFAULT_LANGUAGE"])
    chosen = session.get("locale") or getattr(current_user, "locale", None)
    if chosen in LANGUAGES:
        return str(chosen)
    return request.accept_languages.best_match(LANGUAGES) or str(current_app.config["DEFAULT_LANGUAGE"])

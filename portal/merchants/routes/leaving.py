"""Letting the pay page's form end at a payment provider."""

from flask import Response, current_app

from portal.core.web import CONTENT_SECURITY_POLICY


def may_lead_outside(response: Response) -> Response:
    """Browsers hold `form-action` against redirects as well. Real providers have HTTPS; one that is played on this
    machine is known by its setting."""
    settings = current_app.config["SETTINGS"]
    values = (getattr(settings, name) for name in settings.__slots__ if name.endswith(("_api_base", "_api_url")))
    stand_ins = [value for value in values if value.startswith("http://")]
    places = [current_app.config["PORTAL_URL"], "https:", *stand_ins]
    allowed = " ".join(place.rstrip("/") for place in places)
    policy = CONTENT_SECURITY_POLICY.replace("form-action 'self'", f"form-action 'self' {allowed}")
    response.headers["Content-Security-Policy"] = policy
    return response

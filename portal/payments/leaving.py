"""Letting a page's form end at a payment provider."""

from flask import Response, current_app

from portal.core.web import CONTENT_SECURITY_POLICY

# The settings that may point to a provider played on this machine; real ones have HTTPS.
_ADDRESSES = ("stripe_api_base", "payu_api_url", "recurrente_api_url", "onecom_checkout_url", "btcpay_url")


def may_lead_outside(response: Response) -> Response:
    """Let the forms of this page end at a provider: browsers hold `form-action` against redirects as well."""
    settings = current_app.config["SETTINGS"]
    stand_ins = [getattr(settings, name) for name in _ADDRESSES if getattr(settings, name).startswith("http://")]
    places = [settings.portal_url, "https:", *("/".join(place.split("/")[:3]) for place in stand_ins)]
    allowed = " ".join(place.rstrip("/") for place in places)
    policy = CONTENT_SECURITY_POLICY.replace("form-action 'self'", f"form-action 'self' {allowed}")
    response.headers["Content-Security-Policy"] = policy
    return response

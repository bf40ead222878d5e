"""Letting a page's form end at a payment provider."""

from flask import Response, current_app

from portal.core.web import CONTENT_SECURITY_POLICY

# The settings that may point to a provider played on this machine; real ones have HTTPS.
_ADDRESSES = ("STRIPE_API_BASE", "PAYU_API_URL", "RECURRENTE_API_URL", "ONECOM_CHECKOUT_URL", "BTCPAY_URL")


def may_lead_outside(response: Response) -> Response:
    """Let the forms of this page end at a provider: browsers hold `form-action` against redirects as well."""
    config = current_app.config
    stand_ins = [config[name] for name in _ADDRESSES if config[name].startswith("http://")]
    places = [config["PORTAL_URL"], "https:", *("/".join(place.split("/")[:3]) for place in stand_ins)]
    allowed = " ".join(place.rstrip("/") for place in places)
    policy = CONTENT_SECURITY_POLICY.replace("form-action 'self'", f"form-action 'self' {allowed}")
    response.headers["Content-Security-Policy"] = policy
    return response

"""Pages and fragments: the only file that reads or writes an `HX-` header."""

import re
from typing import Any

from flask import Response, make_response, redirect, render_template, request
from werkzeug.wrappers import Response as BaseResponse

# What no HTML page may contain. A form that is shown again repeats what was typed, whatever it was.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def wants_fragment() -> bool:
    """Whether htmx asked for a part of a page: not for a boosted or history load, which need the whole."""
    headers = request.headers
    return (
        headers.get("HX-Request") == "true"
        and headers.get("HX-Boosted") != "true"
        and headers.get("HX-History-Restore-Request") != "true"
        and headers.get("HX-Request-Type") != "full"
    )


def mark_varying(response: BaseResponse) -> None:
    """Tell caches that this address answers htmx and everybody else differently."""
    response.vary.add("HX-Request")


def render(
    page: str, /, *, fragment: str | None = None, status: int = 200, trigger: str | None = None, **context: Any
) -> Response:
    """Answer with the page, or with its fragment when htmx asks. Same route, same context, both ways.

    `trigger` names an event that other parts of the page listen for; it goes with a fragment.
    """
    partial = fragment is not None and wants_fragment()
    template = fragment if partial and fragment is not None else page
    html = render_template(template, is_fragment=partial, **context)
    # Whoever typed one sees where it stands.
    response = make_response(_FORBIDDEN.sub("\ufffd", html), status)
    if partial and trigger:
        response.headers["HX-Trigger"] = trigger
    return response


def after_post(url: str, /, *, fragment: str | None = None, trigger: str | None = None, **context: Any) -> BaseResponse:
    """Answer a successful write: 303 for a plain form; for htmx the fragment, or a move to the page at `url`."""
    if fragment is None or not wants_fragment():
        return leave(url)
    response = make_response(render_template(fragment, is_fragment=True, **context))
    if trigger:
        response.headers["HX-Trigger"] = trigger
    return response


def leave(url: str) -> BaseResponse:
    """Send the browser to another page, also off this site, whoever asked.

    It loads the page as a whole: htmx itself would ask for it as a fragment, and keep this page's styles and scripts.
    """
    if wants_fragment():
        response = make_response("", 204)
        response.headers["HX-Redirect"] = url
        return response
    return redirect(url, 303)

"""Pages and fragments: the only file that reads or writes an `HX-` header."""

from typing import Any

from flask import Response, make_response, redirect, render_template, request
from werkzeug.wrappers import Response as BaseResponse


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


def render(page: str, /, *, fragment: str | None = None, status: int = 200, **context: Any) -> Response:
    """Answer with the page, or with its fragment when htmx asks. Same route, same context, both ways."""
    partial = fragment is not None and wants_fragment()
    template = fragment if partial and fragment is not None else page
    return make_response(render_template(template, is_fragment=partial, **context), status)


def after_post(url: str, /, *, fragment: str | None = None, trigger: str | None = None, **context: Any) -> BaseResponse:
    """Answer a successful write: 303 for a plain form; for htmx the fragment, or a client-side move to `url`."""
    if not wants_fragment():
        return redirect(url, 303)
    if fragment is None:
        response = make_response("", 204)
        response.headers["HX-Location"] = url
        return response
    response = make_response(render_template(fragment, is_fragment=True, **context))
    if trigger:
        response.headers["HX-Trigger"] = trigger
    return response


def leave(url: str) -> BaseResponse:
    """Send the browser to another page, also off this site, whoever asked."""
    if wants_fragment():
        response = make_response("", 204)
        response.headers["HX-Redirect"] = url
        return response
    return redirect(url, 303)

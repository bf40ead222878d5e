"""The signed cookie of people's pages; addresses for programs take none and set none."""

from flask import Flask, Request, Response
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin

MACHINE_PATHS = ("/webhooks/", "/api/")


class ProgramSession(SecureCookieSession):
    """What a program has instead of a session: it lasts as long as its request."""


class PeopleOnlySessions(SecureCookieSessionInterface):
    """Flask's signed cookie, except that a webhook or API call never acts with a browser's cookie."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """The visitor's session, or an empty one for a program."""
        if request.path.startswith(MACHINE_PATHS):
            return ProgramSession()
        return super().open_session(app, request)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Write the cookie when something changed; a program's session never does."""
        if not isinstance(session, ProgramSession):
            super().save_session(app, session, response)

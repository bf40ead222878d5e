"""The mail log: what was sent to whom, as text with every secret hidden, and sending it again."""

from functools import partial

from flask import request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _l

from portal.admin import filters, services
from portal.admin.blueprint import ROW_ID, act, actor, bp
from portal.admin.queries import system as queries
from portal.core import clock, htmx
from portal.core import mail as core_mail
from portal.core.access import staff
from portal.core.mail import MailStatus

_PAGE = f"/mail/<{ROW_ID}:mail_id>"


@bp.get("/mail", endpoint="mail")
@staff
def mail_log() -> ResponseReturnValue:
    """All mails, newest first."""
    templates = core_mail.templates()
    page = queries.mails_page(
        text=filters.text(),
        status=filters.choice("status", MailStatus),
        template=filters.one_of("template", tuple(templates)),
        before=request.args.get("before"),
        after=request.args.get("after"),
    )
    return htmx.render(
        "admin/mail.html", fragment="admin/_mail.html", page=page, statuses=MailStatus, templates=templates
    )


@bp.get(_PAGE)
@staff
def mail_message(mail_id: int) -> ResponseReturnValue:
    """One mail."""
    return _show(mail_id)


def _show(mail_id: int, refusal: str | None = None, status: int = 200) -> ResponseReturnValue:
    message = queries.get_mail(mail_id)
    return htmx.render(
        "admin/mail_message.html",
        fragment="admin/_mail_message.html",
        status=status,
        message=message,
        title=core_mail.templates().get(message.template, message.template),
        errors=queries.mail_errors(message),
        can_send=message.status is not MailStatus.QUEUED and message.template in core_mail.templates(),
        refusal=refusal,
    )


@bp.post(f"{_PAGE}/again")
@staff
def send_mail_again(mail_id: int) -> ResponseReturnValue:
    """Send a mail once more, with fresh links."""
    queries.get_mail(mail_id)
    return act(
        lambda: services.send_mail_again(mail_id, by=actor().email, at=clock.now()),
        show=partial(_show, mail_id),
        url=url_for("admin.mail_message", mail_id=mail_id),
        done=_l("The mail is on its way again."),
    )

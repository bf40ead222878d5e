"""Mails with a link in them, so many and no more: whoever types a stranger's address must not fill their mail box."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from portal.accounts.models import User
from portal.core import mail
from portal.core.db import db
from portal.core.mail import MailMessage

# A double click is one mail; an impatient owner gets five in an hour, each good for as long as the last.
_APART = timedelta(seconds=30)
_WINDOW = timedelta(hours=1)
_MOST = 5


def send_link(template: str, user: User, *, at: datetime) -> bool:
    """Mail a link to a user, unless they got one a moment ago or too many lately; says whether it was sent."""
    # SQLAlchemy types max() as never None.
    found: Any = db.session.execute(
        select(func.count(MailMessage.id), func.max(MailMessage.created_at)).where(
            MailMessage.to == user.email, MailMessage.template == template, MailMessage.created_at > at - _WINDOW
        )
    ).one()
    count, last = found
    if count >= _MOST or (last is not None and last > at - _APART):
        return False
    mail.send(template, to=user.email, locale=user.locale, user_id=user.id)
    return True

"""Every kind of mail, as mail programs show it."""

from email import message_from_bytes, policy

from portal.core.db import db
from portal.core.mail import MailMessage, MailStatus, templates
from scripts.screens.pages import name_of
from scripts.screens.tour import Tour
from tests.servers import processes

# In the order of Message-ID, <mail-NUMBER-SENDING@...>.
_NUMBER = 1


def show(tour: Tour) -> None:
    """The first letter of each kind, and the mailbox; a kind that nobody was sent is a problem."""
    processes.wait_until(lambda: _is_all_sent(tour), seconds=60, what="the last letters to be sent")
    with tour.app.app_context():
        kinds = {message.id: message.template for message in db.session.scalars(db.select(MailMessage))}
        missing = sorted(set(templates()) - set(kinds.values()))
    tour.problems += [f"no letter of the kind {kind}" for kind in missing]
    folder = tour.shop.folder / "mailbox"
    with tour.visit("reader of mails") as person:
        tour.show(person, "/dev/mailbox")
        shown: set[str] = set()
        for path in sorted(folder.glob("*.eml")):
            letter = message_from_bytes(path.read_bytes(), policy=policy.default)
            kind = kinds[int(str(letter["Message-ID"]).split("-")[_NUMBER])]
            if kind not in shown:
                if not shown:
                    tour.show(person, f"/dev/mailbox/{path.stem}")
                shown.add(kind)
                person.open(f"/dev/mailbox/{path.stem}/html")
                tour.picture(person.page, f"mail-{name_of(kind)}", is_letter=True)


def _is_all_sent(tour: Tour) -> bool:
    with tour.app.app_context():
        queued = db.select(MailMessage.id).where(MailMessage.status == MailStatus.QUEUED).limit(1)
        return db.session.scalar(queued) is None

"""What the mails about money that goes back are filled with, as things stand when they are sent."""

from flask_babel import lazy_gettext as _l
from sqlalchemy import select
from sqlalchemy.orm import joinedload, selectinload

from portal.core import mail
from portal.core.addresses import address_of
from portal.core.db import db
from portal.core.mail import Attachment, Content
from portal.payments.credit_note_paper import pdf
from portal.payments.models import Invoice
from portal.payments.refund_models import CreditNote, Dispute, Refund


@mail.context("refund_given", title=_l("Money given back"))
def refund_given(refund_id: int) -> Content:
    """For the buyer: how much goes back, and the credit note when there was an invoice."""
    refund = _refund(refund_id)
    note = next((one for one in refund.credit_notes if one.cancels_id is None), None)
    attachments = (Attachment(f"{note.number}.pdf", pdf(note)),) if note is not None else ()
    values = {
        "refund": refund,
        "description": refund.session.description,
        "note": note,
        "subject_number": note.invoice.subject_number if note is not None else None,
    }
    return Content(values=values, attachments=attachments)


@mail.context("refund_failed", title=_l("Refund failed (staff)"))
def refund_failed(refund_id: int) -> Content:
    """For staff: money that was to go back is still here."""
    refund = _refund(refund_id)
    return Content(
        values={
            "refund": refund,
            "description": refund.session.description,
            "had_succeeded": refund.succeeded_at is not None,
            "refund_url": address_of("admin.refund", refund_id=refund_id),
        }
    )


@mail.context("dispute_opened", title=_l("Dispute opened (staff)"))
def dispute_opened(dispute_id: int) -> Content:
    """For staff: what is in dispute, why, and until when to answer."""
    return _about_dispute(dispute_id)


@mail.context("dispute_closed", title=_l("Dispute closed (staff)"))
def dispute_closed(dispute_id: int) -> Content:
    """For staff: how it ended."""
    return _about_dispute(dispute_id)


def _refund(refund_id: int) -> Refund:
    return db.session.scalars(
        select(Refund)
        .where(Refund.id == refund_id)
        .options(
            joinedload(Refund.session),
            selectinload(Refund.credit_notes).options(
                selectinload(CreditNote.lines),
                joinedload(CreditNote.cancels),
                joinedload(CreditNote.invoice).joinedload(Invoice.session),
            ),
        )
    ).one()


def _about_dispute(dispute_id: int) -> Content:
    dispute = db.session.scalars(
        select(Dispute).where(Dispute.id == dispute_id).options(joinedload(Dispute.session))
    ).one()
    return Content(
        values={
            "dispute": dispute,
            "description": dispute.session.description,
            "dispute_url": address_of("admin.dispute", dispute_id=dispute_id),
        }
    )

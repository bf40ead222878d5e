"""The work list's queues about money that goes back."""

from typing import Any

from sqlalchemy import Select, String, case, cast, func

from portal.admin.queries.work_rows import LIMIT, WorkKind, row
from portal.payments.models import PaymentSession
from portal.payments.refund_models import OPEN_DISPUTES, Dispute, Refund


def refunds_to_look_at() -> Select[Any]:
    """Refunds that failed, that were made elsewhere, that a person must give, or that a provider says nothing about."""
    return (
        row(
            WorkKind.REFUND,
            id=Refund.id,
            name=PaymentSession.description,
            note=Refund.provider,
            detail=Refund.flag,
            amount_minor=Refund.amount_minor,
            currency=Refund.currency,
            since=Refund.requested_at,
        )
        .join(PaymentSession, PaymentSession.id == Refund.session_id)
        .where(Refund.flag.is_not(None))
        .order_by(Refund.id)
        .limit(LIMIT)
    )


def open_disputes() -> Select[Any]:
    """Disputes that nobody has decided, those whose time is up first; `since` is the deadline where there is one."""
    return (
        row(
            WorkKind.DISPUTE,
            id=Dispute.id,
            name=PaymentSession.description,
            note=Dispute.provider,
            detail=case((Dispute.due_at.is_(None), "no_deadline"), else_=cast(Dispute.status, String)),
            amount_minor=Dispute.amount_minor,
            currency=Dispute.currency,
            since=func.coalesce(Dispute.due_at, Dispute.opened_at),
        )
        .join(PaymentSession, PaymentSession.id == Dispute.session_id)
        .where(Dispute.status.in_(OPEN_DISPUTES))
        .order_by(Dispute.due_at, Dispute.id)
        .limit(LIMIT)
    )

"""Reads for the rooms of orders and customers."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, or_
from sqlalchemy.orm import joinedload, selectinload

from portal.accounts.errors import UserNotFound
from portal.accounts.models import LoginSession, Role, SignIn, User
from portal.admin.queries.matching import has_words, is_named, starts_with
from portal.admin.queries.refunds import MoneyBack, money_back_of
from portal.core.db import db
from portal.core.mail import MailMessage
from portal.core.paging import Page, paginate
from portal.core.state import StatusChange
from portal.orders.models import Enrolment, Order, OrderStatus, PaymentStatus
from portal.payments.models import Invoice, Payment, PaymentSession

NEWEST = 10
_MAILS = 100
_NUMBER = re.compile(r"(ORD|SO)-[0-9A-Z-]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """What staff want to see of the orders."""

    text: str = ""
    status: OrderStatus | None = None
    payment_status: PaymentStatus | None = None
    placed_from: datetime | None = None
    placed_before: datetime | None = None


def orders_where(wanted: OrderFilter) -> Select[Order]:
    """The orders of a filter, for a page or for the export."""
    statement: Select[Order] = db.select(Order)
    if wanted.status is not None:
        statement = statement.where(Order.status == wanted.status)
    if wanted.payment_status is not None:
        statement = statement.where(Order.payment_status == wanted.payment_status)
    if wanted.placed_from is not None:
        statement = statement.where(Order.placed_at >= wanted.placed_from)
    if wanted.placed_before is not None:
        statement = statement.where(Order.placed_at < wanted.placed_before)
    if wanted.text:
        statement = statement.where(_named(wanted.text))
    return statement


def _named(typed: str) -> Any:
    """By what it looks like: a number, an address, else a name. Numbers and addresses are found by their index."""
    if _NUMBER.fullmatch(typed):
        return is_named(Order.number, typed.upper())
    if "@" in typed:
        return is_named(Order.email, typed.lower())
    return or_(has_words(Order.name, typed), starts_with(Order.email, typed.lower()))


def orders_page(wanted: OrderFilter, *, before: str | None, after: str | None) -> Page[Order]:
    """A page of orders, newest first."""
    return paginate(orders_where(wanted), Order.id, before=before, after=after)


@dataclass(frozen=True, slots=True)
class OrderFile:
    """Everything staff see about one order."""

    order: Order
    account: User | None
    sessions: list[PaymentSession]
    payments: list[Payment]
    invoices: list[Invoice]
    back: MoneyBack
    mails: list[MailMessage]
    changes: list[StatusChange]


def find_order(number: str) -> Order | None:
    """An order by its number, whoever it belongs to."""
    order: Order | None = db.session.scalar(
        db.select(Order)
        .where(Order.number == number)
        .options(selectinload(Order.lines), joinedload(Order.user))
        .execution_options(populate_existing=True)
    )
    return order


def read_order_file(order: Order) -> OrderFile:
    """The same number of statements whatever the order has been through."""
    sessions = list(
        db.session.scalars(
            db.select(PaymentSession)
            .where(PaymentSession.purpose == "order", PaymentSession.subject_id == order.id)
            .order_by(PaymentSession.id.desc())
            .options(selectinload(PaymentSession.attempts))
            .execution_options(populate_existing=True)
        )
    )
    session_ids = [session.id for session in sessions]
    payments = list(
        db.session.scalars(db.select(Payment).where(Payment.session_id.in_(session_ids)).order_by(Payment.id))
    )
    invoices = list(db.session.scalars(db.select(Invoice).where(Invoice.session_id.in_(session_ids))))
    mails = db.session.scalars(
        db.select(MailMessage).where(MailMessage.to == order.email).order_by(MailMessage.id.desc()).limit(_MAILS)
    )
    back = money_back_of(session_ids)
    account = order.user or db.session.scalar(db.select(User).where(User.email == order.email))
    return OrderFile(
        order=order,
        account=account,
        sessions=sessions,
        payments=payments,
        invoices=invoices,
        back=back,
        mails=[mail for mail in mails if _is_about(mail, order, account) or _is_about_refund(mail, back)],
        changes=_changes_of(order, session_ids),
    )


def _is_about(mail: MailMessage, order: Order, account: User | None) -> bool:
    """Mails of the order itself, and those that open the account a purchase made."""
    if mail.params.get("order_id") == order.id:
        return True
    return account is not None and mail.params.get("user_id") == account.id and mail.template == "account_set_up"


def _is_about_refund(mail: MailMessage, back: MoneyBack) -> bool:
    return mail.params.get("refund_id") in {refund.id for refund in back.refunds}


def _changes_of(order: Order, session_ids: list[int]) -> list[StatusChange]:
    return list(
        db.session.scalars(
            db.select(StatusChange)
            .where(
                or_(
                    (StatusChange.entity == "orders") & (StatusChange.entity_id == order.id),
                    (StatusChange.entity == "payment_sessions") & StatusChange.entity_id.in_(session_ids),
                )
            )
            .order_by(StatusChange.id)
        )
    )


@dataclass(frozen=True, slots=True)
class CustomerFilter:
    """What staff want to see of the accounts. `state` is active, closed or unverified."""

    text: str = ""
    role: Role | None = None
    state: str | None = None


CUSTOMER_STATES = ("active", "closed", "unverified")


def customers_page(wanted: CustomerFilter, *, before: str | None, after: str | None) -> Page[User]:
    """A page of accounts, newest first."""
    statement = db.select(User)
    if wanted.role is not None:
        statement = statement.where(User.role == wanted.role)
    if wanted.state == "closed":
        statement = statement.where(User.is_active.is_(False))
    if wanted.state in ("active", "unverified"):
        statement = statement.where(User.is_active.is_(True))
    if wanted.state == "unverified":
        statement = statement.where(User.email_verified_at.is_(None))
    if wanted.text and "@" in wanted.text:
        statement = statement.where(is_named(User.email, wanted.text.lower()))
    elif wanted.text:
        by_address = starts_with(User.email, wanted.text.lower())
        statement = statement.where(or_(has_words(User.name, wanted.text), by_address))
    return paginate(statement, User.id, before=before, after=after)


@dataclass(frozen=True, slots=True)
class CustomerFile:
    """Everything staff see about one account; of each list the newest."""

    user: User
    orders: list[Order]
    enrolments: list[Enrolment]
    sign_ins: list[SignIn]
    sessions: list[LoginSession]


def get_user(user_id: int) -> User:
    """An account, whoever's it is. Raises UserNotFound."""
    user = db.session.get(User, user_id)
    if user is None:
        raise UserNotFound
    return user


def read_customer_file(user: User) -> CustomerFile:
    """The account with what hangs on it."""
    return CustomerFile(
        user=user,
        orders=list(
            db.session.scalars(db.select(Order).where(Order.user_id == user.id).order_by(Order.id.desc()).limit(NEWEST))
        ),
        enrolments=list(
            db.session.scalars(
                db.select(Enrolment)
                .where(Enrolment.user_id == user.id)
                .order_by(Enrolment.id.desc())
                .limit(NEWEST)
                .options(joinedload(Enrolment.package))
            )
        ),
        sign_ins=list(
            db.session.scalars(
                db.select(SignIn).where(SignIn.user_id == user.id).order_by(SignIn.id.desc()).limit(NEWEST)
            )
        ),
        sessions=list(
            db.session.scalars(
                db.select(LoginSession)
                .where(LoginSession.user_id == user.id)
                .order_by(LoginSession.id.desc())
                .limit(NEWEST)
            )
        ),
    )

"""What the account's pages show."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import select

from portal.accounts import devices
from portal.accounts.models import Address, AddressKind, LoginSession, SignIn, SignInOutcome, User
from portal.accounts.services import sessions
from portal.core.db import db
from portal.core.paging import Page, paginate

HISTORY_PAGE = 10
# What a buyer may say for an invoice, as invoices name it.
BILLING_FIELDS = ("company", "tax_id", "line1", "postal_code", "city", "country")

_OUTCOMES: dict[SignInOutcome, tuple[str, Any]] = {
    SignInOutcome.SUCCESS: ("success", _l("Logged in")),
    SignInOutcome.WRONG_PASSWORD: ("danger", _l("Wrong password")),
    SignInOutcome.WRONG_CODE: ("danger", _l("Wrong code")),
    SignInOutcome.THROTTLED: ("warning", _l("Refused: too many tries")),
    SignInOutcome.INACTIVE: ("neutral", _l("Refused: account closed")),
}


@dataclass(frozen=True, slots=True)
class Device:
    """A browser as its owner knows it."""

    name: str
    icon: str


@dataclass(frozen=True, slots=True)
class SessionView:
    """One signed-in browser."""

    id: int
    device: Device
    address: str
    last_seen_at: datetime
    began_at: datetime
    is_remembered: bool
    is_current: bool


@dataclass(frozen=True, slots=True)
class SignInView:
    """One line of the sign-in history."""

    id: int
    at: datetime
    tone: str
    label: str
    device: Device
    address: str


def list_sessions(user: User, *, at: datetime) -> list[SessionView]:
    """The user's live sessions: this one first, then the last used."""
    current = user.login_session.id if user.login_session else None
    rows = db.session.scalars(
        select(LoginSession)
        .where(LoginSession.user_id == user.id)
        .order_by(LoginSession.last_seen_at.desc(), LoginSession.id.desc())
        .limit(100)
    )
    views = [
        SessionView(
            id=row.id,
            device=device_of(row.user_agent),
            address=row.ip_address or _("unknown"),
            last_seen_at=row.last_seen_at,
            began_at=row.created_at,
            is_remembered=row.is_remembered,
            is_current=row.id == current,
        )
        for row in rows
        if sessions.is_alive(row, user, at=at)
    ]
    return sorted(views, key=lambda view: not view.is_current)


def sign_in_history(user: User, *, before: str | None = None, after: str | None = None) -> Page[SignInView]:
    """A page of the user's sign-ins, failed ones included, newest first."""
    page = paginate(
        select(SignIn).where(SignIn.user_id == user.id), SignIn.id, before=before, after=after, size=HISTORY_PAGE
    )
    return Page([_view(row) for row in page.rows], older=page.older, newer=page.newer)


def billing_of(user_id: int) -> dict[str, str]:
    """The billing address of an account, as checkout starts with it."""
    address = db.session.scalar(select(Address).where(Address.user_id == user_id, Address.kind == AddressKind.BILLING))
    if address is None:
        return {}
    return {name: value for name in BILLING_FIELDS if (value := getattr(address, name))}


def device_of(user_agent: str) -> Device:
    """What to call a browser."""
    browser, system = devices.browser_of(user_agent), devices.system_of(user_agent)
    icon = "device-mobile" if devices.is_hand_held(user_agent) else "device-desktop"
    if browser and system:
        return Device(_("%(browser)s on %(system)s", browser=browser, system=system), icon)
    return Device(browser or system or _("Unknown device"), icon)


def _view(row: SignIn) -> SignInView:
    tone, label = _OUTCOMES[row.outcome]
    return SignInView(
        id=row.id,
        at=row.at,
        tone=tone,
        label=str(label),
        device=device_of(row.user_agent),
        address=row.ip_address or _("unknown"),
    )

"""Who may sign in, and the sessions, tokens and addresses that hang on a user."""

from datetime import datetime
from enum import StrEnum

from flask_login import UserMixin
from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.core.db import Base, UTCDateTime, status_column


class Role(StrEnum):
    """What a user is to the business. `paid` is a customer whose account a purchase made."""

    CUSTOMER = "customer"
    PAID = "paid"
    STAFF = "staff"
    ADMIN = "admin"


STAFF_ROLES = (Role.STAFF, Role.ADMIN)


class User(UserMixin, Base):
    """A person with an account. `email` is stored in lower case and is what they sign in with.

    `password_hash` is None until a set-up link was used; such an account cannot be signed in to.
    """

    __tablename__ = "users"
    __allow_unmapped__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(320), unique=True)
    password_hash: Mapped[str | None] = mapped_column(String(255))
    name: Mapped[str] = mapped_column(String(120), default="")
    phone: Mapped[str] = mapped_column(String(32), default="")
    locale: Mapped[str] = mapped_column(String(8), default="en")
    role: Mapped[Role] = mapped_column(status_column(Role, "role"), default=Role.CUSTOMER)
    is_active: Mapped[bool] = mapped_column(default=True)
    email_verified_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    totp_secret_sealed: Mapped[str | None] = mapped_column(String(255))
    totp_confirmed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # The last 30-second step that was accepted: a code works once (RFC 6238, 5.2).
    totp_last_step: Mapped[int | None]
    last_login_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)

    # Set by the loader for the request at hand; not a column.
    login_session: "LoginSession | None" = None
    session_token: str | None = None
    needs_second_factor: bool = False

    __table_args__ = (
        CheckConstraint("email = lower(email)", name="email_lower"),
        Index("ix_users_role", "role", "id"),
        # Are there imported bcrypt hashes left? Asked at every log-in, and empty most of the time.
        Index(
            "ix_users_imported",
            "id",
            postgresql_where=text("substr(password_hash, 1, 2) = '$2'"),
            sqlite_where=text("substr(password_hash, 1, 2) = '$2'"),
        ),
    )

    @property
    def is_verified(self) -> bool:
        """Whether the e-mail address was proven."""
        return self.email_verified_at is not None

    @property
    def is_staff(self) -> bool:
        """Whether the back office is open to them."""
        return self.role in STAFF_ROLES

    @property
    def is_admin(self) -> bool:
        """Whether staff matters, such as roles, are open to them."""
        return self.role is Role.ADMIN

    @property
    def has_second_factor(self) -> bool:
        """Whether a second factor is asked for at log-in."""
        return self.totp_confirmed_at is not None

    def signed_in_since(self, at: datetime) -> bool:
        """Whether the password was given at or after `at` in this session."""
        return self.login_session is not None and self.login_session.authenticated_at >= at

    def get_id(self) -> str:
        """What Flask-Login keeps in the cookie: this session's token, not the user's id, so it can be revoked."""
        if self.session_token is None:
            raise RuntimeError("this user was not signed in through a login session")
        return self.session_token


class LoginSession(Base):
    """One signed-in browser. The cookie holds the token; only its hash is here."""

    __tablename__ = "login_sessions"

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    is_remembered: Mapped[bool] = mapped_column(default=False)
    ip_address: Mapped[str | None] = mapped_column(String(45))
    user_agent: Mapped[str] = mapped_column(String(255), default="")
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    authenticated_at: Mapped[datetime] = mapped_column(UTCDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UTCDateTime)

    user: Mapped[User] = relationship()


class TokenPurpose(StrEnum):
    """What a mailed link is for."""

    VERIFY_EMAIL = "verify_email"
    RESET_PASSWORD = "reset_password"  # noqa: S105  # a purpose, not a password
    SET_UP_ACCOUNT = "set_up_account"


class UserToken(Base):
    """A mailed single-use link. Bound to the address and the password hash of the time it was made."""

    __tablename__ = "user_tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    purpose: Mapped[TokenPurpose] = mapped_column(status_column(TokenPurpose, "token_purpose"))
    # Hash of e-mail and password hash: the link dies when either changes.
    binding: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    user: Mapped[User] = relationship()


class RecoveryCode(Base):
    """A one-time stand-in for the second factor."""

    __tablename__ = "recovery_codes"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    code_hash: Mapped[str] = mapped_column(String(64))
    used_at: Mapped[datetime | None] = mapped_column(UTCDateTime)


class SignInOutcome(StrEnum):
    """What came of a try to sign in."""

    SUCCESS = "success"
    WRONG_PASSWORD = "wrong_password"  # noqa: S105  # an outcome, not a password
    WRONG_CODE = "wrong_code"
    THROTTLED = "throttled"
    INACTIVE = "inactive"


class SignIn(Base):
    """One try to sign in: the user's history, and the counter that slows guessing down.

    `account_key` is a keyed hash of the typed address, so unknown addresses are counted without being stored.
    """

    __tablename__ = "sign_ins"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    account_key: Mapped[str] = mapped_column(String(64))
    ip_address: Mapped[str | None] = mapped_column(String(45))
    user_agent: Mapped[str] = mapped_column(String(255), default="")
    outcome: Mapped[SignInOutcome] = mapped_column(status_column(SignInOutcome, "sign_in_outcome"))
    at: Mapped[datetime] = mapped_column(UTCDateTime)

    __table_args__ = (
        Index("ix_sign_ins_account", "account_key", "at"),
        Index("ix_sign_ins_address", "ip_address", "at"),
        Index("ix_sign_ins_user", "user_id", "id"),
    )


class AddressKind(StrEnum):
    """What an address is used for."""

    BILLING = "billing"
    SHIPPING = "shipping"


class Address(Base):
    """A user's billing or shipping address; one of each."""

    __tablename__ = "addresses"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    kind: Mapped[AddressKind] = mapped_column(status_column(AddressKind, "address_kind"))
    name: Mapped[str] = mapped_column(String(120), default="")
    company: Mapped[str] = mapped_column(String(120), default="")
    tax_id: Mapped[str] = mapped_column(String(32), default="")
    line1: Mapped[str] = mapped_column(String(120))
    line2: Mapped[str] = mapped_column(String(120), default="")
    city: Mapped[str] = mapped_column(String(80))
    state: Mapped[str] = mapped_column(String(80), default="")
    postal_code: Mapped[str] = mapped_column(String(16))
    country: Mapped[str] = mapped_column(String(2))

    __table_args__ = (UniqueConstraint("user_id", "kind"),)

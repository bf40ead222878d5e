"""Our account at the certificate authority: its key is made once and kept sealed."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from portal.core import sealed, settings
from portal.core.db import db
from portal.sites.domains.models import AuthorityAccount

_PURPOSE = "acme-account"


def find_account() -> AuthorityAccount | None:
    """The account at the authority that is configured; None before the first domain is proven."""
    url = settings.current().acme_directory_url
    found: AuthorityAccount | None = db.session.scalars(
        select(AuthorityAccount).where(AuthorityAccount.directory_url == url)
    ).one_or_none()
    return found


def ensure_account(*, at: datetime) -> AuthorityAccount:
    """The account, made now if there is none: a key of our own. The authority hears of it with the first order."""
    account = find_account()
    if account is not None:
        return account
    # Imported here: the library and what it is made of would stay in every web process.
    from portal.sites.domains import authority

    key_pem = authority.new_key()
    account = AuthorityAccount(
        directory_url=settings.current().acme_directory_url,
        key_sealed=sealed.seal(key_pem, purpose=_PURPOSE),
        thumbprint=authority.thumbprint(key_pem),
        created_at=at,
    )
    try:
        with db.session.begin_nested():
            db.session.add(account)
    except IntegrityError:
        # Another worker proved another domain at this moment.
        return ensure_account(at=at)
    return account


def account_key(account: AuthorityAccount) -> str:
    """The private key, as PEM. Raises ValueError when the secret key of the portal has changed."""
    return sealed.unseal(account.key_sealed, purpose=_PURPOSE)

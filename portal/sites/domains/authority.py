"""The certificate authority, spoken to by the `acme` library (RFC 8555): the one file that knows it.

The challenge is HTTP-01. What has to be answered is the challenge's token and the thumbprint of our account's key, and
the same thumbprint for every domain: so site hosts answer by a line of configuration, and nothing has to reach them
between the question and the answer.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import josepy as jose
import requests
from acme import challenges, client, crypto_util, errors, messages
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.jwa import ES256
from josepy.jwk import JWKEC

_USER_AGENT = "portal"
_SECONDS = 15
_SAID = 600
_LIMITS = frozenset({"rateLimited"})
_ITS_TROUBLE = frozenset({"serverInternal", "badNonce"})


class AuthorityAway(RuntimeError):
    """It does not answer, or has trouble of its own: nothing is wrong with the domain."""


class AuthorityLimits(RuntimeError):
    """We have asked too often; the message is its own."""


class AuthorityRefused(RuntimeError):
    """It looked, and says no; the message is its own."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its chain, as PEM, and what is read in it."""

    chain_pem: str
    fingerprint: str
    starts_at: datetime
    ends_at: datetime


def new_key() -> str:
    """A new private key, as PEM: P-256, which every browser and every authority takes."""
    return (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


def thumbprint(key_pem: str) -> str:
    """What an account's key is recognised by in the answer to a challenge (RFC 7638)."""
    return jose.b64.b64encode(_account_key(key_pem).thumbprint(hash_function=hashes.SHA256)).decode()


class Authority:
    """One authority, in our account's name; each call opens its connections anew."""

    def __init__(self, directory_url: str, account_key_pem: str, contact: str = "") -> None:
        self._directory_url, self._contact = directory_url, contact
        self._key = _account_key(account_key_pem)

    def identities(self) -> tuple[str, ...]:
        """The names that CAA records know it by. Raises AuthorityAway."""
        try:
            found = self._connect().directory.meta.caa_identities
        except _TROUBLES as error:
            raise _told(error) from None
        return tuple(name.lower() for name in found or ())

    def issue(self, names: Sequence[str], key_pem: str) -> Issued:
        """A certificate for these names and this private key, within a minute and a half.

        Raises AuthorityAway, AuthorityLimits, AuthorityRefused.
        """
        try:
            speaking = self._sign_in()
            order = speaking.new_order(crypto_util.make_csr(key_pem.encode(), domains=list(names)))
            for authorization in order.authorizations:
                if authorization.body.status == messages.STATUS_PENDING:
                    self._answer(speaking, authorization)
            chain_pem = speaking.poll_and_finalize(order).fullchain_pem
        except _TROUBLES as error:
            raise _told(error) from None
        return read(chain_pem)

    def renewal_time(self, chain_pem: str) -> datetime | None:
        """When the authority wants a certificate to be renewed (RFC 9773); None when it does not say.

        Raises AuthorityAway.
        """
        try:
            wanted, _ask_again = self._connect().renewal_time(chain_pem.encode())
        except errors.ARIError:
            return None
        except _TROUBLES as error:
            raise _told(error) from None
        return wanted.astimezone(UTC) if wanted is not None else None

    def _answer(self, speaking: client.ClientV2, authorization: messages.AuthorizationResource) -> None:
        for one in authorization.body.challenges:
            if isinstance(one.chall, challenges.HTTP01):
                speaking.answer_challenge(one, one.chall.response(self._key))
                return
        raise AuthorityRefused("it offers no HTTP-01 challenge")

    def _sign_in(self) -> client.ClientV2:
        """The account of our key, made now when the authority does not know it yet."""
        speaking = self._connect()
        wanted = messages.NewRegistration.from_data(email=self._contact or None, terms_of_service_agreed=True)
        try:
            speaking.new_account(wanted)
        except errors.ConflictError as known:
            speaking.net.account = messages.RegistrationResource(uri=known.location, body=messages.Registration())
        return speaking

    def _connect(self) -> client.ClientV2:
        network = client.ClientNetwork(self._key, alg=ES256, user_agent=_USER_AGENT, timeout=_SECONDS)
        return client.ClientV2(client.ClientV2.get_directory(self._directory_url, network), network)


# Everything that the library lets through: its own errors, those of what it is made of, and what it falls over when an
# authority answers something that the standard does not have.
_NONSENSE = (AttributeError, KeyError, TypeError, ValueError)
_TROUBLES = (errors.Error, messages.Error, jose.errors.Error, requests.RequestException, *_NONSENSE)


def _told(error: Exception) -> Exception:
    """What the library raised, in our words."""
    match error:
        case messages.Error():
            if error.code in _LIMITS:
                return AuthorityLimits(_words(error))
            return AuthorityAway(_words(error)) if error.code in _ITS_TROUBLE else AuthorityRefused(_words(error))
        case errors.ValidationError():
            problems = [
                _words(one.error)
                for authorization in error.failed_authzrs
                for one in authorization.body.challenges
                if one.error is not None
            ]
            return AuthorityRefused("; ".join(problems)[:_SAID])
        case errors.IssuanceError():
            return AuthorityRefused(_words(error.error))
        case errors.TimeoutError():
            return AuthorityAway("no answer in time")
        case _:
            return AuthorityAway(type(error).__name__)


def _words(problem: messages.Error) -> str:
    return (problem.detail or problem.description or str(problem.typ))[:_SAID]


def read(chain_pem: str) -> Issued:
    """What stands in the first certificate of a chain. Raises AuthorityRefused for what is none."""
    try:
        first = x509.load_pem_x509_certificate(chain_pem.encode())
    except ValueError:
        raise AuthorityRefused("what it sent is no certificate") from None
    return Issued(
        chain_pem,
        hashlib.sha256(first.public_bytes(serialization.Encoding.DER)).hexdigest(),
        first.not_valid_before_utc,
        first.not_valid_after_utc,
    )


def _account_key(key_pem: str) -> JWKEC:
    key = serialization.load_pem_private_key(key_pem.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("not an EC key")
    return JWKEC(key=key)

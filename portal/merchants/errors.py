"""What can go wrong for merchants, their programs and their customers."""

from collections.abc import Mapping, Sequence

from flask_babel import lazy_gettext as _l

from portal.core.errors import Conflict, Forbidden, Invalid, NotFound, PortalError


class MerchantNotFound(NotFound):
    """No such merchant, or the asker has none."""

    default = _l("We could not find that page.")


class RequestNotFound(NotFound):
    """No such request to become a merchant."""

    default = _l("We could not find that request.")


class KeyNotFound(NotFound):
    """No such API key, or another merchant's."""

    default = _l("We could not find that key.")


class PaymentNotFound(NotFound):
    """No such payment, or another merchant's, or one of the other mode."""

    default = _l("We could not find that payment.")


class AlreadyMerchant(Conflict):
    """The account looks after a merchant already, or has asked to."""

    code = "already_merchant"
    default = _l("This account is a merchant already, or its request is still being looked at.")


class OwnerUnknown(Invalid):
    """No account has this address."""

    code = "owner_unknown"
    default = _l("There is no account with this address. Its owner has to register first.")


class MerchantSuspended(Forbidden):
    """The merchant may not sell at the moment."""

    code = "merchant_suspended"
    default = _l("This merchant account is suspended. Please write to us.")


class KeyNotUsable(Conflict):
    """The key is revoked, expired or replaced already."""

    code = "key_not_usable"
    default = _l("This key is already revoked, expired or replaced.")


class SecretGone(Conflict):
    """The secret was shown before, or was waiting for too long."""

    code = "secret_gone"
    default = _l("This key was already shown once, or has waited for too long. Replace it to get a new one.")


class TooManyKeys(Conflict):
    """More keys than anybody can keep apart."""

    code = "too_many_keys"
    default = _l("You have 20 working keys already. Revoke one that is not used.")


class NotForSale(Conflict):
    """The payment cannot be made at the moment, whoever asks."""

    code = "not_payable"
    default = _l("This payment cannot be made right now.")


class LinkDead(NotFound):
    """A customer's link that was made up, or belongs to nothing."""

    code = "link_unknown"
    default = _l("This link is not complete, or it was never one of ours. Look for it in your mail again.")


class LinkOver(PortalError):
    """A customer's link that is over seven days old or was taken back."""

    status = 410
    code = "link_over"
    default = _l("This link has ended. It worked for seven days after the payment. Ask the seller for help.")


# --- what a program is told ---


class MissingKey(PortalError):
    """No key was sent where keys are looked for."""

    status = 401
    code = "missing_key"
    default = _l("Send your API key in the header: Authorization: Bearer sk_test_…")


class InvalidKey(PortalError):
    """A key that nobody has."""

    status = 401
    code = "invalid_key"
    default = _l("This API key does not exist.")


class RevokedKey(PortalError):
    """A key that its owner has taken back."""

    status = 401
    code = "key_revoked"
    default = _l("This API key was revoked.")


class ExpiredKey(PortalError):
    """A key whose time is over."""

    status = 401
    code = "key_expired"
    default = _l("This API key has expired.")


class KeyInAddress(PortalError):
    """A key in an address ends in logs and histories, so it is not taken from there."""

    status = 400
    code = "key_in_url"
    default = _l(
        "Never put an API key into an address: it ends up in logs. Send it in the header, and replace this key."
    )


class MissingScope(Forbidden):
    """The key is right and was not given this right."""

    code = "missing_scope"

    def __init__(self, scope: str) -> None:
        super().__init__(_l("This API key may not do this. It needs the right %(scope)s.", scope=scope))


class WrongMediaType(PortalError):
    """A body that is not said to be JSON."""

    status = 415
    code = "not_json"
    default = _l("Send JSON, with the header Content-Type: application/json.")


class MalformedBody(PortalError):
    """A body that cannot be read."""

    code = "malformed_json"
    default = _l("The body is not a JSON object.")


class UnknownFields(PortalError):
    """Fields or parameters that mean nothing: a typing mistake would otherwise go unnoticed."""

    code = "unknown_fields"

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(_l("These fields are not known: %(names)s.", names=", ".join(names)))
        self.fields = [
            {"field": name, "code": "unknown", "message": str(_l("This field is not known."))} for name in names
        ]


class InvalidFields(Invalid):
    """One or more fields hold something that cannot be accepted; each is named."""

    code = "invalid_fields"
    default = _l("Some fields are wrong. See the list.")

    def __init__(self, fields: Sequence[Mapping[str, str]]) -> None:
        super().__init__(field=fields[0]["field"])
        self.fields = list(fields)


class InvalidIdempotencyKey(PortalError):
    """An Idempotency-Key that is empty, too long or not plain text."""

    code = "invalid_idempotency_key"
    default = _l("An Idempotency-Key has from 1 to 255 printable ASCII characters.")


class KeyReused(Invalid):
    """The same Idempotency-Key came with another request."""

    code = "idempotency_key_reused"
    default = _l("This Idempotency-Key was used for another request. Take a new one for a new payment.")

"""What the mails about merchants are filled with. Called when a mail is sent; links are made there and then."""

from flask_babel import lazy_gettext as _l

from portal.core import mail
from portal.core.addresses import address_of
from portal.core.db import db
from portal.core.mail import Attachment, Content
from portal.merchants import queries
from portal.merchants.models import ApiKey, MerchantRequest
from portal.merchants.services import access
from portal.payments.invoices import pdf
from portal.payments.models import PaymentSession


@mail.context("merchant_receipt", title=_l("Receipt for a merchant's customer"))
def merchant_receipt(session_id: int) -> Content:
    """For a merchant's customer: the invoice, and the link that opens the purchase for seven days."""
    session = db.session.get_one(PaymentSession, session_id)
    purchase = access.purchase_of(session)
    if purchase is None:
        raise LookupError(f"payment session {session_id} has no access link")
    invoice = queries.find_invoice(session)
    attachments = (Attachment(f"{invoice.number}.pdf", pdf(invoice)),) if invoice is not None else ()
    return Content(
        values={
            "session": session,
            "merchant": purchase.merchant,
            "invoice": invoice,
            "ends_at": purchase.link.expires_at,
        },
        secrets={"access_url": address_of("purchases.open_link", token=access.token_of(purchase))},
        attachments=attachments,
    )


@mail.context("merchant_first_key", title=_l("A merchant's first API key"))
def merchant_first_key(key_id: int) -> Content:
    """For the owner: a key was made by itself, and waits to be looked at. The mail does not carry it."""
    key = db.session.get_one(ApiKey, key_id)
    return Content(values={"key": key, "merchant": key.merchant, "keys_url": address_of("merchant.keys")})


@mail.context("merchant_approved", title=_l("Request to become a merchant approved"))
def merchant_approved(request_id: int) -> Content:
    """For a customer who may sell from now on."""
    return _about(request_id)


@mail.context("merchant_declined", title=_l("Request to become a merchant declined"))
def merchant_declined(request_id: int) -> Content:
    """For a customer who may not, with the reason."""
    return _about(request_id)


def _about(request_id: int) -> Content:
    wish = db.session.get_one(MerchantRequest, request_id)
    return Content(values={"wish": wish, "merchant_url": address_of("merchant.overview")})

"""One spelling for every e-mail address, so that one person has one account."""

from email_validator import EmailNotValidError, validate_email
from flask_babel import lazy_gettext as _l

from portal.core.errors import Invalid

_LONGEST = 254


def normalise_email(text: str) -> str:
    """The address as it is stored: lower case, ASCII, the domain in its IDNA form. Raises Invalid.

    Letters beyond ASCII before the @ are refused: too many mail servers still do not take them, and a mail that
    cannot be delivered must be found out here and not after the purchase.
    """
    try:
        found = validate_email(text.strip(), check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError:
        raise Invalid(_l("This is not an e-mail address we can write to."), field="email") from None
    address = (found.ascii_email or found.normalized).lower()
    if len(address) > _LONGEST or not address.isascii():
        raise Invalid(_l("This is not an e-mail address we can write to."), field="email")
    return address


def lookup_form(text: str) -> str:
    """What to look a typed address up by; whatever it is, it never raises: an odd one finds nobody."""
    try:
        return normalise_email(text)
    except Invalid:
        return text.strip().lower()[:_LONGEST].replace("\x00", "")

"""The mails about a quote: to its owner, in its language, once for each occasion."""

from portal.core import mail
from portal.quotes.models import Quote


def tell(quote: Quote, template: str, *, occasion: str = "") -> None:
    """Write a mail in the current transaction; the same about the same occasion is written once."""
    if quote.user is not None:
        key = f"{template}:{quote.id}{occasion and f':{occasion}'}"
        mail.send(template, to=quote.user.email, locale=quote.locale, key=key, quote_id=quote.id)

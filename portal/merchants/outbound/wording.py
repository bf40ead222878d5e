"""What went wrong with a try to deliver, in words for the merchant.

A try keeps its error in English, as it was written down; programs and staff read it as it is.
"""

import re

from flask_babel import LazyString, gettext
from flask_babel import lazy_gettext as _l

# A refusal's own sentence is one of ours too, kept as it stands in the source.
REFUSED = "refused: "
_TROUBLES: dict[str, LazyString] = {
    "no complete answer within {} seconds": _l("There was no complete answer within %(part)s seconds."),
    "TLS: {}": _l("The connection could not be secured: %(part)s"),
    "the answer is not HTTP ({})": _l("The answer is not HTTP (%(part)s)."),
    "the name cannot be resolved ({})": _l("The name of the host cannot be resolved (%(part)s)."),
    "the name was not resolved in time": _l("The name of the host was not resolved in time."),
    "the host has no address": _l("The host has no address."),
    "the secret cannot be read any more: replace it": _l("Your secret cannot be read any more. Replace it."),
    "Connection refused": _l("The connection was refused: nothing listens there."),
}
_PATTERNS = {re.compile(re.escape(text).replace(r"\{\}", "(.+)")): words for text, words in _TROUBLES.items()}


def trouble_words(error: str) -> str:
    """A sentence about an error; one of the network's own, which we do not know, stays as it is."""
    if error.startswith(REFUSED):
        return str(gettext("Nothing was sent. %(why)s", why=gettext(error.removeprefix(REFUSED))))
    for pattern, words in _PATTERNS.items():
        found = pattern.fullmatch(error)
        if found is not None:
            return str(words) % {"part": "".join(found.groups())}
    return error

"""Why a domain does not work, in words for its owner and for staff."""

from dataclasses import dataclass

from flask_babel import LazyString
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from portal.sites.domains.models import Reason

_TITLES: dict[Reason, LazyString] = {
    Reason.NO_PROOF: _l("The TXT record is not there yet"),
    Reason.NO_ADDRESS: _l("The domain does not lead anywhere yet"),
    Reason.ELSEWHERE: _l("The domain leads somewhere else"),
    Reason.DNS_AWAY: _l("The name servers do not answer"),
    Reason.TAKEN: _l("Another site here has this domain"),
    Reason.CAA: _l("A CAA record forbids the certificate"),
    Reason.UNREACHABLE: _l("Our servers cannot be reached under this domain"),
    Reason.AUTHORITY_REFUSED: _l("The certificate was refused"),
    Reason.AUTHORITY_LIMITS: _l("The certificate has to wait"),
    Reason.AUTHORITY_AWAY: _l("The certificate authority does not answer"),
    Reason.NGINX_REFUSED: _l("Our web server does not accept this domain"),
    Reason.NOT_SERVED: _l("Our servers do not show the certificate yet"),
    Reason.EXPIRED: _l("The certificate has ended"),
    Reason.SITE_OFF: _l("The subscription of this site does not run"),
}
_ADVICE: dict[Reason, LazyString] = {
    Reason.NO_PROOF: _l("Add the TXT record below. Until it is seen, nobody can use the name here."),
    Reason.NO_ADDRESS: _l(
        "Add the record below that leads to us. Name servers may need some minutes, at times an hour."
    ),
    Reason.ELSEWHERE: _l("Change the record below so that it leads to us alone, and remove others of the same name."),
    Reason.DNS_AWAY: _l("We ask again by ourselves. If it stays like this, ask the company that keeps your domain."),
    Reason.TAKEN: _l("If the domain is yours, write to us: we will find out how that came about."),
    Reason.CAA: _l("Add a CAA record that allows the authority named below, or remove those that forbid it."),
    Reason.UNREACHABLE: _l("Nothing for you to do. We look into it and try again by ourselves."),
    Reason.AUTHORITY_REFUSED: _l("We try again. Check that the records below are the only ones of this name."),
    Reason.AUTHORITY_LIMITS: _l("Certificates are limited for each name, and this one had its share. We try later."),
    Reason.AUTHORITY_AWAY: _l("Nothing for you to do. We try again by ourselves."),
    Reason.NGINX_REFUSED: _l("Nothing for you to do: we were told, and look into it."),
    Reason.NOT_SERVED: _l("Nothing for you to do. We try again by ourselves."),
    Reason.EXPIRED: _l("We ask for a new one. Until then the site is found under its other address."),
    Reason.SITE_OFF: _l("The domain works again as soon as it does. Until then it leads to the other address."),
}
# What others said is shown to the owner where it helps to find the wrong record; the rest is for staff.
_TELLING = frozenset({Reason.ELSEWHERE, Reason.DNS_AWAY, Reason.CAA, Reason.AUTHORITY_REFUSED, Reason.AUTHORITY_LIMITS})
_PROBLEMS: dict[str, LazyString] = {
    "timeout": _l("No answer in time"),
    "servfail": _l("Answered with an error"),
    "malformed": _l("Answered something unreadable"),
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong: a title, what to do, and what was seen or said, if that helps."""

    title: str
    advice: str
    detail: str


def trouble_of(reason: Reason, detail: str) -> Trouble:
    """The words for a reason."""
    return Trouble(str(_TITLES[reason]), str(_ADVICE[reason]), detail if reason in _TELLING else "")


def problem_words(problem: str) -> str:
    """Why a resolver said nothing."""
    known = _PROBLEMS.get(problem)
    return str(known) if known is not None else _("No answer (%(problem)s)", problem=problem)

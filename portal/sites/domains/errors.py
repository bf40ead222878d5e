"""What can go wrong with domains, in words for the people whose they are."""

from flask_babel import lazy_gettext as _l

from portal.core.errors import Conflict, Invalid, NotFound


class DomainNotFound(NotFound):
    """No such domain, or it is not this person's."""

    default = _l("We could not find that domain.")


class InvalidName(Invalid):
    """Something that cannot be a site's domain; the message says why."""

    code = "invalid_domain"


class DomainTaken(InvalidName):
    """Another site has proven this name."""

    code = "domain_taken"
    default = _l("This domain already belongs to another site here. If it is yours, write to us.")


class SiteHasDomain(Conflict):
    """A site has one domain at a time."""

    code = "site_has_domain"
    default = _l("This site already has a domain. Remove it before you connect another one.")


class DomainsClosed(Conflict):
    """The site's subscription does not run."""

    code = "domains_closed"
    default = _l("A domain of your own needs a running subscription for this site.")


class DomainsNotOffered(Conflict):
    """This installation has nowhere to point a domain to."""

    code = "domains_not_offered"
    default = _l("Domains of your own are not offered yet.")


class DomainRemoved(Conflict):
    """The domain was given up."""

    code = "domain_removed"
    default = _l("This domain was removed.")

"""What the mails about domains are filled with. Called when a mail is sent."""

from flask_babel import lazy_gettext as _l

from portal import config_sites
from portal.core import mail, settings
from portal.core.addresses import address_of
from portal.core.mail import Content
from portal.sites import layout
from portal.sites.domains import queries
from portal.sites.domains.models import RECORD_REASONS, Domain
from portal.sites.domains.records import Record, records_for
from portal.sites.domains.wording import trouble_of


@mail.context("domain_live", title=_l("Own domain works"))
def domain_live(domain_id: int) -> Content:
    """For the owner: the site is found under the domain."""
    return _about(domain_id)


@mail.context("domain_failing", title=_l("Own domain does not work"))
def domain_failing(domain_id: int) -> Content:
    """For the owner: why the domain does not work, and the record to mend if it is one."""
    return _about(domain_id)


@mail.context("domain_certificate_ending", title=_l("Certificate of an own domain ends"))
def domain_certificate_ending(domain_id: int) -> Content:
    """For the owner: the certificate ends soon and could not be renewed."""
    return _about(domain_id)


def _about(domain_id: int) -> Content:
    domain = queries.get_domain_by_id(domain_id)
    return Content(
        values={
            "domain": domain,
            "site": domain.site,
            "trouble": trouble_of(domain.reason, domain.reason_detail) if domain.reason is not None else None,
            "records": _records_to_mend(domain),
            "certificate": domain.certificate,
            "path_url": layout.site_url(domain.site.slug),
            "domain_url": address_of("sites.domain", slug=domain.site.slug),
        }
    )


def _records_to_mend(domain: Domain) -> list[Record]:
    """The records to look at, if they are what is wrong; the proof has done its work with the first certificate."""
    if domain.reason not in RECORD_REASONS:
        return []
    found = records_for(domain, config_sites.site_addresses(settings.current()))
    return [one for one in found if one.purpose != "proof" or domain.certificate_id is None]

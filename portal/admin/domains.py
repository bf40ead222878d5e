"""Customers' own domains for staff: the list, one with what was seen of it, looking again, removing."""

from functools import partial

from flask import request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _l

from portal import config_sites
from portal.accounts.models import User
from portal.admin import filters
from portal.admin.blueprint import ROW_ID, act, actor, bp
from portal.admin.queries.domains import domains_page
from portal.core import clock, htmx, settings
from portal.core.access import staff
from portal.core.db import db
from portal.core.state import history
from portal.sites.domains import queries
from portal.sites.domains.models import DomainStatus
from portal.sites.domains.records import records_for, records_for_twin
from portal.sites.domains.services import requesting
from portal.sites.domains.wording import problem_words, trouble_of

_PAGE = f"/domains/<{ROW_ID}:domain_id>"
_STATES = ("removed",)


@bp.get("/domains", endpoint="domains")
@staff
def domain_list() -> ResponseReturnValue:
    """All domains, newest first."""
    page = domains_page(
        text=filters.text(),
        status=filters.choice("status", DomainStatus),
        is_removed=filters.one_of("state", _STATES) is not None,
        before=request.args.get("before"),
        after=request.args.get("after"),
    )
    return htmx.render(
        "admin/domains.html", fragment="admin/_domains.html", page=page, statuses=DomainStatus, trouble_of=trouble_of
    )


@bp.get(_PAGE)
@staff
def domain(domain_id: int) -> ResponseReturnValue:
    """One domain: its records, what was seen of it, its certificates and its history."""
    return _show(domain_id)


@bp.post(f"{_PAGE}/look")
@staff
def look_at_domain(domain_id: int) -> ResponseReturnValue:
    """Have a domain looked at now."""
    return act(
        lambda: requesting.ask_to_look(queries.get_domain_by_id(domain_id), at=clock.now()),
        show=partial(_show, domain_id),
        url=url_for("admin.domain", domain_id=domain_id),
        done=_l("We are looking. What we find is shown here in a moment."),
    )


@bp.post(f"{_PAGE}/remove")
@staff
def remove_domain(domain_id: int) -> ResponseReturnValue:
    """Give a domain up for its owner."""
    return act(
        lambda: requesting.remove_domain(queries.get_domain_by_id(domain_id), by=actor().email, at=clock.now()),
        show=partial(_show, domain_id),
        url=url_for("admin.domain", domain_id=domain_id),
        done=_l("The domain is no longer connected."),
    )


def _show(domain_id: int, refusal: str | None = None, status: int = 200) -> ResponseReturnValue:
    found = queries.get_domain_by_id(domain_id)
    checks = queries.list_checks(found, limit=10)
    addresses = config_sites.site_addresses(settings.current())
    return htmx.render(
        "admin/domain.html",
        fragment="admin/_domain.html",
        status=status,
        domain=found,
        site=found.site,
        owner=db.session.get(User, found.site.owner_id) if found.site.owner_id is not None else None,
        records=[*records_for(found, addresses), *records_for_twin(found, addresses)],
        trouble=trouble_of(found.reason, found.reason_detail) if found.reason is not None else None,
        checks=checks,
        check=checks[0] if checks else None,
        certificates=queries.list_certificates(found),
        changes=history(found),
        trouble_of=trouble_of,
        problem_words=problem_words,
        refusal=refusal,
        at=clock.now(),
    )

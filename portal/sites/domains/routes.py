"""`/my/sites/<slug>/domain`: connecting a domain, what is seen of it, and giving it up."""

from typing import cast

from flask import flash, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_login import current_user

from portal import config_sites
from portal.accounts.models import User
from portal.core import clock, htmx, settings
from portal.core.access import logged_in
from portal.core.db import db, unit_of_work
from portal.core.errors import Conflict
from portal.extensions import limiter
from portal.sites import layout
from portal.sites import queries as sites
from portal.sites.domains import queries
from portal.sites.domains.errors import InvalidName
from portal.sites.domains.forms import DomainForm
from portal.sites.domains.models import Domain
from portal.sites.domains.records import records_for, records_for_twin
from portal.sites.domains.services import requesting
from portal.sites.domains.wording import problem_words, trouble_of
from portal.sites.models import Site
from portal.sites.routes import bp

_PAGE = "/my/sites/<slug>/domain"
# Each request asks name servers about a name that somebody typed.
_REQUESTS = "20 per hour"
_LOOKS = "30 per minute"


@bp.get(_PAGE)
@logged_in
def domain(slug: str) -> ResponseReturnValue:
    """The site's domain, or the form that asks for one; while something is to happen it is asked for again."""
    return _show(_own(slug))


@bp.post(_PAGE)
@logged_in
@limiter.limit(_REQUESTS)
def connect_domain(slug: str) -> ResponseReturnValue:
    """Begin to connect a domain."""
    site, form = _own(slug), DomainForm()
    if not form.validate():
        return _show(site, form=form, status=422)
    try:
        with unit_of_work():
            requesting.request_domain(site, form.name.data or "", by=_me().email, at=clock.now())
    except InvalidName as error:
        form.name.errors = [str(error)]
        return _show(site, form=form, status=error.status)
    except Conflict as conflict:
        return _show(site, refusal=str(conflict), status=conflict.status)
    return htmx.after_post(url_for("sites.domain", slug=slug))


@bp.post(f"{_PAGE}/look")
@logged_in
@limiter.limit(_LOOKS)
def look_at_domain(slug: str) -> ResponseReturnValue:
    """Have it looked at now; the page shows what was found once it is."""
    site = _own(slug)
    with unit_of_work():
        requesting.ask_to_look(queries.get_domain(site), at=clock.now())
    if htmx.wants_fragment():
        return _show(site)
    flash(_("We are looking. What we find is shown here in a moment."), "info")
    return htmx.after_post(url_for("sites.domain", slug=slug))


@bp.post(f"{_PAGE}/remove")
@logged_in
def remove_domain(slug: str) -> ResponseReturnValue:
    """Give the domain up; one that is gone already stays gone."""
    site = _own(slug)
    with unit_of_work():
        found = queries.find_domain(site)
        if found is not None:
            requesting.remove_domain(found, by=_me().email, at=clock.now())
    flash(_("The domain is no longer connected. You may remove its records."), "success")
    return htmx.after_post(url_for("sites.domain", slug=slug))


def _me() -> User:
    return cast("User", current_user)


def _own(slug: str) -> Site:
    return sites.get_site(slug, owner=_me())


def _show(
    site: Site, *, form: DomainForm | None = None, refusal: str | None = None, status: int = 200
) -> ResponseReturnValue:
    db.session.expire_all()
    found = queries.find_domain(site)
    checks = queries.list_checks(found) if found is not None else []
    return htmx.render(
        "sites/domains/page.html",
        fragment="sites/domains/_domain.html",
        status=status,
        site=site,
        domain=found,
        records=_records(found),
        trouble=trouble_of(found.reason, found.reason_detail) if found is not None and found.reason else None,
        check=checks[0] if checks else None,
        certificate=found.certificate if found is not None else None,
        path_url=layout.site_url(site.slug),
        is_offered=queries.is_offered(),
        problem_words=problem_words,
        form=form or DomainForm(formdata=None),
        refusal=refusal,
    )


def _records(found: Domain | None) -> list[object]:
    if found is None:
        return []
    addresses = config_sites.site_addresses(settings.current())
    return [*records_for(found, addresses), *records_for_twin(found, addresses)]

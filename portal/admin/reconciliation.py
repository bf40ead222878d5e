"""The reconciliation report: do the providers and we say the same, and who does not answer."""

from flask import url_for
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _l

from portal.admin import services
from portal.admin.blueprint import act, actor, bp
from portal.admin.queries import payments as payment_queries
from portal.admin.queries import reconciliation as queries
from portal.core import clock, htmx
from portal.core.access import staff
from portal.payments.extension import current_registry
from portal.payments.providers.base import RecoversEvents


@bp.get("/reconciliation")
@staff
def reconciliation() -> ResponseReturnValue:
    """Every provider that is switched on, or still has something open."""
    return _show()


def _show(refusal: str | None = None, status: int = 200) -> ResponseReturnValue:
    at = clock.now()
    return htmx.render(
        "admin/reconciliation.html",
        fragment="admin/_reconciliation.html",
        status=status,
        accounts=_accounts(),
        open_limit=queries.LIMIT,
        differences=queries.differences(at=at),
        refusal=refusal,
    )


def _accounts() -> list[queries.Account]:
    enabled = {provider.name: provider for provider in current_registry().enabled()}
    open_now, sums = queries.open_by_provider(), queries.sums(at=clock.now())
    accounts = []
    for name in payment_queries.provider_names():
        provider = enabled.get(name)
        if provider is None and not open_now.get(name):
            continue
        accounts.append(
            queries.Account(
                provider=name,
                title=provider.title if provider is not None else name,
                is_enabled=provider is not None,
                can_be_asked=provider is not None and provider.capabilities.fetch,
                recovers=isinstance(provider, RecoversEvents),
                open_now=open_now.get(name, 0),
                sums=sums.get(name),
            )
        )
    return accounts


@bp.post("/reconciliation/<provider_name>/ask")
@staff
def ask_about_everything(provider_name: str) -> ResponseReturnValue:
    """Have one provider asked about all that is open there, and for the events it could not deliver."""
    provider = current_registry().get(provider_name)
    return act(
        lambda: services.ask_about_everything(provider.name, by=actor().email, at=clock.now()),
        show=_show,
        url=url_for("admin.reconciliation"),
        done=_l("The provider is being asked. The answers appear here in a moment."),
    )

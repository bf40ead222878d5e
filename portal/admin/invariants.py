"""The invariant board: what must be true and is not, live, each with where to look and the click that mends it."""

from dataclasses import dataclass

from flask import url_for
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _l

from portal.admin import filters, nightly, services
from portal.admin.blueprint import ROW_ID, act, actor, bp
from portal.admin.queries import invariants as queries
from portal.core import clock, htmx
from portal.core.access import staff
from portal.core.invariants import LIMIT, Breach, Invariant, get_invariant, invariants

# Of each kind; whoever has more looks at one kind.
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Rule:
    """One invariant with its breaches; `count` goes up to LIMIT."""

    invariant: Invariant
    breaches: list[Breach]
    count: int

    @property
    def count_words(self) -> str:
        """How many, as far as that is counted."""
        return f"{LIMIT - 1}+" if self.count >= LIMIT else str(self.count)


@bp.get("/invariants")
@staff
def invariant_board() -> ResponseReturnValue:
    """Every rule, the broken ones first; `?rule=` shows one with all its breaches."""
    return _show()


def _show(refusal: str | None = None, status: int = 200) -> ResponseReturnValue:
    wanted = filters.one_of("rule", tuple(one.name for one in invariants()))
    at = clock.now()
    found = nightly.look(at=at, only=wanted)
    rules = [Rule(rule, list(found[rule.name]), len(found[rule.name])) for rule in invariants() if rule.name in found]
    # What is about money comes first.
    broken = sorted(
        (rule for rule in rules if rule.count), key=lambda rule: not any(one.amount for one in rule.breaches)
    )
    return htmx.render(
        "admin/invariants.html",
        fragment="admin/_invariants.html",
        status=status,
        broken=[Rule(one.invariant, one.breaches if wanted else one.breaches[:_SHOWN], one.count) for one in broken],
        kept=[one.invariant for one in rules if not one.count],
        only=wanted,
        looked_at=at,
        last_run=queries.last_run(),
        address=_address,
        refusal=refusal,
    )


@bp.post(f"/invariants/<invariant_name>/<{ROW_ID}:subject_id>/repair")
@staff
def repair_invariant(invariant_name: str, subject_id: int) -> ResponseReturnValue:
    """Mend one breach through the service that should have done it."""
    rule = get_invariant(invariant_name)
    return act(
        lambda: services.repair(rule, subject_id, by=actor().email, at=clock.now()),
        show=_show,
        url=url_for("admin.invariant_board"),
        done=_l("Done. What takes a worker follows in a moment."),
    )


def _address(breach: Breach) -> str | None:
    """The page of the thing a breach is about, where it has one."""
    match breach.subject.partition(":")[0]:
        case "payment_sessions":
            return url_for("admin.payment", public_id=breach.reference)
        case "orders":
            return url_for("admin.order", number=breach.reference)
        case "sales_orders":
            return url_for("admin.sales_order", number=breach.reference)
        case "sites":
            return url_for("admin.site", site_id=breach.subject_id)
        case "domains":
            return url_for("admin.domain", domain_id=breach.subject_id)
        case "provider_events":
            return url_for("admin.webhook", event_id=breach.subject_id)
        case "mail_messages":
            return url_for("admin.mail_message", mail_id=breach.subject_id)
        case "outbox_messages":
            return url_for("admin.job", message_id=breach.subject_id)
    return None

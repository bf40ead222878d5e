"""What a rehearsal came to, sorted for a reader: the books first, then what would leave the house, then the records."""

from dataclasses import dataclass

from portal.core.rehearsal import Rehearsed, RowChange
from portal.payments.models import EventStatus
from portal.payments.services.replaying import Outlook

_EFFECTS = ("outbox_messages", "mail_messages")
_RECORDS = ("provider_events", "status_changes", "audit_events", "number_sequences")
# What says nothing to a reader of a difference.
_SILENT = {"id", "request_id", "ip_address", "body", "normalised", "attempts", "available_at", "cause"}


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """`books`: money, orders and what they unlock. `effects`: mails and jobs. `records`: histories and numbers.

    `error` is why it would fail. `may_apply`: whether it can be done for real from here.
    """

    status: EventStatus | None
    verdict: str | None
    books: tuple[RowChange, ...]
    effects: tuple[RowChange, ...]
    records: tuple[RowChange, ...]
    error: str | None
    may_apply: bool

    @property
    def is_empty(self) -> bool:
        """Whether nothing of value would change."""
        return not self.books and not self.effects


def shown(rehearsed: Rehearsed[Outlook], *, may_apply: bool) -> Rehearsal:
    """A rehearsal for a page."""
    changes = [_plain(change) for change in rehearsed.changes]
    error = rehearsed.error
    return Rehearsal(
        status=rehearsed.result.status if rehearsed.result else None,
        verdict=rehearsed.result.verdict if rehearsed.result else None,
        books=tuple(one for one in changes if one.table not in (*_EFFECTS, *_RECORDS)),
        effects=tuple(one for one in changes if one.table in _EFFECTS),
        records=tuple(one for one in changes if one.table in _RECORDS and one.values),
        error=f"{type(error).__name__}: {error}"[:500] if error is not None else None,
        may_apply=may_apply,
    )


def _plain(change: RowChange) -> RowChange:
    values = tuple(value for value in change.values if value.column not in _SILENT)
    return RowChange(change.table, change.key, change.kind, values)

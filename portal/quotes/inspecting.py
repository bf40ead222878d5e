"""What happens to a model file after it came in: scanned where a scanner is configured, measured, then pictured.

Each step reads what it needs in one short transaction, works with no connection held, and writes the result in another,
when the file still is what it was. Run twice, a step finds its work done.
"""

import tempfile
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, cast

from sqlalchemy import select

from portal.core import audit, clock, files, outbox, settings
from portal.core.db import db, stop_reading, unit_of_work
from portal.core.queues import QueueName
from portal.core.state import transition
from portal.quotes import scanning
from portal.quotes.measuring import isolation
from portal.quotes.measuring.outcomes import READER_VERSION, english, outcome_of, problem
from portal.quotes.models import ModelFile, ModelFileStatus, Quote, QuoteItem, QuoteStatus
from portal.quotes.services.loading import lock_by_id
from portal.quotes.services.receiving import FOLDER
from portal.quotes.services.repricing import in_force, reprice

_BY = "job:files"
_LEASE = timedelta(seconds=80)
# Says of a picture or a mesh that there is none: an empty name, where None means that nobody has tried.
NONE = ""
_PIECE = 1024 * 1024


def _gave_up(model_file_id: int) -> None:
    """The last try failed. A file that no scanner has seen stays locked in; of any other a person finds the price."""
    drafts, model = _lock(model_file_id)
    if model.status is ModelFileStatus.UPLOADED and not _must_be_scanned(model):
        _store_measures(model, drafts, _unmeasurable(), at=clock.now())


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file as it was when the work began: the row itself would be read anew, in the middle of the work."""

    id: int
    storage_name: str
    format: str
    sha256: str
    unit: str | None
    has_own_picture: bool

    @classmethod
    def of(cls, model: ModelFile) -> "_Seen":
        return cls(
            id=model.id,
            storage_name=model.storage_name,
            format=model.format,
            sha256=model.sha256,
            unit=model.unit,
            has_own_picture=bool(model.measures.get("thumbnail")),
        )


@outbox.handles("model_file.uploaded", queue=QueueName.FILES, lease=_LEASE, on_exhausted=_gave_up)
def inspect(model_file_id: int) -> None:
    """Scan a file and measure it. Raises ScannerAway, to be tried again: nothing unscanned is opened."""
    model = db.session.get_one(ModelFile, model_file_id, populate_existing=True)
    if model.status is not ModelFileStatus.UPLOADED:
        return
    seen = _Seen.of(model)
    if _must_be_scanned(model) and not _is_clean(seen):
        return
    measures = _known_measures(seen) or _measured(seen)
    stale: list[str] = []
    with unit_of_work():
        drafts, current = _lock(model_file_id)
        # Destroyed meanwhile, or read in another unit: whoever did that has published what comes next.
        if current.status is ModelFileStatus.UPLOADED and current.unit == seen.unit:
            stale = _store_measures(current, drafts, measures, at=clock.now())
    _delete(stale)


@outbox.handles("model_file.measured", queue=QueueName.FILES, lease=_LEASE)
def picture(model_file_id: int) -> None:
    """Make the picture and the mesh for the viewer. Where that fails the row goes without; the price is not touched."""
    model = db.session.get_one(ModelFile, model_file_id, populate_existing=True)
    if model.status is not ModelFileStatus.MEASURED or model.picture_name is not None:
        return
    seen = _Seen.of(model)
    stop_reading()
    drawn = _draw(seen)
    with unit_of_work():
        _drafts, current = _lock(model_file_id)
        is_same = current.status is ModelFileStatus.MEASURED and current.unit == seen.unit
        is_wanted = is_same and current.picture_name is None
        if is_wanted:
            current.picture_name, current.mesh_name = drawn
    if not is_wanted:
        _delete(drawn)


def _lock(model_file_id: int) -> tuple[list[Quote], ModelFile]:
    """The drafts with this model and then the model itself under their locks, in the order that editing takes them."""
    found = db.session.scalars(
        select(Quote.id)
        .join(QuoteItem, QuoteItem.quote_id == Quote.id)
        .where(QuoteItem.model_file_id == model_file_id, Quote.status == QuoteStatus.DRAFT)
        .distinct()
        .order_by(Quote.id)
    )
    quotes = [lock_by_id(quote_id) for quote_id in list(found)]
    drafts = [quote for quote in quotes if quote.status is QuoteStatus.DRAFT]
    return drafts, db.session.get_one(ModelFile, model_file_id, populate_existing=True, with_for_update=True)


def _must_be_scanned(model: ModelFile) -> bool:
    return bool(settings.current().clamd_address) and model.scanned_at is None


def _is_clean(seen: _Seen) -> bool:
    """Ask the scanner, and lock the file away when it finds something. Raises ScannerAway."""
    stop_reading()
    virus = scanning.find_virus(files.stream(seen.storage_name), settings.current().clamd_address)
    at = clock.now()
    with unit_of_work():
        drafts, current = _lock(seen.id)
        if current.status is not ModelFileStatus.UPLOADED:
            return False
        current.scanned_at = at
        if virus is not None:
            current.virus = virus[:120]
            transition(current, ModelFileStatus.QUARANTINED, by=_BY, at=at, reason=current.virus)
            audit.record("model_file.quarantined", actor=_BY, subject=f"model_files:{current.id}", detail=current.virus)
            _reprice(drafts, at=at)
    return virus is None


def _known_measures(seen: _Seen) -> dict[str, Any] | None:
    """What the same bytes measured before, in the same unit, by today's reader."""
    twins = db.session.scalars(
        select(ModelFile)
        .where(
            ModelFile.sha256 == seen.sha256,
            ModelFile.format == seen.format,
            ModelFile.unit == seen.unit if seen.unit is not None else ModelFile.unit.is_(None),
            ModelFile.measured_at.is_not(None),
            ModelFile.id != seen.id,
        )
        .order_by(ModelFile.id.desc())
        .limit(20)
    )
    for twin in twins:
        # What failed for want of memory or time may work now.
        if twin.measures.get("reader_version") == READER_VERSION and twin.measures.get("code") != "internal":
            return dict(twin.measures)
    return None


def _measured(seen: _Seen) -> dict[str, Any]:
    stop_reading()
    with files.local_path(seen.storage_name) as path:
        return isolation.measure_isolated(path, unit=seen.unit)


def _store_measures(model: ModelFile, drafts: list[Quote], measures: dict[str, Any], *, at: datetime) -> list[str]:
    """Write the measures down and reprice; returns the names of what was drawn before, in another unit."""
    stale = [name for name in (model.picture_name, model.mesh_name) if name]
    model.measures, model.outcome = measures, str(measures["outcome"])
    model.measured_at = at
    model.picture_name = model.mesh_name = None if _is_readable(measures) else NONE
    transition(model, ModelFileStatus.MEASURED, by=_BY, at=at, reason=str(measures.get("code") or "") or None)
    if _is_readable(measures):
        outbox.publish("model_file.measured", model_file_id=model.id)
    _reprice(drafts, at=at)
    return stale


def _unmeasurable() -> dict[str, Any]:
    """What is kept of a file that nothing could be found out about: a person looks at it."""
    return {
        "outcome": str(outcome_of("internal")),
        "code": "internal",
        "codes": ["internal"],
        "problems": [problem("internal")],
        "message": english("internal", {}),
        "reader_version": READER_VERSION,
    }


def _delete(names: Iterable[str]) -> None:
    for name in filter(None, names):
        files.delete(name)


def _is_readable(measures: dict[str, Any]) -> bool:
    return measures["outcome"] != "reject" and "volume_mm3" in measures


def _reprice(drafts: list[Quote], *, at: datetime) -> None:
    db.session.flush()
    for quote in drafts:
        reprice(quote, in_force(at), at=at)


def _draw(seen: _Seen) -> tuple[str, str]:
    """Store the picture and the mesh under names of their own; an empty name for what could not be made."""
    stem = f"{FOLDER}/{uuid.uuid4().hex}"
    with files.local_path(seen.storage_name) as path:
        own = isolation.extract_thumbnail(path) if seen.has_own_picture else None
        content = own or isolation.render_picture(path, unit=seen.unit)
        if content:
            files.put(f"{stem}-picture", content)
        has_mesh = _store_mesh(path, seen.unit, f"{stem}-mesh")
    return f"{stem}-picture" if content else NONE, f"{stem}-mesh" if has_mesh else NONE


def _store_mesh(path: Path, unit: str | None, name: str) -> bool:
    with tempfile.TemporaryFile() as mesh:
        if not isolation.write_viewer_mesh(path, cast("BinaryIO", mesh), unit=unit):
            return False
        mesh.seek(0)
        files.put_stream(name, iter(lambda: mesh.read(_PIECE), b""))
    return True

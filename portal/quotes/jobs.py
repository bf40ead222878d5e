"""RQ entry points and outbox handlers of quotes, besides inspecting files."""

from datetime import timedelta
from itertools import islice

from portal.core import clock, files, outbox, queues
from portal.core.db import unit_of_work
from portal.core.queues import QueueName
from portal.quotes.services import destroying, expiring, tidying
from portal.quotes.services.receiving import FOLDER

# Longer than a message waits in an ordinary hour, so that nothing is looked at twice for nothing.
_OVERDUE = timedelta(minutes=15)
# An upload on the slowest line ends before.
_UNCLAIMED_AFTER = timedelta(days=1)
_BATCH = 500


@outbox.handles("model_file.dropped", queue=QueueName.FILES)
def drop_model(model_file_id: int) -> None:
    """Delete the bytes of a model that is in no quote any more."""
    with unit_of_work():
        names = tidying.drop_model(model_file_id, by="job:files", at=clock.now())
    for name in names:
        files.delete(name)


@outbox.handles("model_file.destroyed", queue=QueueName.FILES)
def erase_model(model_file_id: int) -> None:
    """Delete the bytes of a model its owner destroyed; only then the receipt goes out."""
    for name in destroying.names_to_erase(model_file_id):
        files.delete(name)
    with unit_of_work():
        destroying.note_erased(model_file_id, by="job:files", at=clock.now())


@queues.job
def find_unmeasured() -> None:
    """Have files looked at again whose turn never came."""
    with unit_of_work():
        tidying.publish_unmeasured(at=clock.now(), older_than=_OVERDUE)
        tidying.publish_unpictured(at=clock.now(), older_than=_OVERDUE)


@queues.job
def announce_expiring() -> None:
    """Tell customers whose price ends within three days."""
    after_id: int | None = 0
    while after_id is not None:
        with unit_of_work():
            after_id = expiring.announce_expiring(at=clock.now(), after_id=after_id)


@queues.job
def tidy_up() -> None:
    """Forget visitors' drafts nobody came back to, and delete what broken uploads left in the store."""
    while True:
        with unit_of_work():
            forgotten = tidying.forget_abandoned_drafts(at=clock.now())
        if not forgotten:
            break
    before = clock.now() - _UNCLAIMED_AFTER
    files.clear_unfinished(FOLDER, before=before)
    found = files.names_before(f"{FOLDER}/", before)
    while names := list(islice(found, _BATCH)):
        for name in tidying.unknown_names(names):
            files.delete(name)

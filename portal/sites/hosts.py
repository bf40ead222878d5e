"""The machines that serve sites: usually one without a name, else each with a name and a queue of its own."""

from dataclasses import dataclass

from portal import config_sites
from portal.core import queues, settings


@dataclass(frozen=True, slots=True)
class Host:
    """One site host; `name` is empty when there is only one."""

    name: str

    @property
    def queue(self) -> str:
        """Where its worker looks for work."""
        return queues.host_queue(self.name)


def each_host() -> list[Host]:
    """Every site host of this installation."""
    return [Host(name) for name in config_sites.host_names(settings.current())] or [Host("")]

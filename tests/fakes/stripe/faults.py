"""Faults of the fake Stripe's API: each is armed for a number of calls and used up by them."""

import threading
from dataclasses import dataclass, field


@dataclass
class Fault:
    """What happens to matching calls.

    `kind` is one of: latency, status (an error body), hang (no answer until the fault is cleared), lost_answer (the
    call is done, then the connection drops), refused (the connection drops before anything is done), garbage (200
    with a page of HTML), half (the body breaks off).
    """

    kind: str
    times: int = 1
    method: str = ""
    path: str = ""  # The beginning of the path.
    status: int = 500
    seconds: float = 0.0
    is_stored: bool = True  # A 500 under an idempotency key is given again, as Stripe does.

    def matches(self, method: str, path: str) -> bool:
        """Whether this call is hit."""
        return self.times > 0 and method.startswith(self.method) and path.startswith(self.path)


@dataclass
class Faults:
    """The armed faults, in the order they were added."""

    armed: list[Fault] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, **options: object) -> Fault:
        """Arm a fault, for the next call unless said otherwise."""
        fault = Fault(kind, **options)  # type: ignore[arg-type]  # The control API passes what it was sent.
        with self._lock:
            self.released.clear()
            self.armed.append(fault)
        return fault

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that hits this call, one use of it spent."""
        with self._lock:
            for fault in self.armed:
                if fault.matches(method, path):
                    fault.times -= 1
                    return fault
        return None

    def clear(self) -> None:
        """Disarm all, and let go of what hangs."""
        with self._lock:
            self.armed.clear()
            self.released.set()

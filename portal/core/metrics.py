"""Prometheus metrics: what each process counts, and what the database knows about waiting work."""

import os

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess

REQUEST_SECONDS = Histogram(
    "portal_request_seconds",
    "Time to answer, by route and status class.",
    ("method", "endpoint", "status"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
WEBHOOKS = Counter("portal_webhooks_total", "Webhooks received, by provider and answer.", ("provider", "answer"))


def observe_request(method: str, endpoint: str | None, status: int, seconds: float) -> None:
    """Count one answered request; the endpoint, not the path, so that the series stay few."""
    REQUEST_SECONDS.labels(method, endpoint or "none", f"{status // 100}xx").observe(seconds)


def exposition() -> bytes:
    """The text Prometheus scrapes; all processes together when PROMETHEUS_MULTIPROC_DIR is set."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # untyped in the library
    return generate_latest(registry)

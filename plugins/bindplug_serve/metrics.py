"""Counts and times for Prometheus, in a registry of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class Metrics:
    """The server's metrics; labels hold names of routes and modalities only, never what a client wrote."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "bindplug_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self.latency = Histogram(
            "bindplug_request_seconds",
            "Time from a request's headers to the end of its response.",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "bindplug_requests_in_flight", "Requests being answered.", registry=self.registry
        )
        self.items = Counter("bindplug_items", "Items embedded.", ["modality"], registry=self.registry)
        self.batch_size = Histogram(
            "bindplug_batch_size", "Sources in a batch.", ["lane"], buckets=SIZES, registry=self.registry
        )
        self.batch_seconds = Histogram(
            "bindplug_batch_seconds", "Time a batch took.", ["lane"], buckets=SECONDS, registry=self.registry
        )
        self.queue = Gauge(
            "bindplug_queue_items", "Sources that wait for the model or are in it.", registry=self.registry
        )
        self.ready = Gauge("bindplug_ready", "1 once the model is loaded.", registry=self.registry)

    def watch_queue(self, count: Callable[[], int]) -> None:
        """Read the length of the queue from a function."""
        self.queue.set_function(count)

    def watch_ready(self, ready: Callable[[], bool]) -> None:
        """Read whether the model is loaded from a function."""
        self.ready.set_function(lambda: float(ready()))

    def observe_batch(self, lane: str, size: int, seconds: float) -> None:
        """Count a batch; called in a worker's thread."""
        self.batch_size.labels(lane).observe(size)
        self.batch_seconds.labels(lane).observe(seconds)

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self.requests.labels(method if method in METHODS else "other", route, str(status)).inc()
        self.latency.labels(route).observe(seconds)

    def count_items(self, modalities: Iterable[object]) -> None:
        """Count embedded items by the modality that weighs most in each."""
        for modality in modalities:
            self.items.labels(str(modality)).inc()

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

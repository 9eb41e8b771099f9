"""The server's metrics, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_ROWS = (1, 2, 4, 8, 16, 32, 64)


class ServerMetrics:
    """The metrics of one server, in a registry of their own."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        signature = ["signature"]
        self.requests = Counter(
            "t2t_requests", "Predict requests, by HTTP status.", ["signature", "status"], registry=self.registry
        )
        self.request_seconds = self._histogram("t2t_request_seconds", "Time from a request's arrival to its response.")
        self.wait_seconds = self._histogram("t2t_wait_seconds", "Time that an input waits for its batch to start.")
        self.batch_seconds = self._histogram("t2t_batch_seconds", "Time to compute a batch.")
        self.batch_rows = Histogram(
            "t2t_batch_rows", "Inputs in a batch.", signature, buckets=_ROWS, registry=self.registry
        )
        self.queue_rows = Gauge("t2t_queue_rows", "Inputs waiting or being computed.", registry=self.registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(name, text, ["signature"], buckets=_SECONDS, registry=self.registry)

    def render(self) -> bytes:
        """Returns all metrics in Prometheus's text format."""
        return generate_latest(self.registry)

"""Every metric of the service, in a registry of its own for each app."""

from collections.abc import Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counts, latencies and facts, as Prometheus reads them."""

    def __init__(self) -> None:
        """Defines all metrics in a new registry."""
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "http_requests", "Answered requests.", ["route", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "http_request_seconds",
            "Time to the end of the answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "classifier_stage_seconds",
            "Time in each stage: a picture's queue and decode, a batch's infer.",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_size = Histogram(
            "classifier_batch_size", "Pictures in a batch.", buckets=_BATCH_SIZES, registry=registry
        )
        self.queue_depth = Gauge("classifier_queue_depth", "Pictures that wait.", registry=registry)
        self.rejections = Counter(
            "classifier_rejections", "Pictures and requests refused.", ["reason"], registry=registry
        )
        self.predictions = Counter(
            "classifier_predictions",
            "Pictures by their most probable class.",
            ["label"],
            registry=registry,
        )
        self.unfamiliar = Counter(
            "classifier_unfamiliar", "Pictures unlike the training data.", registry=registry
        )
        self.model = Gauge(
            "classifier_model_info",
            "The served model and where it is computed; always 1.",
            ["model", "version", "variant", "sha256", "provider", "requested_provider"],
            registry=registry,
        )
        self._queue_seconds = self.stage_seconds.labels("queue")

    def observe_stage(self, stage: str, seconds: float) -> None:
        """Records how long one stage took."""
        self.stage_seconds.labels(stage).observe(seconds)

    def observe_batch(self, waits: Sequence[float]) -> None:
        """Records a batch by the seconds that each of its pictures has waited."""
        self.batch_size.observe(len(waits))
        for wait in waits:
            self._queue_seconds.observe(wait)

    def count_answer(self, label: str, unfamiliar: bool) -> None:
        """Counts one classified picture by its most probable class."""
        self.predictions.labels(label).inc()
        if unfamiliar:
            self.unfamiliar.inc()

    def count_rejection(self, reason: str) -> None:
        """Counts one refused picture or request."""
        self.rejections.labels(reason).inc()

    def render(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return generate_latest(self._registry)

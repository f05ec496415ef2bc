"""All metrics of the service.

If PROMETHEUS_MULTIPROC_DIR names a folder, several processes share their metrics in it and each of
them exports the sums; it must be set before this module is imported. Otherwise each app has metrics
of its own.

The values of requests and pictures are kept in memory and written every second, and before they are
exported: to write each of them, ten per request, would delay the other threads. The files hold the
help text with each series, so it is short.
"""

import functools
import os
import threading
import time
from bisect import bisect_left
from collections import Counter as Counts
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from service import RELEASE
from service.observability import statistics
from service.observability.statistics import BatchTimes, ModelStatistics, Sample

_SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
CONTENT_TYPE = CONTENT_TYPE_LATEST


class _Counter(Counter):
    def add_all(self, values: Sequence[float]) -> None:
        self.inc(sum(values))


class _Histogram(Histogram):
    def add_all(self, values: Sequence[float]) -> None:
        """Observes many values at little more than the cost of one, which the library cannot."""
        self._sum.inc(sum(values))
        for bucket, count in Counts(bisect_left(self._upper_bounds, v) for v in values).items():
            self._buckets[bucket].inc(count)


class Metrics:
    """Counters, histograms and gauges of one process or app."""

    def __init__(
        self, statuses: Sequence[str], on_stage: Callable[[str, str, float], None] | None = None
    ) -> None:
        """Defines all metrics; `statuses` are all that a worker can have.

        To make traces, `on_stage` is called with the arguments of each `observe_stage`.
        """
        self._on_stage = on_stage
        self._registry = registry = CollectorRegistry()
        self._unwritten: list[tuple[_Counter | _Histogram, deque[float]]] = []
        self._writing = threading.Lock()
        self._counter = functools.partial(_Counter, registry=registry)
        self._histogram = functools.partial(_Histogram, registry=registry)
        # Of live workers only: the last values of a dead one have no meaning.
        self._gauge = functools.partial(Gauge, registry=registry, multiprocess_mode="livesum")
        self._define_metrics_of_protocols()
        self._define_metrics_of_pictures()
        self._define_metrics_of_models()
        self._define_metrics_of_processes(statuses)

    def _define_metrics_of_protocols(self) -> None:
        took = "Time to the end of the answer."
        self._requests = self._keep_each(
            self._counter("http_requests", "Answered requests.", ["route", "status"])
        )
        self._request_seconds = self._keep_each(
            self._histogram("http_request_seconds", took, ["route"], buckets=_SECONDS)
        )
        self._calls = self._keep_each(
            self._counter("grpc_calls", "Answered calls.", ["method", "code"])
        )
        self._call_seconds = self._keep_each(
            self._histogram("grpc_call_seconds", took, ["method"], buckets=_SECONDS)
        )

    def _define_metrics_of_pictures(self) -> None:
        of_stages = "Time in each stage of a request, picture or batch."
        self._stages = self._keep_each(
            self._histogram(
                "classifier_stage_seconds", of_stages, ["model", "stage"], buckets=_SECONDS
            )
        )
        of_refusals = "Refused pictures and requests."
        self._rejections = self._keep_each(
            self._counter("classifier_rejections", of_refusals, ["model", "reason"])
        )
        of_classes = "Pictures by their most probable class."
        self._predictions = self._keep_each(
            self._counter("classifier_predictions", of_classes, ["model", "label"])
        )
        self._unfamiliar = self._keep_each(
            self._counter("classifier_unfamiliar", "Pictures unlike the training data.", ["model"])
        )
        of_views = "Pictures that have further views than the first."
        self._second_views = self._keep_each(
            self._counter("classifier_second_views", of_views, ["model", "outcome"])
        )
        self._batch_size = self._keep_each(
            self._histogram(
                "classifier_batch_size", "Pictures in a batch.", ["model"], buckets=_BATCH_SIZES
            )
        )

    def _define_metrics_of_models(self) -> None:
        what = "What has happened to requests, pictures and batches of a model."
        self._events = self._keep_each(self._counter(statistics.COUNT, what, statistics.LABELS))
        self._event_seconds = self._keep_each(
            self._counter(statistics.SECONDS, "How long these took in all.", statistics.LABELS)
        )
        self._asked: dict[tuple[str, str], float] = {}
        self._last_request = self._gauge(
            statistics.LAST,
            "When a request to the model was last answered, in seconds since 1970.",
            ["model", "version"],
            multiprocess_mode="livemax",
        )
        self._queues: set[str] = set()
        self._queue_depth = self._gauge("classifier_queue_depth", "Pictures that wait.", ["model"])
        self._queue_limit = self._gauge(
            "classifier_queue_limit", "Pictures of a model that may wait."
        )
        self._shown: set[tuple[str, ...]] = set()
        self._model = self._gauge(
            "classifier_model_info",
            "A model and where it is computed: 1 while it is served, 0 when it no longer is.",
            ["model", "version", "variant", "sha256", "provider", "requested_provider"],
            multiprocess_mode="livemax",
        )

    def _define_metrics_of_processes(self, statuses: Sequence[str]) -> None:
        what = "The release that runs."
        release = self._gauge("service_build_info", what, ["release"], multiprocess_mode="livemax")
        release.labels(RELEASE).set(1)
        workers = self._gauge(
            "service_workers", "Worker processes by the status of each.", ["status"]
        )
        self._workers = {status: workers.labels(status) for status in statuses}
        self._restarts = self._counter(
            "service_worker_restarts", "Workers started in place of a dead or stuck one."
        )
        self._process = ProcessCollector(registry=None)
        self._cpu_counted = 0.0
        self._cpu_seconds = self._counter("process_cpu_seconds", "CPU time, user and system.")
        self._memory = self._gauge("process_resident_memory_bytes", "Resident memory.")

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Counts an answered request and how long it took."""
        self._requests(route, status)(1)
        self._request_seconds(route)(seconds)

    def count_call(self, method: str, code: str, seconds: float) -> None:
        """Counts an answered gRPC call and how long it took."""
        self._calls(method, code)(1)
        self._call_seconds(method)(seconds)

    def count_rejection(self, reason: str, model: str = "") -> None:
        """Counts one refused picture or request; without a model unless a served one was found."""
        self._rejections(model, reason)(1)

    def count_answer(self, model: str, label: str, unfamiliar: bool) -> None:
        """Counts one classified picture by the model and its most probable class."""
        self._predictions(model, label)(1)
        if unfamiliar:
            self._unfamiliar(model)(1)

    def count_second_views(self, model: str, outcomes: Iterable[str]) -> None:
        """Counts pictures of a model with further views, `computed` or `skipped`, not `none`."""
        for outcome in outcomes:
            if outcome != "none":
                self._second_views(model, outcome)(1)

    def count_restart(self) -> None:
        """Counts this process as the replacement of another."""
        self._restarts.inc()

    def observe_stage(self, model: str, stage: str, seconds: float) -> None:
        """Observes how long `receive`, `decode`, `queue`, `infer` or `respond` took until now."""
        self._stages(model, stage)(seconds)
        if self._on_stage is not None:
            self._on_stage(model, stage, seconds)

    def observe_batch(self, model: str, size: int) -> None:
        """Observes the number of pictures in a batch of a model."""
        self._batch_size(model)(size)

    def count_outcome(self, model: str, version: str, seconds: float, *, is_success: bool) -> None:
        """Counts a request that a model has answered or not, and how long that took."""
        event = statistics.SUCCESS if is_success else statistics.FAIL
        self._count_event(model, version, event, "", 1, seconds)
        self._asked[model, version] = time.time()

    def count_batch(self, model: str, version: str, times: BatchTimes) -> None:
        """Counts a batch that a model has computed."""
        count, size = functools.partial(self._count_event, model, version), str(times.size)
        count(statistics.QUEUE, "", times.size, times.waited_s)
        count(statistics.PREPARE, size, 1, times.prepare_s)
        count(statistics.PROCESS, size, 1, times.process_s)

    def show_models(self, models: Iterable[tuple[str, ...]]) -> None:
        """Shows which models are served, instead of the previous ones.

        Each is the values of the labels: model, version, variant, sha256, provider and the
        requested provider.
        """
        served = set(models)
        for labels in self._shown - served:
            self._model.labels(*labels).set(0)
        for labels in served:
            self._model.labels(*labels).set(1)
        self._shown |= served

    def sample(self, status: str, queue_depths: Mapping[str, int], queue_limit: int) -> None:
        """Writes what was observed, and the state of this process.

        Call it about every second, and before `render`. The depths of the queues are by model.
        """
        self.write()
        for name, worker in self._workers.items():
            worker.set(name == status)
        self._queues |= queue_depths.keys()
        for model in self._queues:
            self._queue_depth.labels(model).set(queue_depths.get(model, 0))
        self._queue_limit.set(queue_limit)
        cpu_seconds = time.process_time()
        self._cpu_seconds.inc(cpu_seconds - self._cpu_counted)
        self._cpu_counted = cpu_seconds
        for family in self._process.collect():
            if family.name == "process_resident_memory_bytes":
                self._memory.set(family.samples[0].value)

    def write(self) -> None:
        """Writes what was observed since the last call."""
        with self._writing:
            for metric, values in list(self._unwritten):
                if values:
                    metric.add_all([values.popleft() for _ in range(len(values))])
            for labels, asked_at in list(self._asked.items()):
                self._last_request.labels(*labels).set(asked_at)

    def render(self) -> bytes:
        """All metrics in the text format of Prometheus; takes milliseconds with many workers."""
        return generate_latest(self._of_all_processes())

    def statistics(self) -> dict[tuple[str, str], ModelStatistics]:
        """The statistics of all models, by name and version; takes as long as `render`.

        Those of other processes are up to a second old.
        """
        return statistics.read(self.samples())

    def samples(self) -> Iterator[Sample]:
        """The present values of all metrics, without the times at which they were created."""
        for family in self._of_all_processes().collect():
            for sample in family.samples:
                if not sample.name.endswith("_created"):
                    yield Sample(sample.name, sample.labels, sample.value)

    def _count_event(
        self, model: str, version: str, event: str, batch_size: str, count: int, seconds: float
    ) -> None:
        self._events(model, version, event, batch_size)(count)
        self._event_seconds(model, version, event, batch_size)(seconds)

    def _of_all_processes(self) -> CollectorRegistry:
        self.write()
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return self._registry
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return registry

    def _keep(self, metric: _Counter | _Histogram) -> Callable[[float], None]:
        """Returns a function that keeps values of a metric until `write`; it is thread-safe."""
        values: deque[float] = deque()
        self._unwritten.append((metric, values))
        return values.append

    def _keep_each(self, metric: _Counter | _Histogram) -> Callable[..., Callable[[float], None]]:
        """Like `_keep`, for each combination of labels."""
        return functools.cache(lambda *labels: self._keep(metric.labels(*labels)))

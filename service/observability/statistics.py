"""Counts and times of each model since the start of the service; they only grow.

They are kept as metrics, so that each process of the service reports the sums of all of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

# Events of a model; those of the second group are by the size of the batch.
SUCCESS, FAIL, QUEUE = "success", "fail", "queue"
PREPARE, PROCESS = "prepare", "process"

# The metrics; the names of counters end in `_total` when they are read.
COUNT, SECONDS = "classifier_model_events", "classifier_model_event_seconds"
LAST = "classifier_model_last_request_seconds"
LABELS = ["model", "version", "event", "batch_size"]


@dataclass(frozen=True)
class Duration:
    """How often something happened, and how long that took in all."""

    count: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Duration") -> "Duration":
        """The sums of both."""
        return Duration(self.count + other.count, self.seconds + other.seconds)


class BatchTimes(NamedTuple):
    """How long a batch of some items has taken, in seconds.

    `waited_s` is the sum over its items.
    """

    size: int
    waited_s: float
    prepare_s: float
    process_s: float


@dataclass
class ModelStatistics:
    """The statistics of one version of a model.

    Attributes:
        last_request_s: when its last request was answered, in seconds since 1970; 0 before it.
        requests: the requests that succeeded and that failed, under `SUCCESS` and `FAIL`.
        queue: the pictures that have waited, of those that were computed.
        batches: by their size, how long the pictures of the batches were decoded and how long they
            were computed, under `PREPARE` and `PROCESS`.
    """

    last_request_s: float = 0.0
    requests: dict[str, Duration] = field(default_factory=dict)
    queue: Duration = field(default_factory=Duration)
    batches: dict[int, dict[str, Duration]] = field(default_factory=dict)

    def pictures(self, event: str) -> Duration:
        """The pictures of all batches, each with the whole time of its batch."""
        times = ((size, events[event]) for size, events in self.batches.items() if event in events)
        return sum((Duration(n * it.count, n * it.seconds) for n, it in times), Duration())

    def _add(self, event: str, batch_size: str, more: Duration) -> None:
        if event == QUEUE:
            self.queue += more
            return
        events = self.batches.setdefault(int(batch_size), {}) if batch_size else self.requests
        events[event] = events.get(event, Duration()) + more


class Sample(NamedTuple):
    """One value of a metric."""

    name: str
    labels: Mapping[str, str]
    value: float


def read(samples: Iterable[Sample]) -> dict[tuple[str, str], ModelStatistics]:
    """Reads the statistics of all models, by name and version, out of all metrics."""
    models: dict[tuple[str, str], ModelStatistics] = {}
    for name, labels, value in samples:
        if name.removesuffix("_total") not in (COUNT, SECONDS, LAST):
            continue
        statistics = models.setdefault((labels["model"], labels["version"]), ModelStatistics())
        if name == LAST:
            statistics.last_request_s = value
        elif name == f"{COUNT}_total":
            statistics._add(labels["event"], labels["batch_size"], Duration(int(value)))
        elif name == f"{SECONDS}_total":
            statistics._add(labels["event"], labels["batch_size"], Duration(0, value))
    return models

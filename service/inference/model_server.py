"""The model that this process serves: load and replace it, classify pictures, report its health."""

import asyncio
import functools
import itertools
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_args

from service.errors import EngineFailedError, LoadFailedError, NotReadyError, StartupError
from service.inference.batcher import MicroBatcher
from service.inference.classifier import (
    Classification,
    Classifier,
    Decoded,
    Observer,
    Upload,
    load_classifier,
)
from service.inference.served_model import Administration, ServedModel
from service.observability import tracing
from service.observability.metrics import Metrics
from service.settings import Settings

logger = logging.getLogger(__name__)

# Seconds between two updates of the gauges, which other processes export, and checks for faults.
WATCH_S = 1
# A check that comes this much later than planned shows that the whole process was paused.
PAUSE_S = 2

Status = Literal["ok", "degraded", "loading", "draining", "unloaded", "failed"]
Load = Callable[[Settings, Observer], Classifier]

_ENGINE_FAILED = "The model cannot be computed at present; try again in a moment."
_NOT_READY: dict[Status, str] = {
    "loading": "The model is still loading; try again in a moment.",
    "draining": "The service is shutting down; try again in a moment.",
    "unloaded": "The model was unloaded; it has to be loaded again.",
    "failed": _ENGINE_FAILED,
}


class _Job(NamedTuple):
    """A picture, and the classifier that was served when its request began."""

    classifier: Classifier
    upload: Upload


class ModelServer:
    """Serves one model; the event loop calls its methods, compute threads do the work.

    Attributes:
        tracing: makes the traces, None where no collector is named.
        draining: whether the service is shutting down; it still answers.
        failure: why the model could not be loaded at the start.
        fault: why this process cannot compute any more and has to be replaced.
        warning: another fault that the operator should know of, shown in /health.
        started_at: when the service was started, on the monotonic clock.
        first_version: version to start with, if not the one that the settings name.
    """

    def __init__(self, settings: Settings, load: Load = load_classifier) -> None:
        """Creates a server that has no model until `start`, with metrics and traces of its own."""
        self.settings = settings
        self.tracing = tracing.start()
        on_stage = self.tracing.trace_stage if self.tracing else None
        self.metrics = Metrics(get_args(Status), on_stage=on_stage)
        self.draining = False
        self.failure: Exception | None = None
        self.fault: str | None = None
        self.warning: str | None = None
        self.started_at = time.monotonic()
        self.first_version: int | None = None
        self._load = load
        self._loads = 0
        self._unloaded = False
        self._prepared: Classifier | None = None
        self._classifier: Classifier | None = None
        self._batcher = self._new_batcher()

    async def start(self) -> None:
        """Loads the model off the event loop; an exception is kept in `failure`."""
        try:
            await self.prepare(self.first_version)
        except Exception as error:
            if not isinstance(error, StartupError):
                logger.exception("unhandled error")
            self.failure = error
            return
        self._batcher.start()
        self.commit()

    async def stop(self) -> None:
        """Answers the pictures that wait, ends the compute threads, and exports the traces."""
        self.draining = True
        if not self.fault:
            await asyncio.to_thread(self._batcher.close)
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)

    async def prepare(self, version: int | None = None) -> ServedModel:
        """Loads a model off the event loop: this version, or the one that the settings name.

        The current model is served until `commit` replaces it by the one that is returned, unless
        `prepare` or `drop` is called before that.

        Raises:
            StartupError: it cannot be loaded.
        """
        self.drop()
        load = self._loads
        changes = {} if version is None else {"model_version": version}
        settings = self.settings.model_copy(update=changes)
        classifier = await asyncio.to_thread(self._load, settings, self.metrics.observe_stage)
        if load == self._loads:
            self._prepared = classifier
        return classifier.served

    def drop(self) -> None:
        """Discards the prepared model, also one that is still being prepared."""
        self._loads += 1
        self._prepared = None

    def commit(self) -> None:
        """Serves the prepared model to new requests; earlier ones keep the model they have."""
        assert self._prepared is not None, "call prepare first"
        self._classifier, self._prepared, self._unloaded = self._prepared, None, False
        self.metrics.show_model(self._classifier.served._asdict())

    def unload(self) -> None:
        """Serves no model to new requests."""
        self._classifier, self._unloaded = None, True
        self.metrics.show_model(None)

    async def administer(self, what: Administration) -> None:
        """Loads or unloads the model in this process.

        Raises:
            LoadFailedError: it cannot be loaded; the previous model is still served.
        """
        if what == "unload":
            self.unload()
            return
        try:
            await self.prepare()
        except StartupError as error:
            raise LoadFailedError(str(error)) from error
        self.commit()

    @property
    def status(self) -> Status:
        """The state of this process; `degraded` is not on the requested provider, yet answers."""
        if self.draining:
            return "draining"
        if self.fault:
            return "failed"
        if self._classifier is None:
            return "unloaded" if self._unloaded else "loading"
        engine = self._classifier.engine
        return "ok" if engine.provider == engine.requested_provider else "degraded"

    @property
    def reason(self) -> str | None:
        """Why the status is `failed` or `degraded`."""
        return self.fault or (self._classifier.engine.degraded_reason if self._classifier else None)

    @property
    def queue_depth(self) -> int:
        """Number of pictures that wait."""
        return self._batcher.depth

    @property
    def is_full(self) -> bool:
        """Whether no more pictures may wait."""
        return self.queue_depth >= self.settings.max_queue

    @property
    def seconds_per_item(self) -> float:
        """Seconds between two results, as measured on the last batch; 0 before the first."""
        return self._batcher.seconds_per_item

    @property
    def served(self) -> ServedModel | None:
        """The model that is served, None without one."""
        return self._classifier.served if self._classifier else None

    @property
    def classifier(self) -> Classifier:
        """The classifier for a request that begins now.

        Raises:
            NotReadyError: no model is served, or it cannot be computed.
        """
        if self._classifier is None or self.fault:
            raise NotReadyError(_NOT_READY[self.status])
        return self._classifier

    def check_ready(self) -> None:
        """Checks whether new requests should be sent to this process.

        Raises:
            NotReadyError: it cannot answer them, or is draining.
        """
        if (status := self.status) in _NOT_READY:
            raise NotReadyError(_NOT_READY[status])

    def submit(
        self, classifier: Classifier, uploads: Sequence[Upload], timeout_s: float = math.inf
    ) -> "list[asyncio.Future[Classification]]":
        """Queues pictures, all or none; returns a future for each, see `MicroBatcher.submit`.

        The classifier is one that `self.classifier` returned; `timeout_s` are the seconds that the
        client waits, if fewer than the settings allow. A future raises ServiceError for a picture
        that cannot be decoded, and NotReadyError where the engine failed.

        Raises:
            QueueFullError: the queue has no room for all of them.
        """
        deadline = min(timeout_s, self.settings.deadline_ms / 1000)
        return self._batcher.submit([_Job(classifier, upload) for upload in uploads], deadline)

    def drop_cancelled(self) -> None:
        """Removes pictures from the queue whose future was cancelled."""
        self._batcher.drop_done()

    def sample(self) -> None:
        """Updates the gauges."""
        self.metrics.sample(self.status, self.queue_depth, self.settings.max_queue)

    async def keep_watch(self) -> None:
        """Updates the gauges and checks for faults until it is cancelled."""
        last = time.monotonic()
        while True:
            now = time.monotonic()
            # After a pause of the container or the machine every busy thread looks stuck.
            was_paused, last = now - last > WATCH_S + PAUSE_S, now
            self.sample()
            if not self.fault and not was_paused:
                self.fault = self._batcher.fault(self.settings.stuck_s)
            if self.fault:
                # No result will come; the clients may try another worker.
                self._batcher.abandon(NotReadyError(_ENGINE_FAILED))
            await asyncio.sleep(WATCH_S)

    def _new_batcher(self) -> MicroBatcher[_Job, Any, Classification]:
        decode: Callable[[_Job], Any] = _decode
        infer: Callable[[Sequence[Any]], Sequence[Classification]] = self._infer
        if self.tracing is not None:
            decode, infer = self.tracing.around(decode, infer)
        return MicroBatcher(
            decode,
            infer,
            max_batch=self.settings.max_batch,
            max_queue=self.settings.max_queue,
            threads=self.settings.thread_count,
            on_batch=self.metrics.observe_batch,
            on_wait=functools.partial(self.metrics.observe_stage, "queue"),
        )

    def _infer(self, pictures: Sequence[tuple[Classifier, Decoded]]) -> list[Classification]:
        answers: list[Classification] = []
        # A batch has more than one classifier only just after another model was loaded.
        for classifier, group in itertools.groupby(pictures, lambda picture: picture[0]):
            try:
                answers += classifier.infer([decoded for _, decoded in group])
            except EngineFailedError as error:
                logger.error("engine failed", extra={"fields": {"why": str(error)}})
                try:
                    classifier.self_test()
                except EngineFailedError as lasting:  # CUDA is lost for good, say
                    self.fault = str(lasting)
                raise NotReadyError(_ENGINE_FAILED) from error
        return answers


def _decode(job: _Job) -> tuple[Classifier, Decoded]:
    return job.classifier, job.classifier.decode(job.upload)

"""What a running process holds: the model, its workers, and the state they are in."""

import asyncio
import functools
import itertools
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from service.errors import (
    EngineFailedError,
    LoadFailedError,
    NotReadyError,
    ServiceError,
    StartupError,
)
from service.http.retry_after import RetryAfter
from service.http.schemas import Health, Status
from service.inference.batcher import MicroBatcher
from service.inference.classifier import Classification, Classifier, Decoded, Upload
from service.inference.served_model import Administration, Served
from service.observability.metrics import Metrics
from service.observability.tracing import Tracing
from service.settings import Settings

logger = logging.getLogger(__name__)

# How often the state is looked at: for the gauges that another worker exports, and for ailments.
WATCH_S = 1
PAUSE_S = 2

Load = Callable[[Settings, Metrics], Classifier]
# A picture and the classifier that its request met: a change of model does not concern it.
Job = tuple[Classifier, Upload]
DecodedJob = tuple[Classifier, Decoded]
Predictor = MicroBatcher[Job, Any, Classification]

_NOT_READY: dict[Status, str] = {
    "loading": "The model is still loading; try again in a moment.",
    "draining": "The service is shutting down; try again in a moment.",
    "unloaded": "The model was unloaded; it has to be loaded again.",
    "failed": "The model cannot be computed at present; try again in a moment.",
}


def load_classifier(
    settings: Settings, metrics: Metrics, large: AbstractContextManager[object] | None = None
) -> Classifier:
    """Loads the classifier that the settings name; see `Classifier.open`."""
    return Classifier.open(
        settings.models,
        settings.model,
        settings.version,
        variant=settings.variant,
        provider=settings.provider,
        require_cuda=settings.require_cuda,
        cuda_graphs=settings.cuda_graphs,
        # The workers compute side by side, so that one inference needs no threads of its own.
        threads=1,
        max_pixels=settings.max_pixels,
        observe=metrics.observe_stage,
        large=large,
    )


class ModelServer:
    """Loads the model, answers while it can, and says how it is.

    Attributes:
        draining: whether the service is about to end; it still answers.
        failure: why the model could not be loaded at the start.
        fault: why this process cannot compute any more; only another one can.
        warning: what else is not as it should be, for those who run the service.
        started_at: when the service was started, on the monotonic clock.
        first_version: version to start with, if not the one that the settings name.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        load: Load = load_classifier,
        tracing: Tracing | None = None,
    ) -> None:
        """Loads nothing yet."""
        self.settings = settings
        self.metrics = metrics
        self.draining = False
        self.failure: Exception | None = None
        self.fault: str | None = None
        self.warning: str | None = None
        self.started_at = time.monotonic()
        self.first_version: int | None = None
        self._load = load
        self._loads = 0
        self._tracing = tracing
        self._unloaded = False
        self._prepared: Classifier | None = None
        self._classifier: Classifier | None = None
        self._batcher: Predictor | None = None
        self._retry_after = RetryAfter()

    async def start(self) -> None:
        """Loads the model off the event loop; a failure is kept in `failure`."""
        try:
            await self.prepare(self.first_version)
        except Exception as error:
            if not isinstance(error, StartupError):
                logger.exception("mistake")
            self.failure = error
            return
        self._batcher = self._new_batcher()
        self.commit()

    async def stop(self) -> None:
        """Answers what is queued, then stops the workers."""
        self.draining = True
        if self._batcher is not None and not self.fault:
            await asyncio.to_thread(self._batcher.close)

    async def prepare(self, version: int | None = None) -> Served:
        """Loads the model that the settings name off the event loop, beside the one that serves.

        Args:
            version: version to load, if not the one that the settings name.

        Returns:
            What `commit` will serve, unless it is prepared anew or dropped before that.

        Raises:
            StartupError: it cannot be loaded.
        """
        self.drop()
        load = self._loads
        settings = self.settings
        if version is not None:
            settings = settings.model_copy(update={"model_version": version})
        classifier = await asyncio.to_thread(self._load, settings, self.metrics)
        if load == self._loads:
            self._prepared = classifier
        return _served(classifier)

    def drop(self) -> None:
        """Forgets what was prepared, or still is."""
        self._loads += 1
        self._prepared = None

    def commit(self) -> None:
        """Serves what was prepared: each request from now on; those that came before go on."""
        assert self._prepared is not None, "prepare first"
        self._classifier, self._prepared, self._unloaded = self._prepared, None, False
        self.metrics.show_model(_served(self._classifier)._asdict())

    def unload(self) -> None:
        """Serves no model from now on."""
        self._classifier, self._unloaded = None, True
        self.metrics.show_model(None)

    async def administer(self, what: Administration) -> None:
        """Loads or unloads the model in this process.

        Raises:
            LoadFailedError: it cannot be loaded; the one before still serves.
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
    def queue_depth(self) -> int:
        """Number of pictures that wait."""
        return self._batcher.depth if self._batcher else 0

    @property
    def is_full(self) -> bool:
        """Whether no more pictures may wait."""
        return self.queue_depth >= self.settings.max_queue

    def retry_after_s(self) -> int:
        """Seconds after which one more client for whom there is no room may come again."""
        return self._retry_after.make(self._batcher.seconds_per_item if self._batcher else 0)

    @property
    def served(self) -> Served | None:
        """The model that is served, if any."""
        return _served(self._classifier) if self._classifier else None

    @property
    def classifier(self) -> Classifier:
        """The classifier for a request that begins now.

        Raises:
            NotReadyError: there is none.
        """
        if self._classifier is None or self.fault:
            raise NotReadyError(_NOT_READY[self._status()])
        return self._classifier

    def check_ready(self) -> None:
        """Makes sure that requests should be sent here.

        Raises:
            NotReadyError: there is no model, or not for long.
        """
        if (status := self._status()) in _NOT_READY:
            raise NotReadyError(_NOT_READY[status])

    def submit(
        self, classifier: Classifier, uploads: Sequence[Upload], timeout_s: float = math.inf
    ) -> "list[asyncio.Future[Classification]]":
        """Queues pictures, all or none.

        Args:
            classifier: what is to classify them.
            uploads: the pictures.
            timeout_s: seconds that the client waits, if fewer than the settings allow.

        Raises:
            QueueFullError: the queue cannot take them all.
        """
        assert self._batcher is not None, "ask for the classifier first"
        deadline = min(timeout_s, self.settings.deadline_ms / 1000)
        futures: list[asyncio.Future[Classification]] = []
        try:
            for upload in uploads:
                futures.append(self._batcher.submit((classifier, upload), deadline))
        except ServiceError:
            for future in futures:
                future.cancel()
            self.drop_cancelled()
            raise
        return futures

    def drop_cancelled(self) -> None:
        """Takes pictures out of the queue that nobody waits for any more."""
        assert self._batcher is not None, "ask for the classifier first"
        self._batcher.drop_done()

    def health(self) -> Health:
        """The state of the service, as it is now."""
        status, served = self._status(), self.served
        degraded = self._classifier.engine.degraded_reason if self._classifier else None
        return Health(
            status=status,
            uptime_s=round(time.monotonic() - self.started_at, 1),
            reason=self.fault or degraded,
            warning=self.warning,
            **(served._asdict() if served else {"model": self.settings.model}),
        )

    def sample(self) -> None:
        """Brings the gauges up to date."""
        self.metrics.sample(self._status(), self.queue_depth, self.settings.max_queue)

    async def keep_watch(self) -> None:
        """Brings the gauges up to date and looks for ailments, all the time."""
        looked_at = time.monotonic()
        while True:
            now = time.monotonic()
            # Who was paused, by the container or the machine, does not know what is stuck.
            was_paused, looked_at = now - looked_at > WATCH_S + PAUSE_S, now
            self.sample()
            if self._batcher is not None and not self.fault and not was_paused:
                self.fault = self._batcher.fault(self.settings.stuck_s)
            if self._batcher is not None and self.fault:
                # Nobody is to wait for what does not come; a client may try another worker.
                self._batcher.abandon(NotReadyError(_NOT_READY["failed"]))
            await asyncio.sleep(WATCH_S)

    def _status(self) -> Status:
        if self.draining:
            return "draining"
        if self.fault:
            return "failed"
        if self._classifier is None:
            return "unloaded" if self._unloaded else "loading"
        engine = self._classifier.engine
        return "ok" if engine.provider == engine.requested_provider else "degraded"

    def _new_batcher(self) -> Predictor:
        decode: Callable[[Job], Any] = _decode
        infer: Callable[[Sequence[Any]], Sequence[Classification]] = self._infer
        if self._tracing is not None:
            decode, infer = self._tracing.around(decode, infer)
        return MicroBatcher(
            decode,
            infer,
            max_batch=self.settings.max_batch,
            max_queue=self.settings.max_queue,
            threads=self.settings.thread_count,
            on_batch=self.metrics.observe_batch,
            on_wait=functools.partial(self.metrics.observe_stage, "queue"),
        )

    def _infer(self, jobs: Sequence[DecodedJob]) -> list[Classification]:
        answers: list[Classification] = []
        # Only just after a change of model is there more than one classifier.
        for classifier, group in itertools.groupby(jobs, lambda job: job[0]):
            try:
                answers += classifier.infer([decoded for _, decoded in group])
            except EngineFailedError as error:
                logger.error("engine failed", extra={"fields": {"why": str(error)}})
                self._examine(classifier)
                raise NotReadyError(_NOT_READY["failed"]) from error
        return answers

    def _examine(self, classifier: Classifier) -> None:
        """Finds out whether the engine fails on every picture: CUDA may be lost for good."""
        try:
            classifier.self_test()
        except EngineFailedError as error:
            self.fault = str(error)


def _decode(job: Job) -> DecodedJob:
    classifier, upload = job
    return classifier, classifier.decode(upload)


def _served(classifier: Classifier) -> Served:
    model, engine = classifier.model, classifier.engine
    return Served(
        model=model.name,
        version=str(model.version),
        variant=model.variant,
        sha256=model.sha256,
        provider=engine.provider,
        requested_provider=engine.requested_provider,
    )

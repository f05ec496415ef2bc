"""What a running process holds: the model, its workers, and the state they are in."""

import asyncio
import functools
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from service.batching import MicroBatcher
from service.classifier import Classification, Classifier, Upload
from service.config import Settings
from service.errors import NotReadyError, ServiceError, StartupError
from service.metrics import Metrics
from service.schemas import Health, Status
from service.tracing import Tracing

logger = logging.getLogger(__name__)

# How old the gauges of a worker may be that another worker exports.
SAMPLE_S = 1

Load = Callable[[Settings, Metrics], Classifier]
Predictor = MicroBatcher[Upload, Any, Classification]


def load_classifier(settings: Settings, metrics: Metrics) -> Classifier:
    """Loads the classifier that the settings name; see `Classifier.open`."""
    return Classifier.open(
        settings.models,
        settings.model,
        settings.version,
        variant=settings.variant,
        provider=settings.provider,
        require_cuda=settings.require_cuda,
        # The workers compute side by side, so that one inference needs no threads of its own.
        threads=1,
        max_pixels=settings.max_pixels,
        observe=metrics.observe_stage,
    )


class Runtime:
    """Loads the model, answers while it can, and says how it is."""

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
        self._load = load
        self._tracing = tracing
        self._started = time.monotonic()
        self._classifier: Classifier | None = None
        self._batcher: Predictor | None = None

    async def start(self) -> None:
        """Loads the model off the event loop; a failure is kept in `failure`."""
        try:
            classifier = await asyncio.to_thread(self._load, self.settings, self.metrics)
        except Exception as error:
            if not isinstance(error, StartupError):
                logger.exception("mistake")
            self.failure = error
            return
        decode: Callable[[Upload], Any] = classifier.decode
        infer: Callable[[Sequence[Any]], Sequence[Classification]] = classifier.infer
        if self._tracing is not None:
            decode, infer = self._tracing.around(decode, infer)
        self._batcher = MicroBatcher(
            decode,
            infer,
            max_batch=self.settings.max_batch,
            max_queue=self.settings.max_queue,
            threads=self.settings.thread_count,
            on_batch=self.metrics.observe_batch,
            on_wait=functools.partial(self.metrics.observe_stage, "queue"),
        )
        self._classifier = classifier
        self._announce(classifier)

    async def stop(self) -> None:
        """Answers what is queued, then stops the workers."""
        self.draining = True
        if self._batcher is not None:
            await asyncio.to_thread(self._batcher.close)

    @property
    def queue_depth(self) -> int:
        """Number of pictures that wait."""
        return self._batcher.depth if self._batcher else 0

    @property
    def classifier(self) -> Classifier:
        """The loaded classifier.

        Raises:
            NotReadyError: it is not loaded yet, or the service is shutting down.
        """
        if self.draining:
            raise NotReadyError("The service is shutting down; try again in a moment.")
        if self._classifier is None:
            raise NotReadyError("The model is still loading; try again in a moment.")
        return self._classifier

    def submit(
        self, uploads: Sequence[Upload], patience: float = math.inf
    ) -> "list[asyncio.Future[Classification]]":
        """Queues pictures, all or none.

        Args:
            uploads: the pictures.
            patience: seconds that the client waits, if fewer than the settings allow.

        Raises:
            QueueFullError: the queue cannot take them all.
        """
        assert self._batcher is not None, "ask for the classifier first"
        deadline = min(patience, self.settings.deadline_ms / 1000)
        futures: list[asyncio.Future[Classification]] = []
        try:
            for upload in uploads:
                futures.append(self._batcher.submit(upload, deadline))
        except ServiceError:
            for future in futures:
                future.cancel()
            raise
        return futures

    def health(self) -> Health:
        """The state of the service, as it is now."""
        uptime_s = round(time.monotonic() - self._started, 1)
        if self._classifier is None:
            return Health(status=self._status(), model=self.settings.model, uptime_s=uptime_s)
        model, engine = self._classifier.model, self._classifier.engine
        return Health(
            status=self._status(),
            model=model.name,
            version=str(model.version),
            variant=model.variant,
            provider=engine.provider,
            requested_provider=engine.requested_provider,
            sha256=model.sha256,
            uptime_s=uptime_s,
            reason=engine.degraded_reason,
        )

    def sample(self) -> None:
        """Brings the gauges up to date."""
        self.metrics.sample(self._status(), self.queue_depth, self.settings.max_queue)

    async def keep_sampling(self) -> None:
        """Brings the gauges up to date all the time, for the processes that export them."""
        while True:
            self.sample()
            await asyncio.sleep(SAMPLE_S)

    def _status(self) -> Status:
        if self.draining:
            return "draining"
        if self._classifier is None:
            return "loading"
        engine = self._classifier.engine
        return "ok" if engine.provider == engine.requested_provider else "degraded"

    def _announce(self, classifier: Classifier) -> None:
        model, engine = classifier.model, classifier.engine
        facts = {
            "model": model.name,
            "version": str(model.version),
            "variant": model.variant,
            "sha256": model.sha256,
            "provider": engine.provider,
            "requested_provider": engine.requested_provider,
        }
        self.metrics.show_model(facts)
        fields = {**facts, "threads": self.settings.thread_count}
        logger.info("ready", extra={"fields": fields})

"""The models that this process serves: build and replace them, classify pictures, report health."""

import asyncio
import contextlib
import functools
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, get_args

from service.errors import (
    EngineFailedError,
    LoadFailedError,
    NotReadyError,
    ServiceError,
    StartupError,
)
from service.inference.batching.batcher import MicroBatcher
from service.inference.classification import Classification
from service.inference.classifier import Observer, Upload
from service.inference.engine import CPU
from service.inference.large_picture_lanes import Job, lanes, prepare
from service.inference.repository_threads import RepositoryThreads
from service.inference.served_model import LOAD_ALL, Change
from service.inference.snapshot import Handover, LoadedModel, Snapshot
from service.inference.snapshot_builder import build_snapshot
from service.inference.views import Decoded
from service.observability import tracing
from service.observability.metrics import Metrics
from service.settings import Settings

logger = logging.getLogger(__name__)

# Seconds between two updates of the gauges, which other processes export, and checks for faults.
WATCH_S = 1
# A check that comes this much later than planned shows that the whole process was paused.
PAUSE_S = 2
# While more than this part of the longest queue waits, there are no views after the first.
HASTE = 1 / 4

Status = Literal["ok", "degraded", "loading", "draining", "unloaded", "failed"]
# The arguments are the settings, the order, the present snapshot, and an observer of stages.
Build = Callable[[Settings, Change | Handover, Snapshot | None, Observer], Snapshot]

_ENGINE_FAILED = "The model cannot be computed at present; try again in a moment."
_LOADING = "The model is still loading; try again in a moment."
_DRAINING = "The service is shutting down; try again in a moment."


class ModelServer:
    """Serves a snapshot of models; the event loop calls its methods, compute threads do the work.

    Attributes:
        tracing: makes the traces, None where no collector is named.
        snapshot: the models that are served, None before the first.
        repository: reads the repository; nothing else does.
        draining: whether the service is shutting down; it still answers.
        fault: why this process cannot compute any more and has to be replaced.
        failure: why there is no first snapshot, None while it is still being built.
        warning: another fault that the operator should know of, shown in /health.
        started_at: when the service was started, on the monotonic clock.
    """

    def __init__(
        self,
        settings: Settings,
        build: Build = build_snapshot,
        huge: AbstractContextManager[object] | None = None,
    ) -> None:
        """Creates a server that has no models, with metrics and traces of its own.

        `huge` is a lock that all processes share: one of them decodes a huge picture at a time.
        """
        self.settings = settings
        self.tracing = tracing.start()
        on_stage = self.tracing.trace_stage if self.tracing else None
        self.metrics = Metrics(get_args(Status), on_stage=on_stage)
        self.snapshot: Snapshot | None = None
        self.repository = RepositoryThreads()
        self.draining = False
        self.fault: str | None = None
        self.failure: str | None = None
        self.warning: str | None = None
        self.started_at = time.monotonic()
        self._build = build
        self._builds = 0
        self._changing = asyncio.Lock()
        self._prepared: Snapshot | None = None
        self._batcher = self._new_batcher(huge or contextlib.nullcontext())

    def start(self) -> None:
        """Starts the compute threads."""
        self._batcher.start()

    async def stop(self) -> None:
        """Answers the pictures that wait, ends the compute threads, and exports the traces."""
        self.draining = True
        if not self.fault:
            await asyncio.to_thread(self._batcher.close)
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)

    async def prepare(self, order: Change | Handover) -> Snapshot:
        """Builds a snapshot off the event loop; see `build_snapshot`.

        The present one is served until `commit` replaces it by the one that is returned, unless
        `prepare` or `drop` is called before that.

        Raises:
            StartupError: it cannot be built.
        """
        self.drop()
        number, observe = self._builds, self.metrics.observe_stage
        build = functools.partial(self._build, self.settings, order, self.snapshot, observe)
        snapshot = await self.repository.run(build)
        if number == self._builds:
            self._prepared = snapshot
        return snapshot

    def drop(self) -> None:
        """Discards the prepared snapshot, also one that is still being prepared."""
        self._builds += 1
        self._prepared = None

    def commit(self) -> None:
        """Serves the prepared snapshot to new requests; earlier ones keep the model they have."""
        assert self._prepared is not None, "call prepare first"
        self.snapshot, self._prepared = self._prepared, None
        self.metrics.show_models(self.snapshot.manifest.models)

    async def change(self, change: Change = LOAD_ALL) -> str | None:
        """Changes the models, also if the caller leaves; returns how a loaded one differs now.

        Raises:
            LoadFailedError: a model that was to be loaded cannot be; it has the versions of before.
        """
        return await asyncio.shield(asyncio.ensure_future(self._change(change)))

    async def _change(self, change: Change) -> str | None:
        async with self._changing:  # of two at a time, one would discard what the other prepares
            try:
                snapshot = await self.prepare(change)
            except StartupError as error:
                self.failure = str(error) if self.snapshot is None else None
                raise LoadFailedError(str(error)) from error
            self.commit()
        names = snapshot.failures.keys() if change.load is None else change.load
        if reasons := [snapshot.failures[name] for name in names if name in snapshot.failures]:
            raise LoadFailedError(" ".join(reasons))
        return " ".join(snapshot.notes.values()) or None

    @property
    def status(self) -> Status:
        """The state of this process, and of the default model.

        `degraded` answers, yet not on the requested provider, or not with all models.
        """
        if self.draining:
            return "draining"
        if self.fault:
            return "failed"
        if self.snapshot is None:
            return "failed" if self.failure else "loading"
        return self.snapshot.status

    @property
    def reason(self) -> str | None:
        """Why the status is `failed` or `degraded`."""
        if self.fault or self.snapshot is None:
            return self.fault or self.failure
        return self.snapshot.reason

    @property
    def queue_depth(self) -> int:
        """Number of pictures that wait."""
        models = self.snapshot.loaded if self.snapshot else []
        return sum(self._batcher.depth(model) for model in models)

    def is_full(self, name: str | None = None, version: str | None = None) -> bool:
        """Whether no more pictures of a model may wait; False where there is no such model."""
        try:
            return self._batcher.depth(self.find(name, version)) >= self.settings.max_queue
        except ServiceError:
            return False

    @property
    def seconds_per_item(self) -> float:
        """Seconds between two results, as measured on the last batch; 0 before the first."""
        return self._batcher.seconds_per_item

    def find(self, name: str | None = None, version: str | None = None) -> LoadedModel:
        """Finds the model for a request that begins now; see `Snapshot.find`.

        Raises:
            NotServedError: there is no such model or version here.
            NotReadyError: it is not loaded, or nothing can be computed.
        """
        if self.fault:
            raise NotReadyError(_ENGINE_FAILED)
        if self.snapshot is None:
            raise NotReadyError(_DRAINING if self.draining else self.failure or _LOADING)
        return self.snapshot.find(name, version)

    def check_ready(self, name: str | None = None, version: str | None = None) -> None:
        """Checks whether new requests for a model should be sent to this process.

        Raises:
            NotServedError: there is no such model or version here.
            NotReadyError: it cannot answer those, or is draining.
        """
        if self.draining:
            raise NotReadyError(_DRAINING)
        self.find(name, version)

    def submit(
        self, model: LoadedModel, uploads: Sequence[Upload], timeout_s: float = math.inf
    ) -> "list[asyncio.Future[Classification]]":
        """Queues pictures, all or none; returns a future for each, see `MicroBatcher.submit`.

        The model is one that `find` returned; `timeout_s` are the seconds that the client waits, if
        fewer than the settings allow. A future raises ServiceError for a picture that cannot be
        decoded, and NotReadyError where the engine failed.

        Raises:
            QueueFullError: the model's queue has no room for all of them.
        """
        deadline = min(timeout_s, self.settings.deadline_ms / 1000)
        return self._batcher.submit(model, [Job(model, upload) for upload in uploads], deadline)

    def drop_cancelled(self) -> None:
        """Removes pictures from the queues whose future was cancelled."""
        self._batcher.drop_done()

    def sample(self) -> None:
        """Updates the gauges."""
        depths: dict[str, int] = {}
        for model in self.snapshot.loaded if self.snapshot else ():
            depths[model.name] = depths.get(model.name, 0) + self._batcher.waiting(model)
        self.metrics.sample(self.status, depths, self.settings.max_queue)

    async def keep_watch(self) -> None:
        """Updates the gauges and checks for faults until it is cancelled."""
        last = time.monotonic()
        while True:
            now = time.monotonic()
            # After a pause of the container or the machine every busy thread looks stuck.
            was_paused, last = now - last > WATCH_S + PAUSE_S, now
            try:
                if not self.fault and not was_paused:
                    self.fault = self._batcher.fault(self.settings.stuck_s)
                if self.fault:
                    # No result will come; the clients may try another worker.
                    self._batcher.abandon(NotReadyError(_ENGINE_FAILED))
                self.sample()
            except OSError as error:  # no more open files, say
                logger.warning("no metrics", extra={"fields": {"why": str(error)}})
            except Exception:  # else nobody would see that the watch has ended
                logger.exception("unhandled error")
            await asyncio.sleep(WATCH_S)

    def _new_batcher(
        self, huge: AbstractContextManager[object]
    ) -> MicroBatcher[LoadedModel, Job, Any, Classification]:
        decode: Callable[[Job], Any] = prepare
        infer: Callable[[Sequence[Any]], Sequence[Classification]] = self._infer
        if self.tracing is not None:
            decode, infer = self.tracing.around(
                decode, infer, lambda picture: (picture[0].name, str(picture[0].version))
            )
        return MicroBatcher(
            decode,
            infer,
            max_batch=self.settings.max_batch,
            max_queue=self.settings.max_queue,
            threads=self.settings.thread_count,
            lanes=lanes(self.settings, huge),
            has_device=lambda model: model.classifier.engine.provider != CPU,
            on_batch=lambda model, size: self.metrics.observe_batch(model.name, size),
            on_wait=lambda model, seconds: self.metrics.observe_stage(model.name, "queue", seconds),
            on_processed=lambda model, times: self.metrics.count_batch(
                model.name, str(model.version), times
            ),
        )

    def _infer(self, pictures: Sequence[tuple[LoadedModel, Decoded]]) -> list[Classification]:
        model, batch = pictures[0][0], [decoded for _, decoded in pictures]
        in_haste = self.queue_depth > HASTE * self.settings.max_queue
        try:
            answers = model.classifier.infer(batch, in_haste=in_haste)
        except EngineFailedError as error:
            logger.error("engine failed", extra={"fields": {"why": str(error)}})
            try:
                model.classifier.self_test()
            except EngineFailedError as lasting:  # CUDA is lost for good, say
                self.fault = str(lasting)
            raise NotReadyError(_ENGINE_FAILED) from error
        self.metrics.count_second_views(model.name, (it.second_view for it in answers))
        return answers

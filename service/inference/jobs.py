"""The work of the compute threads: decode each picture, then classify the batch."""

import functools
import itertools
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from service.errors import EngineFailedError, NotReadyError
from service.inference.batcher import MicroBatcher
from service.inference.classifier import Classification, Classifier, Decoded, Upload
from service.observability.metrics import Metrics
from service.observability.tracing import Tracing
from service.settings import Settings

ENGINE_FAILED = "The model cannot be computed at present; try again in a moment."

logger = logging.getLogger(__name__)


class Job(NamedTuple):
    """A picture, and the classifier that was served when its request began."""

    classifier: Classifier
    upload: Upload


class DecodedJob(NamedTuple):
    """A decoded picture, and the classifier of its job."""

    classifier: Classifier
    picture: Decoded


# What is between its two steps depends on the tracing.
JobBatcher: TypeAlias = MicroBatcher[Job, Any, Classification]


def start_batcher(
    settings: Settings, metrics: Metrics, tracing: Tracing | None, on_fault: Callable[[str], None]
) -> JobBatcher:
    """Starts a micro-batcher of jobs.

    Its futures raise ServiceError for a picture that cannot be decoded, and NotReadyError where the
    engine failed. If it then fails on a black picture too, `on_fault` is called with the reason, in
    the compute thread.
    """
    decode: Callable[[Job], Any] = _decode
    infer: Callable[[Sequence[Any]], Sequence[Classification]]
    infer = functools.partial(_infer, on_fault=on_fault)
    if tracing is not None:
        decode, infer = tracing.around(decode, infer)
    return MicroBatcher(
        decode,
        infer,
        max_batch=settings.max_batch,
        max_queue=settings.max_queue,
        threads=settings.thread_count,
        on_batch=metrics.observe_batch,
        on_wait=functools.partial(metrics.observe_stage, "queue"),
    )


def _decode(job: Job) -> DecodedJob:
    return DecodedJob(job.classifier, job.classifier.decode(job.upload))


def _infer(jobs: Sequence[DecodedJob], on_fault: Callable[[str], None]) -> list[Classification]:
    answers: list[Classification] = []
    # A batch has more than one classifier only just after another model was loaded.
    for classifier, group in itertools.groupby(jobs, lambda job: job.classifier):
        try:
            answers += classifier.infer([job.picture for job in group])
        except EngineFailedError as error:
            logger.error("engine failed", extra={"fields": {"why": str(error)}})
            try:
                classifier.self_test()
            except EngineFailedError as lasting:  # CUDA is lost for good, say
                on_fault(str(lasting))
            raise NotReadyError(ENGINE_FAILED) from error
    return answers

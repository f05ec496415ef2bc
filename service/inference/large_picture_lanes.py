"""Decides which pictures take long to decode, and makes the lanes in which they wait."""

import functools
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from service.inference.batching.slow_lane import LaneRule, SlowItemError
from service.inference.classifier import Upload
from service.inference.opening import LARGE_PIXELS, Opened, TakesLongError
from service.inference.snapshot import LoadedModel
from service.inference.views import Decoded
from service.settings import Settings

# Large pictures take longer than small ones may wait; huge ones take so much memory, or so long
# that other large pictures need not wait for them, that one is decoded at a time.
LARGE, HUGE = "large", "huge"
# Pictures of the largest size, in pixels, that may wait in a lane: seconds of work.
ROOM = 4


class Job(NamedTuple):
    """A picture, and the model that its request has named when it began."""

    model: LoadedModel
    picture: Upload | Decoded


def lanes(settings: Settings, huge: AbstractContextManager[object]) -> dict[str, LaneRule]:
    """The lanes; `huge` is a lock that all processes share."""
    room = ROOM * settings.max_pixels
    return {
        LARGE: LaneRule(settings.thread_count, room, nullcontext()),
        HUGE: LaneRule(1, room, huge),
    }


def prepare(job: Job) -> tuple[LoadedModel, Decoded]:
    """Decodes a picture, unless that takes long.

    Raises:
        ServiceError: it cannot be decoded.
        SlowItemError: it is to be decoded in a lane.
    """
    model, picture = job
    if not isinstance(picture, bytes):
        if isinstance(picture, Decoded):
            return model, picture
        return model, model.classifier.decode(picture)
    try:
        opened = model.classifier.open_picture(picture, quickly=True)
        if not opened.is_large:
            return model, model.classifier.decode(opened)
    except TakesLongError:
        cost = max(len(picture), LARGE_PIXELS)  # nothing else is known yet
        raise SlowItemError(LARGE, cost, functools.partial(_open, model, picture)) from None
    raise _slow(model, picture, opened)


def _slow(model: LoadedModel, data: bytes, opened: Opened) -> SlowItemError[Job]:
    lane = HUGE if opened.is_huge else LARGE
    return SlowItemError(lane, opened.cost, functools.partial(_decode, model, data, opened))


def _open(model: LoadedModel, data: bytes) -> Job:
    opened = model.classifier.open_picture(data)
    if opened.is_huge:
        raise _slow(model, data, opened)
    return _decode(model, data, opened)


def _decode(model: LoadedModel, data: bytes, opened: Opened) -> Job:
    try:
        return Job(model, model.classifier.decode(opened))
    except TakesLongError:  # it was opened quickly
        return Job(model, model.classifier.decode(data))
